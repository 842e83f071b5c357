"""Functional simulator of programs: what the chip computes, from the instruction words alone, without time.

It walks the instruction's nests as the sequencers do (tiles, masks, flips, first visits, windows, lanes), so that a
difference from `golden` is a fault of the compiler and a difference of the Verilog from it a fault of the hardware.
Array tiles of one DRAM tile are computed together; docs/architecture.md has the layouts.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dna_asic.errors import VerificationError
from dna_asic.spec.accelerator import AcceleratorConfig, ChunkConfig
from dna_asic.spec.dims import Dim, Operand
from dna_asic.spec.instruction import (
    BASE_INPUT,
    BASE_OUTPUT,
    BASE_PROGRAM,
    DRAM_LOOPS,
    GB_LOOPS,
    I_FILL_LOOPS,
    INSTRUCTION_BYTES,
    O_DRAIN_LOOPS,
    OPCODE_LAYER,
    RF_LOOPS,
    STORE_LOOPS,
    Instruction,
)
from dna_asic.spec.program import Program

W, I, O = Operand  # noqa: E741
_BATCH_PRODUCTS = 1 << 20  # multiplications held in memory at a time
_LOWEST = -(1 << 31)
_ADDRESS_MASK = (1 << 32) - 1


def simulate(program: Program, accelerator: AcceleratorConfig, images: Sequence[bytes],
             seed: int = 0) -> list[dict[str, bytes]]:
    """Per image, the memory bytes of every layer's output tensor, by layer name, as the layer left them;
    `program.input.pack` makes an image's bytes. seed: which chunk goes on where several may.

    Raises VerificationError for an illegal instruction or a program without an end.
    """
    memory, outputs = Memory.of(program, images), [{} for _ in images]

    def ended(chunk, position, image):
        tensor = program.chunks[chunk].layers[position].output
        at = tensor.at(image)
        outputs[image][tensor.name] = memory.regions[tensor.base_select][at:at + tensor.size_bytes].tobytes()

    run_memory(memory, accelerator, [c.address if c.layers else None for c in program.chunks], len(images), seed, ended)
    return outputs


@dataclass
class Memory:
    """The three regions (by base select) as uint8 arrays: program and intermediates, input, output; and for each the
    bytes by which its base moves on from image to image.
    """

    regions: dict[int, np.ndarray]
    pitch: dict[int, int]

    @classmethod
    def of(cls, program: Program, images: Sequence[bytes]) -> "Memory":
        """Loaded with a program and the images' bytes, each at its pitch."""
        region = np.zeros(program.size_bytes, np.uint8)
        region[:len(program.image)] = np.frombuffer(program.image, np.uint8)
        inputs = np.zeros((len(images), program.input.pitch), np.uint8)
        for row, image in zip(inputs, images):
            row[:len(image)] = np.frombuffer(image, np.uint8)
        return cls({BASE_PROGRAM: region, BASE_INPUT: inputs.reshape(-1),
                    BASE_OUTPUT: np.zeros(len(images) * program.output.pitch, np.uint8)},
                   {BASE_PROGRAM: 0, BASE_INPUT: program.input.pitch, BASE_OUTPUT: program.output.pitch})


def run_memory(memory: Memory, accelerator: AcceleratorConfig, starts: Sequence[int | None], images: int, seed: int = 0,
               ended: Callable[[int, int, int], None] = lambda chunk, position, image: None) -> None:
    """Run every chunk's program, which lies in the program region from its start (None: no program); writes into
    `memory`. Layers run one at a time, in any order that their waits allow (the chunk whose iteration is the lowest is
    always ready); `ended` is called after each.
    """
    rng = random.Random(seed)
    chunks = [_Chunk(n, alone, memory, start, images)
              for n, (alone, start) in enumerate(zip(accelerator.alone, starts, strict=True))]
    while pending := [chunk for chunk in chunks if not chunk.finished]:
        rng.choice([chunk for chunk in pending if chunk.ready(chunks)]).step(ended)


class _Chunk:
    """One chunk's run controller: `spec.pipeline`'s rules, an instruction a step."""

    def __init__(self, number, accelerator, memory, start, images):
        self.number, self.accelerator, self.memory, self.start, self.images = number, accelerator, memory, start, images
        self.iteration = self.position = self.first = 0  # first: what lies before has no image any more
        self.finished = start is None or images == 0
        self.instruction = None if self.finished else self._fetch()

    @property
    def progress(self) -> tuple[float, int]:
        """(iteration, position) that it has come to."""
        return (math.inf, 0) if self.finished else (self.iteration, self.position)

    @property
    def image(self) -> int:
        """Image of the present instruction; none has that number where it is negative or too large."""
        return self.iteration - self.instruction["stage"]

    def ready(self, chunks) -> bool:
        """Whether the present instruction may go on."""
        f = self.instruction
        return not 0 <= self.image < self.images or all(
            chunk.progress >= (self.iteration - f[f"wait_distance_{n}"], f[f"wait_position_{n}"])
            for n, chunk in enumerate(chunks)
            if f[f"wait_distance_{n}"] and self.iteration >= f[f"wait_distance_{n}"])

    def step(self, ended):
        """Run or skip the present instruction."""
        f, image = self.instruction, self.image
        if 0 <= image < self.images:
            _Layer(f, self.accelerator, self.memory, image).run()
            ended(self.number, self.position, image)
            self.finished = bool(f["is_last"]) and image == self.images - 1
        elif image >= self.images:
            self.first = self.position + 1
        if image < 0 or f["is_last"]:
            self.iteration, self.position = self.iteration + 1, self.first
        else:
            self.position += 1
        if not self.finished:
            self.instruction = self._fetch()

    def _fetch(self):
        at = self.start + self.position * INSTRUCTION_BYTES
        instruction = Instruction.decode(self.memory.regions[BASE_PROGRAM][at:at + INSTRUCTION_BYTES].tobytes())
        if instruction["opcode"] != OPCODE_LAYER:
            raise VerificationError(f"Program: illegal instruction at offset {at}: opcode {instruction['opcode']:#x}, "
                                    f"not {OPCODE_LAYER:#x}; compile it again.")
        return instruction


@dataclass(frozen=True)
class _Walk:
    """All iterations of a nest in order. index: [N, loops]; class_in: loop that moved to get there (loops: none)."""

    index: np.ndarray
    class_in: np.ndarray
    address: dict[str, np.ndarray]

    @classmethod
    def of(cls, instruction, prefix: str, loops: int, names) -> "_Walk":
        last = [instruction[f"{prefix}_last_{i}"] for i in range(loops)]
        index = np.indices([n + 1 for n in reversed(last)]).reshape(loops, -1)[::-1].T
        moved = index != 0
        class_in = np.where(moved.any(1), moved.argmax(1), loops)
        address = {}
        for name in names:
            strides, wound_back = [], 0
            for i, final in enumerate(last):
                strides.append(instruction[f"{prefix}_{name}_{i}"] + wound_back)
                wound_back += final * strides[i]
            address[name] = index @ np.array(strides, np.int64)
        return cls(index, class_in, address)

    def __len__(self):
        return len(self.index)

    def held(self, name: str, lowest: int) -> np.ndarray:
        """Address that an operand with lowest relevant loop `lowest` got at its latest flip."""
        flips = self.class_in >= lowest
        return self.address[name][np.maximum.accumulate(np.where(flips, np.arange(len(self)), 0))]


class _Layer:
    """One instruction at work on one image, on the only chunk of `accelerator`."""

    def __init__(self, instruction: Instruction, accelerator: AcceleratorConfig, memory: Memory, image: int = 0):
        self.f, self.memory, self.port = instruction, memory.regions, accelerator.port_bytes
        self.at = {x: self._address(x, memory.pitch, image) for x in "ior"}
        self.chunk: ChunkConfig = accelerator.chunk
        self.array = _Array(instruction, self.chunk)
        self.store = _Walk.of(instruction, "st", STORE_LOOPS, ["a"])

    def _address(self, x, pitch, image):
        """Where the image's copy of a tensor begins in its region."""
        copy = image % (1 << self.f[f"{x}_copies_log2"])
        return self.f[f"{x}_addr"] + copy * self.f[f"{x}_pitch"] + image * pitch[self.f[f"{x}_base_select"]]

    def run(self):
        """Every DRAM tile: fetch what flips, compute, store what is finished."""
        f, walk = self.f, _Walk.of(self.f, "dram", DRAM_LOOPS, ["w", "i", "o", "p", "q", "ib", "ob"])
        reductions = [i for i in range(DRAM_LOOPS) if f["dram_reduction"] >> i & 1]
        psums = np.zeros(self.chunk.gb_o_bytes // 8, np.int64)
        for n in range(len(walk)):
            at = {name: int(values[n]) for name, values in walk.address.items()}
            if walk.class_in[n] >= f["dram_j_w"]:
                weights, params = self._fetch_weights(at)
            if walk.class_in[n] >= f["dram_j_i"]:
                inputs = self._fetch_inputs(at)
            self.array.run(weights, inputs, psums, first=not walk.index[n, reductions].any())
            if n + 1 == len(walk) or walk.class_in[n + 1] >= f["dram_j_o"]:
                self._store(psums, params, at)

    def _fetch_weights(self, at):
        """(buffer image, parameters [channels, 2]) of a W tile."""
        begin = self.f["w_addr"] + at["w"] & _ADDRESS_MASK
        middle = begin + self.f["w_beats"] * self.port
        region = self.memory[BASE_PROGRAM]
        params = region[middle:middle + self.f["w_param_beats"] * self.port].view("<u4").reshape(-1, 2)
        return region[begin:middle].view(np.int8), params

    def _fetch_inputs(self, at):
        """Buffer image [h][w][blocks * port] of an I tile; zeros outside the tensor."""
        f, port = self.f, self.port
        top, left = (at[x] * f["stride"] - f["pad"] for x in "pq")
        h, w, b = np.ogrid[:f["it_h_last"] + 1, :f["it_w_last"] + 1, :f["it_b_last"] + 1]
        inside = ((h + top >= 0) & (h + top < f["i_h"]) & (w + left >= 0) & (w + left < f["i_w"])
                  & (b + at["ib"] < f["i_b"]))
        address = (self.at["i"] + at["i"] + (h - f["pad"]) * f["i_row_pitch"] + (w - f["pad"]) * port
                   + b * f["i_block_pitch"])
        tile = np.zeros([*inside.shape, port], np.int8)
        region = self.memory[f["i_base_select"]].view(np.int8)
        tile[inside] = region[(address[inside] & _ADDRESS_MASK)[:, None] + np.arange(port)]
        return tile.reshape(-1)

    def _store(self, psums, params, at):
        """Post-process the finished O tile and write what lies in the tensor."""
        f, n_pp = self.f, self.chunk.n_pp
        counts = [f["st_group_last"] + 1, *(f[f"st_last_{i}"] + 1 for i in range(STORE_LOOPS))]
        shape = [*reversed(counts), n_pp]  # block, row, column, window row, window column, word group, lane
        words = ((self.store.address["a"][:, None] + np.arange(f["st_group_last"] + 1))[..., None] * n_pp
                 + np.arange(n_pp)).reshape(shape)
        used = np.ones(shape, bool)
        used[-1, ..., f["st_group_last_of_last_block"] + 1:, :] = False
        channel = np.arange(counts[0])[:, None] * n_pp + np.arange(n_pp)
        channel = channel + np.arange(counts[5])[:, None, None, None, None, None, None] * self.port
        inside, address = self._store_places(at)
        residual = self._residual(inside, at["o"], channel.shape[-2:]) if f["has_residual"] else 0
        y = self._requantise(np.where(used, psums[np.where(used, words, 0)], 0), params,
                             np.where(used[:, :1, :1, :1, :1], channel, 0), residual)
        y = np.where(used, y, 0)
        y = self._pool(y).reshape(*inside.shape, -1)
        beats = np.zeros([*inside.shape, self.port], np.uint8)
        beats[..., :y.shape[-1]] = y.astype(np.int8).view(np.uint8)
        region = self.memory[f["o_base_select"]]
        region[(self.at["o"] + address[inside])[:, None] + np.arange(self.port)] = beats[inside]

    def _store_places(self, at):
        """(mask, byte offset) of every beat [block, row, column] of an O tile in the pooled output tensor."""
        f = self.f
        b, h, w = np.ogrid[:f["st_last_4"] + 1, :f["st_last_3"] + 1, :f["st_last_2"] + 1]
        top, left = (at[x] >> f["pool_log2"] for x in "pq")
        inside = (b + at["ob"] < f["o_b"]) & (h + top < f["o_h"]) & (w + left < f["o_w"])
        return inside, at["o"] + b * f["o_block_pitch"] + h * f["o_row_pitch"] + w * self.port

    def _residual(self, inside, offset, lanes):
        """Rescaled residual, shaped as the psums; zero outside the tensor."""
        f, (groups, n_pp) = self.f, lanes
        b, h, w = np.ogrid[:inside.shape[0], :inside.shape[1], :inside.shape[2]]
        address = offset + b * f["o_block_pitch"] + h * f["o_row_pitch"] + w * self.port
        region = self.memory[f["r_base_select"]].view(np.int8)
        beats = np.zeros([*inside.shape, self.port], np.int64)
        beats[inside] = region[(self.at["r"] + address[inside])[:, None] + np.arange(self.port)]
        rescaled = saturate_16(round_shift(beats * f["res_multiplier"], f["res_shift"]))
        return rescaled[..., :groups * n_pp].reshape(*inside.shape, 1, 1, groups, n_pp)

    def _requantise(self, acc, params, channel, residual):
        """Equation of spec.quant for every word."""
        table = params[channel].astype(np.int64)
        bias = table[..., 0] - (table[..., 0] >> 31 << 32)
        multiplier, shift = table[..., 1] & (1 << 26) - 1, table[..., 1] >> 26
        y = saturate_16(round_shift((acc + bias) * multiplier, shift)) + residual
        return np.clip(y, self.f["clamp_lo"], self.f["clamp_hi"])

    def _pool(self, y):
        """Over window rows and columns (axes 3 and 4)."""
        if not self.f["pool_average"]:
            return y.max((3, 4))
        return round_shift(y.sum((3, 4)), 2 * self.f["pool_log2"])


class _Array:
    """Global buffers to psums: the array level for one instruction."""

    def __init__(self, instruction: Instruction, chunk: ChunkConfig):
        self.f, self.chunk = instruction, chunk
        self.used = (instruction["rows_used"], instruction["cols_used"])
        self.op_max = bool(instruction["op_max"])
        self.gb = _Walk.of(instruction, "gb", GB_LOOPS, ["w", "i", "o"])
        self.rf = _Walk.of(instruction, "rf", RF_LOOPS, ["w", "i", "o"])
        self.w_map, self.i_map, self.o_map = self._weight_map(), self._input_map(), self._output_map()

    def run(self, weights, inputs, psums, first: bool):
        """One DRAM tile: adds to (or, on first visits, sets) the words of `psums`."""
        f, gb = self.f, self.gb
        w_at = gb.held("w", f["gb_j_w"]) * self.chunk.n_w
        i_at = gb.held("i", f["gb_j_i"])
        kept = [i for i in range(GB_LOOPS) if f["gb_reduction"] >> i & 1 and i >= f["gb_j_o"]]
        fresh = ~gb.index[:, kept].any(1) if first else np.zeros(len(gb), bool)
        words = gb.address["o"][:, None] + self.o_map.reshape(1, -1)
        psums[words[fresh]] = _LOWEST if self.op_max else 0
        join = np.maximum if self.op_max else np.add
        order = np.argsort(self.rf.address["o"], kind="stable")
        starts = np.flatnonzero(np.diff(self.rf.address["o"][order], prepend=-1))
        w_words = self.w_map[:, :, self.rf.address["w"][order]]
        i_words = self.i_map[:, :, self.rf.address["i"][order]]
        batch = max(1, _BATCH_PRODUCTS // i_words.size)
        for s in range(0, len(gb), batch):
            terms = inputs[i_at[s:s + batch, None, None, None] + i_words].astype(np.int64)
            if not self.op_max:
                terms *= weights[w_at[s:s + batch, None, None, None] + w_words]
            sums = self._reduce(join.reduceat(terms, starts, axis=-1))
            join.at(psums, words[s:s + batch], sums.reshape(len(sums), -1))
        psums[words] = psums[words].astype(np.int32)

    def _reduce(self, sums):
        """Sum over the axes that carry a reduction dim: [steps, rows, cols, words] to roots."""
        for axis, name in ((1, "row"), (2, "col")):
            if name in self.chunk.reduction_axes:
                sums = sums.sum(axis, keepdims=True)
        return sums

    def _weight_map(self):
        """Byte offset in an array tile's W image of [row, col, RF word]."""
        f, chunk = self.f, self.chunk
        lanes, others = f["wf_lane_last"] + 1, f["wf_other_last"] + 1
        word = np.arange(f["wf_word_last"] + 1)
        row, col = np.ogrid[:self.used[0], :self.used[1]]
        place = {"row": row, "col": col}
        lane_axis = chunk.lane_axis(W)
        lane = place[lane_axis] if lane_axis else np.zeros((1, 1), int)
        other = np.zeros((1, 1), int)
        for axis, dim in (("row", chunk.row_dim), ("col", chunk.col_dim)):
            if axis != lane_axis and dim not in (Dim.P, Dim.Q):
                other = place[axis]
        beat = (word * others + other[..., None]) * lanes + lane[..., None] // chunk.n_w
        return np.broadcast_to(beat * chunk.n_w + lane[..., None] % chunk.n_w, (*self.used, len(word)))

    def _input_map(self):
        """Byte offset in the I half, from the array tile's, of [row, col, RF word]: the fill, beat by beat."""
        f, chunk = self.f, self.chunk
        walk = _Walk.of(f, "if", I_FILL_LOOPS, ["a"])
        box = f["box_h"] * f["box_w"]
        group, other, column, row, c, g = walk.index.T
        which = g * (f["if_last_4"] + 1) + c
        result = np.full((*self.used, (which[-1] + 1) * box), -1, np.int64)
        pitch = {Dim.P: f["window_h"], Dim.R: 1 if chunk.crossed else f["window_h"], Dim.Q: f["window_w"]}
        for place in np.ndindex(*self.used):
            at = dict(zip((chunk.row_dim, chunk.col_dim), place, strict=True))
            y = row - sum(at[d] * pitch[d] for d in (Dim.P, Dim.R) if d in at)
            x = column - at.get(Dim.Q, 0) * pitch[Dim.Q]
            taken = (y >= 0) & (y < f["box_h"]) & (x >= 0) & (x < f["box_w"])
            lane_at = at.get(chunk.lane_dim(I), 0)
            lane = lane_at % chunk.n_i
            taken &= (group == lane_at // chunk.n_i) & (other == at.get(chunk.other_dim(I), 0))
            byte = walk.address["a"] if lane == 0 else walk.address["a"] // chunk.n_i * chunk.n_i + lane
            result[*place, (which * box + y * f["box_w"] + x)[taken]] = byte[taken]
        if (result < 0).any():
            raise VerificationError("Program: an input fill leaves words of a PE's box unwritten; compile it again.")
        return result

    def _output_map(self):
        """Word offset in the O half, from the array tile's, of [root row, root col, RF word]."""
        f, chunk = self.f, self.chunk
        walk = _Walk.of(f, "od", O_DRAIN_LOOPS, ["a"])
        lane_is_row = chunk.lane_axis(O) == "row"
        roots = tuple(1 if axis in chunk.reduction_axes else n
                      for axis, n in zip(("row", "col"), self.used, strict=True))
        lane_used = roots[0] if lane_is_row else roots[1]
        word = np.arange(len(walk)) // ((f["od_last_0"] + 1) * (f["od_last_1"] + 1))
        result = np.zeros((*roots, word[-1] + 1), np.int64)
        for lane in range(1 if lane_used == 1 else chunk.n_o):
            at = walk.address["a"] if lane == 0 else walk.address["a"] // chunk.n_o * chunk.n_o + lane
            along, across = walk.index[:, 0] * chunk.n_o + lane, walk.index[:, 1]
            result[(along, across, word) if lane_is_row else (across, along, word)] = at
        return result


def round_shift(value, shift):
    """Right shift of int64 that rounds half away from zero."""
    value, shift = np.asarray(value, np.int64), np.asarray(shift, np.int64)
    half = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    return np.sign(value) * ((np.abs(value) + half) >> shift)


def saturate_16(value):
    """Clamp to 16 bits signed."""
    return np.clip(value, -(1 << 15), (1 << 15) - 1)
