"""The decoded instruction as hardware: a view of the packed bits, one named field each.

The view only names bit ranges of `dna_asic.spec.instruction`; decoding costs no gates, and bits that nothing reads
are removed by synthesis.
"""

from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from dna_asic.spec.instruction import FIELDS, INSTRUCTION_BYTES, OFFSETS

_SHAPES = {f.name: signed(f.width) if f.signed else unsigned(f.width) for f in FIELDS}
INSTRUCTION_BITS = 8 * INSTRUCTION_BYTES
InstructionLayout = data.FlexibleLayout(
    INSTRUCTION_BITS,
    {name: data.Field(shape, OFFSETS[name]) for name, shape in _SHAPES.items()},
)
WIDTHS = {f.name: f.width for f in FIELDS}


def layout_of(names) -> data.StructLayout:
    """Layout of the named fields only: what a block that reads no others takes as its `instruction`."""
    return data.StructLayout({name: _SHAPES[name] for name in names})


def nest_names(prefix: str, addresses, loops: int) -> list[str]:
    """Names of the fields of a nest: last index and jumps of every loop."""
    return [f"{prefix}_{kind}_{i}" for i in range(loops) for kind in ("last", *addresses)]


def connect_fields(m, sink, instruction):
    """Drive every field of the view `sink` from the field of that name."""
    m.d.comb += [sink[name].eq(instruction[name]) for name in sink.shape().members]


def decode(raw):
    """View of INSTRUCTION_BITS raw bits (byte 0 lowest); `decode(raw).opcode` is the field."""
    return data.View(InstructionLayout, raw)


def connect_nest(m, nest, instruction, prefix):
    """Drive the last indices and jumps of `nest` from the fields named `<prefix>_last_i`, `<prefix>_<address>_i`."""
    for i in range(nest.loops):
        m.d.comb += nest.last_index[i].eq(instruction[f"{prefix}_last_{i}"])
        for name in nest.addresses:
            m.d.comb += nest.jump(name)[i].eq(instruction[f"{prefix}_{name}_{i}"])
