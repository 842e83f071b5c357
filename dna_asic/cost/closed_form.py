"""Cycles of one level of the flip rule (DESIGN 5) in closed form, batched over candidates.

Loops stand innermost first in the first dimension, the batch [N] last; a loop with a bound of 1 changes nothing. Cycles
are whole numbers; inside they are float64, which vector units multiply fastest and which is exact below 2^53.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def unshared_cycles(bounds: Tensor, compute: Tensor, lowest: dict, duration: dict, fills: tuple,
                    drains: tuple) -> Tensor:
    """int64 [N]: cycles of a level whose operands have a port each.

    bounds [loops, N]; compute [N]; lowest[x], duration[x] [N] for every x of fills and drains.
    """
    duration = {x: duration[x].double() for x in (*fills, *drains)}
    t = dict.fromkeys([(f, l) for f in (0, 1) for l in (0, 1)], compute.double())
    for i, (bound, single) in enumerate(zip(bounds.double(), bounds == 1, strict=True)):
        filling = _largest([duration[x] * (lowest[x] == i) for x in fills])
        draining = _largest([duration[x] * (lowest[x] == i) for x in drains])
        inner = t[0, 0].maximum(filling).maximum(draining)
        first = t[1, 0].maximum(filling)
        last = t[0, 1].maximum(draining)
        middle = (bound - 2) * inner
        begin, end = (inner + middle, first + middle), (inner, last)
        t = {(f, l): torch.where(single, t[f, l], begin[f] + end[l]) for f, l in t}
    prologue, epilogue = (_largest([duration[x] for x in xs]) for xs in (fills, drains))
    return (prologue + t[1, 1] + epilogue).long()


@dataclass(frozen=True)
class Member:
    """One operand's jobs on a shared port: lowest relevant loop [N], duration [N], whether it drains.

    present: bool [N], or None when every candidate has it.
    """

    lowest: Tensor
    duration: Tensor
    drain: bool = False
    present: Tensor | None = None

    def jobs(self) -> Tensor:
        """float64 [N]: the duration where it is present, else 0."""
        return self.duration.double() if self.present is None else self.duration.double() * self.present


def shared_cycles(bounds: Tensor, compute: Tensor, groups: tuple[tuple[Member, ...], ...]) -> Tensor:
    """int64 [N]: cycles of a level whose operands share ports by groups; bounds [loops, N], compute [N].

    A block is known by the class of the boundary at which it started (`loops` for the very first) and by whether
    the loops from that class outward are then all at their last index.
    """
    loops, unit = len(bounds), list(bounds == 1)
    periods, loads = [_period(group, loops) for group in groups], [_loads(group, loops) for group in groups]
    t = dict.fromkeys([(b, last) for b in range(loops) for last in (False, True)], compute.double())
    t[loops, True] = t[0, True]
    for i, bound in enumerate(bounds.double()):
        e = t
        for period, load in zip(periods, loads, strict=True):
            here = (period == i).double()
            e = {s: t_s.maximum(load[s] * here) for s, t_s in e.items()}
        middle, t_next = (bound - 2) * e[i, False], {}
        inner_end, still_last = e[i, False] + middle, torch.ones_like(unit[i])  # loops i+1 .. b-1 are all of bound 1
        for b in range(i + 1, loops + 1):
            last_end = torch.where(still_last, e[i, True], e[i, False]) + middle
            for last in (False, True) if b < loops else (True,):
                steps = e[b, last] + (last_end if last else inner_end)
                t_next[b, last] = torch.where(unit[i], t[b, last], steps)
            if b < loops:
                still_last = still_last & unit[b]
        t = t_next
    prologue = _largest([_sum([m.jobs() for m in g if not m.drain], compute) for g in groups])
    epilogue = _largest([_sum([m.jobs() for m in g if m.drain], compute) for g in groups])
    return (prologue + t[loops, True] + epilogue).long()


def _period(group, loops):
    """[N]: loop at whose boundaries the group is waited for: the smallest of its members'."""
    lowest = [m.lowest if m.present is None else torch.where(m.present, m.lowest, loops) for m in group]
    return _extreme(torch.minimum, lowest)


def _loads(group, loops):
    """Per start of a block: cycles of the jobs that begin there, [N].

    A drain begins at every class from its lowest loop up, but not at the very start; a fill likewise, but at the very
    start too, and not before a last block that has no next tile to fetch.
    """
    fills = _cumulative([m for m in group if not m.drain], loops)
    drains = _cumulative([m for m in group if m.drain], loops)
    loads = {(b, last): fills[b if last else b + 1] + drains[b + 1] for b in range(loops) for last in (False, True)}
    return loads | {(loops, True): fills[loops]}


def _cumulative(members, loops):
    """loops + 1 entries: cycles of the members whose lowest loop is below 0, 1, ..."""
    totals = [0.0]
    for i in range(loops):
        totals.append(sum((m.jobs() * (m.lowest == i) for m in members), totals[-1]))
    return totals


def _largest(values):
    return _extreme(torch.maximum, values)


def _extreme(pick, values: Sequence[Tensor]) -> Tensor:
    result = values[0]
    for value in values[1:]:
        result = pick(result, value)
    return result


def _sum(values, like):
    return sum(values, torch.zeros_like(like))
