"""Compile a quantised network and its mappings to instructions and a memory image (docs/architecture.md)."""

import itertools

import numpy as np

from dna_asic.errors import InfeasibleDesign
from dna_asic.mapping.layout import ChannelLayout, PhysicalLayer, lay_out
from dna_asic.spec.accelerator import MAX_CHUNKS, NO_DIM, AcceleratorConfig, Mapping
from dna_asic.spec.dims import DIMS, DRAM_DIMS, REDUCTION, RELEVANT, Operand
from dna_asic.spec.geometry import Geometry, ceil_div, check_mapping, positions, round_up
from dna_asic.spec.instruction import (
    BASE_INPUT,
    BASE_OUTPUT,
    BASE_PROGRAM,
    INSTRUCTION_BYTES,
    OPCODE_LAYER,
    Instruction,
    nest_jumps,
)
from dna_asic.spec.layer import LayerOp, LayerShape, PoolOp
from dna_asic.spec.pipeline import Pipeline, Place, pipeline
from dna_asic.spec.program import ChunkProgram, CompiledLayer, Program, TensorLayout
from dna_asic.spec.quant import PARAM_BYTES, QuantLayer, QuantSpec

G, K, C, P, Q, R, S = DIMS
W, I, O = Operand  # noqa: E741
ALIGNMENT = 64  # every region begins at a multiple of the widest port


def compile_program(accelerator: AcceleratorConfig, quant: QuantSpec, mappings: dict[str, Mapping],
                    assignment: dict[str, int] | None = None) -> Program:
    """Programs, weights and memory map of `quant` on `accelerator`; assignment: chunk of each layer, as in Design.

    Raises InfeasibleDesign for a missing or illegal mapping, naming the layer, and for a tensor that needs too many
    copies; SpecError for an assignment that names no chunk for each layer.
    """
    places = pipeline(quant.network, assignment or {}, len(accelerator.chunks))
    layers = lay_out(quant.network, accelerator.port_bytes)
    compilers = [_LayerCompiler(layer, accelerator.alone[places.layers[layer.spec.name].chunk],
                                _mapping(mappings, layer)) for layer in layers]
    starts = list(itertools.accumulate(((len(p) + 1) * INSTRUCTION_BYTES for p in places.programs), initial=0))
    image, weight_addresses = bytearray(starts[-1]), []
    for layer, compiler in zip(layers, compilers, strict=True):
        weight_addresses.append(len(image))
        image += compiler.weights(quant.layers[layer.spec.name])
        image += bytes(-len(image) % ALIGNMENT)
    tensors, size = _memory_map(quant, layers, places, accelerator.port_bytes, len(image))
    compiled = {}
    for layer, compiler, weight_address in zip(layers, compilers, weight_addresses, strict=True):
        name = layer.spec.name
        place = places.layers[name]
        instruction = compiler.instruction(quant.layers[name], weight_address, tensors,
                                           _place_fields(place, len(places.programs[place.chunk])))
        at = starts[place.chunk] + place.position * INSTRUCTION_BYTES
        image[at:at + INSTRUCTION_BYTES] = instruction.encode()
        compiled[name] = CompiledLayer(name=name, shape=layer.shape, mapping=compiler.mapping, place=place,
                                       instruction=instruction, output=tensors[name])
    chunks = tuple(ChunkProgram(address=at, layers=tuple(compiled[place.name] for place in program))
                   for at, program in zip(starts, places.programs))
    return Program(chunks=chunks, layers=tuple(compiled.values()), input=tensors["input"],
                   output=tensors[layers[-1].spec.name], image=bytes(image), size_bytes=size,
                   port_bytes=accelerator.port_bytes)


def _mapping(mappings, layer: PhysicalLayer) -> Mapping:
    if layer.spec.name not in mappings:
        raise InfeasibleDesign(f"Layer '{layer.spec.name}' has no mapping; map every layer of the network.")
    return mappings[layer.spec.name]


def _place_fields(place: Place, length: int) -> dict[str, int]:
    """Fields of the run controller: where the layer stands among the others."""
    fields = {f"wait_{what}_{chunk}": 0 for what in ("distance", "position") for chunk in range(MAX_CHUNKS)}
    for wait in place.waits:
        fields |= {f"wait_distance_{wait.chunk}": wait.distance, f"wait_position_{wait.chunk}": wait.position}
    return fields | {"stage": place.stage, "is_last": int(place.position == length - 1)}


def _copy_fields(x: str, tensor: TensorLayout) -> dict[str, int]:
    """Fields that choose the image's copy of a tensor; input and output move with their base registers."""
    copies, pitch = (tensor.copies, tensor.pitch) if tensor.copies else (1, 0)
    return {f"{x}_copies_log2": copies.bit_length() - 1, f"{x}_pitch": pitch}


def _memory_map(quant: QuantSpec, layers, places: Pipeline, port, start):
    """Layout of every tensor: input and output in regions of their own, the others one after another."""
    channels, height, width = quant.network.input_shape
    first = next(x for x in layers if x.spec.source == "input")
    tensors = {"input": _tensor("input", BASE_INPUT, 0, first.source, (height, width), port, copies=0)}
    address = start
    for layer in layers[:-1]:
        name = layer.spec.name
        tensors[name] = _tensor(name, BASE_PROGRAM, address, layer.output, layer.spec.out_hw, port,
                                places.layers[name].copies)
        address += tensors[name].pitch * tensors[name].copies
    last = layers[-1]
    tensors[last.spec.name] = _tensor(last.spec.name, BASE_OUTPUT, 0, last.output, last.spec.out_hw, port, copies=0)
    return tensors, address


def _tensor(name, base_select, address, channels: ChannelLayout, hw, port, copies) -> TensorLayout:
    blocks = ceil_div(channels.physical, port)
    return TensorLayout(name=name, base_select=base_select, address=address, blocks=blocks, height=hw[0], width=hw[1],
                        port_bytes=port, slots=channels.slots, copies=copies,
                        pitch=round_up(blocks * hw[0] * hw[1] * port, ALIGNMENT))


def _row_major(sizes):
    strides = [1]
    for size in reversed(sizes[1:]):
        strides.insert(0, strides[0] * size)
    return strides


def _lowest(order, factors, operand):
    """Number of the lowest loop relevant to `operand` with a bound above 1; the loop count without one."""
    return next((i for i, d in enumerate(order) if d in RELEVANT[operand] and factors[d] > 1), len(order))


def _nest(prefix, last, strides):
    fields = {f"{prefix}_last_{i}": n for i, n in enumerate(last)}
    for name, values in strides.items():
        fields |= {f"{prefix}_{name}_{i}": jump for i, jump in enumerate(nest_jumps(last, values))}
    return fields


def _level(prefix, order, factors, strides):
    """A level's nest; strides: address name -> stride per relevant dim."""
    fields = _nest(prefix, [factors[d] - 1 for d in order],
                   {x: [s.get(d, 0) for d in order] for x, s in strides.items()})
    fields[f"{prefix}_reduction"] = sum(1 << i for i, d in enumerate(order) if d in REDUCTION)
    return fields | {f"{prefix}_j_{x.name.lower()}": _lowest(order, factors, x) for x in Operand}


class _LayerCompiler:
    """Fields and weights of one layer, on the only chunk of `accelerator`."""

    def __init__(self, layer: PhysicalLayer, accelerator: AcceleratorConfig, mapping: Mapping):
        self.layer, self.chunk, self.mapping, self.port = layer, accelerator.chunk, mapping, accelerator.port_bytes
        self.shape: LayerShape = layer.shape
        try:
            self.geo: Geometry = check_mapping(layer.shape, accelerator, self.chunk, mapping)
        except InfeasibleDesign as error:
            raise InfeasibleDesign(f"Layer '{layer.spec.name}': {error}") from error

    def instruction(self, quant: QuantLayer, weight_address: int, tensors, place_fields) -> Instruction:
        """All fields."""
        spec, shape, chunk, noc = self.layer.spec, self.shape, self.chunk, self.mapping.noc
        source, output = tensors[spec.source], tensors[spec.name]
        residual = tensors[spec.residual] if spec.residual else output
        fields = {
            "opcode": OPCODE_LAYER, "op_max": int(shape.op is LayerOp.MAX),
            "has_residual": int(shape.has_residual), "stride": shape.stride, "pad": shape.pad,
            "pool_average": int(spec.pool is not None and spec.pool.op is PoolOp.AVERAGE),
            "pool_log2": shape.pool_window.bit_length() - 1,
            "i_base_select": source.base_select, "o_base_select": output.base_select,
            "r_base_select": residual.base_select,
            "rows_used": noc[chunk.row_dim], "cols_used": noc[chunk.col_dim],
            "w_addr": weight_address, "i_addr": source.address, "o_addr": output.address, "r_addr": residual.address,
            "w_beats": self.geo.dma_beats[W] - self.geo.w_param_beats, "w_param_beats": self.geo.w_param_beats,
            "clamp_lo": quant.clamp_lo, "clamp_hi": quant.clamp_hi,
            "res_multiplier": quant.res_multiplier, "res_shift": quant.res_shift,
        }
        fields |= _copy_fields("i", source) | _copy_fields("o", output) | _copy_fields("r", residual)
        fields |= place_fields | self._rf() | self._gb() | self._noc() | self._dram(source, output)
        return Instruction(fields | self._input_job(source) | self._store(output))

    def _rf(self):
        """Word strides in the register files."""
        rf, (box_h, box_w), st = self.mapping.rf, self.geo.rf_box, self.shape.stride
        w = dict(zip((G, K, C, R, S), _row_major([rf[d] for d in (G, K, C, R, S)]), strict=True))
        o = dict(zip((G, K, P, Q), _row_major([rf[d] for d in (G, K, P, Q)]), strict=True))
        i = {G: rf[C] * box_h * box_w, C: box_h * box_w, P: st * box_w, R: box_w, Q: st, S: 1}
        return _level("rf", self.mapping.rf_order, rf, {"w": w, "i": i, "o": o})

    def _pitches(self):
        """(I bytes per pixel, per row; O words per pixel, per row) of the global buffers."""
        i_pixel = self.geo.i_tile[2] * self.port
        return i_pixel, i_pixel * self.geo.i_tile[1], self.geo.o_channels, self.geo.o_channels * self.geo.gb_tile[Q]

    def _gb(self):
        """Strides of array tiles in the global buffers: W beats, I bytes, O words."""
        gb, st, geo = self.mapping.gb, self.shape.stride, self.geo
        array = [a * b for a, b in zip(self.mapping.rf, self.mapping.noc, strict=True)]
        i_pixel, i_row, o_pixel, o_row = self._pitches()
        tiles = _row_major([gb[d] for d in (G, K, C, R, S)])
        w = {d: t * geo.fill_beats[W] for d, t in zip((G, K, C, R, S), tiles, strict=True)}
        i = {G: array[G] * geo.i_group_stride, C: array[C], P: array[P] * st * i_row, Q: array[Q] * st * i_pixel,
             R: array[R] * i_row, S: array[S] * i_pixel}
        o = {G: array[G] * geo.o_group_stride, K: array[K], P: array[P] * o_row, Q: array[Q] * o_pixel}
        return _level("gb", self.mapping.gb_order, gb, {"w": w, "i": i, "o": o})

    def _noc(self):
        """Fill and drain nests."""
        chunk, rf, noc, geo = self.chunk, self.mapping.rf, self.mapping.noc, self.geo
        i_pixel, i_row, o_pixel, o_row = self._pitches()
        (w_lane, w_other), (i_lane, i_other), (o_lane, o_other) = (positions(chunk, noc, x) for x in Operand)
        fields = {"wf_lane_last": ceil_div(w_lane, chunk.n_w) - 1, "wf_other_last": w_other - 1,
                  "wf_word_last": geo.rf_words[W] - 1, "box_h": geo.rf_box[0], "box_w": geo.rf_box[1],
                  "window_h": rf[P] * self.shape.stride if P in (chunk.row_dim, chunk.col_dim) else rf[R],
                  "window_w": rf[Q] * self.shape.stride}
        pitch = {C: 1, G: geo.i_group_stride, NO_DIM: 0}  # from one PE to the next
        last = [ceil_div(i_lane, chunk.n_i) - 1, i_other - 1, geo.array_box[1] - 1, geo.array_box[0] - 1, rf[C] - 1,
                rf[G] - 1]
        strides = [pitch[chunk.lane_dim(I)] * chunk.n_i, pitch[chunk.other_dim(I)], i_pixel, i_row, noc[C],
                   noc[G] * geo.i_group_stride]
        fields |= _nest("if", last, {"a": strides})
        pitch = {K: 1, G: geo.o_group_stride, P: rf[P] * o_row, Q: rf[Q] * o_pixel, NO_DIM: 0}
        last = [ceil_div(o_lane, chunk.n_o) - 1, o_other - 1, rf[Q] - 1, rf[P] - 1, rf[K] - 1, rf[G] - 1]
        strides = [pitch[chunk.lane_dim(O)] * chunk.n_o, pitch[chunk.other_dim(O)], o_pixel, o_row, noc[K],
                   noc[G] * geo.o_group_stride]
        return fields | _nest("od", last, {"a": strides})

    def _dram(self, source: TensorLayout, output: TensorLayout):
        """Tile steps in memory: byte addresses, first output pixel, first channel block."""
        shape, geo, port, tile = self.shape, self.geo, self.port, self.geo.gb_tile
        dram, order, pool = self.mapping.dram, self.mapping.dram_order, self.shape.pool_window
        tiles = _row_major([dram[d] for d in (G, K, C)])
        w = {d: t * geo.dma_beats[W] * port for d, t in zip((G, K, C), tiles, strict=True)}
        if shape.depthwise:
            ib = ob = {G: tile[G] // port}
        else:
            ib = {G: tile[G] * round_up(shape.c, port) // port, C: tile[C] // port}
            ob = {G: tile[G] * round_up(shape.k, port) // port, K: tile[K] // port}
            if shape.k_segments > 1:
                ob = {G: tile[K] // port, K: shape.g * tile[K] // port}
        i_block, o_block = source.height * source.width * port, output.height * output.width * port
        i = {d: n * i_block for d, n in ib.items()}
        i |= {P: tile[P] * shape.stride * source.width * port, Q: tile[Q] * shape.stride * port}
        o = {d: n * o_block for d, n in ob.items()}
        o |= {P: tile[P] // pool * output.width * port, Q: tile[Q] // pool * port}
        strides = {"w": w, "i": i, "o": o, "p": {P: tile[P]}, "q": {Q: tile[Q]}, "ib": ib, "ob": ob}
        factors = {d: dram[d] for d in DRAM_DIMS}
        return _level("dram", order, factors, strides)

    def _input_job(self, source: TensorLayout):
        rows, columns, blocks = self.geo.i_tile
        row_pitch = source.width * self.port
        return {"it_h_last": rows - 1, "it_w_last": columns - 1, "it_b_last": blocks - 1, "i_h": source.height,
                "i_w": source.width, "i_b": source.blocks, "i_row_pitch": row_pitch,
                "i_block_pitch": source.height * row_pitch}

    def _store(self, output: TensorLayout):
        """Post-processing's walk over the O buffer, in units of n_pp words."""
        geo, n_pp, pool, port = self.geo, self.chunk.n_pp, self.shape.pool_window, self.port
        pixel, row = geo.o_channels // n_pp, geo.o_channels // n_pp * geo.gb_tile[Q]
        blocks = ceil_div(geo.o_channels, port)
        last_groups = ceil_div(geo.o_channels - (blocks - 1) * port, n_pp)
        last = [pool - 1, pool - 1, geo.gb_tile[Q] // pool - 1, geo.gb_tile[P] // pool - 1, blocks - 1]
        strides = [pixel, row, pixel * pool, row * pool, port // n_pp]
        row_pitch = output.width * port
        return _nest("st", last, {"a": strides}) | {
            "st_group_last": port // n_pp - 1, "st_group_last_of_last_block": last_groups - 1,
            "o_h": output.height, "o_w": output.width, "o_b": output.blocks,
            "o_row_pitch": row_pitch, "o_block_pitch": output.height * row_pitch}

    def weights(self, quant: QuantLayer) -> bytes:
        """All DRAM tiles in order, each the buffer image of its weights and then its parameters."""
        dense, params = self._physical_weights(quant)
        tile, dram = self.geo.gb_tile, self.mapping.dram
        parts = []
        for g, k, c in itertools.product(range(dram[G]), range(dram[K]), range(dram[C])):
            part = dense[g * tile[G]:(g + 1) * tile[G], k * tile[K]:(k + 1) * tile[K], c * tile[C]:(c + 1) * tile[C]]
            parts += [self._image(part), self._parameters(params[g * tile[G]:(g + 1) * tile[G],
                                                                 k * tile[K]:(k + 1) * tile[K]])]
        return b"".join(parts)

    def _physical_weights(self, quant: QuantLayer):
        """Weights [G, K, C, R, S] and parameter words [G, K, 2] in physical channels, padded to whole DRAM tiles."""
        shape, spec, layer = self.shape, self.layer.spec, self.layer
        padded = [t * f for t, f in zip(self.geo.gb_tile, self.mapping.dram, strict=True)]
        dense = np.zeros([padded[d] for d in (G, K, C, R, S)], np.int8)
        params = np.zeros([padded[G], padded[K], 2], "<u4")
        logical_k, logical_c = spec.shape.k, spec.shape.c
        for out in range(spec.out_channels):  # as computed, before the shuffle
            g = out // logical_k
            slot = layer.output.slots[_shuffled(out, spec.out_channels, spec.shuffle_groups)]
            pg, pk = self._place(slot, g)
            if shape.depthwise:
                dense[pg, 0, 0, :shape.r, :shape.s] = quant.weight[out, 0]
            else:
                base = g * layer.source.physical // shape.g
                for c in range(logical_c):
                    slot = layer.source.slots[g * logical_c + c] - base
                    dense[pg, pk, slot, :shape.r, :shape.s] = quant.weight[out, c]
            multiplier, shift = int(quant.multiplier[out]), int(quant.shift[out])
            params[pg, pk] = int(quant.bias[out]) & 0xFFFFFFFF, multiplier | shift << 26
        return dense, params

    def _place(self, slot, group):
        """(G, K) index of the physical output channel `slot`, computed by `group`."""
        shape, output = self.shape, self.layer.output
        if shape.depthwise:
            return slot, 0
        if shape.g == 1:
            return 0, slot
        if output.segments > 1:
            segment, rest = divmod(slot, output.physical // output.segments)
            each = shape.k // shape.k_segments
            return group, segment * each + rest - group * each
        return group, slot - group * (output.physical // shape.g)

    def _image(self, weights) -> bytes:
        """Buffer image of one W tile [g][k][c][r][s]."""
        chunk, mapping = self.chunk, self.mapping
        dims = (G, K, C, R, S)
        w_lane, w_other = positions(chunk, mapping.noc, W)
        lanes = ceil_div(w_lane, chunk.n_w) * chunk.n_w
        image = np.zeros([*(mapping.gb[d] for d in dims), *(mapping.rf[d] for d in dims), w_other, lanes], np.int8)
        grid = np.meshgrid(*(np.arange(n) for n in weights.shape), indexing="ij", sparse=True)
        split = [_digits(mapping, d, index) for d, index in zip(dims, grid, strict=True)]
        coordinate = {d: s[1] for d, s in zip(dims, split, strict=True)}
        row, col = (coordinate[d] if d in RELEVANT[W] else 0 for d in (chunk.row_dim, chunk.col_dim))
        lane, other = (row, col) if chunk.lane_axis(W) == "row" else (col, row)
        image[(*(s[0] for s in split), *(s[2] for s in split), other, lane)] = weights
        data = image.tobytes()
        return data + bytes(-len(data) % self.port)

    def _parameters(self, params) -> bytes:
        """Parameters of one tile by channel of the O buffer."""
        geo = self.geo
        table = np.zeros([geo.o_channels, PARAM_BYTES // 4], "<u4")
        channel = (np.arange(params.shape[0])[:, None] * geo.o_group_stride + np.arange(params.shape[1])[None])
        table[channel] = params
        data = table.tobytes()
        return data + bytes(-len(data) % self.port)


def _shuffled(channel, channels, groups):
    """Logical channel, after the shuffle, of computed channel `channel`."""
    each = channels // groups
    return channel % each * groups + channel // each


def _digits(mapping: Mapping, dim, index):
    """(gb, noc, rf) digits of an index within a DRAM tile: the NoC digit is lowest for channels, the RF digit else."""
    noc, rf = mapping.noc[dim], mapping.rf[dim]
    if dim in (G, K, C):
        return index // (rf * noc), index % noc, index // noc % rf
    return index // (rf * noc), index // rf % noc, index % rf
