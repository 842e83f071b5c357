"""Events of a layer, one formula a function; all values int64 [N]. D is the number of DRAM tiles.

The counters of the hardware hang on its memories' enables; each function says what one enable counts.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dna_asic.cost.batch import ChipBatch, LayerBatch, MappingBatch
from dna_asic.cost.nest import Nest
from dna_asic.spec.dims import RELEVANT, Dim, Operand
from dna_asic.spec.geometry import Geometry, ceil_div, positions
from dna_asic.spec.instruction import INSTRUCTION_BYTES
from dna_asic.spec.report import Counts

W, I, O = Operand  # noqa: E741


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What the counts are made from: the layer, chips, mappings, sizes, and the nests of the three levels."""

    layer: LayerBatch
    chips: ChipBatch
    mapping: MappingBatch
    geometry: Geometry
    rf: Nest
    gb: Nest
    dram: Nest

    @property
    def dram_tiles(self) -> Tensor:
        """D."""
        return self.dram.steps

    @cached_property
    def array_steps(self) -> Tensor:
        """Array tiles of the whole layer."""
        return self.gb.steps * self.dram_tiles

    @cached_property
    def array_tiles(self) -> dict[Operand, Tensor]:
        """Array tiles of each operand that are filled or drained."""
        return {x: tiles * self.dram_tiles for x, tiles in self.gb.tiles.items()}

    @cached_property
    def sets(self) -> dict[Operand, Tensor]:
        """As the function, of every operand."""
        return {x: used_sets(self.chips, self.mapping, x) for x in Operand}

    @cached_property
    def psum_visits(self) -> Tensor:
        """Writes of psums: one whenever the RF nest leaves a psum, and one at every step's end."""
        return self.rf.tiles[O] * self.array_steps * self.sets[O]

    @cached_property
    def drained_words(self) -> Tensor:
        """Words of one drain: n_o lanes a beat, one where a single PE lies on the lane axis."""
        lane, _ = positions(self.chips, self.mapping.noc, O)
        return self.geometry.fill_beats[O] * torch.where(lane > 1, self.chips.n_o, 1)

    @cached_property
    def noc_words(self) -> dict[Operand, Tensor]:
        """Words over the RF ports: n_X a beat for W and I, drained words for O."""
        words = {x: self.geometry.fill_beats[x] * self.chips.widths[x] * self.array_tiles[x] for x in (W, I)}
        return words | {O: self.drained_words * self.array_tiles[O]}

    @cached_property
    def postprocess_words(self) -> Tensor:
        """Words that the store walk reads, n_pp a cycle, padding included."""
        return self.geometry.store_cycles * self.chips.n_pp * self.dram.tiles[O]

    @cached_property
    def output_bytes(self) -> Tensor:
        """Bytes of the output tensor in whole beats, after fused pooling; channels in blocks, groups padded apart."""
        bound, window, port = self.layer.bound, self.layer.pool_window, self.chips.port_bytes
        pixels = (bound(Dim.P) // window) * (bound(Dim.Q) // window)
        return pixels * channel_blocks(bound(Dim.G), bound(Dim.K), self.layer.depthwise, port) * port


def count(s: Schedule) -> Counts:
    """All events of the layer."""
    return Counts(
        macs=macs(s), rf_reads=rf_reads(s), rf_writes=rf_writes(s), noc=s.noc_words, gb_reads=gb_reads(s),
        gb_writes=gb_writes(s), dram_reads=dram_reads(s), dram_writes={O: s.output_bytes},
        postprocess=s.postprocess_words)


def used_sets(chips: ChipBatch, mapping: MappingBatch, operand: Operand) -> Tensor:
    """Register files of an operand that are in use (`ChunkConfig.set_dims`)."""
    rows, cols = chips.set_dims[:, operand].T
    return mapping.noc[rows] * mapping.noc[cols]


def macs(s: Schedule) -> Tensor:
    """Issued multiply-accumulates: PEs in use x RF iterations x array steps."""
    return s.mapping.noc[s.chips.row_dim] * s.mapping.noc[s.chips.col_dim] * s.rf.steps * s.array_steps


def rf_reads(s: Schedule) -> dict[Operand, Tensor]:
    """W, I: a fresh read whenever the word changes and at every step start. O: visits that are not first visits."""
    reads = {x: s.rf.tiles[x] * s.array_steps * s.sets[x] for x in (W, I)}
    return reads | {O: s.psum_visits - s.geometry.rf_words[O] * s.array_tiles[O] * s.sets[O]}


def rf_writes(s: Schedule) -> dict[Operand, Tensor]:
    """W, I: words captured, over register files in use, per fill. O: visits."""
    writes = {x: s.geometry.rf_words[x] * s.array_tiles[x] * s.sets[x] for x in (W, I)}
    return writes | {O: s.psum_visits}


def gb_reads(s: Schedule) -> dict[Operand, Tensor]:
    """W, I: words to the RF ports. O: added drains (not the first visit of a word) and the store's reads."""
    distinct = math.prod((s.mapping.gb[d] for d in RELEVANT[O]), start=1)
    first_tiles = s.dram_tiles // s.mapping.dram[Dim.C]
    added = s.array_tiles[O] - distinct * first_tiles
    return {x: s.noc_words[x] for x in (W, I)} | {O: s.drained_words * added + s.postprocess_words}


def gb_writes(s: Schedule) -> dict[Operand, Tensor]:
    """W, I: bytes that DMA writes, zero-filled ones included, parameters not. O: words drained."""
    beats = {W: s.geometry.dma_beats[W] - s.geometry.w_param_beats, I: s.geometry.dma_beats[I]}
    return {x: beats[x] * s.chips.port_bytes * s.dram.tiles[x] for x in (W, I)} | {O: s.noc_words[O]}


def dram_reads(s: Schedule) -> dict[Operand, Tensor]:
    """Bytes read from memory: W with parameters and the instruction, I without zero-filled beats, O the residual."""
    weights = s.geometry.dma_beats[W] * s.chips.port_bytes * s.dram.tiles[W] + INSTRUCTION_BYTES
    residual = s.output_bytes * s.layer.has_residual
    return {W: weights, I: input_beats(s) * s.chips.port_bytes, O: residual}


def input_beats(s: Schedule) -> Tensor:
    """Beats of I inside the tensor over all fetches: rows x columns x blocks of every tile, clipped to the tensor.

    The loops that I does not depend on repeat all its tiles equally often, so the sum separates by axis.
    """
    layer, dram = s.layer, s.mapping.dram
    distinct = math.prod(dram[d] for d in (Dim.G, Dim.C, Dim.P, Dim.Q))
    repeats = s.dram.tiles[I] // distinct
    rows = overlap(dram[Dim.P], s.geometry.gb_tile[Dim.P] * layer.stride, s.geometry.i_tile[0], layer.pad, layer.h)
    cols = overlap(dram[Dim.Q], s.geometry.gb_tile[Dim.Q] * layer.stride, s.geometry.i_tile[1], layer.pad, layer.w)
    return repeats * rows * cols * _input_blocks(s)


def _input_blocks(s: Schedule) -> Tensor:
    """Blocks inside the tensor over all tiles along G and C. A tile with more channels than its groups have reads on
    into the next group, and C tiles follow one another, so one extent a G tile says it all.
    """
    layer, dram, tile = s.layer, s.mapping.dram, s.geometry.i_tile[2]
    total = channel_blocks(layer.bound(Dim.G), layer.bound(Dim.C), layer.depthwise, s.chips.port_bytes)
    group = tile if layer.depthwise else s.geometry.gb_tile[Dim.G] * ceil_div(layer.bound(Dim.C), s.chips.port_bytes)
    return overlap(dram[Dim.G], group, dram[Dim.C] * tile, torch.zeros_like(total), total)


def channel_blocks(groups: Tensor, channels: Tensor, depthwise: bool, port_bytes: Tensor) -> Tensor:
    """Blocks of a tensor: depthwise over G, else every group padded to whole blocks."""
    return ceil_div(groups, port_bytes) if depthwise else groups * ceil_div(channels, port_bytes)


def overlap(tiles: Tensor, pitch: Tensor, extent: Tensor, pad: Tensor, size: Tensor) -> Tensor:
    """Sum over tiles t of the part of [t * pitch - pad, t * pitch - pad + extent) that lies in [0, size)."""
    return _clamped_sum(tiles, pitch, extent - pad, size) - _clamped_sum(tiles, pitch, -pad, size)


def _clamped_sum(n, a, b, top):
    """Sum of clamp(t * a + b, 0, top) for t in 0..n-1, a > 0."""
    begin = (-b + a - 1).div(a, rounding_mode="floor").clamp(min=0).minimum(n)  # first t that is not below 0
    end = (top - b + a - 1).div(a, rounding_mode="floor").clamp(min=0).minimum(n).maximum(begin)  # first at the top
    terms = end - begin
    return a * (begin + end - 1) * terms // 2 + b * terms + (n - end) * top
