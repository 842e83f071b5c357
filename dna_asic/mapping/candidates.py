"""Candidates of the search for tilings: how they are written, drawn and varied.

A candidate is int64 [5, 7]: the factors of the four levels in the order of `Level`, and a row whose first entries
number the loop orders (RF, GB, DRAM), modulo the options that there are. Batches are [M, n, 5, 7]: n for each of M
(layer, chip) pairs; chips may be one for all. Random numbers are the same for all pairs, so that none of their answers
depends on the others.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dna_asic.cost import ChipBatch, LayerBatch
from dna_asic.spec.dims import DIMS, Level
from dna_asic.spec.geometry import ceil_div, output_unit, round_up

G, K, C, P, Q, R, S = DIMS
RF, NOC, GB, DRAM = Level
ORDER = 4  # the row of loop orders
ROWS = 5
FREE_ROWS = (RF, NOC, DRAM, ORDER)  # the rest follows
MAX_ORDER = 5040
MAX_RF_FACTOR = 16
MAX_PES = 64  # of an axis
_MOVES = torch.tensor([[2, 2, 4, 1, 2, 2], [1, -1, 0, 0, 2, -2]])  # a factor times the first over 2, plus the second
_TIMES = torch.tensor([2, 2, 3, 4, 7])  # what a factor is multiplied by as another is divided


@dataclass(frozen=True)
class Noise:
    """Random numbers for n candidates, the same for every pair: `[1, n, *shape]`."""

    generator: torch.Generator
    n: int

    def uniform(self, *shape: int) -> Tensor:
        """float32 in [0, 1)."""
        return torch.rand((1, self.n, *shape), generator=self.generator)

    def chance(self, probability: float, *shape: int) -> Tensor:
        """bool."""
        return self.uniform(*shape) < probability

    def below(self, top: int, *shape: int) -> Tensor:
        """int64 in 0..top-1."""
        return (self.uniform(*shape) * top).long()

    def one_of(self, *shape: int) -> Tensor:
        """bool `[1, n, *shape]`: true at one place."""
        size = torch.Size(shape).numel()
        return torch.nn.functional.one_hot(self.below(size), size).bool().view(1, self.n, *shape)


def smallest(layers: LayerBatch) -> Tensor:
    """[M, 2, 5, 7]: the candidates that ask least of every memory, before `complete`: on one PE, and on all of them,
    where no lane of a wide port is filled in vain.
    """
    rows = torch.ones((len(layers), 2, ROWS, 7), dtype=torch.int64)
    rows[:, 1, NOC] = MAX_PES
    for d in (G, K, C, P, Q):
        rows[:, :, DRAM, d] = layers.bound(d)[:, None]
    return rows


def sample(layers: LayerBatch, noise: Noise) -> Tensor:
    """Fresh candidates, before `complete`. PEs mostly all used, RF factors mostly 1, DRAM split as one's mood says."""
    bounds = _bounds(layers)
    noc = torch.where(noise.chance(0.7, 7), MAX_PES, _log_uniform(torch.full_like(bounds, MAX_PES), noise))
    rf = torch.where(noise.chance(0.55, 7), 1, _log_uniform(bounds.clamp(max=MAX_RF_FACTOR), noise))
    rf[:, :, R:] = torch.where(noise.chance(0.5, 2), 1, bounds[:, :, R:])
    split = noise.uniform(7) < torch.tensor([0.0, 0.15, 0.5])[noise.below(3, 1)]
    dram = torch.where(split, _log_uniform(bounds, noise), 1)
    if layers.grouped:
        dram[:, :, G] = torch.where(noise.chance(0.6), bounds[:, :, G], dram[:, :, G])
    order = noise.below(MAX_ORDER, 7).expand_as(rf)
    return _written(rf, noc, torch.ones_like(rf), dram, order)


def _log_uniform(top, noise):
    """1..top [M, 1, 7], small numbers most often."""
    return torch.exp(noise.uniform(7) * (top + 1).double().log()).long().minimum(top).clamp(min=1)


def vary(layers: LayerBatch, survivors: Tensor, alive: Tensor, noise: Noise) -> Tensor:
    """Changed copies of survivors [M, keep, 5, 7], before `complete`; alive: [M, 1], how many of them are legal."""
    pair = torch.arange(len(survivors))[:, None]
    pick = lambda: survivors[pair, (noise.uniform() ** 2 * alive).long()]  # noqa: E731 - the best most often
    fresh = sample(layers, noise)
    child = _exchange(pick(), pick(), noise)
    child = torch.where(noise.chance(0.15, 1, 1) & noise.one_of(ROWS, 1), fresh, child)
    return _transfer(_step(child, fresh, noise), noise)


def _exchange(parent, other, noise):
    """In three of ten copies some rows, or some dims, come from another survivor."""
    rows, dims = noise.chance(0.5, ROWS, 1), noise.chance(0.3, 1, 7)
    mixed = torch.where(noise.chance(0.6, 1, 1), rows, dims) & noise.chance(0.3, 1, 1)
    return torch.where(mixed, other, parent)


def _step(rows, fresh, noise):
    """Up to three entries move a little or are drawn anew."""
    rows = rows.flatten(2)
    for probability in (0.75, 0.3, 0.15):
        site = _Site.drawn(noise)
        old, new = site.of(rows), site.of(fresh.flatten(2))
        near = old * _MOVES[0][move := noise.below(len(_MOVES[0]))] // 2 + _MOVES[1][move]
        near = torch.where(site.place >= ORDER * len(DIMS), new, near)
        site.put(rows, noise.chance(probability), torch.where(noise.chance(0.3), new, near))
    return rows.view_as(fresh)


def _transfer(rows, noise):
    """In four of ten a factor grows as another of its level, or its dim's of another level, shrinks."""
    shape, rows = rows.shape, rows.flatten(2)
    up, other, times = _Site.drawn(noise), _Site.drawn(noise), _TIMES[noise.below(len(_TIMES))]
    down, chance = _Site.joined(noise.chance(0.5), up, other), noise.chance(0.4)
    up.put(rows, chance, up.of(rows) * times)
    down.put(rows, chance, ceil_div(down.of(rows), times))
    return rows.view(shape)


@dataclass(frozen=True)
class _Site:
    """One entry of each candidate. place: int64 [1, n], in candidates as flat rows [M, n, 35]."""

    place: Tensor

    @classmethod
    def drawn(cls, noise):
        """An entry of a free row."""
        return cls(torch.tensor(FREE_ROWS)[noise.below(len(FREE_ROWS))] * len(DIMS) + noise.below(len(DIMS)))

    @classmethod
    def joined(cls, same_row, one, other):
        """In the row of the one and the dim of the other, or the other way round."""
        (row, dim), (other_row, other_dim) = ((x.place // len(DIMS), x.place % len(DIMS)) for x in (one, other))
        return cls(torch.where(same_row, row * len(DIMS) + other_dim, other_row * len(DIMS) + dim))

    def of(self, rows):
        """[M, n]: the entries."""
        return rows[:, torch.arange(rows.shape[1]), self.place[0]]

    def put(self, rows, where, value):
        """Write [M, n], at least 1, in place where bool [1, n] says so."""
        rows[:, torch.arange(rows.shape[1]), self.place[0]] = torch.where(where, value.clamp(min=1), self.of(rows))


def complete(layers: LayerBatch, chips: ChipBatch, rows: Tensor) -> Tensor:
    """What is written, brought to what the hardware allows: GB and DRAM factors follow from RF, NoC and the wished
    number of DRAM tiles; tiles are rounded up to the alignment rules. What does not fit stays and is illegal.
    """
    rf, noc, _, wished, order = _restricted(layers, chips, rows)
    bounds, array = _bounds(layers), rf * noc
    unit = _tile_unit(layers, chips, wished > 1)
    gb = _covering(round_up(ceil_div(bounds, wished), unit), array, unit)
    dram = ceil_div(bounds, array * gb)
    whole = _covering(bounds, array, _tile_unit(layers, chips, torch.zeros_like(dram, dtype=torch.bool)))
    return _written(rf, noc, torch.where(dram == 1, whole, gb), dram, order)


def _written(*rows):
    """[M, n, 5, 7] of the five rows [M, n, 7]."""
    done = rows[0].new_empty((*rows[0].shape[:2], ROWS, len(DIMS)))
    for i, row in enumerate(rows):
        done[:, :, i] = row
    return done


def _covering(tile, array, unit):
    """GB factors that cover a tile and make it a multiple of `unit`, a power of two."""
    power = array & -array  # largest power of two that divides it
    return round_up(ceil_div(tile, array), unit // power.minimum(unit))


def _tile_unit(layers, chips, split):
    """What a DRAM tile must be a multiple of in each dim; split: bool [M, n, 7], whether there are several."""
    unit = torch.ones_like(split, dtype=torch.int64)
    outputs = output_unit(layers, chips, chips.port_bytes)
    for d, blocks in ((C, chips.port_bytes), (K, outputs), *([(G, outputs)] if layers.depthwise else [])):
        unit[:, :, d] = torch.where(split[:, :, d], blocks[:, None], 1)
    unit[:, :, [P, Q]] = layers.pool_window[:, None, None]
    return unit


def _bounds(layers):
    return torch.stack(layers.bounds, dim=1)[:, None]


def _restricted(layers, chips, rows):
    """The rows with NoC factors of legal extents, no factor above its bound, whole kernels at DRAM."""
    rf, noc, gb, dram, order = rows.unbind(2)
    bounds, lanes = _bounds(layers), chips.lane_units[:, None]
    noc = noc.minimum(chips.spatial_extents[:, None]).minimum(round_up(bounds, lanes))
    noc = torch.where(bounds == 1, 1, (noc // lanes * lanes).clamp(min=1))
    noc[:, :, R] = torch.where(layers.maximum[:, None], 1, noc[:, :, R])
    if not layers.depthwise:
        noc[:, :, G] = torch.where(chips.wide_group_lanes[:, None], 1, noc[:, :, G])
    rf = rf.minimum(ceil_div(bounds, noc)).clamp(max=MAX_RF_FACTOR)
    rf[:, :, [P, R]] = torch.where(chips.crossed[:, None, None], 1, rf[:, :, [P, R]])
    dram = dram.minimum(bounds)
    dram[:, :, R:] = 1
    if layers.grouped:
        rf, noc, dram = _grouped(layers, rf, noc, dram)
    return rf, noc, gb, dram, order


def _grouped(layers, rf, noc, dram):
    """Groups lie one in a tile, or several with C and K whole; a shuffled layer has one segment a tile."""
    shuffled, groups = (layers.k_segments > 1)[:, None], layers.bound(G)[:, None]
    dram[:, :, G] = torch.where(shuffled, groups, dram[:, :, G])
    dram[:, :, K] = torch.where(shuffled, layers.k_segments[:, None], dram[:, :, K])
    single = dram[:, :, G] == groups
    for x in (rf, noc):
        x[:, :, G] = torch.where(single, 1, x[:, :, G])
    dram[:, :, [K, C]] = torch.where(single[:, :, None], dram[:, :, [K, C]], 1)
    return rf, noc, dram
