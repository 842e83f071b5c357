"""Cycles, accesses, energy and area of a network on an accelerator."""

from dna_asic.cost.batch import ChipBatch, LayerBatch, MappingBatch, layer_kind, mapping_at
from dna_asic.cost.causes import Cause, cycles_by_cause
from dna_asic.cost.design import design_schedule, energy_by_operand_pj, evaluate_design
from dna_asic.cost.energy import area_um2, buffer_area_um2, event_energies_pj, idle_pj
from dna_asic.cost.model import CostBatch, Prices, cheapest_rf_orders, evaluate
from dna_asic.cost.schedule import Schedule, period_cycles

__all__ = ["Cause", "ChipBatch", "CostBatch", "LayerBatch", "MappingBatch", "Prices", "Schedule", "area_um2",
           "buffer_area_um2", "cheapest_rf_orders", "cycles_by_cause", "design_schedule", "energy_by_operand_pj",
           "evaluate", "evaluate_design", "event_energies_pj", "idle_pj", "layer_kind", "mapping_at", "period_cycles"]
