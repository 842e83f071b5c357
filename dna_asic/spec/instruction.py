"""The instruction: one layer, as loop nests and tile sizes. Written by the compiler, read by simulator and RTL.

Every loop nest is (last index, jump per address) per loop, innermost first. A nest steps like an odometer: the
lowest loop that is not at its last index increments (its number is the step's *class*), all lower loops return
to 0, and each address register adds the jump of that class. So
jump[i] = stride[i] - sum(last[j] * stride[j] for j < i), and no hardware multiplies.

Fields are packed in the order of FIELDS into little-endian 32-bit words, each into the first word with room; none
crosses a word. Signed fields are two's complement.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dna_asic.errors import SpecError
from dna_asic.spec.accelerator import MAX_CHUNKS

OPCODE_LAYER = 0x4C  # 'L'; anything else is an illegal instruction
RF_LOOPS = GB_LOOPS = 7
DRAM_LOOPS = 5
I_FILL_LOOPS = 6  # lane group, other axis, array-box column, array-box row, c_rf, g_rf
O_DRAIN_LOOPS = 6  # lane group, other axis, q_rf, p_rf, k_rf, g_rf
STORE_LOOPS = 5  # window column, window row, pooled column, pooled row, block
BASE_PROGRAM, BASE_INPUT, BASE_OUTPUT = 0, 1, 2  # which base register an address is relative to


@dataclass(frozen=True)
class Field:
    """One field: width in bits."""

    name: str
    width: int
    signed: bool = False


def _nest(prefix, loops, last_bits, jumps):
    for i in range(loops):
        yield Field(f"{prefix}_last_{i}", last_bits)
        for name, bits in jumps:
            yield Field(f"{prefix}_{name}_{i}", bits, signed=True)


FIELDS: tuple[Field, ...] = (
    Field("opcode", 8),
    Field("is_last", 1),  # the program's last layer: a pass ends after it
    Field("op_max", 1),  # PE: maximum of inputs instead of multiply-accumulate
    Field("has_residual", 1),
    Field("pool_average", 1),  # fused pooling: average, else maximum
    Field("pool_log2", 2),  # log2 of the fused pooling window; 0: none
    Field("stride", 3),
    Field("pad", 4),
    Field("i_base_select", 2), Field("o_base_select", 2), Field("r_base_select", 2),
    # several chunks (spec.pipeline): the layer's stage; per chunk the wait's distance in iterations (0: none) and
    # position; per tensor log2 of its copies and their distance in bytes
    Field("stage", 12),
    *(Field(f"wait_{name}_{chunk}", bits) for name, bits in (("distance", 4), ("position", 12))
      for chunk in range(MAX_CHUNKS)),
    *(Field(f"{x}_copies_log2", 2) for x in "ior"), *(Field(f"{x}_pitch", 32) for x in "ior"),
    # array: PEs in use along each axis, and 'lowest relevant loop' of each operand at GB and DRAM
    # (equal to the loop count when no relevant loop has a bound above 1)
    Field("rows_used", 7), Field("cols_used", 7),
    Field("gb_j_w", 3), Field("gb_j_i", 3), Field("gb_j_o", 3),
    Field("dram_j_w", 3), Field("dram_j_i", 3), Field("dram_j_o", 3),
    Field("rf_j_w", 3), Field("rf_j_i", 3), Field("rf_j_o", 3),
    Field("rf_reduction", RF_LOOPS),  # bit i: RF loop i is a reduction (C, R or S)
    Field("gb_reduction", GB_LOOPS),  # bit i: GB loop i is a reduction
    Field("dram_reduction", DRAM_LOOPS),
    # RF nest: word addresses in the PE's register files, one step a MAC cycle
    *_nest("rf", RF_LOOPS, 6, (("w", 8), ("i", 8), ("o", 8))),
    # GB nest: one step an array tile. W: beats of n_w words; I: bytes; O: 32-bit words
    *_nest("gb", GB_LOOPS, 12, (("w", 24), ("i", 24), ("o", 24))),
    # DRAM nest: one step a global-buffer tile. w, i, o: byte addresses; p, q: first output row and column
    # (before pooling); ib, ob: first channel block of input and output
    *_nest("dram", DRAM_LOOPS, 12,
           (("w", 32), ("i", 32), ("o", 32), ("p", 14), ("q", 14), ("ib", 14), ("ob", 14))),
    # W fill: lane groups of n_w, PEs along the other axis, RF words; linear in the buffer
    Field("wf_lane_last", 6), Field("wf_other_last", 6), Field("wf_word_last", 6),
    # I fill: byte address in the buffer. RF box of one PE, and pitch of the PEs' windows in the array box
    *_nest("if", I_FILL_LOOPS, 10, (("a", 24),)),
    Field("box_h", 8), Field("box_w", 8), Field("window_h", 8), Field("window_w", 8),
    # O drain: word address in the buffer
    *_nest("od", O_DRAIN_LOOPS, 6, (("a", 24),)),
    # DMA of W: beats of weights, then beats of parameters
    Field("w_addr", 32), Field("w_beats", 20), Field("w_param_beats", 12),
    # DMA of I: tile rows, columns, blocks; tensor rows, columns, blocks; byte pitches
    Field("i_addr", 32), Field("it_h_last", 12), Field("it_w_last", 12), Field("it_b_last", 12),
    Field("i_h", 14), Field("i_w", 14), Field("i_b", 14), Field("i_row_pitch", 24), Field("i_block_pitch", 32),
    # store: read address of a pixel's first word group (n_pp words) of a block; word groups of a block and of the
    # last block; output tensor after pooling
    *_nest("st", STORE_LOOPS, 12, (("a", 24),)),
    Field("st_group_last", 6), Field("st_group_last_of_last_block", 6),
    Field("o_addr", 32), Field("r_addr", 32),
    Field("o_h", 14), Field("o_w", 14), Field("o_b", 14), Field("o_row_pitch", 24), Field("o_block_pitch", 32),
    Field("clamp_lo", 8, signed=True), Field("clamp_hi", 8, signed=True),
    Field("res_multiplier", 26), Field("res_shift", 6),
)


def _offsets():
    offsets, used = {}, []  # used: bits taken of each 32-bit word; every field goes to the first word with room
    for field in FIELDS:
        word = next((i for i, bits in enumerate(used) if bits + field.width <= 32), len(used))
        if word == len(used):
            used.append(0)
        offsets[field.name] = 32 * word + used[word]
        used[word] += field.width
    return offsets, -(-len(used) // 16) * 64


OFFSETS, INSTRUCTION_BYTES = _offsets()  # bit offset of each field; bytes, a multiple of the widest port (64)
_BY_NAME = {f.name: f for f in FIELDS}


@dataclass(frozen=True)
class Instruction:
    """One layer's instruction: a value for every field of FIELDS.

    Raises SpecError for a missing, unknown or out-of-range field.
    """

    values: Mapping[str, int]

    def __post_init__(self):
        faults = [f"Instruction: unknown field '{n}'." for n in self.values if n not in _BY_NAME]
        for field in FIELDS:
            low = -(1 << field.width - 1) if field.signed else 0
            high = (1 << field.width - field.signed) - 1
            value = self.values.get(field.name)
            if value is None:
                faults.append(f"Instruction: missing field '{field.name}'.")
            elif not low <= value <= high:
                faults.append(f"Instruction: {field.name} must be in {low}..{high}, not {value}.")
        if faults:
            raise SpecError("\n".join(faults))

    def __getitem__(self, name: str) -> int:
        return self.values[name]

    def encode(self) -> bytes:
        """INSTRUCTION_BYTES bytes."""
        word = 0
        for field in FIELDS:
            word |= (self.values[field.name] & (1 << field.width) - 1) << OFFSETS[field.name]
        return word.to_bytes(INSTRUCTION_BYTES, "little")

    @classmethod
    def decode(cls, data: bytes) -> "Instruction":
        """Inverse of `encode`."""
        word, values = int.from_bytes(data[:INSTRUCTION_BYTES], "little"), {}
        for field in FIELDS:
            value = word >> OFFSETS[field.name] & (1 << field.width) - 1
            if field.signed and value >> field.width - 1:
                value -= 1 << field.width
            values[field.name] = value
        return cls(values)


def nest_jumps(last: list[int], strides: list[int]) -> list[int]:
    """Jump of each class for an address with these strides per loop, innermost first."""
    jumps, wound_back = [], 0
    for final, stride in zip(last, strides, strict=True):
        jumps.append(stride - wound_back)
        wound_back += final * stride
    return jumps
