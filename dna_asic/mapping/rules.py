"""Tilings by rule for any layer and chip, without a price: what the search's estimate counts with, and what its quick
mapper begins with.

DRAM tiles are those splits that the global buffers hold and that read least of memory; the array is filled as far as a
tile goes; register-file tiles grow dim by dim in each of GROWTH's orders. Nothing is searched, checked or scheduled.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dna_asic.cost import ChipBatch, LayerBatch, MappingBatch
from dna_asic.cost.batch import Factors
from dna_asic.mapping.candidates import MAX_RF_FACTOR, ORDER, ROWS, complete
from dna_asic.mapping.legality import check_batch
from dna_asic.mapping.tilings import orders_of, repeated
from dna_asic.spec.accelerator import LoopOrders, loop_order
from dna_asic.spec.dims import DIMS, RELEVANT, Dim, Level, Operand
from dna_asic.spec.geometry import ceil_div, output_unit, round_up

W, I, O = Operand  # noqa: E741
G, K, C, P, Q, R, S = DIMS
RF, NOC, GB, DRAM = Level
GROWTH = tuple(map(loop_order, ("S R C Q P K G", "Q P K S R C G", "K C S R Q P G")))
PARTS = (1, 2, 4, 8, 16, 32)  # into which output channels may be split
MAX_CHANNELS = 1024  # of a tile's outputs
SHRINKS = ((1, 1), (0.75, 1), (0.5, 1), (0.5, 0.5), (0.25, 0.5))  # of a tile's rows and columns of pixels
TILE_CYCLES = 60.0  # what a DRAM tile takes beside its work


def ruled(layers: LayerBatch, chips: ChipBatch, orders: LoopOrders, splits: int = 2) -> Tensor:
    """int64 [M, n, 5, 7]: candidates for each pair (row i of both): of each of the best `splits` and of each growth,
    all loop orders at the global buffers and at DRAM. The pixels of a tile shrink by SHRINKS until it is legal.
    """
    found = []
    for rank in range(splits):
        tile = dram_tiles(layers, chips, rank).tile
        noc = _balanced(layers, chips, tile, array_of(layers, chips, tile))
        found += [_fitted(layers, chips, orders, tile, noc, grown(layers, chips, ceil_div(tile, noc), order))
                  for order in GROWTH]
    rows = torch.stack(found, dim=1)
    rest = torch.cartesian_prod(torch.arange(len(orders.gb_order)), torch.arange(len(orders.dram_order)))
    rows = rows.repeat_interleave(len(rest), dim=1)
    rows[:, :, ORDER, 1:3] = rest.repeat(len(found), 1)
    return rows


def _balanced(layers, chips, tile, noc):
    """The array with as few PEs along pixels as take the same steps: less is loaded in vain."""
    noc, lanes = noc.clone(), chips.lane_units.T
    for d in (P, Q):
        noc[d] = round_up(ceil_div(tile[d], ceil_div(tile[d], noc[d])), lanes[d]).minimum(noc[d])
    return noc


def _fitted(layers, chips, orders, tile, noc, rf):
    """[M, 5, 7]: the first of SHRINKS that is legal, the last where none is.

    Pixels of a tile are whole array tiles, and channels of one have no rest, where there are several: tiles that are
    rounded up would not fit.
    """
    rows = torch.ones((len(layers), len(SHRINKS), ROWS, 7), dtype=torch.int64)
    steps, power = ceil_div(tile, noc), 2 ** rf.double().log2().floor().long()
    for d in (G, K, C):
        rf[d] = torch.where((tile[d] < layers.bounds[d]) & (steps[d] % rf[d] > 0), power[d], rf[d])
    rows[:, :, RF], rows[:, :, NOC] = rf.T[:, None], noc.T[:, None]
    array = rf * noc
    for i, shares in enumerate(SHRINKS):
        part = tile.clone()
        for d, share in zip((P, Q), shares, strict=True):
            whole = (tile[d] * share).long() // array[d] * array[d]
            part[d] = torch.where((tile[d] < layers.bounds[d]) | (share < 1), whole.clamp(min=1), tile[d])
        rows[:, i, DRAM] = ceil_div(torch.stack(layers.bounds), part).T
    rows = complete(layers, chips, rows)
    pair = torch.arange(len(rows)).repeat_interleave(len(SHRINKS))
    flat = rows.flatten(0, 1)
    legal = check_batch(layers.take(pair), chips.take(pair), MappingBatch.from_tensor(
        flat[:, :ORDER], orders_of(flat, orders))).legal.view(len(rows), -1)
    legal[:, -1] = True
    return rows[torch.arange(len(rows)), legal.long().argmax(dim=1)]


@dataclass(frozen=True, kw_only=True)
class DramTiles:
    """tile: [7, rows]; count: tiles; outputs: those of O; reads: beats of W and I for all, infinite where none fits."""

    tile: Tensor
    count: Tensor
    outputs: Tensor
    reads: Tensor


def dram_tiles(layers: LayerBatch, chips: ChipBatch, rank: int = 0) -> DramTiles:
    """Of some splits of the channels the one that reads least, or of another `rank`: of the outputs into PARTS, of the
    inputs into one, as few as fit, or twice those. Of the pixels a tile has as many as the buffers hold.
    """
    bounds, port, stride = torch.stack(layers.bounds), chips.port_bytes, layers.stride
    noc, (rows, cols, r, s) = array_of(layers, chips, bounds), bounds[P:].clone()
    k_dim, groups = (G if layers.depthwise else K), (bounds[G].clone() if layers.grouped else 1)
    k, ks, weights = _part(bounds[k_dim], noc[k_dim], output_unit(layers, chips, port), torch.tensor(PARTS)[:, None])
    lanes = Factors(noc)[chips.lane_dim(W)]  # a beat has n_w words, whether or not there are PEs for them
    weights = weights * (round_up(r, noc[R]) * s) * round_up(lanes, chips.n_w) // lanes
    needed = ceil_div(weights * bounds[C], chips.gb_w_bytes // 2).maximum(
        ceil_div(round_up(bounds[C], port) * r * s, chips.gb_i_bytes // 2))
    k, ks, weights = (torch.cat([x, x, x]) for x in (k, ks, weights))
    c, cs, padded = _part(bounds[C], noc[C], port, torch.cat([torch.ones_like(needed), needed, 2 * needed]))
    weights = weights * padded
    blocks, words = ceil_div(k if layers.depthwise else c, port), round_up(k, chips.o_unit)
    outputs, inputs = chips.gb_o_bytes // 8 // words, chips.gb_i_bytes // 2 // (blocks * port)
    p = rows.minimum(_root(outputs)).minimum(_most(_root(inputs), r, stride)).clamp(min=1)
    q = cols.minimum(outputs // p).minimum(_most(inputs // ((p - 1) * stride + r), s, stride))
    fits = (q > 0) & (weights <= chips.gb_w_bytes // 2) & (words <= MAX_CHANNELS)
    q = _whole(q.clamp(min=1), noc[Q])
    p = rows.minimum(outputs // q).minimum(_most(inputs // ((q - 1) * stride + s), r, stride))
    p = _whole(p.clamp(min=1), noc[P])
    pixels = ceil_div(rows, p) * ceil_div(cols, q)
    i_reads = ((p - 1) * stride + r) * ((q - 1) * stride + s) * blocks * cs * pixels
    w_reads = ceil_div(weights, port) * cs * ks
    if layers.depthwise:
        reads = i_reads * ks + w_reads
    else:
        w_again, i_again = torch.where(cs * ks == 1, 1, pixels), torch.where(cs * pixels == 1, 1, ks)
        reads = torch.minimum(w_reads * torch.where(cs == 1, 1, w_again) + i_reads * i_again,
                              i_reads * torch.where(cs == 1, 1, i_again) + w_reads * w_again)
    count, outputs, reads = groups * cs * ks * pixels, groups * ks * pixels, groups * reads.double()
    reads = torch.where(fits, reads, torch.inf)
    cost = reads + TILE_CYCLES * count
    if rank:
        cost = torch.where(repeated(cost.T).T.bool(), torch.inf, cost)
    best = cost.topk(rank + 1, dim=0, largest=False).indices[rank][None]
    k, c, p, q, count, outputs, reads = (x.gather(0, best)[0] for x in (k, c, p, q, count, outputs, reads))
    bounds[k_dim], bounds[C], bounds[P], bounds[Q] = k, c, p, q
    bounds[G] = 1 if layers.grouped else bounds[G]
    return DramTiles(tile=bounds, count=count, outputs=outputs, reads=reads)


def _part(bound, array, unit, parts):
    """(channels of a part, parts, channels that it takes in the buffers); units of the port and of the array."""
    unit = torch.where(parts == 1, 1, unit)
    padded = round_up(ceil_div(bound, parts), array * (unit // (array & -array).minimum(unit)))
    part = padded.minimum(bound)
    return part, ceil_div(bound, part), padded


def _root(x):
    return x.double().sqrt().long()


def _most(room, taps, stride):
    """Pixels whose input lies within `room`."""
    return (room - taps).div(stride, rounding_mode="floor") + 1


def _whole(pixels, array):
    return torch.where(pixels > array, pixels // array * array, pixels)


def array_of(layers: LayerBatch, chips: ChipBatch, bounds: Tensor) -> Tensor:
    """int64 [7, rows]: PEs in use along each dim, for tiles `bounds` [7, rows]."""
    lanes = chips.lane_units.T
    noc = chips.spatial_extents.T.minimum(round_up(bounds, lanes))
    noc = torch.where(bounds == 1, 1, (noc // lanes * lanes).clamp(min=1))
    noc[R] = torch.where(layers.maximum, 1, noc[R])
    if not layers.depthwise:
        noc[G] = torch.where(chips.wide_group_lanes, 1, noc[G])
    return noc


def grown(layers: LayerBatch, chips: ChipBatch, steps: Tensor, order: tuple[Dim, ...]) -> Tensor:
    """int64 [7, rows]: register-file factors for `steps` [7, rows] of the array: of each dim in turn as much as the
    words of a PE leave room for.
    """
    rf = torch.ones_like(steps)
    words = {W: chips.rf_w_words, I: chips.rf_i_words, O: chips.rf_o_words}
    for d in order:
        room = steps[d].clamp(max=MAX_RF_FACTOR)
        for x in (W, O):
            if d in RELEVANT[x]:
                room = room.minimum(words[x] // math.prod(rf[e] for e in RELEVANT[x]))
        height, width = ((rf[p] - 1) * layers.stride + rf[r] for p, r in ((P, R), (Q, S)))
        depth = rf[G] * rf[C]
        if d in (G, C):
            room = room.minimum(words[I] // (depth * height * width))
        elif d is not K:
            pixel, tap, across = (P, R, width) if d in (P, R) else (Q, S, height)
            box = words[I] // (depth * across)
            room = room.minimum(_most(box, rf[tap], layers.stride) if d is pixel
                                else box - (rf[pixel] - 1) * layers.stride)
        if d in (P, R):
            room = torch.where(chips.crossed, 1, room)
        rf[d] = ceil_div(steps[d], ceil_div(steps[d], room.clamp(min=1)))
    return rf
