"""Loop nests of a batch: per candidate one of some loop orders.

Neighbouring loops that move the same operands flip the same tiles, so they count as one loop, a run, whose bound is the
product of theirs: the default orders come down from seven loops to four.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dna_asic.spec.dims import RELEVANT, Dim, Operand

Order = tuple[Dim, ...]


@dataclass(frozen=True)
class OrderBatch:
    """Loop orders of one level: row i has options[choice[i]], dims innermost first; choice: int64 [N]."""

    options: tuple[Order, ...]
    choice: Tensor

    @classmethod
    def of(cls, orders: Sequence[Order]) -> "OrderBatch":
        """One row per order."""
        number = {order: i for i, order in enumerate(dict.fromkeys(orders))}
        return cls(tuple(number), torch.tensor([number[order] for order in orders]))

    def take(self, index: Tensor) -> "OrderBatch":
        """Rows `index`, int64 [M]."""
        return OrderBatch(self.options, self.choice[index])


@dataclass(frozen=True)
class _Runs:
    """The runs of some orders. place: int64 [runs, options], its loop in each order, `loops` where it is in none.

    relevant: per operand the numbers of the runs that move it.
    """

    dims: tuple[frozenset[Dim], ...]
    place: Tensor
    relevant: dict[Operand, tuple[int, ...]]
    loops: int

    @classmethod
    @functools.lru_cache(maxsize=256)
    def of(cls, options: tuple[Order, ...]) -> "_Runs":
        split = list(map(_split, options))
        dims, loops = tuple(dict.fromkeys(itertools.chain(*split))), max(map(len, split))
        place = torch.tensor([[runs.index(d) if d in runs else loops for runs in split] for d in dims])
        return cls(dims, place, {x: tuple(i for i, d in enumerate(dims) if d <= RELEVANT[x]) for x in Operand}, loops)


def _split(order):
    """The runs of one order, innermost first."""
    return [frozenset(run) for _, run in itertools.groupby(order, lambda d: [d in RELEVANT[x] for x in Operand])]


@dataclass(frozen=True, kw_only=True)
class Nest:
    """Loops of one level, innermost first: bounds [loops, N], and per operand the lowest relevant loop [N], the loop
    count without one that has a bound above 1.
    """

    bounds: Tensor
    lowest: dict[Operand, Tensor]

    @classmethod
    def of(cls, orders: OrderBatch, factors: Sequence[Tensor]) -> "Nest":
        """factors: per dim [N]; dims that an order leaves out must have a factor of 1."""
        runs = _Runs.of(orders.options)
        bound = torch.stack([math.prod(factors[d] for d in sorted(dims)) for dims in runs.dims])
        place = runs.place.gather(1, orders.choice.expand(len(runs.dims), bound.shape[1]))
        bounds = bound.new_ones((runs.loops + 1, bound.shape[1])).scatter_(0, place, bound)[:runs.loops]
        first = torch.where(bound > 1, place, runs.loops)
        return cls(bounds=bounds, lowest={x: functools.reduce(torch.minimum, [first[i] for i in which])
                                          for x, which in runs.relevant.items()})

    @cached_property
    def steps(self) -> Tensor:
        """[N]: iterations of the whole nest."""
        return math.prod(self.bounds)

    @cached_property
    def tiles(self) -> dict[Operand, Tensor]:
        """Per operand [N]: its tiles that the nest visits = product of the bounds from its lowest loop outward."""
        loop = torch.arange(len(self.bounds))[:, None]
        return {x: math.prod(torch.where(loop < low, 1, self.bounds)) for x, low in self.lowest.items()}


def visited_tiles(order: Order, factors: Sequence[Tensor]) -> dict[Operand, Tensor]:
    """As `Nest.tiles`, where all candidates have one order."""
    bounds = {run: math.prod(factors[d] for d in sorted(run)) for run in _split(order)}
    return {x: _visited(bounds, RELEVANT[x]) for x in Operand}


def _visited(bounds, relevant):
    tiles = moved = None
    for run, bound in bounds.items():
        if run <= relevant:
            tiles, moved = (bound, bound > 1) if tiles is None else (tiles * bound, moved | (bound > 1))
        elif tiles is not None:
            tiles = tiles * torch.where(moved, bound, 1)
    return tiles
