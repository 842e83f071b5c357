"""What layers cost on chips, estimated without a mapping: the prior mean of the search's model.

By rule: the split into DRAM tiles that reads least of memory, of those that the global buffers hold; the array filled
as far as a tile goes; register-file tiles that grow dim by dim in each of GROWTH's orders. Cycles are the most that the
MACs, a fill, the drain, the memory's read port or the stores take, and one DRAM tile's share of the rest. Clock,
leakage and the energy of an event are the cost model's own. No tiling is searched, checked or scheduled.
"""

from collections.abc import Sequence
from types import SimpleNamespace

import torch
from torch import Tensor

from dna_asic.cost import ChipBatch, LayerBatch, Prices, layer_kind
from dna_asic.cost.batch import Factors
from dna_asic.cost.counts import used_sets
from dna_asic.cost.energy import EVENTS
from dna_asic.cost.nest import visited_tiles
from dna_asic.mapping.rules import GROWTH, TILE_CYCLES, array_of, dram_tiles, grown
from dna_asic.spec.accelerator import ORDERS, AcceleratorConfig
from dna_asic.spec.dims import Operand
from dna_asic.spec.geometry import ceil_div, geometry
from dna_asic.spec.layer import LayerShape
from dna_asic.technology import Technology

W, I, O = Operand  # noqa: E741


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
    dram = dram_tiles(layers, chips)
    noc = array_of(layers, chips, dram.tile)
    steps = ceil_div(dram.tile, noc)
    made = torch.stack([_by_tile(layers, chips, prices, dram, noc, grown(layers, chips, steps, order))
                        for order in GROWTH])
    best = made.gather(0, made.prod(dim=2).argmin(dim=0)[None, :, None].expand(1, -1, 2))[0]
    return torch.where(dram.reads.isfinite()[:, None], best, torch.inf)


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
