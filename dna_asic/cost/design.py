"""The report of a whole design: its layers, when they run, and what the chip costs."""

from collections.abc import Mapping as Table
from collections.abc import Sequence

from dna_asic.cost.area import area_um2
from dna_asic.cost.batch import ChipBatch, LayerBatch, MappingBatch
from dna_asic.cost.counts import count
from dna_asic.cost.energy import EVENTS, LEVEL_OF, event_energies_pj, idle_pj_per_cycle
from dna_asic.cost.model import event_counts, fetch_cycles, layer_cycles, schedule_of
from dna_asic.cost.schedule import Schedule, period_cycles, schedule
from dna_asic.errors import SpecError
from dna_asic.spec.accelerator import AcceleratorConfig, Mapping
from dna_asic.spec.instruction import INSTRUCTION_BYTES
from dna_asic.spec.latency import DECODE_CYCLES, LAYER_CYCLES, RUN_CYCLES
from dna_asic.spec.layer import LayerShape
from dna_asic.spec.pipeline import Pipeline, Place
from dna_asic.spec.report import LEVELS, CostReport, Counts, LayerCost
from dna_asic.technology import Technology


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
    levels["dram"] += idle_fetch_pj(times, technology)
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
                    images: int = 1) -> Schedule:
    """When every layer ends, cycles of the layers given, for `images` images in one run; see `cost.schedule`."""
    fetch = LAYER_CYCLES + fetch_cycles(accelerator) + DECODE_CYCLES
    return schedule(programs, cycles, fetch, images)


def idle_fetch_pj(times: Schedule, technology: Technology) -> float:
    """pJ of the instructions that chunks fetch for layers which they then pass over."""
    return sum(times.idle_fetches) * INSTRUCTION_BYTES * 8 * technology["dram_pj_per_bit"]


def energy_by_level_pj(counts: Counts, table: Table[str, float]) -> dict[str, float]:
    """Sum of counts x table per level; clock and leakage 0."""
    energy = dict.fromkeys(LEVELS, 0.0)
    for event, number in zip(EVENTS, event_counts(counts), strict=True):
        energy[LEVEL_OF[event.partition(".")[0]]] += number * table[event]
    return energy


def energy_by_operand_pj(counts: Counts, table: Table[str, float]) -> dict[str, dict[str, float]]:
    """The same, by level and in it by the operand that the event is of; "" for those of none (a MAC)."""
    energy = {}
    for event, number in zip(EVENTS, event_counts(counts), strict=True):
        kind, _, operand = event.partition(".")
        level = energy.setdefault(LEVEL_OF[kind], {})
        level[operand] = level.get(operand, 0.0) + number * table[event]
    return energy


def _layer_cost(name, shape, accelerator, mapping, table, idle):
    rows = schedule_of(LayerBatch.from_shapes([shape]), ChipBatch.from_configs([accelerator]),
                       MappingBatch.from_mappings([mapping]))
    cycles, counts = int(layer_cycles(rows)), _scalar(count(rows))
    energy = energy_by_level_pj(counts, table) | {level: cycles * pj for level, pj in idle.items()}
    return LayerCost(name=name, cycles=cycles, counts=counts, energy_pj=energy)


def _scalar(counts):
    convert = lambda v: {k: int(n) for k, n in v.items()} if isinstance(v, dict) else int(v)  # noqa: E731
    return Counts(**{name: convert(value) for name, value in vars(counts).items()})
