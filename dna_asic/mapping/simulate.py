"""Functional simulator: runs a program's instruction words on a memory image, tile by tile, without timing.

It stands between golden and RTL: a program that is wrong here is the compiler's fault; one that is right here and
wrong in the RTL is the hardware's. Nothing but the encoded instructions and the memory is read.
"""

import itertools

import numpy as np

from dna_asic.errors import VerificationError
from dna_asic.spec.accelerator import AcceleratorConfig
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

_NO_PSUM = np.iinfo(np.int64).min  # identity of the maximum


def simulate(program: Program, accelerator: AcceleratorConfig, input_bytes: bytes) -> dict[str, bytes]:
    """Run the program; the bytes of every layer's output tensor by layer name.

    Raises VerificationError for an opcode that is none.
    """
    memory = {BASE_PROGRAM: np.zeros(program.size_bytes, np.int8), BASE_INPUT: np.frombuffer(input_bytes, np.int8),
              BASE_OUTPUT: np.zeros(program.output.size_bytes, np.int8)}
    memory[BASE_PROGRAM][:len(program.image)] = np.frombuffer(program.image, np.int8)
    outputs = {}
    for i, layer in enumerate(program.layers):
        code = memory[BASE_PROGRAM][i * INSTRUCTION_BYTES:(i + 1) * INSTRUCTION_BYTES].tobytes()
        instruction = Instruction.decode(code)
        if instruction["opcode"] != OPCODE_LAYER:
            raise VerificationError(f"Instruction {i}: opcode {instruction['opcode']:#x} is not {OPCODE_LAYER:#x}.")
        _LayerMachine(instruction, accelerator, memory).run()
        start = layer.output.address
        outputs[layer.name] = memory[layer.output.base_select][start:start + layer.output.size_bytes].tobytes()
    return outputs


class _Nest:
    """A nest of an instruction: bounds, and per address the strides that its jumps stand for."""

    def __init__(self, instruction: Instruction, prefix: str, loops: int, names: tuple[str, ...]):
        self.bounds = [instruction[f"{prefix}_last_{i}"] + 1 for i in range(loops)]
        self.strides = {}
        for name in names:
            wound_back, strides = 0, []
            for i, bound in enumerate(self.bounds):
                strides.append(instruction[f"{prefix}_{name}_{i}"] + wound_back)
                wound_back += (bound - 1) * strides[-1]
            self.strides[name] = strides

    def indices(self):
        """Every iteration as a tuple of indices, innermost loop first."""
        for outer_first in itertools.product(*(range(b) for b in reversed(self.bounds))):
            yield outer_first[::-1]

    def address(self, name, index):
        """Address at one iteration."""
        return sum(i * s for i, s in zip(index, self.strides[name], strict=True))

    def grid(self, name):
        """Addresses of all iterations as an array, outermost loop first."""
        total = np.zeros((1,) * len(self.bounds), np.int64)
        for i, (bound, stride) in enumerate(zip(self.bounds, self.strides[name], strict=True)):
            shape = [1] * len(self.bounds)
            shape[-1 - i] = bound
            total = total + (np.arange(bound) * stride).reshape(shape)
        return total


class _LayerMachine:
    """State of one layer's run."""

    def __init__(self, instruction: Instruction, accelerator: AcceleratorConfig, memory):
        self.x, self.port, self.chunk, self.memory = instruction, accelerator.port_bytes, accelerator.chunks[0], memory
        self.rows, self.cols = instruction["rows_used"], instruction["cols_used"]
        self.max = bool(instruction["op_max"])
        self.dram = _Nest(instruction, "dram", DRAM_LOOPS, ("w", "i", "o", "p", "q", "ib", "ob"))
        self.gb = _Nest(instruction, "gb", GB_LOOPS, ("w", "i", "o"))
        self.rf = _Nest(instruction, "rf", RF_LOOPS, ("w", "i", "o"))
        self.fill = _Nest(instruction, "if", I_FILL_LOOPS, ("a",))
        self.drain = _Nest(instruction, "od", O_DRAIN_LOOPS, ("a",))
        self.store = _Nest(instruction, "st", STORE_LOOPS, ("a",))
        self.rf_sequence = [self.rf.grid(n).ravel() for n in "wio"]
        self.psums = np.zeros(self.chunk.gb_o_bytes // 8, np.int64)

    def run(self):
        """All DRAM tiles."""
        last = None
        for index in self.dram.indices():
            if last is not None and self._moved(index, last, self.x["dram_j_o"]):
                self._store_tile(last)
            self._load_weights(index)
            self._load_input(index)
            reduced = [i for i in range(DRAM_LOOPS) if self.x["dram_reduction"] >> i & 1 and index[i]]
            self._array_schedule(first=not reduced)
            last = index
        self._store_tile(last)

    @staticmethod
    def _moved(index, last, lowest):
        return any(a != b for a, b in zip(index[lowest:], last[lowest:], strict=True))

    def _load_weights(self, index):
        start = self.x["w_addr"] + self.dram.address("w", index)
        split = start + self.x["w_beats"] * self.port
        end = split + self.x["w_param_beats"] * self.port
        self.weights = self.memory[BASE_PROGRAM][start:split]
        self.params = self.memory[BASE_PROGRAM][split:end].view("<u4").reshape(-1, 2)

    def _load_input(self, index):
        """Buffer image [h][w][blocks * B], zero outside the tensor."""
        x = self.x
        base = x["i_addr"]
        tensor = self.memory[x["i_base_select"]][base:base + x["i_b"] * x["i_block_pitch"]]
        tensor = tensor.reshape(x["i_b"], x["i_h"], x["i_w"], self.port)
        h0 = self.dram.address("p", index) * x["stride"] - x["pad"]
        w0 = self.dram.address("q", index) * x["stride"] - x["pad"]
        b0 = self.dram.address("ib", index)
        rows, cols, blocks = x["it_h_last"] + 1, x["it_w_last"] + 1, x["it_b_last"] + 1
        image = np.zeros((rows, cols, blocks, self.port), np.int8)
        h, w, b = (np.arange(o, o + n) for o, n in ((h0, rows), (w0, cols), (b0, blocks)))
        inside = [(v >= 0) & (v < limit) for v, limit in ((h, x["i_h"]), (w, x["i_w"]), (b, x["i_b"]))]
        part = tensor[np.ix_(b[inside[2]], h[inside[0]], w[inside[1]])]
        image[np.ix_(*inside)] = part.transpose(1, 2, 0, 3)
        self.inputs = image.ravel()

    def _array_schedule(self, first):
        """All array tiles; psums are drained when a loop relevant to O moves."""
        lowest, last = self.x["gb_j_o"], None
        for index in self.gb.indices():
            if last is None or self._moved(index, last, lowest):
                if last is not None:
                    self._drain_tile(tile, fresh)
                tile = self.gb.address("o", index)
                reduced = [i for i in range(lowest, GB_LOOPS) if self.x["gb_reduction"] >> i & 1 and index[i]]
                fresh = first and not reduced
                shape = (self.rows, self.cols, int(self.rf_sequence[2].max()) + 1)
                self.accumulators = np.full(shape, _NO_PSUM if self.max else 0, np.int64)
            self._compute(index)
            last = index
        self._drain_tile(tile, fresh)

    def _compute(self, index):
        """One RF loop nest in every PE."""
        w, i, o = self.rf_sequence
        weights, inputs = self._weight_words(index), self._input_words(index)
        inputs = np.broadcast_to(inputs[..., i], (self.rows, self.cols, len(i)))
        terms = inputs if self.max else weights[..., w] * inputs
        accumulate = np.maximum if self.max else np.add
        flat = self.accumulators.reshape(self.rows * self.cols, -1)
        for pe, values in enumerate(terms.reshape(self.rows * self.cols, -1)):
            accumulate.at(flat[pe], o, values)

    def _weight_words(self, index):
        """RF words of W [row, col, word] of an array tile."""
        lanes, others = self.x["wf_lane_last"] + 1, self.x["wf_other_last"] + 1
        words = self.x["wf_word_last"] + 1
        start = self.gb.address("w", index) * self.chunk.n_w
        size = words * others * lanes * self.chunk.n_w
        tile = self.weights[start:start + size].reshape(words, others, -1).astype(np.int64)
        if self.chunk.lane_axis(Operand.W) == "row":
            tile = tile.transpose(0, 2, 1)
        tile = np.broadcast_to(tile, (words, max(self.rows, tile.shape[1]), max(self.cols, tile.shape[2])))
        return tile[:, :self.rows, :self.cols].transpose(1, 2, 0)

    def _input_words(self, index):
        """RF words of I [row, col, word]: by lane on a channel axis, by window on P and Q."""
        chunk, x = self.chunk, self.x
        addresses = self.fill.grid("a") + self.gb.address("i", index)  # [g][c][h][w][lane group]
        if chunk.lane_axis(Operand.I):
            lanes = addresses[..., None] + np.arange(chunk.n_i)
            words = self.inputs[np.minimum(lanes, len(self.inputs) - 1)].reshape(*addresses.shape[:4], -1)
            used = self.rows if chunk.lane_axis(Operand.I) == "row" else self.cols
            words = words.reshape(-1, words.shape[-1])[:, :used].T.astype(np.int64)
            return words[:, None] if chunk.lane_axis(Operand.I) == "row" else words[None]
        box = self.inputs[addresses[..., 0]].astype(np.int64)
        h, w = x["box_h"], x["box_w"]
        by_row = chunk.row_dim is Dim.P
        return np.stack([np.stack([box[:, :, r * x["window_h"] * by_row:][:, :, :h, c * x["window_w"]:][..., :w].ravel()
                                   for c in range(self.cols)]) for r in range(self.rows)])

    def _drain_tile(self, tile, fresh):
        """Join psums along reduction axes and add them to the buffer."""
        chunk, sums = self.chunk, self.accumulators
        for axis, name in enumerate(("row", "col")):
            if name in chunk.reduction_axes:
                sums = (sums.max if self.max else sums.sum)(axis=axis, keepdims=True)
        if chunk.lane_axis(Operand.O) != "row":
            sums = sums.transpose(1, 0, 2)
        addresses = self.drain.grid("a") + tile  # [g][k][p][q][other][lane group]
        lanes = min(chunk.n_o, sums.shape[0])
        groups = addresses.shape[-1]
        values = sums.reshape(groups, lanes, addresses.shape[-2], -1)  # [group][lane][other][word]
        places = (addresses.reshape(-1, *addresses.shape[-2:])[..., None] + np.arange(lanes))  # [word][other][group][lane]
        values = values.transpose(3, 2, 0, 1)
        if fresh:
            self.psums[places] = values
        elif self.max:
            self.psums[places] = np.maximum(self.psums[places], values)
        else:
            self.psums[places] += values

    def _store_tile(self, index):
        """Post-process the O buffer into the output tensor."""
        x, n_pp, pool = self.x, self.chunk.n_pp, 1 << self.x["pool_log2"]
        p0, q0 = (self.dram.address(n, index) >> x["pool_log2"] for n in "pq")
        b0, offset = self.dram.address("ob", index), self.dram.address("o", index)
        blocks, rows, cols = (self.store.bounds[i] for i in (4, 3, 2))
        for b in range(blocks):
            groups = x["st_group_last_of_last_block" if b == blocks - 1 else "st_group_last"] + 1
            for r, c in itertools.product(range(rows), range(cols)):
                if b0 + b >= x["o_b"] or p0 + r >= x["o_h"] or q0 + c >= x["o_w"]:
                    continue
                place = offset + b * x["o_block_pitch"] + r * x["o_row_pitch"] + c * self.port
                pixels = []
                for wy, wx in itertools.product(range(pool), range(pool)):
                    first = self.store.address("a", (wx, wy, c, r, b)) * n_pp
                    words = np.arange(first, first + groups * n_pp)
                    pixels.append(self._requantise(self.psums[words], b * self.port, place))
                self._write(place, np.stack(pixels))

    def _requantise(self, psums, channel, place):
        """spec.quant's arithmetic on the words of one pixel from `channel` on."""
        x, params = self.x, self.params[channel:channel + len(psums)].astype(np.int64)
        bias = np.where(params[:, 0] >= 1 << 31, params[:, 0] - (1 << 32), params[:, 0])
        value = _saturate16(_round_shift((psums + bias) * (params[:, 1] & (1 << 26) - 1), params[:, 1] >> 26))
        if x["has_residual"]:
            start = x["r_addr"] + place
            residual = self.memory[x["r_base_select"]][start:start + len(psums)].astype(np.int64)
            value = value + _saturate16(_round_shift(residual * x["res_multiplier"], x["res_shift"]))
        return np.clip(value, x["clamp_lo"], x["clamp_hi"])

    def _write(self, place, pixels):
        x = self.x
        if x["pool_average"]:
            value = _round_shift(pixels.sum(axis=0), 2 * x["pool_log2"])
        else:
            value = pixels.max(axis=0)
        start = x["o_addr"] + place
        beat = np.zeros(self.port, np.int8)
        beat[:len(value)] = value
        self.memory[x["o_base_select"]][start:start + self.port] = beat


def _round_shift(value, shift):
    """value / 2**shift, rounded half away from zero."""
    half = np.where(np.asarray(shift) > 0, np.int64(1) << np.maximum(np.asarray(shift) - 1, 0), 0)
    return np.sign(value) * ((np.abs(value) + half) >> shift)


def _saturate16(value):
    return np.clip(value, -(1 << 15), (1 << 15) - 1)
