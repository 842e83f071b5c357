"""DMA: the read engine (instruction, residual, I and W jobs) and the write engine of stores."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.geometry import param_channels
from dna_asic.spec.instruction import INSTRUCTION_BYTES
from dna_asic.spec.quant import PARAM_BYTES
from rtl_gen.buffer import address_bits
from rtl_gen.fields import layout_of
from rtl_gen.walk import TileWalk, first_place

JOBS = ("instruction", "residual", "i", "w")  # in the order in which pending jobs run
PARAM_BANKS = 4
_READ_FIELDS = ("stride", "pad", "it_h_last", "it_w_last", "it_b_last", "i_h", "i_w", "i_b", "i_row_pitch",
                "i_block_pitch", "st_last_2", "st_last_3", "st_last_4", "o_h", "o_w", "o_b", "o_row_pitch",
                "o_block_pitch", "w_beats", "w_param_beats")
_STORE_FIELDS = ("st_last_2", "st_last_3", "st_last_4", "o_h", "o_w", "o_b", "o_row_pitch", "o_block_pitch")


def box(m, walks, **values):
    """Drive walk parameters of the same name in all `walks`."""
    for walk in walks:
        m.d.comb += [getattr(walk, name).eq(value) for name, value in values.items()]


def store_box(instruction, place):
    """Walk parameters of an output tile after pooling; place: its first (column, row, block)."""
    return first_place(
        column_last=instruction.st_last_2, row_last=instruction.st_last_3, block_last=instruction.st_last_4,
        column_count=instruction.o_w, row_count=instruction.o_h, block_count=instruction.o_b, column_0=place[0],
        row_0=place[1], block_0=place[2], row_pitch=instruction.o_row_pitch, block_pitch=instruction.o_block_pitch)


class ReadEngine(wiring.Component):
    """Runs read jobs one at a time: of those pending, the first of instruction, residual, I, W.

    `start_x` in cycle t makes job x pending; `x_*` parameters must stay until `done_x`. An I or W job started
    alone at t is done at t + DMA_JOB_CYCLES + L + beats with the ideal memory: `idle` (nothing pending, the last
    beat being taken) rises in that cycle. Beats outside the tensor are zeros that cost a cycle and no request.
    Results: `instruction` words; rows to the W and I buffers; parameter rows; a stream of residual beats
    (`residual_valid`, `residual_data`, taken with `residual_take`).
    """

    def __init__(self, config: AcceleratorConfig):
        self.config, chunk, port = config, config.chunk, config.port_bytes
        self.port = port
        self.param_rows = param_channels(chunk) * PARAM_BYTES // port
        ports = {f"start_{job}": In(1) for job in JOBS} | {f"{job}_address": In(32) for job in JOBS}
        ports |= {
            "fields": In(layout_of(_READ_FIELDS)), "idle": Out(1), "busy": Out(1),
            "i_row_0": In(signed(15)), "i_column_0": In(signed(15)), "i_block_0": In(14), "i_half": In(1),
            "w_half": In(1), "w_bank": In(range(PARAM_BANKS)),
            "residual_column_0": In(14), "residual_row_0": In(14), "residual_block_0": In(14),
            "instruction": Out(8 * INSTRUCTION_BYTES),
            "residual_valid": Out(1), "residual_data": Out(8 * port), "residual_take": In(1),
            "param_write_en": Out(1), "param_write_row": Out(address_bits(PARAM_BANKS * self.param_rows)),
            "write_data": Out(8 * port),
            "ask": Out(1), "address": Out(32), "beats_last": Out(8), "ready": In(1),
            "valid": In(1), "data": In(8 * port), "take": Out(1),
        }
        ports |= {f"count_{job}": Out(1) for job in JOBS}
        for x, size in (("w", chunk.gb_w_bytes), ("i", chunk.gb_i_bytes)):
            ports |= {f"{x}_write_en": Out(1), f"{x}_write_half": Out(1),
                      f"{x}_write_row": Out(address_bits(size // 2 // port))}
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        m.submodules.issue = issue = TileWalk(self.port)
        m.submodules.receive = receive = TileWalk(self.port)
        pending = {job: Signal(name=f"pending_{job}") for job in JOBS}
        current = {job: Signal(name=f"current_{job}") for job in JOBS}
        running, load, finish = Signal(), Signal(), Signal()
        m.d.comb += load.eq(~running & Cat(pending.values()).any())
        chosen = {}
        earlier = Const(0)
        for job in JOBS:
            chosen[job] = pending[job] & ~earlier
            earlier = earlier | pending[job]
            with m.If(load):
                m.d.sync += current[job].eq(chosen[job])
            with m.If(getattr(self, f"start_{job}")):
                m.d.sync += pending[job].eq(1)
            with m.Elif(load & chosen[job]):
                m.d.sync += pending[job].eq(0)
        with m.If(load):
            m.d.sync += running.eq(1)
        with m.Elif(finish):
            m.d.sync += running.eq(0)
        m.d.comb += [issue.load.eq(load), receive.load.eq(load), self.busy.eq(running | load),
                     self.idle.eq((~running | finish) & ~Cat(pending.values()).any())]
        self._parameters(m, (issue, receive), chosen, current, running)
        self._issue(m, issue)
        self._receive(m, receive, running, current, finish)
        return m

    def _parameters(self, m, walks, chosen, current, running):
        f, beats = self.fields, INSTRUCTION_BYTES // self.port
        skipped = Signal(32)  # bytes from the tile's first padded pixel to its first unpadded one
        m.d.sync += skipped.eq(f.pad * (f.i_row_pitch + self.port))
        linear = {"row_last": 0, "column_0": 0, "row_0": 0, "block_0": 0, "column_count": -1, "row_count": -1,
                  "block_count": -1, "row_pitch": 0, "block_last": 0, "block_pitch": 0, "columns_0": -1}
        linear |= dict.fromkeys(("column_inside_0", "row_inside_0", "block_inside_0"), 1)
        place = (self.residual_column_0, self.residual_row_0, self.residual_block_0)
        boxes = {
            "instruction": linear | {"column_last": beats - 1, "address_0": self.instruction_address},
            "residual": store_box(f, place) | {"address_0": self.residual_address},
            "i": first_place(
                column_last=f.it_w_last, row_last=f.it_h_last, block_last=f.it_b_last, column_count=f.i_w,
                row_count=f.i_h, block_count=f.i_b, column_0=self.i_column_0, row_0=self.i_row_0,
                block_0=self.i_block_0, row_pitch=f.i_row_pitch, block_pitch=f.i_block_pitch,
                address_0=self.i_address - skipped),
            "w": linear | {"column_last": f.w_beats + f.w_param_beats - 1, "address_0": self.w_address},
        }
        for job in JOBS:
            with m.If(Mux(running, current[job], chosen[job])):
                box(m, walks, **boxes[job])

    def _issue(self, m, walk):
        """Ask for a burst at its first beat; one beat a cycle."""
        left, over, new = Signal(8), Signal(), Signal()  # beats left of the burst asked for; none
        m.d.comb += [new.eq(walk.active & walk.real & over), self.ask.eq(new),
                     self.address.eq(walk.address), self.beats_last.eq(walk.run_last),
                     walk.step.eq(walk.active & (~new | self.ready))]
        with m.If(walk.step & walk.real):
            m.d.sync += [left.eq(Mux(new, walk.run_last, left - 1)),
                         over.eq(Mux(new, walk.run_last == 0, left == 1))]
        with m.If(walk.load):
            m.d.sync += [left.eq(0), over.eq(1)]

    def _receive(self, m, walk, running, current, finish):
        """Take a beat from the bus, or a zero, and put it where the job wants it."""
        usable, taken, data = Signal(), Signal(), Signal(8 * self.port)
        m.d.comb += [
            usable.eq(walk.active & (~walk.real | self.valid)),
            taken.eq(usable & (~current["residual"] | self.residual_take)), self.take.eq(taken & walk.real),
            walk.step.eq(taken), finish.eq(taken & walk.last), data.eq(Mux(walk.real, self.data, 0)),
            self.write_data.eq(data), self.residual_valid.eq(usable & current["residual"]),
            self.residual_data.eq(data),
        ]
        m.d.comb += [getattr(self, f"count_{job}").eq(self.take & current[job]) for job in JOBS]
        with m.If(taken & current["instruction"]):
            beats = INSTRUCTION_BYTES // self.port
            with m.Switch(walk.index[:ceil_log2(beats)]):
                for n in range(beats):
                    with m.Case(n):
                        m.d.sync += self.instruction.word_select(n, 8 * self.port).eq(data)
        parameter = walk.index >= self.fields.w_beats
        m.d.comb += [
            self.w_write_en.eq(taken & current["w"] & ~parameter), self.w_write_half.eq(self.w_half),
            self.w_write_row.eq(walk.index), self.param_write_en.eq(taken & current["w"] & parameter),
            self.param_write_row.eq(self.w_bank * self.param_rows + (walk.index - self.fields.w_beats)),
            self.i_write_en.eq(taken & current["i"]), self.i_write_half.eq(self.i_half),
        ]
        self._input_row(m, walk, taken)

    def _input_row(self, m, walk, taken):
        """Row of the I buffer: pixel * blocks + block."""
        row, block = Signal.like(self.i_write_row), Signal.like(self.i_write_row)
        blocks = self.fields.it_b_last + 1
        m.d.comb += self.i_write_row.eq(row)
        with m.If(walk.load):
            m.d.sync += [row.eq(0), block.eq(0)]
        with m.Elif(taken & walk.block_end):
            m.d.sync += [row.eq(block + 1), block.eq(block + 1)]
        with m.Elif(taken):
            m.d.sync += row.eq(row + blocks)


class StoreEngine(wiring.Component):
    """Writes the beats of an output tile in the order [block][row][column].

    `start` in cycle t takes the tile's place and address. Then one beat at a time: `beat` with `data` while `ready`;
    beats outside the tensor are dropped. done: high in the cycle in which the tile's last beat is taken.
    """

    def __init__(self, config: AcceleratorConfig):
        self.port = config.port_bytes
        super().__init__({
            "fields": In(layout_of(_STORE_FIELDS)), "start": In(1), "tile_address": In(32), "column_0": In(14),
            "row_0": In(14), "block_0": In(14), "beat": In(1), "data": In(8 * self.port), "ready": Out(1),
            "done": Out(1), "count": Out(1),
            "put": Out(1), "first": Out(1), "address": Out(32), "beats_last": Out(8), "put_data": Out(8 * self.port),
            "put_ready": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.walk = walk = TileWalk(self.port)
        box(m, (walk,), address_0=self.tile_address,
            **store_box(self.fields, (self.column_0, self.row_0, self.block_0)))
        left, over = Signal(8), Signal()  # beats left of the burst; none
        m.d.comb += [
            walk.load.eq(self.start), self.ready.eq(~walk.real | self.put_ready), self.put.eq(self.beat & walk.real),
            self.first.eq(over), self.address.eq(walk.address), self.beats_last.eq(walk.run_last),
            self.put_data.eq(self.data), walk.step.eq(self.beat & self.ready), self.done.eq(walk.step & walk.last),
            self.count.eq(self.put & self.put_ready),
        ]
        with m.If(self.start):
            m.d.sync += [left.eq(0), over.eq(1)]
        with m.Elif(walk.step & walk.real):
            m.d.sync += [left.eq(Mux(over, walk.run_last, left - 1)), over.eq(Mux(over, walk.run_last == 0, left == 1))]
        return m
