"""The cycle-stepped machine of the flip rule, in plain Python: the oracle of the closed forms and of the RTL.

It knows nothing of the closed forms: it steps an odometer, counts every port's remaining cycles down, and lets the
next step begin when computing is over and every port group with a flipping member is idle.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Port:
    """One member of a port group: an operand's fill or drain.

    duration: cycles of one job. relevant: for each loop, innermost first, whether the operand's tile depends on it.
    drain: the job at a flip moves the previous tile out (else the next tile in).
    """

    duration: int
    relevant: tuple[bool, ...]
    drain: bool = False

    def lowest(self, bounds: Sequence[int]) -> int:
        """Lowest relevant loop with a bound above 1; the loop count without one."""
        return next((i for i, (r, b) in enumerate(zip(self.relevant, bounds, strict=True)) if r and b > 1), len(bounds))


@dataclass(frozen=True)
class Event:
    """One boundary of a trace: cycle; class (the loop that increments), None where the first step begins, the loop
    count where the last is over; index of the step that begins, None past the last; groups that the boundary waited
    for when computing was over.
    """

    cycle: int
    boundary: int | None
    step: tuple[int, ...] | None
    waited: tuple[int, ...] = ()


class _Group:
    """One physical port: its jobs run one after another."""

    def __init__(self, members, bounds):
        self.members = [(p, p.lowest(bounds)) for p in members]
        self.remaining = 0

    def flips(self, boundary):
        return any(j <= boundary for _, j in self.members)

    def start(self, boundary, index, bounds):
        """Queue the jobs of a boundary; a fill without a next tile does not start."""
        for port, j in self.members:
            if j <= boundary and (port.drain or not _last(index, bounds, j)):
                self.remaining += port.duration

    def begin(self, bounds):
        """Second fills, at the start of the first step."""
        for port, j in self.members:
            if not port.drain and j < len(bounds):
                self.remaining += port.duration


def _last(index, bounds, low):
    """Whether all loops from `low` outward are at their last index."""
    return all(i == b - 1 for i, b in zip(index[low:], bounds[low:], strict=True))


def _increment(index, bounds):
    """Odometer: next index and the loop that incremented, or None after the last."""
    for loop, bound in enumerate(bounds):
        if index[loop] < bound - 1:
            return (0,) * loop + (index[loop] + 1, *index[loop + 1:]), loop
    return None


def run_level(bounds: Sequence[int], compute: int | Callable[[tuple[int, ...]], int],
              groups: Sequence[Sequence[Port]], trace: list[Event] | None = None) -> int:
    """Cycles of one level: prologue fills, all steps, epilogue drains.

    bounds: loops innermost first. compute: cycles of a step, or a function of its index. groups: ports; the members
    of one group share it. `trace`, if given, receives every boundary.
    """
    bounds, ports = tuple(bounds), [_Group(members, bounds) for members in groups]
    trace = [] if trace is None else trace
    cycle = max((sum(p.duration for p, _ in g.members if not p.drain) for g in ports), default=0)
    index = (0,) * len(bounds)
    trace.append(Event(cycle, None, index))
    for group in ports:
        group.begin(bounds)
    while True:
        following = _increment(index, bounds)
        waits = ports if following is None else [g for g in ports if g.flips(following[1])]
        spent, waited = _step(compute(index) if callable(compute) else compute, ports, waits)
        cycle += spent
        if following is None:
            trace.append(Event(cycle, len(bounds), None, waited))
            return cycle + max((sum(p.duration for p, _ in g.members if p.drain) for g in ports), default=0)
        index, boundary = following
        for group in ports:
            group.start(boundary, index, bounds)
        trace.append(Event(cycle, boundary, index, waited))


def _step(computing, ports, waits):
    """Clock cycles until computing is over and `waits` are idle; numbers of those that were not when it was over."""
    cycles, waited = 0, ()
    while computing or any(g.remaining for g in waits):
        computing -= computing > 0
        for group in ports:
            group.remaining -= group.remaining > 0
        cycles += 1
        if not (computing or waited):
            waited = tuple(n for n, g in enumerate(ports) if g in waits and g.remaining)
    return cycles, waited


def run_two_levels(inner_bounds: Sequence[int], compute: int, inner_groups: Sequence[Sequence[Port]], overhead: int,
                   outer_bounds: Sequence[int], outer_groups: Sequence[Sequence[Port]]) -> int:
    """A whole layer's schedule: every outer step (DRAM tile) runs the inner level (array tiles) plus `overhead`."""
    return run_level(outer_bounds, lambda _: run_level(inner_bounds, compute, inner_groups) + overhead, outer_groups)
