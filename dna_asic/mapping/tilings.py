"""The search for tilings and loop orders by the exact cost model, for many (layer, chip) pairs in one batch.

Evolution: fresh samples, then rounds of changed copies of the survivors (`candidates`). Every candidate is checked
before it is priced. Survivors are the best of each register-file tile first, so that one good tile does not crowd out
the others. The RF order moves no cycle, only accesses of the register files: each candidate gets its best.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dna_asic.cost import ChipBatch, LayerBatch, MappingBatch, Prices, cheapest_rf_orders, evaluate, mapping_at
from dna_asic.cost.nest import OrderBatch
from dna_asic.mapping.candidates import ORDER, RF, ROWS, Noise, complete, sample, smallest, vary
from dna_asic.mapping.legality import check_batch
from dna_asic.spec.accelerator import ALL_ORDERS, ORDERS, LoopOrders, Mapping

SLICE = 8192  # candidates priced together: few enough for the caches
Score = Callable[[Tensor, Tensor], Tensor]  # (energy_pj, cycles) -> lower is better
OBJECTIVES: dict[str, Score] = {
    "edp": lambda energy, cycles: energy * cycles,
    "energy": lambda energy, cycles: energy,
    "latency": lambda energy, cycles: cycles.double(),
}


@dataclass(frozen=True, kw_only=True)
class Effort:
    """width: candidates per pair and round; rounds; keep: how many survive a round."""

    width: int = 512
    rounds: int = 20
    keep: int = 40


QUICK = Effort(width=48, rounds=4, keep=8)


@dataclass(frozen=True, kw_only=True)
class Tilings:
    """What was found for each of M pairs. survivors: int64 [M, keep, 5, 7], candidates, the best first; score, cycles,
    energy_pj: [M], of the best (score inf where no legal tiling was found). evaluations: tilings priced.
    """

    survivors: Tensor
    score: Tensor
    cycles: Tensor
    energy_pj: Tensor
    evaluations: int


def search_tilings(layers: LayerBatch, chips: ChipBatch, prices: Prices, score: Score, generator: torch.Generator,
                   effort: Effort = QUICK, start: Tensor | None = None, orders: LoopOrders = ALL_ORDERS) -> Tilings:
    """Search for the M pairs (row i of layers; of chips and prices too, or their only row).

    start: candidates [M, n, 5, 7] to begin with; the best is never worse than those of them that are legal.
    """
    pairs, pool, priced = Pairs(layers, chips, prices, score, orders), _Pool.empty(len(layers), effort.keep), 0
    for n in range(effort.rounds):
        noise = Noise(generator, effort.width)
        rows = _first(pairs, noise, start) if n == 0 else complete(
            layers, chips, vary(layers, pool.rows, pool.alive, noise))
        rows, value, legal = pairs.price(rows)
        pool, priced = pool.merge(rows, value, effort.keep), priced + legal
    best = pool.value[:, :, 0]
    return Tilings(survivors=pool.rows, score=best[0], energy_pj=best[1], evaluations=priced,
                   cycles=torch.where(best[2].isfinite(), best[2], -1).long())


def orders_of(rows: Tensor, orders: LoopOrders) -> dict[str, OrderBatch]:
    """Per level the loop orders of candidates [N, 5, 7]."""
    options = {name: getattr(orders, name) for name in ORDERS}
    return {name: OrderBatch(table, rows[:, ORDER, i] % len(table)) for i, (name, table) in enumerate(options.items())}


def mapping_of(row: Tensor, orders: LoopOrders) -> Mapping:
    """The record of one candidate [5, 7]."""
    named = orders_of(row[None], orders)
    return mapping_at(row[:ORDER], {name: batch.options[int(batch.choice)] for name, batch in named.items()})


def _first(pairs, noise, start):
    """Fresh samples, the smallest tiles, and what was given, as it is and fitted to the chip."""
    layers, chips = pairs.layers, pairs.chips
    rows = torch.cat([sample(layers, noise), smallest(layers), *([] if start is None else [start])], dim=1)
    rows = complete(layers, chips, rows)
    return rows if start is None else torch.cat([rows, start], dim=1)


@dataclass(frozen=True)
class Pairs:
    """(layer, chip) pairs to find mappings for: row i of layers; of chips and prices too, or their only row."""

    layers: LayerBatch
    chips: ChipBatch
    prices: Prices
    score: Score
    orders: LoopOrders

    def price(self, rows: Tensor) -> tuple[Tensor, Tensor, int]:
        """(rows [M, n, 5, 7] with their best RF orders, value [3, M, n]: score, pJ, cycles, inf where illegal; how many
        are legal).
        """
        pair = torch.arange(len(rows)).repeat_interleave(rows.shape[1])
        parts = [self._slice(*x) for x in zip(pair.split(SLICE), rows.flatten(0, 1).split(SLICE), strict=True)]
        done, value = torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts], dim=1)
        return done.view_as(rows), value.view(3, *rows.shape[:2]), int(value[0].isfinite().sum())

    def _slice(self, pair, rows):
        value = torch.full((3, len(rows)), torch.inf, dtype=torch.float64)
        legal = self._legal(pair, rows).nonzero().squeeze(1)
        layers, chips, prices = (_take(x, pair[legal]) for x in (self.layers, self.chips, self.prices))
        mapping = self._mapping(rows[legal])
        best = cheapest_rf_orders(chips, mapping, prices, self.orders.rf_order)
        cost = evaluate(layers, chips, dataclasses.replace(mapping, rf_order=best), prices)
        value[:, legal] = torch.stack([self.score(cost.energy_pj, cost.cycles), cost.energy_pj, cost.cycles.double()])
        rows = rows.clone()
        rows[legal, ORDER, 0] = best.choice
        return rows, value

    def _legal(self, pair, rows):
        return check_batch(self.layers.take(pair), _take(self.chips, pair), self._mapping(rows)).legal

    def _mapping(self, rows):
        return MappingBatch.from_tensor(rows[:, :ORDER], orders_of(rows, self.orders))


def _take(batch, index):
    """Rows `index` of a batch; a batch of one row goes with all."""
    return batch if len(batch) == 1 else batch.take(index)


@dataclass(frozen=True)
class _Pool:
    """Survivors per pair, best first: rows [M, n, 5, 7], value [3, M, n] (score, pJ, cycles)."""

    rows: Tensor
    value: Tensor

    @classmethod
    def empty(cls, pairs, keep):
        return cls(torch.ones((pairs, keep, ROWS, 7), dtype=torch.int64),
                   torch.full((3, pairs, keep), torch.inf, dtype=torch.float64))

    @property
    def alive(self):
        """[M, 1]: legal ones, at least 1."""
        return self.value[0].isfinite().sum(dim=1, keepdim=True).clamp(min=1)

    def merge(self, rows, value, keep):
        """The `keep` best of both: first the best of each RF tile, then the others, then those that score alike."""
        rows, value = torch.cat([self.rows, rows], dim=1), torch.cat([self.value, value], dim=2)
        order = value[0].argsort(dim=1, stable=True)
        ranked = value[0].gather(1, order)
        rank = repeated(_tile_key(rows).gather(1, order)) + repeated(ranked) + 3 * ranked.isinf()
        order = order.gather(1, rank.argsort(dim=1, stable=True)[:, :keep])
        order = order.gather(1, value[0].gather(1, order).argsort(dim=1, stable=True))
        return _Pool(rows[torch.arange(len(rows))[:, None], order], value.gather(2, order.expand(3, -1, -1)))


def _tile_key(rows):
    """int64 [M, n]: a number for each RF tile."""
    return (rows[:, :, RF].clamp(max=127) * 128 ** torch.arange(7)).sum(dim=2)


def repeated(keys):
    """int64 [M, n]: 1 where an earlier entry of the row has the same key."""
    by_key = keys.argsort(dim=1, stable=True)
    ranked, same = keys.gather(1, by_key), torch.zeros_like(by_key)
    same[:, 1:] = ranked[:, 1:] == ranked[:, :-1]
    return torch.zeros_like(same).scatter(1, by_key, same)
