"""What `spec.geometry.mapping_faults` refuses, as masks over a batch."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dna_asic.cost import ChipBatch, LayerBatch, MappingBatch
from dna_asic.spec.dims import DIMS, Dim, Operand
from dna_asic.spec.geometry import Geometry, geometry, output_unit, round_up

G, K, C, P, Q, R, S = DIMS


@dataclass(frozen=True, kw_only=True)
class Legality:
    """legal: bool [N]. sizes: the geometry of all rows, meaningful where legal."""

    legal: Tensor
    sizes: Geometry


def check_batch(layer: LayerBatch, chips: ChipBatch, mapping: MappingBatch) -> Legality:
    """Which rows the hardware can run; the same rows for which `check_mapping` raises nothing. Factors at least 1."""
    sizes = geometry(layer, chips, chips.port_bytes, mapping)
    legal = _covered(layer, mapping) & _spatial(layer, chips, mapping) & (mapping.dram[R] == 1) & (mapping.dram[S] == 1)
    legal &= _fits(chips, sizes) & (sizes.gb_tile[P] % layer.pool_window == 0)
    legal &= (sizes.gb_tile[Q] % layer.pool_window == 0) & _aligned(layer, chips, mapping, sizes.gb_tile)
    whole = (sizes.gb_tile[R] == layer.bound(R)) & (sizes.gb_tile[S] == layer.bound(S))
    legal &= whole | ~layer.maximum  # a padded kernel would see its neighbours
    return Legality(legal=legal, sizes=sizes)


def _covered(layer, mapping):
    covered = [mapping.rf[d] * mapping.noc[d] * mapping.gb[d] * mapping.dram[d] >= layer.bounds[d] for d in DIMS]
    return torch.stack(covered).all(dim=0)


def _spatial(layer, chips, mapping):
    noc = mapping.noc
    rows, cols = noc[chips.row_dim], noc[chips.col_dim]
    legal = (rows <= chips.pe_rows) & (cols <= chips.pe_cols) & (math.prod(noc) == rows * cols)  # all others are 1
    for operand in Operand:
        lane = noc[chips.lane_dim(operand)]
        legal &= (lane == 1) | (lane % chips.widths[operand] == 0)
    legal &= ~chips.crossed | ((mapping.rf[R] == 1) & (mapping.rf[P] == 1))
    if not layer.depthwise:
        legal &= ~chips.wide_group_lanes | (noc[G] == 1)
    return legal & (~layer.maximum | (noc[R] == 1))


def _fits(chips, sizes):
    words = {Operand.W: chips.rf_w_words, Operand.I: chips.rf_i_words, Operand.O: chips.rf_o_words}
    half = {Operand.W: chips.gb_w_bytes // 2, Operand.I: chips.gb_i_bytes // 2, Operand.O: chips.gb_o_bytes // 2}
    fits = sizes.o_channels <= (chips.gb_o_bytes // 2 // 4).clamp(max=1024)  # spec.geometry.param_channels
    for x in Operand:
        fits = fits & (sizes.rf_words[x] <= words[x]) & (sizes.gb_bytes[x] <= half[x])
    return fits


def _aligned(layer, chips, mapping, tile):
    port, unit = chips.port_bytes, output_unit(layer, chips, chips.port_bytes)
    split = {d: mapping.dram[d] > 1 for d in (Dim.G, Dim.K, Dim.C)}
    legal = ~(split[C] & (tile[C] % port != 0)) & ~(split[K] & (tile[K] % unit != 0))
    if layer.depthwise:
        return legal & ~(split[G] & (tile[G] % unit != 0)) & (tile[K] == 1) & (tile[C] == 1)
    legal &= ~((tile[G] > 1) & (split[C] | split[K]))
    return legal & _grouped(layer, port, mapping, tile) if layer.grouped else legal


def _grouped(layer, port, mapping, tile):
    legal = round_up(tile[K] * mapping.dram[K], port) == round_up(layer.bound(K), port)
    legal &= (tile[G] == 1) | (round_up(tile[C], port) == round_up(layer.bound(C), port))
    segment = layer.bound(K) // layer.k_segments
    shuffled = (tile[G] == 1) & (mapping.dram[G] == layer.bound(G)) & (tile[K] == segment) & (segment % port == 0)
    return legal & (shuffled | (layer.k_segments == 1))
