"""Sizes that follow from (layer, chunk, mapping): tiles, words, beats, and what is legal.

Read by the cost model, the compiler, the functional simulator and the RTL sizing alike, so that they cannot
drift. Factors may be Python integers or integer torch tensors of one shape; only + - * // are used on them.
`chunk` may be a ChunkConfig or any object with its field names (a batch of chunks as tensors; NoC factors are then
indexed by a tensor of dims).
"""

from dataclasses import dataclass
from typing import Any

from dna_asic.errors import InfeasibleDesign
from dna_asic.spec.accelerator import AcceleratorConfig, ChunkConfig, Mapping
from dna_asic.spec.dims import DIMS, Operand
from dna_asic.spec.layer import LayerOp, LayerShape
from dna_asic.spec.quant import PARAM_BYTES

G, K, C, P, Q, R, S = DIMS


def ceil_div(a, b):
    """Ceiling of a / b for non-negative integers."""
    return (a + b - 1) // b


def round_up(a, b):
    """Smallest multiple of b that is not below a."""
    return ceil_div(a, b) * b


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Derived sizes of one mapping; all counts, per half where a memory has halves.

    rf_words: words of X in one PE's RF tile (O: per root). fill_beats: cycles in which X words cross the RF
    port for one array tile (W, I: fill; O: drain). gb_steps: array tiles per DRAM tile. macs_per_step: MAC
    cycles of one array tile. i_tile: (rows H_t, columns W_t, channel blocks) of a DRAM tile's input.
    i_channels_stride: channels from one group to the next in the I buffer (1 when depthwise).
    o_channels: channels per pixel in the O buffer; o_group_stride likewise per group.
    gb_bytes: bytes of X in one half. dma_beats: beats of X of one DRAM tile on the memory port (O: the beats
    of the store walk, masked ones included). w_param_beats: those of W that are post-processing parameters.
    store_cycles: post-processing cycles of one O tile (n_pp words each).
    """

    rf_words: dict[Operand, Any]
    fill_beats: dict[Operand, Any]
    w_tile_beats: Any
    array_box: tuple[Any, Any]
    rf_box: tuple[Any, Any]
    gb_tile: tuple[Any, ...]
    i_tile: tuple[Any, Any, Any]
    i_group_stride: Any
    o_channels: Any
    o_group_stride: Any
    gb_bytes: dict[Operand, Any]
    dma_beats: dict[Operand, Any]
    w_param_beats: Any
    store_cycles: Any


def positions(chunk, noc, operand: Operand):
    """(lane-axis factor, other-axis factor) of PEs holding distinct words of an operand by position."""
    return noc[chunk.lane_dim(operand)], noc[chunk.other_dim(operand)]


def geometry(layer: LayerShape, chunk, port_bytes, mapping) -> Geometry:
    """Sizes of `mapping` (of `layer` on `chunk`); see Geometry. Legality is not checked here."""
    rf, noc, gb = mapping.rf, mapping.noc, mapping.gb
    st, depthwise = layer.stride, layer.depthwise
    array = tuple(rf[d] * noc[d] for d in DIMS)
    tile = tuple(array[d] * gb[d] for d in DIMS)
    rf_box = ((rf[P] - 1) * st + rf[R], (rf[Q] - 1) * st + rf[S])
    array_box = ((array[P] - 1) * st + array[R], (array[Q] - 1) * st + array[S])
    rf_words = {
        Operand.W: rf[G] * rf[K] * rf[C] * rf[R] * rf[S],
        Operand.I: rf[G] * rf[C] * rf_box[0] * rf_box[1],
        Operand.O: rf[G] * rf[K] * rf[P] * rf[Q],
    }
    w_lane, w_other = positions(chunk, noc, Operand.W)
    i_lane, i_other = positions(chunk, noc, Operand.I)
    o_lane, o_other = positions(chunk, noc, Operand.O)
    fill_beats = {
        Operand.W: rf_words[Operand.W] * ceil_div(w_lane, chunk.n_w) * w_other,
        Operand.I: rf[G] * rf[C] * array_box[0] * array_box[1] * ceil_div(i_lane, chunk.n_i) * i_other,
        Operand.O: rf_words[Operand.O] * ceil_div(o_lane, chunk.n_o) * o_other,
    }
    o_unit = chunk.o_unit
    i_stride = 1 if depthwise else round_up(tile[C], port_bytes)
    i_blocks = ceil_div(tile[G], port_bytes) if depthwise else tile[G] * (i_stride // port_bytes)
    o_stride = 1 if depthwise else round_up(tile[K], port_bytes if layer.grouped else o_unit)
    o_channels = round_up(tile[G], o_unit) if depthwise else tile[G] * o_stride
    i_tile = ((tile[P] - 1) * st + tile[R], (tile[Q] - 1) * st + tile[S], i_blocks)
    w_steps = gb[G] * gb[K] * gb[C] * gb[R] * gb[S]
    w_bytes = round_up(w_steps * fill_beats[Operand.W] * chunk.n_w, port_bytes)
    param_beats = ceil_div(o_channels * PARAM_BYTES, port_bytes)
    i_beats = i_tile[0] * i_tile[1] * i_tile[2]
    return Geometry(
        rf_words=rf_words, fill_beats=fill_beats, w_tile_beats=w_steps * fill_beats[Operand.W],
        array_box=array_box, rf_box=rf_box, gb_tile=tile, i_tile=i_tile,
        i_group_stride=i_stride, o_channels=o_channels, o_group_stride=o_stride,
        gb_bytes={Operand.W: w_bytes, Operand.I: i_beats * port_bytes,
                  Operand.O: tile[P] * tile[Q] * o_channels * 4},
        dma_beats={Operand.W: w_bytes // port_bytes + param_beats, Operand.I: i_beats,
                   Operand.O: tile[P] * tile[Q] // layer.pool_window**2 * ceil_div(o_channels, port_bytes)},
        w_param_beats=param_beats,
        store_cycles=tile[P] * tile[Q] * ceil_div(o_channels, chunk.n_pp),
    )


def param_channels(chunk: ChunkConfig) -> int:
    """Channels the post-processing parameter memory holds per bank: enough for one pixel row of the O half."""
    return min(1024, chunk.gb_o_bytes // 2 // 4)


def mapping_faults(layer: LayerShape, accelerator: AcceleratorConfig, chunk: ChunkConfig, mapping: Mapping):
    """Yield every rule that `mapping` breaks, as text; nothing when the hardware can run it."""
    port = accelerator.port_bytes
    for d in DIMS:
        covered = mapping.rf[d] * mapping.noc[d] * mapping.gb[d] * mapping.dram[d]
        if covered < layer.bounds[d]:
            yield f"Tiling covers {covered} of {d.name}={layer.bounds[d]}; raise a factor of {d.name}."
        if mapping.noc[d] > 1 and d not in (chunk.row_dim, chunk.col_dim):
            yield f"NoC factor of {d.name} must be 1: rows carry {chunk.row_dim.name}, columns {chunk.col_dim.name}."
    if chunk.crossed and (mapping.rf[R] > 1 or mapping.rf[P] > 1):
        yield (f"RF factors of R and P must be 1 where both are spatial, not {mapping.rf[R]} and {mapping.rf[P]}: a PE "
               f"captures one row.")
    if chunk.wide_group_lanes and mapping.noc[G] > 1 and not layer.depthwise:
        yield (f"NoC factor of G must be 1, not {mapping.noc[G]}, where several lanes lie along G: groups of more than "
               f"one channel are not neighbours in the buffers.")
    if layer.maximum and mapping.noc[R] > 1:
        yield f"NoC factor of R must be 1 in a maximum, not {mapping.noc[R]}: psums of PEs are added."
    for axis, (d, extent) in chunk.axes.items():
        if mapping.noc[d] > extent:
            yield f"NoC factor {mapping.noc[d]} of {d.name} exceeds {extent} PE {axis}s."
        for operand in Operand:
            width = chunk.widths[operand]
            if chunk.lane_axis(operand) == axis and mapping.noc[d] > 1 and mapping.noc[d] % width:
                yield (f"NoC factor {mapping.noc[d]} of {d.name} must be 1 or a multiple of "
                       f"n_{operand.name.lower()}={width}.")
    if mapping.dram[R] > 1 or mapping.dram[S] > 1:
        yield "DRAM factors of R and S must be 1: a global-buffer tile holds whole kernels."
    if min(map(min, (mapping.rf, mapping.noc, mapping.gb, mapping.dram))) < 1:
        yield "Every tiling factor must be at least 1."
        return
    sizes = geometry(layer, chunk, port, mapping)
    if layer.op is LayerOp.MAX and (sizes.gb_tile[R], sizes.gb_tile[S]) != (layer.r, layer.s):
        yield (f"A maximum needs tiles of R={layer.r} and S={layer.s} exactly, not {sizes.gb_tile[R]} and "
               f"{sizes.gb_tile[S]}: a padded kernel would see its neighbours.")
    for operand, capacity in ((Operand.W, chunk.rf_w_words), (Operand.I, chunk.rf_i_words),
                              (Operand.O, chunk.rf_o_words)):
        if sizes.rf_words[operand] > capacity:
            yield f"RF of {operand.name} holds {capacity} words but the tile needs {sizes.rf_words[operand]}."
    for operand, capacity in ((Operand.W, chunk.gb_w_bytes), (Operand.I, chunk.gb_i_bytes),
                              (Operand.O, chunk.gb_o_bytes)):
        if sizes.gb_bytes[operand] > capacity // 2:
            yield (f"Global buffer half of {operand.name} holds {capacity // 2} bytes but the tile needs "
                   f"{sizes.gb_bytes[operand]}.")
    if sizes.o_channels > param_channels(chunk):
        yield f"Tile has {sizes.o_channels} output channels; the parameter memory holds {param_channels(chunk)}."
    if sizes.gb_tile[P] % layer.pool_window or sizes.gb_tile[Q] % layer.pool_window:
        yield (f"Tile P={sizes.gb_tile[P]}, Q={sizes.gb_tile[Q]} must be multiples of the fused pooling window "
               f"{layer.pool_window}.")
    yield from _alignment_faults(layer, port, output_unit(layer, chunk, port), mapping, sizes.gb_tile)


def output_unit(layer, chunk, port_bytes):
    """Output channels of which a DRAM tile is a multiple where they are split: the store walks whole units of the O
    buffer, and what it walked beyond the tile would be beats of the next one. Integers, or tensors [N].
    """
    if layer.grouped:  # the O buffer has each group's blocks and no more
        return port_bytes
    unit = chunk.o_unit
    return max(port_bytes, unit) if isinstance(unit, int) else unit.maximum(port_bytes)


def _alignment_faults(layer, port, unit, mapping, tile):
    if mapping.dram[C] > 1 and tile[C] % port:
        yield f"Tile C={tile[C]} must be a multiple of port_bytes={port} when C is split at DRAM."
    if mapping.dram[K] > 1 and tile[K] % unit:
        yield f"Tile K={tile[K]} must be a multiple of {unit} (port_bytes, n_o, n_pp) when K is split at DRAM."
    if layer.depthwise and (tile[K] > 1 or tile[C] > 1):
        yield f"A depthwise layer keeps the factors of K and C at 1; not tile K={tile[K]}, C={tile[C]}."
    if layer.depthwise and mapping.dram[G] > 1 and tile[G] % unit:
        yield (f"Tile G={tile[G]} must be a multiple of {unit} (port_bytes, n_o, n_pp) when a depthwise G is split at "
               f"DRAM.")
    if not layer.depthwise and tile[G] > 1 and (mapping.dram[C] > 1 or mapping.dram[K] > 1):
        yield f"A layer with several groups in a tile (G={tile[G]}) must keep C and K whole at DRAM."
    if layer.g > 1 and not layer.depthwise:
        if round_up(tile[K] * mapping.dram[K], port) != round_up(layer.k, port):
            yield f"Tile K={tile[K]} times {mapping.dram[K]} must not leave the blocks of a group's K={layer.k}."
        if tile[G] > 1 and round_up(tile[C], port) != round_up(layer.c, port):
            yield f"Tile C={tile[C]} of several groups must not leave the blocks of a group's C={layer.c}."
    if layer.k_segments > 1 and layer.g > 1:
        segment = layer.k // layer.k_segments
        if tile[G] > 1 or mapping.dram[G] != layer.g or tile[K] != segment or segment % port:
            yield (f"A shuffled layer needs tile G=1, DRAM G={layer.g} and tile K={segment}, its segment, a multiple "
                   f"of port_bytes={port}; not G={tile[G]}, DRAM G={mapping.dram[G]}, K={tile[K]}.")


def check_mapping(layer: LayerShape, accelerator: AcceleratorConfig, chunk: ChunkConfig, mapping: Mapping) -> Geometry:
    """Return the geometry of a legal mapping, or raise InfeasibleDesign with every broken rule."""
    faults = list(mapping_faults(layer, accelerator, chunk, mapping))
    if faults:
        raise InfeasibleDesign("\n".join(faults))
    return geometry(layer, chunk, accelerator.port_bytes, mapping)
