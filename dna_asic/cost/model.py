"""Cycles, events and energy of a layer on chips by mappings: exact, batched."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dna_asic.cost.area import area_um2
from dna_asic.cost.batch import ChipBatch, LayerBatch, MappingBatch
from dna_asic.cost.closed_form import Member, shared_cycles, unshared_cycles
from dna_asic.cost.counts import Schedule, count, used_sets
from dna_asic.cost.energy import EVENTS, event_energies_pj, idle_pj_per_cycle
from dna_asic.cost.nest import Nest, Order, OrderBatch, visited_tiles
from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.dims import Operand
from dna_asic.spec.geometry import Geometry, geometry
from dna_asic.spec.instruction import INSTRUCTION_BYTES
from dna_asic.spec.latency import (
    CORE_CYCLES,
    DMA_JOB_CYCLES,
    INSTRUCTION_CYCLES,
    LAYER_CYCLES,
    STORE_CYCLES,
    WRITE_RESPONSE_CYCLES,
)
from dna_asic.spec.report import Counts
from dna_asic.technology import Technology

W, I, O = Operand  # noqa: E741


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Energy tables of a batch of chips. event_pj: float64 [len(EVENTS), N]; area_mm2, idle_pj (a cycle): [N]."""

    event_pj: Tensor
    area_mm2: Tensor
    idle_pj: Tensor

    @classmethod
    def of(cls, accelerators: Sequence[AcceleratorConfig], technology: Technology,
           areas: Sequence[dict[str, float]] | None = None) -> "Prices":
        """One row per accelerator. areas: `area_um2` of each where it is at hand."""
        areas = areas or [area_um2(a, technology) for a in accelerators]
        tables = [event_energies_pj(a, technology, area) for a, area in zip(accelerators, areas)]
        idle = [sum(idle_pj_per_cycle(a, technology, area).values()) for a, area in zip(accelerators, areas)]
        return cls(event_pj=torch.tensor([[t[e] for t in tables] for e in EVENTS], dtype=torch.float64),
                   area_mm2=torch.tensor([sum(area.values()) * 1e-6 for area in areas], dtype=torch.float64),
                   idle_pj=torch.tensor(idle, dtype=torch.float64))

    def __len__(self) -> int:
        return len(self.area_mm2)

    def take(self, index: Tensor) -> "Prices":
        """Rows `index`."""
        return Prices(event_pj=self.event_pj[:, index], area_mm2=self.area_mm2[index], idle_pj=self.idle_pj[index])


@dataclass(frozen=True, kw_only=True)
class CostBatch:
    """cycles: int64 [N]; counts: the record with int64 [N] entries; energy_pj: float64 [N], with clock and leakage."""

    cycles: Tensor
    counts: Counts
    energy_pj: Tensor


def evaluate(layer: LayerBatch, chips: ChipBatch, mapping: MappingBatch, prices: Prices,
             sizes: Geometry | None = None) -> CostBatch:
    """Cost of each row, which must be legal; a batch of one row goes with all rows of the others.

    sizes: the rows' geometry where it is at hand.
    """
    schedule = schedule_of(layer, chips, mapping, sizes)
    cycles, counts = layer_cycles(schedule), count(schedule)
    dynamic = sum(number * pj for number, pj in zip(event_counts(counts), prices.event_pj, strict=True))
    return CostBatch(cycles=cycles, counts=counts, energy_pj=dynamic + cycles * prices.idle_pj)


def cheapest_rf_orders(chips: ChipBatch, mapping: MappingBatch, prices: Prices, options: Sequence[Order]) -> OrderBatch:
    """Per row the order at the register files whose accesses take the least energy; it changes nothing else."""
    pj = dict(zip(EVENTS, prices.event_pj, strict=True))
    visit = {W: pj["rf_reads.W"], I: pj["rf_reads.I"], O: pj["rf_reads.O"] + pj["rf_writes.O"]}
    visit = {x: energy * used_sets(chips, mapping, x) for x, energy in visit.items()}
    choice = least = None
    for i, order in enumerate(options):
        energy = sum(tiles * visit[x] for x, tiles in visited_tiles(order, mapping.rf).items())
        if least is None:
            choice, least = torch.zeros_like(energy, dtype=torch.int64), energy
        choice, least = torch.where(energy < least, i, choice), least.minimum(energy)
    return OrderBatch(tuple(options), choice)


def schedule_of(layer: LayerBatch, chips: ChipBatch, mapping: MappingBatch, sizes: Geometry | None = None) -> Schedule:
    """Sizes and nests of each row."""
    return Schedule(
        layer=layer, chips=chips, mapping=mapping, geometry=sizes or geometry(layer, chips, chips.port_bytes, mapping),
        rf=Nest.of(mapping.rf_order, mapping.rf), gb=Nest.of(mapping.gb_order, mapping.gb),
        dram=Nest.of(mapping.dram_order, mapping.dram))


def core_durations(s: Schedule) -> dict[Operand, Tensor]:
    """Cycles of each operand's fill or drain of an array tile."""
    beats, chips = s.geometry.fill_beats, s.chips
    return {x: chips.fill_latencies[:, x] + beats[x] for x in (W, I)} | {O: chips.drain_latency + beats[O]}


def core_cycles(s: Schedule) -> Tensor:
    """Cycles of one DRAM tile in the core, start to done."""
    return unshared_cycles(s.gb.bounds, s.rf.steps, s.gb.lowest, core_durations(s), (W, I), (O,)) + CORE_CYCLES


def read_job_cycles(chips: ChipBatch | AcceleratorConfig, beats: Tensor) -> Tensor:
    """A DMA read job of W or I: set-up, the memory's latency, one beat a cycle."""
    return DMA_JOB_CYCLES + chips.memory_latency_cycles + beats


def residual_job_cycles(s: Schedule) -> Tensor:
    """The residual's read job lasts as long as post-processing takes its stream."""
    return read_job_cycles(s.chips, s.geometry.store_cycles)


def store_job_cycles(s: Schedule) -> Tensor:
    """Post-processing and write of one O tile; with a residual its first data must arrive."""
    wait = (s.chips.memory_latency_cycles + DMA_JOB_CYCLES) * s.layer.has_residual
    return STORE_CYCLES + s.geometry.store_cycles + WRITE_RESPONSE_CYCLES + wait


def fetch_cycles(chips: ChipBatch | AcceleratorConfig) -> Tensor:
    """Fetch of one layer's instruction."""
    return read_job_cycles(chips, INSTRUCTION_BYTES // chips.port_bytes)


def layer_cycles(s: Schedule) -> Tensor:
    """One layer: fetch, prologue, schedule of DRAM tiles, epilogue."""
    low, beats = s.dram.lowest, s.geometry.dma_beats
    read = [Member(low[x], read_job_cycles(s.chips, beats[x])) for x in (I, W)]
    if s.layer.has_residual.any():
        read.insert(0, Member(low[O], residual_job_cycles(s), drain=True, present=s.layer.has_residual))
    write = (Member(low[O], store_job_cycles(s), drain=True),)
    tiles = shared_cycles(s.dram.bounds, core_cycles(s), (tuple(read), write))
    return LAYER_CYCLES + fetch_cycles(s.chips) + INSTRUCTION_CYCLES + tiles


def event_counts(counts: Counts) -> list:
    """Counts in the order of EVENTS; what a layer has none of is 0."""
    values = []
    for event in EVENTS:
        kind, _, operand = event.partition(".")
        field = getattr(counts, kind)
        values.append(field.get(Operand[operand], 0) if operand else field)
    return values
