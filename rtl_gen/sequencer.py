"""The array-level sequencer: steps array tiles in GB order, flips register-file halves, starts fills and drains."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dna_asic.spec.accelerator import ChunkConfig
from dna_asic.spec.instruction import GB_LOOPS, RF_LOOPS
from rtl_gen.buffer import address_bits
from rtl_gen.fields import WIDTHS, connect_nest, layout_of, nest_names
from rtl_gen.nest import Nest

_FIELDS = [*(f"{level}_j_{x}" for level in ("rf", "gb") for x in "wio"), "rf_reduction", "gb_reduction",
           *nest_names("rf", "wio", RF_LOOPS), *nest_names("gb", "wio", GB_LOOPS)]


class ArraySequencer(wiring.Component):
    """Runs one DRAM tile per `start` and pulses `done`; cycles between the two: the closed form + CORE_CYCLES.

    <x>_start: begin a fill of W or I (drain of O) at buffer address <x>_tile in the next cycle; <x>_idle must fall
    in that cycle and rise in the last cycle before the next flip may happen. o_tile_first: the drained words are
    not added to the buffer's. <x>_half: register-file half that compute uses.
    issue: one MAC per PE, at <x>_address; w_load, i_load: the operand differs from the MAC before; visit_start,
    visit_end: first and last MAC on its psum; visit_first (at visit_start): the psum starts from nothing.
    """

    def __init__(self, chunk: ChunkConfig):
        self.chunk = chunk
        self.tile_bits = {"w": address_bits(chunk.gb_w_bytes // 2 // chunk.n_w),
                          "i": address_bits(chunk.gb_i_bytes // 2), "o": address_bits(chunk.gb_o_bytes // 8)}
        self.word_bits = {"w": address_bits(chunk.rf_w_words), "i": address_bits(chunk.rf_i_words),
                          "o": address_bits(chunk.rf_o_words)}
        ports = {"instruction": In(layout_of(_FIELDS)), "start": In(1), "first_reduction": In(1), "done": Out(1),
                 "o_tile_first": Out(1)}
        for x in "wio":
            ports |= {f"{x}_idle": In(1), f"{x}_start": Out(1), f"{x}_tile": Out(self.tile_bits[x]),
                      f"{x}_half": Out(1), f"{x}_address": Out(self.word_bits[x])}
        ports |= {n: Out(1) for n in ("issue", "w_load", "i_load", "visit_start", "visit_first", "visit_end")}
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        m.submodules.rf = rf = Nest(RF_LOOPS, WIDTHS["rf_last_0"], {x: (n, n) for x, n in self.word_bits.items()})
        m.submodules.gb = gb = Nest(GB_LOOPS, WIDTHS["gb_last_0"], {"o": (self.tile_bits["o"],) * 2})
        connect_nest(m, rf, self.instruction, "rf")
        connect_nest(m, gb, self.instruction, "gb")
        begin, advance, finish = (Signal(name=n) for n in ("begin", "advance", "finish"))
        flip = {x: Signal(name=f"flip_{x}") for x in "wio"}
        for x in "wio":
            m.d.comb += flip[x].eq(begin & (x != "o") | advance & (gb.class_ >= self.instruction[f"gb_j_{x}"]))
            with m.If(flip[x]):
                m.d.sync += getattr(self, f"{x}_half").eq(~getattr(self, f"{x}_half"))
        first_fill = self._states(m, rf, gb, begin, advance, finish)
        for x in "wi":
            self._fill_ahead(m, x, first_fill, flip[x])
        m.d.comb += [rf.load.eq(self.start), rf.step.eq(self.issue), gb.load.eq(self.start), gb.step.eq(advance),
                     self.o_start.eq(flip["o"]), self.o_tile.eq(gb.o)]
        kept = [self.instruction.gb_reduction[i] & (self.instruction.gb_j_o <= i) & gb.index[i].any()
                for i in range(GB_LOOPS)]
        m.d.comb += self.o_tile_first.eq(self.first_reduction & ~Cat(kept).any())
        self._mac_control(m, rf, begin, advance, flip["o"])
        return m

    def _states(self, m, rf, gb, begin, advance, finish):
        """Phases of a DRAM tile; returns the strobe of the first fills."""
        first_fill, stalled, ready = (Signal(name=n) for n in ("first_fill", "stalled", "ready"))
        waits = [(gb.class_ < self.instruction[f"gb_j_{x}"]) | getattr(self, f"{x}_idle") for x in "wio"]
        m.d.comb += ready.eq(Cat(waits).all())  # past the last step the class is above every j: all must be idle
        m.d.sync += self.done.eq(finish)
        with m.FSM(name="phase"):
            with m.State("IDLE"), m.If(self.start):
                m.next = "FIRST_FILLS"
            with m.State("FIRST_FILLS"):
                m.d.comb += first_fill.eq(1)
                m.next = "WAIT_FILLS"
            with m.State("WAIT_FILLS"):
                m.d.comb += begin.eq(self.w_idle & self.i_idle)
                with m.If(begin):
                    m.next = "STEPS"
            with m.State("STEPS"):
                step_over = (self.issue & rf.last) | stalled
                m.d.comb += [self.issue.eq(~stalled), advance.eq(step_over & ready)]
                m.d.sync += stalled.eq(step_over & ~ready)
                with m.If(advance & gb.last):
                    m.next = "LAST_DRAIN"
            with m.State("LAST_DRAIN"):
                m.d.comb += finish.eq(self.o_idle)
                with m.If(finish):
                    m.next = "IDLE"
        return first_fill

    def _fill_ahead(self, m, x, first_fill, flip):
        """Fills of W or I run one tile ahead, from a nest that skips the loops below j_X."""
        m.submodules[f"{x}_fill_nest"] = nest = Nest(GB_LOOPS, WIDTHS["gb_last_0"], {x: (self.tile_bits[x],) * 2})
        connect_nest(m, nest, self.instruction, "gb")
        more, begin = Signal(name=f"{x}_more"), getattr(self, f"{x}_start")
        m.d.comb += [begin.eq(first_fill | (flip & more)), getattr(self, f"{x}_tile").eq(getattr(nest, x)),
                     nest.load.eq(self.start), nest.step.eq(begin),
                     nest.ignore_below.eq(self.instruction[f"gb_j_{x}"])]
        with m.If(begin):
            m.d.sync += more.eq(~nest.last)

    def _mac_control(self, m, rf, begin, advance, flip_o):
        fresh = Signal()  # this step is the first on its O tile
        with m.If(begin | advance):
            m.d.sync += fresh.eq(begin | flip_o)
        moved = {x: rf.class_ >= self.instruction[f"rf_j_{x}"] for x in "wio"}
        with m.If(self.start):
            m.d.sync += [self.w_load.eq(1), self.i_load.eq(1), self.visit_start.eq(1)]
        with m.Elif(self.issue):
            m.d.sync += [self.w_load.eq(moved["w"]), self.i_load.eq(moved["i"]), self.visit_start.eq(moved["o"])]
        reduced = [self.instruction.rf_reduction[i] & rf.index[i].any() for i in range(RF_LOOPS)]
        m.d.comb += [self.visit_end.eq(moved["o"]), self.visit_first.eq(fresh & ~Cat(reduced).any())]
        m.d.comb += [getattr(self, f"{x}_address").eq(getattr(rf, x)) for x in "wio"]
