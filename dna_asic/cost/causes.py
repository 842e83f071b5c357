"""Where the cycles of a layer go, each to one cause: the closed forms of the flip rule, carried out part by part.

A block of steps lasts for its computing and for the waits in it. Where a port that flips at its end is busy for longer,
the rest is a wait for that port. Of two ports that are waited for at one boundary, the one whose tiles change more
often is charged first. Slow beside `cost.model`, plain Python; the sum is that of `cost.model.layer_cycles`.
"""

import enum
from collections.abc import Sequence

from dna_asic.cost.batch import ChipBatch, LayerBatch, MappingBatch
from dna_asic.cost.model import (
    core_durations,
    fetch_cycles,
    read_job_cycles,
    residual_job_cycles,
    schedule_of,
    store_job_cycles,
)
from dna_asic.spec.accelerator import AcceleratorConfig, Mapping
from dna_asic.spec.dims import Operand
from dna_asic.spec.latency import CORE_CYCLES, INSTRUCTION_CYCLES, LAYER_CYCLES
from dna_asic.spec.layer import LayerShape

W, I, O = Operand  # noqa: E741


class Cause(enum.Enum):
    """What a chunk does in a cycle of a layer."""

    COMPUTE = "compute"  # PEs work
    FILL = "fill"  # the array waits for W or I out of the global buffer
    DRAIN = "drain"  # the array waits for psums to leave for the global buffer
    MEMORY = "memory"  # the core waits for W, I or a residual from memory
    STORE = "store"  # the core waits for post-processing and the write to memory
    CONTROL = "control"  # fetch and decoding of the instruction, starts of tiles


class _Span(tuple):
    """Cycles by cause, in the order of `Cause`."""

    @classmethod
    def of(cls, cause: Cause, cycles: int) -> "_Span":
        return cls(cycles if c is cause else 0 for c in Cause)

    def __add__(self, other):
        return _Span(a + b for a, b in zip(self, other))

    def times(self, count: int) -> "_Span":
        return _Span(a * count for a in self)

    def until(self, cycles: int, cause: Cause) -> "_Span":
        """At least so many cycles; those beyond its own are a wait for `cause`."""
        return self + _Span.of(cause, max(0, cycles - sum(self)))


def cycles_by_cause(shape: LayerShape, accelerator: AcceleratorConfig, mapping: Mapping) -> dict[Cause, int]:
    """Of a layer on an accelerator of one chunk, by a legal mapping; their sum is the layer's cycles."""
    s = schedule_of(LayerBatch.from_shapes([shape]), ChipBatch.from_configs([accelerator]),
                    MappingBatch.from_mappings([mapping]))
    durations = {x: int(cycles) for x, cycles in core_durations(s).items()}
    core = _array(_bounds(s.gb), _lowest(s.gb), durations, int(s.rf.steps)) + _Span.of(Cause.CONTROL, CORE_CYCLES)
    low, beats = _lowest(s.dram), s.geometry.dma_beats
    fills = [(low[x], int(read_job_cycles(s.chips, beats[x]))) for x in (I, W)]
    residual = [(low[O], int(residual_job_cycles(s)))] if shape.has_residual else []
    groups = ((Cause.MEMORY, fills, residual), (Cause.STORE, [], [(low[O], int(store_job_cycles(s)))]))
    control = LAYER_CYCLES + int(fetch_cycles(s.chips)) + INSTRUCTION_CYCLES
    total = _tiles(_bounds(s.dram), core, groups) + _Span.of(Cause.CONTROL, control)
    return dict(zip(Cause, total))


def _bounds(nest) -> list[int]:
    return nest.bounds[:, 0].tolist()


def _lowest(nest) -> dict[Operand, int]:
    return {x: int(loop) for x, loop in nest.lowest.items()}


def _array(bounds: Sequence[int], lowest: dict, duration: dict, compute: int) -> _Span:
    """As `closed_form.unshared_cycles`."""
    t = dict.fromkeys([(f, l) for f in (0, 1) for l in (0, 1)], _Span.of(Cause.COMPUTE, compute))
    for i, bound in enumerate(bounds):
        if bound == 1:
            continue
        filling = max([duration[x] for x in (W, I) if lowest[x] == i], default=0)
        draining = duration[O] if lowest[O] == i else 0
        inner = t[0, 0].until(filling, Cause.FILL).until(draining, Cause.DRAIN)
        first, last = t[1, 0].until(filling, Cause.FILL), t[0, 1].until(draining, Cause.DRAIN)
        middle = inner.times(bound - 2)
        begin, end = (inner + middle, first + middle), (inner, last)
        t = {(f, l): begin[f] + end[l] for f, l in t}
    return _Span.of(Cause.FILL, max(duration[W], duration[I])) + t[1, 1] + _Span.of(Cause.DRAIN, duration[O])


def _tiles(bounds: Sequence[int], core: _Span, groups: Sequence[tuple]) -> _Span:
    """As `closed_form.shared_cycles`; a group is (cause, fills, drains), a member (lowest loop, cycles)."""
    loops = len(bounds)
    ports = [(cause, min(low for low, _ in (*fills, *drains)), _loads(fills, drains, loops))
             for cause, fills, drains in groups]
    t = dict.fromkeys([(b, last) for b in range(loops) for last in (False, True)], core) | {(loops, True): core}
    for i, bound in enumerate(bounds):
        if bound == 1:
            t = {(b, last): span for (b, last), span in t.items() if b > i}
            continue
        for cause, period, loads in ports:
            if period == i:
                t = {state: span.until(loads[state], cause) for state, span in t.items()}
        middle, still_last, longer = t[i, False].times(bound - 2), True, {}
        for b in range(i + 1, loops + 1):
            end = {False: t[i, False] + middle, True: t[i, still_last] + middle}
            longer |= {(b, last): t[b, last] + end[last] for last in (False, True) if (b, last) in t}
            still_last = still_last and b < loops and bounds[b] == 1
        t = longer
    prologue, epilogue = (max(sum(cycles for _, cycles in group[part]) for group in groups) for part in (1, 2))
    return _Span.of(Cause.MEMORY, prologue) + t[loops, True] + _Span.of(Cause.STORE, epilogue)


def _loads(fills, drains, loops):
    """As `closed_form._loads`."""
    filled, drained = ([sum(cycles for low, cycles in members if low < i) for i in range(loops + 1)]
                       for members in (fills, drains))
    loads = {(b, last): filled[b if last else b + 1] + drained[b + 1] for b in range(loops) for last in (False, True)}
    return loads | {(loops, True): filled[loops]}
