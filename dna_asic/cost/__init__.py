"""Cycles, accesses, energy and area of a network on an accelerator."""

from dna_asic.cost.area import area_terms, area_um2, buffer_area_um2, clocked_flip_flops, flip_flops, memory_area_um2
from dna_asic.cost.batch import ChipBatch, LayerBatch, MappingBatch, layer_kind, mapping_at
from dna_asic.cost.causes import Cause, cycles_by_cause
from dna_asic.cost.design import design_schedule, energy_by_operand_pj, evaluate_design, idle_fetch_pj
from dna_asic.cost.energy import LOGIC_LEVELS, event_energies_pj, idle_pj
from dna_asic.cost.model import CostBatch, Prices, cheapest_rf_orders, evaluate, layer_cycles, schedule_of
from dna_asic.cost.schedule import Schedule, period_cycles

__all__ = ["LOGIC_LEVELS", "Cause", "ChipBatch", "CostBatch", "LayerBatch", "MappingBatch", "Prices", "Schedule",
           "area_terms", "area_um2", "buffer_area_um2", "cheapest_rf_orders", "clocked_flip_flops",
           "cycles_by_cause", "design_schedule", "energy_by_operand_pj", "evaluate", "evaluate_design",
           "event_energies_pj", "flip_flops", "idle_fetch_pj", "idle_pj", "layer_cycles", "layer_kind", "mapping_at",
           "memory_area_um2", "period_cycles", "schedule_of"]
