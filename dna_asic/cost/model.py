"""Cycles, events and energy of a layer on chips by mappings: exact, batched."""

from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dna_asic.cost.batch import ChipBatch, LayerBatch, MappingBatch
from dna_asic.cost.closed_form import Member, shared_cycles, unshared_cycles
from dna_asic.cost.counts import Schedule, count
from dna_asic.cost.energy import EVENTS, LEVEL_OF, LEVELS, area_um2, event_energies_pj, idle_pj_per_cycle
from dna_asic.cost.nest import Nest
from dna_asic.cost.schedule import Schedule as Times
from dna_asic.cost.schedule import period_cycles, schedule
from dna_asic.errors import SpecError
from dna_asic.spec.accelerator import AcceleratorConfig, Mapping
from dna_asic.spec.dims import Operand
from dna_asic.spec.geometry import Geometry, geometry
from dna_asic.spec.instruction import INSTRUCTION_BYTES
from dna_asic.spec.latency import (
    CORE_CYCLES,
    DECODE_CYCLES,
    DMA_JOB_CYCLES,
    INSTRUCTION_CYCLES,
    LAYER_CYCLES,
    RUN_CYCLES,
    STORE_CYCLES,
    WRITE_RESPONSE_CYCLES,
)
from dna_asic.spec.layer import LayerShape
from dna_asic.spec.pipeline import Pipeline, Place
from dna_asic.spec.report import CostReport, Counts, LayerCost
from dna_asic.technology import Technology

W, I, O = Operand  # noqa: E741
_FETCH = f"dram_reads.{W.name}"  # instructions count with the weights


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Energy tables of a batch of chips. event_pj: float64 [N, len(EVENTS)]; area_mm2, idle_pj (a cycle): [N]."""

    event_pj: Tensor
    area_mm2: Tensor
    idle_pj: Tensor

    @classmethod
    def of(cls, accelerators: Sequence[AcceleratorConfig], technology: Technology) -> "Prices":
        """One row per accelerator."""
        tables = [event_energies_pj(a, technology) for a in accelerators]
        areas = [sum(area_um2(a, technology).values()) for a in accelerators]
        return cls(event_pj=torch.tensor([[t[e] for e in EVENTS] for t in tables], dtype=torch.float64),
                   area_mm2=torch.tensor([a * 1e-6 for a in areas], dtype=torch.float64),
                   idle_pj=torch.tensor([sum(idle_pj_per_cycle(a, technology).values()) for a in accelerators],
                                        dtype=torch.float64))

    def take(self, index: Tensor) -> "Prices":
        """Rows `index`."""
        return Prices(event_pj=self.event_pj[index], area_mm2=self.area_mm2[index], idle_pj=self.idle_pj[index])


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
    dynamic = (torch.stack(event_counts(counts, cycles)) * prices.event_pj.T).sum(dim=0)
    return CostBatch(cycles=cycles, counts=counts, energy_pj=dynamic + cycles * prices.idle_pj)


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


def event_counts(counts: Counts, zero_like=None) -> list:
    """Counts in the order of EVENTS; what a layer has none of is 0."""
    absent = torch.zeros_like(zero_like) if zero_like is not None else 0
    values = []
    for event in EVENTS:
        kind, _, operand = event.partition(".")
        field = getattr(counts, kind)
        values.append(field.get(Operand[operand], absent) if operand else field)
    return values


def energy_by_level_pj(counts: Counts, table: Table[str, float]) -> dict[str, float]:
    """Sum of counts x table per level; clock and leakage 0."""
    energy = dict.fromkeys(LEVELS, 0.0)
    for event, number in zip(EVENTS, event_counts(counts), strict=True):
        energy[LEVEL_OF[event.partition(".")[0]]] += number * table[event]
    return energy


def evaluate_design(layers: Sequence[tuple[str, LayerShape]], accelerator: AcceleratorConfig,
                    mappings: Table[str, Mapping], technology: Technology,
                    pipeline: Pipeline | None = None) -> CostReport:
    """Exact report of a network's hardware layers, in network order, on one accelerator.

    mappings: by layer name, legal. pipeline: which chunk runs what; may be left out where there is one chunk.
    Raises SpecError when a mapping, or the pipeline of several chunks, is missing.
    """
    missing = [name for name, _ in layers if name not in mappings]
    if missing:
        raise SpecError(f"Design '{accelerator.name}': no mapping for layer {', '.join(missing)}; map it first.")
    programs = pipeline.programs if pipeline else (one_program([name for name, _ in layers], accelerator),)
    chunk_of = {place.name: place.chunk for program in programs for place in program}
    tables = [event_energies_pj(alone, technology) for alone in accelerator.alone]
    idle = [idle_pj_per_cycle(alone, technology) for alone in accelerator.alone]
    costs = [_layer_cost(name, shape, accelerator.alone[n], mappings[name], tables[n], idle[n])
             for name, shape in layers for n in [chunk_of[name]]]
    times = design_schedule(programs, {c.name: c.cycles for c in costs}, accelerator)
    latency = RUN_CYCLES + times.cycles
    levels = {level: sum(c.energy_pj[level] for c in costs) for level in LEVELS}
    levels |= {level: latency * sum(pj[level] for pj in idle) for level in idle[0]}
    levels["dram"] += sum(n * INSTRUCTION_BYTES * table[_FETCH] for n, table in zip(times.idle_fetches, tables))
    return CostReport(
        technology=technology.name, clk_period_ns=accelerator.clk_period_ns, layers=tuple(costs),
        latency_cycles=latency, period_cycles=period_cycles(programs, {c.name: c.cycles for c in costs}),
        idle_fetches=sum(times.idle_fetches), energy_pj_by_level=levels,
        area_um2_by_block=area_um2(accelerator, technology))


def one_program(layers: Sequence[str], accelerator: AcceleratorConfig) -> tuple[Place, ...]:
    """The program of the only chunk; raises SpecError where there are several."""
    if len(accelerator.chunks) != 1:
        raise SpecError(f"Accelerator '{accelerator.name}' has {len(accelerator.chunks)} chunks; say by a pipeline "
                        f"which of them runs what.")
    return tuple(Place(name=name, chunk=0, position=k, stage=0, waits=(), copies=1) for k, name in enumerate(layers))


def design_schedule(programs: Sequence[Sequence[Place]], cycles: dict[str, int], accelerator: AcceleratorConfig,
                    images: int = 1) -> Times:
    """When every layer ends, cycles of the layers given, for `images` images in one run; see `cost.schedule`."""
    fetch = LAYER_CYCLES + fetch_cycles(accelerator) + DECODE_CYCLES
    return schedule(programs, cycles, fetch, images)


def _layer_cost(name, shape, accelerator, mapping, table, idle):
    schedule = schedule_of(LayerBatch.from_shapes([shape]), ChipBatch.from_configs([accelerator]),
                           MappingBatch.from_mappings([mapping]))
    cycles, counts = int(layer_cycles(schedule)), _scalar(count(schedule))
    energy = energy_by_level_pj(counts, table) | {level: cycles * pj for level, pj in idle.items()}
    return LayerCost(name=name, cycles=cycles, counts=counts, energy_pj=energy)


def _scalar(counts):
    convert = lambda v: {k: int(n) for k, n in v.items()} if isinstance(v, dict) else int(v)  # noqa: E731
    return Counts(**{name: convert(value) for name, value in vars(counts).items()})
