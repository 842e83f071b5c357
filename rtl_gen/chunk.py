"""The compute side of a chunk: global buffers, NoC, PE array and their sequencer."""

import math

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dna_asic.spec.accelerator import AcceleratorConfig, ChunkConfig
from dna_asic.spec.dims import Operand
from rtl_gen.buffer import BankedBuffer, PsumBuffer, address_bits
from rtl_gen.fields import InstructionLayout, connect_fields
from rtl_gen.noc import InputFill, OutputDrain, WeightFill
from rtl_gen.pe_array import PEArray, mask
from rtl_gen.sequencer import ArraySequencer

COUNT_BITS = {  # increment of each event counter in this cycle
    "macs": 13, "rf_w_reads": 13, "rf_i_reads": 13, "rf_o_reads": 13, "rf_w_writes": 13, "rf_i_writes": 13,
    "rf_o_writes": 13, "gb_w_reads": 7, "gb_i_reads": 7, "gb_o_reads": 8, "gb_w_writes": 7, "gb_i_writes": 7,
    "gb_o_writes": 7,
}


def core_ports(config: AcceleratorConfig, chunk: ChunkConfig) -> dict:
    """Ports of `ChunkCore`.

    start: pulse, with w_half, i_half, o_half (the global-buffer halves to use) and first_reduction (first DRAM tile
    along C) held until done. done: pulse. gb_w_write_*, gb_i_write_*: a row of port_bytes bytes of a half.
    gb_o_read_*: n_pp words of a half (address in units of n_pp words), data one cycle later; not the half in use by
    the drain. count_*: what happened in this cycle, to be added up.
    """
    port = config.port_bytes
    ports = {
        "instruction": In(InstructionLayout),
        "start": In(1), "w_half": In(1), "i_half": In(1), "o_half": In(1), "first_reduction": In(1),
        "done": Out(1),
        "gb_o_read_en": In(1), "gb_o_read_half": In(1),
        "gb_o_read_address": In(address_bits(chunk.gb_o_bytes // 8 // chunk.n_pp)),
        "gb_o_read_data": Out(32 * chunk.n_pp),
    }
    for name, size in (("w", chunk.gb_w_bytes), ("i", chunk.gb_i_bytes)):
        ports |= {f"gb_{name}_write_en": In(1), f"gb_{name}_write_half": In(1),
                  f"gb_{name}_write_row": In(address_bits(size // 2 // port)), f"gb_{name}_write_data": In(8 * port)}
    return ports | {f"count_{name}": Out(bits) for name, bits in COUNT_BITS.items()}


class ChunkCore(wiring.Component):
    """Global buffers, NoC, PE array and array-level sequencer of one chunk; ports: `core_ports`.

    `instruction` must be stable from two cycles before the first `start` of a layer until its last `done`.
    From `start` to `done`: the closed form of the schedule + CORE_CYCLES cycles; the O half may be read from then.
    """

    def __init__(self, config: AcceleratorConfig, chunk: ChunkConfig):
        self.config = config
        self.chunk = chunk
        super().__init__(core_ports(config, chunk))

    def elaborate(self, platform):
        m = Module()
        chunk, instruction = self.chunk, self.instruction
        m.submodules.sequencer = sequencer = ArraySequencer(chunk)
        m.submodules.array = array = PEArray(chunk)
        m.submodules.weight_fill = weight_fill = WeightFill(chunk)
        m.submodules.input_fill = input_fill = InputFill(chunk)
        m.submodules.output_drain = drain = OutputDrain(chunk)
        row_used = mask(m, instruction.rows_used, chunk.pe_rows, "row_used")
        col_used = mask(m, instruction.cols_used, chunk.pe_cols, "col_used")
        m.d.comb += [sequencer.start.eq(self.start), sequencer.first_reduction.eq(self.first_reduction),
                     self.done.eq(sequencer.done), drain.tile_first.eq(sequencer.o_tile_first),
                     array.op_max.eq(instruction.op_max)]
        for part in (sequencer, weight_fill, input_fill, drain):
            connect_fields(m, part.instruction, instruction)
        for part in (array, weight_fill, input_fill):
            m.d.comb += [part.row_used.eq(row_used), part.col_used.eq(col_used)]
        for x, part in (("w", weight_fill), ("i", input_fill), ("o", drain)):
            m.d.comb += [part.start.eq(getattr(sequencer, f"{x}_start")), part.tile.eq(getattr(sequencer, f"{x}_tile")),
                         getattr(sequencer, f"{x}_idle").eq(part.idle)]
        for part in (sequencer, weight_fill, input_fill, drain):
            _connect_named(m, part, array)
        self._input_buffer(m, "w", chunk.gb_w_bytes, chunk.n_w, weight_fill)
        self._input_buffer(m, "i", chunk.gb_i_bytes, chunk.n_i, input_fill)
        single = self._psum_buffer(m, drain, array)
        self._counts(m, sequencer, array, weight_fill, input_fill, drain, single)
        return m

    def _input_buffer(self, m, x, size, width, fill):
        """Buffer of W or I: both halves in one memory, the half being the highest address bit."""
        port = self.config.port_bytes
        m.submodules[f"gb_{x}"] = buffer = BankedBuffer(port, width, size // port)
        m.d.comb += [
            buffer.write_en.eq(getattr(self, f"gb_{x}_write_en")),
            buffer.write_row.eq(Cat(getattr(self, f"gb_{x}_write_row"), getattr(self, f"gb_{x}_write_half"))),
            buffer.write_data.eq(getattr(self, f"gb_{x}_write_data")),
            buffer.read_en.eq(fill.read_en),
            buffer.read_address.eq(Cat(fill.read_address, getattr(self, f"{x}_half"))),
            fill.read_data.eq(buffer.read_data),
        ]

    def _psum_buffer(self, m, drain, array):
        chunk = self.chunk
        m.submodules.gb_o = buffer = PsumBuffer(chunk.n_o, chunk.n_pp, chunk.gb_o_bytes)
        lane_used = {"row": self.instruction.rows_used, "col": self.instruction.cols_used, None: 1}
        single = Signal()
        m.d.sync += single.eq(lane_used[chunk.lane_axis(Operand.O)] == 1)
        m.d.comb += [
            buffer.drain_half.eq(self.o_half), buffer.drain_read_en.eq(drain.read_en),
            buffer.drain_read_address.eq(drain.read_address), buffer.first.eq(drain.first), buffer.single.eq(single),
            buffer.op_max.eq(self.instruction.op_max), buffer.write_en.eq(drain.write_en),
            buffer.write_address.eq(drain.write_address), buffer.read_en.eq(self.gb_o_read_en),
            buffer.read_half.eq(self.gb_o_read_half), buffer.read_address.eq(self.gb_o_read_address),
            self.gb_o_read_data.eq(buffer.read_data),
        ]
        m.d.comb += [getattr(buffer, f"lane_{n}").eq(getattr(array, f"lane_{n}")) for n in range(chunk.n_o)]
        return single

    def _counts(self, m, sequencer, array, weight_fill, input_fill, drain, single):
        """Increments: words that cross each memory's port in this cycle."""
        chunk, port = self.chunk, self.config.port_bytes
        rows, cols = self.instruction.rows_used, self.instruction.cols_used
        pes = Signal(COUNT_BITS["macs"], name="pes_used")
        m.d.sync += pes.eq(rows * cols)
        sets = {x: self._sets_used(m, x) for x in Operand}
        lanes = Mux(single, 1, chunk.n_o)
        issue = sequencer.issue
        counts = {
            "macs": Mux(issue, pes, 0),
            "rf_w_reads": Mux(issue & sequencer.w_load, sets[Operand.W], 0),
            "rf_i_reads": Mux(issue & sequencer.i_load, sets[Operand.I], 0),
            "rf_o_reads": Mux(issue & sequencer.visit_start & ~sequencer.visit_first, sets[Operand.O], 0),
            "rf_o_writes": Mux(issue & sequencer.visit_end, sets[Operand.O], 0),
            "rf_w_writes": array.w_captured, "rf_i_writes": array.i_captured,
            "gb_w_reads": Mux(weight_fill.read_en, chunk.n_w, 0), "gb_i_reads": Mux(input_fill.read_en, chunk.n_i, 0),
            "gb_o_reads": Mux(drain.read_en, lanes, 0) + Mux(self.gb_o_read_en, chunk.n_pp, 0),
            "gb_o_writes": Mux(drain.write_en, lanes, 0),
            "gb_w_writes": Mux(self.gb_w_write_en, port, 0), "gb_i_writes": Mux(self.gb_i_write_en, port, 0),
        }
        m.d.sync += [getattr(self, f"count_{name}").eq(value) for name, value in counts.items()]

    def _sets_used(self, m, operand):
        """Register files of an operand in use."""
        used = (("row", self.instruction.rows_used), ("col", self.instruction.cols_used))
        shared = self.chunk.shared_axes(operand)
        result = Signal(COUNT_BITS["macs"], name=f"{operand.name.lower()}_sets_used")
        m.d.sync += result.eq(math.prod(n for axis, n in used if axis not in shared))
        return result


def _connect_named(m, part, array):
    """Join ports of one name; each is driven by the side on which it is an output."""
    for name, member in part.signature.members.items():
        members = array.signature.members
        if name in members and member.flow != members[name].flow:
            source, sink = (part, array) if member.flow is Out else (array, part)
            m.d.comb += getattr(sink, name).eq(getattr(source, name))
