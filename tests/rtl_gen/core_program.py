"""Nest fields of one DRAM tile, buffer images, and what the core must make of them: for tests of the core."""

import numpy as np

from dna_asic.spec.accelerator import ChunkConfig, Delivery, Mapping
from dna_asic.spec.dims import DIMS, REDUCTION, RELEVANT, Operand
from dna_asic.spec.geometry import Geometry, ceil_div, positions
from dna_asic.spec.instruction import FIELDS, Instruction, nest_jumps
from dna_asic.spec.latency import CORE_CYCLES, drain_latency, fill_latency
from dna_asic.spec.layer import LayerOp, LayerShape

G, K, C, P, Q, R, S = DIMS
W, I, O = Operand  # noqa: E741


def _row_major(sizes):
    """Strides of a row-major array."""
    strides = [1]
    for size in reversed(sizes[1:]):
        strides.insert(0, strides[0] * size)
    return strides


def _lowest(order, factors, operand):
    """Number of the lowest loop relevant to `operand` with a bound above 1, 7 without one."""
    return next((i for i, d in enumerate(order) if d in RELEVANT[operand] and factors[d] > 1), len(order))


def _nest(prefix, last, strides):
    fields = {f"{prefix}_last_{i}": n for i, n in enumerate(last)}
    for name, values in strides.items():
        fields |= {f"{prefix}_{name}_{i}": jump for i, jump in enumerate(nest_jumps(last, values))}
    return fields


def _level(prefix, order, factors, strides):
    """Fields of the RF or GB level; strides: per operand letter, stride per relevant dim."""
    by_loop = {x: [s.get(d, 0) for d in order] for x, s in strides.items()}
    fields = _nest(prefix, [factors[d] - 1 for d in order], by_loop)
    fields[f"{prefix}_reduction"] = sum(1 << i for i, d in enumerate(order) if d in REDUCTION)
    return fields | {f"{prefix}_j_{x.name.lower()}": _lowest(order, factors, x) for x in Operand}


def rf_fields(layer, chunk, mapping, geo):
    """Word strides in the register files, per dim."""
    rf, (box_h, box_w), st = mapping.rf, geo.rf_box, layer.stride
    w = dict(zip((G, K, C, R, S), _row_major([rf[d] for d in (G, K, C, R, S)]), strict=True))
    o = dict(zip((G, K, P, Q), _row_major([rf[d] for d in (G, K, P, Q)]), strict=True))
    i = {G: rf[C] * box_h * box_w, C: box_h * box_w, P: st * box_w, R: box_w, Q: st, S: 1}
    return _level("rf", mapping.rf_order, rf, {"w": w, "i": i, "o": o})


def pitches(port_bytes, geo):
    """(I bytes per pixel, per row; O words per pixel, per row) of the buffers."""
    i_pixel = geo.i_tile[2] * port_bytes
    return i_pixel, i_pixel * geo.i_tile[1], geo.o_channels, geo.o_channels * geo.gb_tile[Q]


def gb_fields(layer, chunk, port_bytes, mapping, geo):
    """Buffer strides of array tiles: W beats, I bytes, O words."""
    gb, st = mapping.gb, layer.stride
    array = [a * b for a, b in zip(mapping.rf, mapping.noc, strict=True)]
    i_pixel, i_row, o_pixel, o_row = pitches(port_bytes, geo)
    tiles = _row_major([gb[d] for d in (G, K, C, R, S)])
    w = {d: t * geo.fill_beats[W] for d, t in zip((G, K, C, R, S), tiles, strict=True)}
    i = {G: array[G] * geo.i_group_stride, C: array[C], P: array[P] * st * i_row, Q: array[Q] * st * i_pixel,
         R: array[R] * i_row, S: array[S] * i_pixel}
    o = {G: array[G] * geo.o_group_stride, K: array[K], P: array[P] * o_row, Q: array[Q] * o_pixel}
    return _level("gb", mapping.gb_order, gb, {"w": w, "i": i, "o": o})


def noc_fields(layer, chunk, port_bytes, mapping, geo):
    """Fill and drain nests."""
    rf, noc = mapping.rf, mapping.noc
    i_pixel, i_row, o_pixel, o_row = pitches(port_bytes, geo)
    (w_lane, w_other), (i_lane, i_other), (o_lane, o_other) = (positions(chunk, noc, x) for x in Operand)
    dims = (chunk.row_dim, chunk.col_dim)
    fields = {"wf_lane_last": ceil_div(w_lane, chunk.n_w) - 1, "wf_other_last": w_other - 1,
              "wf_word_last": geo.rf_words[W] - 1, "box_h": geo.rf_box[0], "box_w": geo.rf_box[1],
              "window_h": rf[P] * layer.stride if P in dims else rf[R], "window_w": rf[Q] * layer.stride}
    i_stride = {C: 1, G: geo.i_group_stride}
    last = [ceil_div(i_lane, chunk.n_i) - 1, i_other - 1, geo.array_box[1] - 1, geo.array_box[0] - 1, rf[C] - 1,
            rf[G] - 1]
    fields |= _nest("if", last, {"a": [
        i_stride.get(chunk.lane_dim(I), 0) * chunk.n_i, i_stride.get(chunk.other_dim(I), 0), i_pixel, i_row, noc[C],
        noc[G] * geo.i_group_stride]})
    axis_stride = {K: 1, G: geo.o_group_stride, P: rf[P] * o_row, Q: rf[Q] * o_pixel, C: 0, R: 0}
    lane_dim, other_dim = dims if chunk.lane_axis(O) == "row" else dims[::-1]
    last = [ceil_div(o_lane, chunk.n_o) - 1, o_other - 1, rf[Q] - 1, rf[P] - 1, rf[K] - 1, rf[G] - 1]
    strides = [axis_stride[lane_dim] * chunk.n_o, axis_stride[other_dim], o_pixel, o_row, noc[K],
               noc[G] * geo.o_group_stride]
    return fields | _nest("od", last, {"a": strides})


def core_instruction(layer: LayerShape, chunk: ChunkConfig, port_bytes: int, mapping: Mapping,
                     geo: Geometry) -> Instruction:
    """Instruction with the fields that the core reads; the others are 0."""
    fields = {f.name: 0 for f in FIELDS} | {"op_max": int(layer.op is LayerOp.MAX)}
    fields |= {"rows_used": mapping.noc[chunk.row_dim], "cols_used": mapping.noc[chunk.col_dim]}
    fields |= rf_fields(layer, chunk, mapping, geo) | gb_fields(layer, chunk, port_bytes, mapping, geo)
    return Instruction(fields | noc_fields(layer, chunk, port_bytes, mapping, geo))


def _digits(mapping, dim):
    """(gb, noc, rf) digits of every index of a dim within a DRAM tile; its order is as in the architecture."""
    gb, noc, rf = (getattr(mapping, n)[dim] for n in ("gb", "noc", "rf"))
    index = np.arange(gb * noc * rf)
    if dim in (G, K, C):
        return index // (rf * noc), index % noc, index // noc % rf
    return index // (rf * noc), index // rf % noc, index % rf


def weight_image(layer, chunk, mapping, geo, weights) -> bytes:
    """Buffer image of a W tile [g][k][c][r][s]."""
    w_lane, w_other = positions(chunk, mapping.noc, W)
    groups = ceil_div(w_lane, chunk.n_w)
    dims = (G, K, C, R, S)
    shape = [*(mapping.gb[d] for d in dims), *(mapping.rf[d] for d in dims), w_other, groups * chunk.n_w]
    image = np.zeros(shape, np.int8)
    grid = np.meshgrid(*(np.arange(n) for n in weights.shape), indexing="ij")
    split = [[d[g] for d in _digits(mapping, dim)] for dim, g in zip(dims, grid, strict=True)]
    by_dim = dict(zip(dims, (s[1] for s in split), strict=True))
    row, col = (by_dim[d] if d in RELEVANT[W] else 0 for d in (chunk.row_dim, chunk.col_dim))
    lane, other = (row, col) if chunk.lane_axis(W) == "row" else (col, row)
    image[(*(s[0] for s in split), *(s[2] for s in split), other, lane)] = weights
    return image.tobytes()


def input_image(layer, port_bytes, geo, inputs) -> bytes:
    """Buffer image of an I tile [g][c][h][w]."""
    g, c, h, w = inputs.shape
    image = np.zeros((h, w, geo.i_tile[2] * port_bytes), np.int8)
    for group in range(g):
        image[:, :, group * geo.i_group_stride:group * geo.i_group_stride + c] = inputs[group].transpose(1, 2, 0)
    return image.tobytes()


def output_words(geo, psums) -> dict[int, int]:
    """{word address: value} of psums [g][k][p][q] in the O buffer."""
    g, k, p, q = psums.shape
    return {(y * q + x) * geo.o_channels + a * geo.o_group_stride + b: int(psums[a, b, y, x])
            for a in range(g) for b in range(k) for y in range(p) for x in range(q)}


def convolve(layer, geo, weights, inputs):
    """Psums [g][k][p][q] of a tile in int64."""
    _, _, _, p, q, r, s = geo.gb_tile
    st, op_max = layer.stride, layer.op is LayerOp.MAX
    total = None
    for y in range(r):
        for x in range(s):
            patch = inputs[:, :, y:y + st * p:st, x:x + st * q:st][:, :, :p, :q].astype(np.int64)
            term = patch if op_max else np.einsum("gkc,gcpq->gkpq", weights[:, :, :, y, x].astype(np.int64), patch)
            total = term if total is None else (np.maximum(total, term) if op_max else total + term)
    return total


def core_cycles(chunk, mapping, geo) -> int:
    """Cycles from start to done: DESIGN 5, closed form of unshared ports."""
    latency = {W: fill_latency(chunk, W), I: fill_latency(chunk, I), O: drain_latency(chunk)}
    a = {x: latency[x] + geo.fill_beats[x] for x in Operand}
    order = [d for d in mapping.gb_order if mapping.gb[d] > 1]
    j = {x: next((i for i, d in enumerate(order) if d in RELEVANT[x]), None) for x in Operand}
    compute = int(np.prod(mapping.rf))
    t = {(first, last): compute for first in (0, 1) for last in (0, 1)}
    for i, d in enumerate(order):
        e = {(first, last): max(time, a[W] * (j[W] == i and not last), a[I] * (j[I] == i and not last),
                                a[O] * (j[O] == i and not first)) for (first, last), time in t.items()}
        t = {(first, last): e[first, 0] + (mapping.gb[d] - 2) * e[0, 0] + e[0, last] for first, last in t}
    return max(a[W], a[I]) + t[1, 1] + a[O] + CORE_CYCLES


def core_counts(chunk, port_bytes, mapping, geo) -> dict[str, int]:
    """Events of one DRAM tile whose first visits are not read, DMA writes and post-processing not counted."""
    def reuse(order, factors, operand):
        low = _lowest(order, factors, operand)
        return int(np.prod([factors[d] for d in order[low:]] or [1]))

    pes = mapping.noc[chunk.row_dim] * mapping.noc[chunk.col_dim]
    axes = (("row", chunk.row_dim), ("col", chunk.col_dim))
    trees = chunk.reduction_axes if chunk.reduction.value == "tree" else ()
    roots = int(np.prod([mapping.noc[d] for a, d in axes if a not in trees]))
    own = chunk.delivery is Delivery.SYSTOLIC
    files = {x: int(np.prod([mapping.noc[d] for _, d in axes if own or d in RELEVANT[x]])) for x in (W, I)}
    steps, compute = int(np.prod(mapping.gb)), int(np.prod(mapping.rf))
    tiles = {x: reuse(mapping.gb_order, mapping.gb, x) for x in Operand}
    rf_reads = {x: reuse(mapping.rf_order, mapping.rf, x) * steps for x in Operand}
    drained = {x: geo.fill_beats[x] * tiles[x] * chunk.widths[x] for x in Operand}
    lanes = chunk.n_o if positions(chunk, mapping.noc, O)[0] > 1 else 1
    o_words = geo.fill_beats[O] * lanes
    distinct = int(np.prod([mapping.gb[d] for d in RELEVANT[O]]))
    return {
        "macs": steps * compute * pes, "rf_w_reads": rf_reads[W] * files[W],
        "rf_i_reads": rf_reads[I] * files[I],
        "rf_o_writes": rf_reads[O] * roots, "rf_o_reads": (rf_reads[O] - geo.rf_words[O] * tiles[O]) * roots,
        "rf_w_writes": geo.rf_words[W] * tiles[W] * files[W], "rf_i_writes": geo.rf_words[I] * tiles[I] * files[I],
        "gb_w_reads": drained[W], "gb_i_reads": drained[I],
        "gb_o_writes": o_words * tiles[O], "gb_o_reads": o_words * (tiles[O] - distinct),
    }
