"""What layers cost on chips, estimated without a mapping: the prior mean of the search's model.

By rule: the split into DRAM tiles that reads least of memory, of those that the global buffers hold; the array filled
as far as a tile goes; register-file tiles that grow dim by dim in each of GROWTH's orders. Cycles are the most that the
MACs, a fill, the drain, the memory's read port or the stores take, and one DRAM tile's share of the rest. Clock,
leakage and the energy of an event are the cost model's own. No tiling is searched, checked or scheduled.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from types import SimpleNamespace

import torch
from torch import Tensor

from dna_asic.cost import ChipBatch, LayerBatch, Prices, layer_kind
from dna_asic.cost.batch import Factors
from dna_asic.cost.counts import used_sets
from dna_asic.cost.energy import EVENTS
from dna_asic.mapping.rules import GROWTH, TILE_CYCLES, array_of, dram_tiles, grown
from dna_asic.spec.accelerator import ORDERS, AcceleratorConfig
from dna_asic.spec.dims import RELEVANT, Operand
from dna_asic.spec.geometry import ceil_div, geometry
from dna_asic.spec.layer import LayerShape
from dna_asic.technology import Technology

W, I, O = Operand  # noqa: E741


def _repeats(order, operand):
    """Per run of loops that do not move the operand's tile, but for those within all that do: (its dims, those within
    it that move the tile).
    """
    within = {d: tuple(sorted(e for e in order[:i] if e in RELEVANT[operand])) for i, d in enumerate(order)}
    still = itertools.groupby((d for d in order if d not in RELEVANT[operand] and within[d]), within.get)
    return tuple((tuple(dims), moving) for moving, dims in still)


REPEATS = tuple({x: _repeats(order, x) for x in Operand} for order in ORDERS["gb_order"])


def estimated(chips: Sequence[AcceleratorConfig], shapes: Sequence[LayerShape], technology: Technology) -> Tensor:
    """float64 [chips, layers, 2]: energy in pJ and cycles of each layer on each chip of one chunk; infinite where a
    global buffer holds no tile.
    """
    return estimated_by_port(chips, {chip.port_bytes: shapes for chip in chips}, Prices.of(chips, technology))


def estimated_by_port(chips: Sequence[AcceleratorConfig], shapes: dict[int, Sequence[LayerShape]],
                      prices: Prices) -> Tensor:
    """As `estimated`, in one batch: `shapes` are the layers, as many, laid out for each memory port."""
    batch, known = ChipBatch.from_configs(chips), list(dict.fromkeys(s for port in shapes.values() for s in port))
    place, ports, kinds = {s: i for i, s in enumerate(known)}, list(shapes), {}
    for shape, i in place.items():
        kinds.setdefault(layer_kind(shape), []).append(i)
    layers = torch.tensor([[place[s] for s in port] for port in shapes.values()])
    port = torch.tensor([ports.index(chip.port_bytes) for chip in chips])
    wanted = torch.zeros((len(ports), len(known)), dtype=torch.bool).scatter_(1, layers, True)
    costs = torch.empty((len(chips), len(known), 2), dtype=torch.float64)
    for index in map(torch.tensor, kinds.values()):
        chip, layer = wanted[:, index][port].nonzero(as_tuple=True)
        mine = LayerBatch.from_shapes([known[i] for i in index]).take(layer)
        costs[chip, index[layer]] = _costs(mine, batch.take(chip), prices.take(chip))
    return costs[torch.arange(len(chips))[:, None], layers[port]]


def _costs(layers, chips, prices):
    """[rows, 2]: the best of GROWTH's."""
    dram = dram_tiles(layers, chips)
    noc = array_of(layers, chips, dram.tile)
    steps = ceil_div(dram.tile, noc)
    rf = torch.stack([grown(layers, chips, steps, order) for order in GROWTH], dim=1)
    energy, cycles = _by_tile(layers, chips, prices, dram, noc, rf)
    best = (energy * cycles).argmin(dim=0)[None]
    made = torch.stack([energy.gather(0, best)[0], cycles.gather(0, best)[0]], dim=1)
    return torch.where(dram.reads.isfinite()[:, None], made, torch.inf)


def _by_tile(layers, chips, prices, dram, noc, rf):
    """(energy, cycles) [growths, rows] with register-file tiles [7, growths, rows]."""
    gb, count = ceil_div(dram.tile[:, None], rf * noc[:, None]), dram.count.double()
    mapping = SimpleNamespace(rf=Factors(rf), noc=Factors(noc), gb=Factors(gb))
    sizes = geometry(layers, chips, chips.port_bytes, mapping)
    latency = {W: chips.fill_latencies[:, 0], I: chips.fill_latencies[:, 1], O: chips.drain_latency}
    moved = {x: latency[x] + sizes.fill_beats[x] for x in Operand}
    core_steps = rf.prod(dim=0) * gb.prod(dim=0)
    core, visits = _fastest_order(gb, core_steps, moved)
    core = (core + moved[W].maximum(moved[I]) + moved[O]) * count
    store = (sizes.store_cycles * dram.outputs).double()
    parts = torch.stack([core, dram.reads.expand_as(core), store])
    longest = parts.amax(dim=0)
    rest = parts.sum(dim=0) - longest
    split = (rest / TILE_CYCLES).sqrt().maximum(count)
    cycles = longest + rest / split + TILE_CYCLES * (1 + split)
    pj = dict(zip(EVENTS, prices.event_pj, strict=True))
    steps = core_steps * count
    energy = cycles * prices.idle_pj + steps * noc.prod(dim=0) * pj["macs"] + store * chips.n_pp * pj["postprocess"]
    for x in Operand:
        read = pj[f"rf_reads.{x.name}"] + (x is O) * pj["rf_writes.O"]
        word = pj[f"noc.{x.name}"] + pj[f"gb_reads.{x.name}"]
        energy += steps * used_sets(chips, mapping, x) * read
        energy += count * visits[x] * sizes.fill_beats[x] * chips.widths[x] * word
    written = sizes.dma_beats[O] * dram.outputs
    energy += (dram.reads + written * (1 + layers.has_residual)) * chips.port_bytes * pj["dram_reads.W"]
    return energy, cycles


def _fastest_order(gb, steps, moved):
    """(cycles, tiles of each operand that are visited) of the order of the global buffers' loops that takes least.

    What `cost.nest.visited_tiles` counts, by the repeats that the orders have in common: gb [7, ...].
    """
    moves, once, found = gb > 1, {x: math.prod(gb[d] for d in sorted(RELEVANT[x])) for x in Operand}, {}

    def visited(operand, repeats):
        if (operand, repeats) not in found:
            tiles = once[operand]
            for dims, within in repeats:
                again = functools.reduce(torch.logical_or, [moves[d] for d in within])
                tiles = tiles * torch.where(again, functools.reduce(torch.mul, [gb[d] for d in dims]), 1)
            found[operand, repeats] = tiles, tiles * moved[operand]
        return found[operand, repeats]

    orders = [{x: visited(x, repeats[x]) for x in Operand} for repeats in REPEATS]
    cycles = torch.stack([steps.maximum(o[W][1]).maximum(o[I][1]).maximum(o[O][1]) for o in orders])
    least, best = cycles.min(dim=0)
    return least, {x: torch.stack([o[x][0] for o in orders]).gather(0, best[None])[0] for x in Operand}
