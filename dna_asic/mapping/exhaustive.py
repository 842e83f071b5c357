"""The best mapping of a small dense or depthwise layer by enumeration: what the mapper is measured against.

Exhaustive over all loop orders given and all factors of every dim, but for those that only add work outside the layer:
- RF factors above the bound, array factors above the bound rounded up to whole lanes;
- global-buffer factors above the smallest that, with the other three, covers the dim and meets the alignment rules;
- DRAM factors of which one tile less would cover the dim.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dna_asic.cost import ChipBatch, LayerBatch, MappingBatch, Prices
from dna_asic.errors import InfeasibleDesign, SpecError
from dna_asic.mapping.candidates import ORDER, ROWS
from dna_asic.mapping.legality import check_batch
from dna_asic.mapping.tilings import OBJECTIVES, SLICE, Pairs, mapping_of, orders_of
from dna_asic.spec.accelerator import ALL_ORDERS, AcceleratorConfig, LoopOrders, Mapping
from dna_asic.spec.dims import DIMS, Dim
from dna_asic.spec.geometry import ceil_div, output_unit, round_up
from dna_asic.spec.layer import LayerShape
from dna_asic.technology import Technology

MAX_TILINGS = 50_000_000


@dataclass(frozen=True, kw_only=True)
class Exhausted:
    """The best mapping, its cost; tilings: enumerated, legal: of them; evaluations: mappings priced."""

    mapping: Mapping
    score: float
    energy_pj: float
    cycles: int
    tilings: int
    legal: int
    evaluations: int


def exhaust(layer: LayerShape, accelerator: AcceleratorConfig, technology: Technology, objective: str = "edp",
            orders: LoopOrders = ALL_ORDERS) -> Exhausted:
    """Price every mapping in the sense of this module.

    Raises SpecError for a grouped layer and one with too many tilings, InfeasibleDesign for one without a legal tiling.
    """
    if layer.grouped:
        raise SpecError("Enumeration knows dense and depthwise layers; a grouped one has further alignment rules.")
    layers, chips = LayerBatch.from_shapes([layer]), ChipBatch.from_configs([accelerator])
    pairs = Pairs(layers, chips, Prices.of([accelerator], technology), OBJECTIVES[objective], orders)
    splits = [torch.tensor(dim_splits(layer, accelerator, d)) for d in DIMS]
    tilings, best, legal, evaluations = math.prod(map(len, splits)), None, 0, 0
    if tilings > MAX_TILINGS:
        raise SpecError(f"Layer has {tilings} tilings to enumerate, more than {MAX_TILINGS}; use a smaller one.")
    numbers = torch.cartesian_prod(torch.arange(len(orders.gb_order)), torch.arange(len(orders.dram_order)))
    for factors in _slices(splits, tilings):
        rows = _legal(layers, chips, factors, orders)
        rows = _with_orders(rows, numbers)
        legal, evaluations = legal + len(rows) // len(numbers), evaluations + len(rows)
        rows, value, _ = pairs.price(rows[None])
        if len(rows[0]) and (best is None or value[0].min() < best[1][0]):
            least = int(value[0, 0].argmin())
            best = rows[0, least], value[:, 0, least].tolist()
    if best is None:
        raise InfeasibleDesign(f"Accelerator '{accelerator.name}': no legal tiling of {layer}; enlarge its buffers.")
    score, energy, cycles = best[1]
    return Exhausted(mapping=mapping_of(best[0], orders), score=score, energy_pj=energy, cycles=int(cycles),
                     tilings=tilings, legal=legal, evaluations=evaluations)


def dim_splits(layer: LayerShape, accelerator: AcceleratorConfig, dim: Dim) -> list[tuple[int, int, int, int]]:
    """Factors of one dim at the four levels; what other dims have to say is left to the legality check."""
    chunk, bound, splits = accelerator.chunks[0], layer.bound(dim), {}
    words = max(chunk.rf_w_words, chunk.rf_i_words, chunk.rf_o_words)
    whole = layer.pool_window if dim in (Dim.P, Dim.Q) else 1
    port = accelerator.port_bytes
    blocks = {Dim.C: port, Dim.K: output_unit(layer, chunk, port), Dim.G: output_unit(layer, chunk, port)}
    split = max(whole, blocks.get(dim, 1))
    drams = range(1, bound + 1) if dim not in (Dim.R, Dim.S) else (1,)
    for rf, noc, dram in itertools.product(range(1, min(bound, words) + 1), _array_factors(chunk, dim, bound), drams):
        for unit in {whole, split} if dram > 1 else {whole}:
            step = unit // math.gcd(rf * noc, unit)
            gb = round_up(ceil_div(ceil_div(bound, dram), rf * noc), step)
            if rf * noc * gb * (dram - 1) < bound:
                splits[rf, noc, gb, dram] = None
    return list(splits)


def _array_factors(chunk, dim, bound):
    for axis, (own, pes) in chunk.axes.items():
        if own is dim and bound > 1:
            unit = chunk.lane_unit(axis)
            return sorted({1, *range(unit, min(pes, round_up(bound, unit)) + 1, unit)})
    return [1]


def _slices(splits, tilings) -> Iterator[Tensor]:
    """[n, 4, 7] each: the product of the dims' splits in parts."""
    for start in range(0, tilings, SLICE):
        index, columns = torch.arange(start, min(start + SLICE, tilings)), []
        for split in splits:
            columns.append(split[index % len(split)])
            index = index // len(split)
        yield torch.stack(columns, dim=2)


def _legal(layers, chips, factors, orders):
    """[n, 5, 7]: the legal ones as candidates."""
    rows = torch.cat([factors, torch.zeros_like(factors[:, :1])], dim=1)
    return rows[check_batch(layers, chips, MappingBatch.from_tensor(factors, orders_of(rows, orders))).legal]


def _with_orders(rows, numbers):
    """Each with all numbers of (GB, DRAM) orders."""
    rows = rows[:, None].repeat(1, len(numbers), 1, 1)
    rows[:, :, ORDER, 1:3] = numbers
    return rows.view(-1, ROWS, len(DIMS))
