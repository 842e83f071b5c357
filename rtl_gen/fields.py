"""The decoded instruction as hardware: a view of the packed bits, one named field each.

The view only names bit ranges of `dna_asic.spec.instruction`; decoding costs no gates, and bits that nothing reads
are removed by synthesis.
"""

from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from dna_asic.spec.instruction import FIELDS, INSTRUCTION_BYTES, OFFSETS

INSTRUCTION_BITS = 8 * INSTRUCTION_BYTES
InstructionLayout = data.FlexibleLayout(
    INSTRUCTION_BITS,
    {f.name: data.Field(signed(f.width) if f.signed else unsigned(f.width), OFFSETS[f.name]) for f in FIELDS},
)
WIDTHS = {f.name: f.width for f in FIELDS}


def decode(raw):
    """View of INSTRUCTION_BITS raw bits (byte 0 lowest); `decode(raw).opcode` is the field."""
    return data.View(InstructionLayout, raw)


def connect_nest(m, nest, instruction, prefix):
    """Drive the last indices and jumps of `nest` from the fields named `prefix`_last_i, `prefix`_<address>_i."""
    for i in range(nest.loops):
        m.d.comb += nest.last_index[i].eq(instruction[f"{prefix}_last_{i}"])
        for name in nest.addresses:
            m.d.comb += nest.jump(name)[i].eq(instruction[f"{prefix}_{name}_{i}"])
