"""Cycles of one level of the flip rule (DESIGN 5) in closed form, batched over candidates.

Loops stand innermost first in the last dimension; a loop with a bound of 1 changes nothing. All values are int64
tensors, the batch [N] first.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


def lowest_relevant(bounds: Tensor, relevant: Tensor) -> Tensor:
    """[N]: number of the lowest loop that is relevant and has a bound above 1; the loop count without one.

    bounds: [N, loops]; relevant: bool [N, loops] or [loops].
    """
    moves = relevant & (bounds > 1)
    first = moves.to(torch.uint8).argmax(dim=-1)
    return torch.where(moves.any(dim=-1), first, bounds.shape[-1])


def unshared_cycles(bounds: Tensor, compute: Tensor, lowest: dict, duration: dict, fills: tuple,
                    drains: tuple) -> Tensor:
    """[N]: cycles of a level whose operands have a port each.

    bounds [N, loops]; compute [N]; lowest[x], duration[x] [N] for every x of fills and drains.
    """
    t = {(f, l): compute for f in (0, 1) for l in (0, 1)}
    for i in range(bounds.shape[-1]):
        bound = bounds[:, i]
        filling = _largest([duration[x] * (lowest[x] == i) for x in fills])
        draining = _largest([duration[x] * (lowest[x] == i) for x in drains])
        inner = t[0, 0].maximum(filling).maximum(draining)
        first = t[1, 0].maximum(filling)
        last = t[0, 1].maximum(draining)
        middle, single = (bound - 2) * inner, bound == 1
        begin, end = (inner, first), (inner, last)
        t = {(f, l): torch.where(single, t[f, l], begin[f] + middle + end[l]) for f, l in t}
    prologue, epilogue = (_largest([duration[x] for x in xs]) for xs in (fills, drains))
    return prologue + t[1, 1] + epilogue


@dataclass(frozen=True)
class Member:
    """One operand's jobs on a shared port: lowest relevant loop [N], duration [N], whether it drains.

    present: bool [N], or None when every candidate has it.
    """

    lowest: Tensor
    duration: Tensor
    drain: bool = False
    present: Tensor | None = None


def shared_cycles(bounds: Tensor, compute: Tensor, groups: tuple[tuple[Member, ...], ...]) -> Tensor:
    """[N]: cycles of a level whose operands share ports by groups.

    A block is known by the class of the boundary at which it started (`loops` for the very first) and by whether
    the loops from that class outward are then all at their last index.
    """
    loops = bounds.shape[-1]
    starts = [(b, last) for b in range(loops) for last in (False, True)] + [(loops, True)]
    periods = [_period(group, loops) for group in groups]
    load = {(n, *s): _load(group, *s, loops) for n, group in enumerate(groups) for s in starts}
    t = dict.fromkeys(starts, compute)
    unit = [bounds[:, i] == 1 for i in range(loops)]
    for i in range(loops):
        e = dict(t)
        for n, period in enumerate(periods):
            here = period == i
            e = {s: t_s.maximum(load[(n, *s)] * here) for s, t_s in e.items()}
        middle, t_next = (bounds[:, i] - 2) * e[i, False], {}
        still_last = torch.ones_like(unit[i])  # loops i+1 .. b-1 are all of bound 1
        for b in range(i + 1, loops + 1):
            end = torch.where(still_last, e[i, True], e[i, False])
            for last in (False, True) if b < loops else (True,):
                steps = e[b, last] + middle + (end if last else e[i, False])
                t_next[b, last] = torch.where(unit[i], t[b, last], steps)
            if b < loops:
                still_last = still_last & unit[b]
        t = t_next
    prologue = _largest([_sum([_present(m) for m in g if not m.drain], compute) for g in groups])
    epilogue = _largest([_sum([_present(m) for m in g if m.drain], compute) for g in groups])
    return prologue + t[loops, True] + epilogue


def _period(group, loops):
    """[N]: loop at whose boundaries the group is waited for: the smallest of its members'."""
    lowest = [m.lowest if m.present is None else torch.where(m.present, m.lowest, loops) for m in group]
    return torch.stack(lowest).amin(dim=0)


def _load(group, start, last, loops):
    """[N]: cycles of jobs that a boundary of class `start` begins in the group."""
    total = 0
    for m in group:
        if m.drain:
            begins = m.lowest <= start if start < loops else torch.zeros_like(m.lowest, dtype=torch.bool)
        else:
            begins = m.lowest < start if last else m.lowest <= start
        total = total + _present(m) * begins
    return total


def _present(member):
    return member.duration if member.present is None else member.duration * member.present


def _largest(values):
    result = values[0]
    for value in values[1:]:
        result = result.maximum(value)
    return result


def _sum(values, like):
    return sum(values, torch.zeros_like(like))
