"""What layers cost on chips, estimated without a mapping: the prior mean of the search's model.

By rule: the split into DRAM tiles that reads least of memory, of those that the global buffers hold; the array filled
as far as a tile goes; register-file tiles that grow dim by dim in each of GROWTH's orders. Cycles are the most that the
MACs, a fill, the drain, the memory's read port or the stores take, and one DRAM tile's share of the rest. Clock,
leakage and the energy of an event are the cost model's own. No tiling is searched, checked or scheduled.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import Tensor

from dna_asic.cost import ChipBatch, LayerBatch, Prices, layer_kind
from dna_asic.cost.batch import Factors
from dna_asic.cost.counts import used_sets
from dna_asic.cost.energy import EVENTS
from dna_asic.cost.nest import visited_tiles
from dna_asic.mapping.candidates import MAX_RF_FACTOR
from dna_asic.spec.accelerator import ORDERS, AcceleratorConfig, loop_order
from dna_asic.spec.dims import RELEVANT, Dim, Operand
from dna_asic.spec.geometry import ceil_div, geometry, output_unit, round_up
from dna_asic.spec.layer import LayerShape
from dna_asic.technology import Technology

W, I, O = Operand  # noqa: E741
G, K, C, P, Q, R, S = Dim
GROWTH = tuple(map(loop_order, ("S R C Q P K G", "Q P K S R C G", "K C S R Q P G")))
PARTS = (1, 2, 4, 8, 16, 32)  # into which output channels may be split
MAX_CHANNELS = 1024  # of a tile's outputs
TILE_CYCLES = 60.0  # what a DRAM tile takes beside its work


def estimated(chips: Sequence[AcceleratorConfig], shapes: Sequence[LayerShape], technology: Technology) -> Tensor:
    """float64 [chips, layers, 2]: energy in pJ and cycles of each layer on each chip of one chunk; infinite where a
    global buffer holds no tile.
    """
    batch, prices = ChipBatch.from_configs(chips), Prices.of(chips, technology)
    known, kinds = list(dict.fromkeys(shapes)), {}
    for i, shape in enumerate(known):
        kinds.setdefault(layer_kind(shape), []).append(i)
    costs = torch.empty((len(chips), len(known), 2), dtype=torch.float64)
    for index in kinds.values():
        chip = torch.arange(len(chips)).repeat_interleave(len(index))
        layers = LayerBatch.from_shapes([known[i] for i in index]).take(torch.arange(len(index)).repeat(len(chips)))
        costs[:, index] = _costs(layers, batch.take(chip), prices.take(chip)).view(len(chips), len(index), 2)
    return costs[:, [known.index(s) for s in shapes]]


def _costs(layers, chips, prices):
    """[rows, 2]: the best of GROWTH's."""
    dram = _dram_tiles(layers, chips)
    noc = _array(layers, chips, dram.tile)
    steps = ceil_div(dram.tile, noc)
    made = torch.stack([_by_tile(layers, chips, prices, dram, noc, _grown(layers, chips, steps, order))
                        for order in GROWTH])
    best = made.gather(0, made.prod(dim=2).argmin(dim=0)[None, :, None].expand(1, -1, 2))[0]
    return torch.where(dram.reads.isfinite()[:, None], best, torch.inf)


@dataclass(frozen=True, kw_only=True)
class _DramTiles:
    """tile: [7, rows]; count: tiles; outputs: those of O; reads: beats of W and I for all, infinite where none fits."""

    tile: Tensor
    count: Tensor
    outputs: Tensor
    reads: Tensor


def _dram_tiles(layers, chips):
    """Of some splits of the channels the one that reads least: of the outputs into PARTS, of the inputs into one, as
    few as fit, or twice those. Of the pixels a tile has as many as the buffers hold.
    """
    bounds, port, stride = torch.stack(layers.bounds), chips.port_bytes, layers.stride
    noc, (rows, cols, r, s) = _array(layers, chips, bounds), bounds[P:].clone()
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
    best = (reads + TILE_CYCLES * count).argmin(dim=0)[None]
    k, c, p, q, count, outputs, reads = (x.gather(0, best)[0] for x in (k, c, p, q, count, outputs, reads))
    bounds[k_dim], bounds[C], bounds[P], bounds[Q] = k, c, p, q
    bounds[G] = 1 if layers.grouped else bounds[G]
    return _DramTiles(tile=bounds, count=count, outputs=outputs, reads=reads)


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


def _array(layers, chips, bounds):
    """PEs in use along each dim [7, rows]."""
    lanes = chips.lane_units.T
    noc = chips.spatial_extents.T.minimum(round_up(bounds, lanes))
    noc = torch.where(bounds == 1, 1, (noc // lanes * lanes).clamp(min=1))
    noc[R] = torch.where(layers.maximum, 1, noc[R])
    if not layers.depthwise:
        noc[G] = torch.where(chips.wide_group_lanes, 1, noc[G])
    return noc


def _grown(layers, chips, steps, order):
    """Register-file factors: of each dim in turn as much as the words of a PE leave room for."""
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


def _by_tile(layers, chips, prices, dram, noc, rf):
    gb, count = ceil_div(dram.tile, rf * noc), dram.count.double()
    mapping = SimpleNamespace(rf=Factors(rf), noc=Factors(noc), gb=Factors(gb))
    sizes = geometry(layers, chips, chips.port_bytes, mapping)
    latency = {W: chips.fill_latencies[:, 0], I: chips.fill_latencies[:, 1], O: chips.drain_latency}
    moved = {x: latency[x] + sizes.fill_beats[x] for x in Operand}
    core = visits = None
    for order in ORDERS["gb_order"]:
        visited = visited_tiles(order, gb)
        cycles = torch.stack([rf.prod(dim=0) * gb.prod(dim=0), *(visited[x] * moved[x] for x in Operand)]).amax(dim=0)
        better = torch.ones_like(cycles, dtype=torch.bool) if core is None else cycles < core
        core = cycles if core is None else cycles.minimum(core)
        visits = visited if visits is None else {x: torch.where(better, visited[x], visits[x]) for x in Operand}
    core = (core + moved[W].maximum(moved[I]) + moved[O]) * count
    store = (sizes.store_cycles * dram.outputs).double()
    parts = torch.stack([core, dram.reads, store])
    longest = parts.amax(dim=0)
    rest = parts.sum(dim=0) - longest
    split = (rest / TILE_CYCLES).sqrt().maximum(count)
    cycles = longest + rest / split + TILE_CYCLES * (1 + split)
    pj = dict(zip(EVENTS, prices.event_pj, strict=True))
    steps = rf.prod(dim=0) * gb.prod(dim=0) * count
    energy = cycles * prices.idle_pj + steps * noc.prod(dim=0) * pj["macs"] + store * chips.n_pp * pj["postprocess"]
    for x in Operand:
        read = pj[f"rf_reads.{x.name}"] + (x is O) * pj["rf_writes.O"]
        word = pj[f"noc.{x.name}"] + pj[f"gb_reads.{x.name}"]
        energy += steps * used_sets(chips, mapping, x) * read
        energy += count * visits[x] * sizes.fill_beats[x] * chips.widths[x] * word
    written = sizes.dma_beats[O] * dram.outputs
    energy += (dram.reads + written * (1 + layers.has_residual)) * chips.port_bytes * pj["dram_reads.W"]
    return torch.stack([energy, cycles], dim=1)
