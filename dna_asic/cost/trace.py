"""The steps of one layer as the cycle-stepped machine makes them: slow, and the same cycles as the closed form."""

from dna_asic.cost.batch import ChipBatch, LayerBatch, MappingBatch
from dna_asic.cost.model import (
    core_durations,
    fetch_cycles,
    read_job_cycles,
    residual_job_cycles,
    schedule_of,
    store_job_cycles,
)
from dna_asic.cost.oracle import Event, Port, run_level
from dna_asic.spec.accelerator import AcceleratorConfig, Mapping
from dna_asic.spec.dims import RELEVANT, Level, Operand
from dna_asic.spec.latency import CORE_CYCLES, INSTRUCTION_CYCLES, LAYER_CYCLES
from dna_asic.spec.layer import LayerShape
from dna_asic.spec.trace import BEGIN, END, NEXT, OVER, Step

W, I, O = Operand  # noqa: E741
_CORE_START = CORE_CYCLES - 1  # of CORE_CYCLES those before the first fills


def layer_steps(shape: LayerShape, accelerator: AcceleratorConfig, mapping: Mapping) -> list[Step]:
    """All steps of a layer that runs alone on an accelerator of one chunk, in the order of time."""
    s = schedule_of(LayerBatch.from_shapes([shape]), ChipBatch.from_configs([accelerator]),
                    MappingBatch.from_mappings([mapping]))
    array = [[_port(mapping, Level.GB, x, duration)] for x, duration in core_durations(s).items()]
    dram = _dram_ports(s, mapping)
    inner, outer = [], []
    core = run_level(_bounds(mapping, Level.GB), int(s.rf.steps), array, inner)
    total = run_level(_bounds(mapping, Level.DRAM), core + CORE_CYCLES, dram, outer)
    start = LAYER_CYCLES + int(fetch_cycles(s.chips)) + INSTRUCTION_CYCLES
    steps = [_step("dram", n, 0, e, start, mapping, Level.DRAM, ("read", "write")) for n, e in enumerate(outer)]
    for tile, begun in enumerate(outer[:-1]):
        at = start + begun.cycle + _CORE_START
        steps += [_step("array", tile, n, e, at, mapping, Level.GB, "WIO") for n, e in enumerate(inner)]
        steps.append(Step(cycle=at + core, level="array", tile=tile, step=len(inner) - 1, event=END))
    steps.append(Step(cycle=start + total, level="dram", tile=len(outer) - 1, step=0, event=END))
    return sorted(steps, key=lambda step: step.cycle)


def _dram_ports(s, mapping):
    """Read group and write group, as `cost.model.layer_cycles` has them."""
    beats = s.geometry.dma_beats
    read = [_port(mapping, Level.DRAM, x, read_job_cycles(s.chips, beats[x])) for x in (I, W)]
    if s.layer.has_residual.any():
        read.insert(0, _port(mapping, Level.DRAM, O, residual_job_cycles(s)))
    return [read, [_port(mapping, Level.DRAM, O, store_job_cycles(s))]]


def _port(mapping, level, operand, duration):
    return Port(int(duration), tuple(d in RELEVANT[operand] for d in mapping.order(level)), operand is O)


def _bounds(mapping, level):
    return [mapping.factors(level)[d] for d in mapping.order(level)]


def _step(name, tile, step, event: Event, start, mapping, level, groups):
    kind = BEGIN if event.boundary is None else OVER if event.step is None else NEXT
    return Step(cycle=start + event.cycle, level=name, tile=tile, step=step, event=kind,
                flips=_flips(mapping, level, event.boundary, kind), waited="+".join(groups[n] for n in event.waited))


def _flips(mapping, level, boundary, kind):
    """Fills flip at the first step, O at the last's end, all that moved in between."""
    if kind != NEXT:
        return {BEGIN: "WI", OVER: "O"}[kind]
    moved = [d for n, d in enumerate(mapping.order(level)) if n <= boundary and mapping.factors(level)[d] > 1]
    return "".join(x.name for x in Operand if RELEVANT[x] & set(moved))
