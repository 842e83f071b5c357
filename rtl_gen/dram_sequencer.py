"""The DRAM-level sequencer: tiles of a layer, their fetches, array schedules and stores."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dna_asic.spec.instruction import DRAM_LOOPS
from rtl_gen.dma import PARAM_BANKS
from rtl_gen.fields import WIDTHS, connect_nest, layout_of, nest_names
from rtl_gen.nest import Nest

_MAIN = {"o": 32, "p": 14, "q": 14, "ob": 14}
_INPUT = {"i": 32, "p": 14, "q": 14, "ib": 14}
_WEIGHT = {"w": 32}
_FIELDS = (*nest_names("dram", ("w", "i", "o", "p", "q", "ib", "ob"), DRAM_LOOPS), "dram_j_w", "dram_j_i", "dram_j_o",
           "dram_reduction", "has_residual")


class DramSequencer(wiring.Component):
    """Runs a layer's DRAM nest by the flip rule: read group {residual, I, W}, write group {O}.

    `start` in cycle t makes the first I and W fetches pending; when the read group is idle the first array schedule
    starts. A step ends when its schedule is done and every group with a member that flips is idle; the flips, the
    next fetches, the store of a finished O tile and the next schedule all begin in that cycle. `done`: high in the
    cycle in which the last store ends.

    read_idle rises in the cycle of the last beat, read_over after it.

    `i_*`, `w_*`: place of the next fetch (held while it runs). `o_*`: place of the O tile being stored (held).
    `*_half`, bank: halves and parameter bank in use. `first_reduction`: this tile is the first along C.
    """

    def __init__(self):
        ports = {"fields": In(layout_of(_FIELDS)), "start": In(1), "done": Out(1), "read_idle": In(1),
                 "read_over": In(1), "write_idle": In(1), "core_start": Out(1), "core_done": In(1),
                 "first_reduction": Out(1),
                 "start_i": Out(1), "start_w": Out(1), "start_store": Out(1), "start_residual": Out(1),
                 "w_half": Out(1), "i_half": Out(1), "o_half": Out(1), "w_fill_bank": Out(range(PARAM_BANKS)),
                 "store_bank": Out(range(PARAM_BANKS))}
        ports |= {f"fetch_{n}": Out(bits) for n, bits in (_INPUT | _WEIGHT).items()}
        ports |= {f"store_{n}": Out(bits) for n, bits in _MAIN.items()}
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        f = self.fields
        main = self._nest(m, "tile", _MAIN)
        fills = {"i": self._nest(m, "i_fetch", _INPUT), "w": self._nest(m, "w_fetch", _WEIGHT)}
        begin, advance, stalled, finish = (Signal(name=n) for n in ("begin", "advance", "stalled", "finish"))
        flip = {x: Signal(name=f"flip_{x}") for x in "wio"}
        moved = {x: main.class_ >= f[f"dram_j_{x}"] for x in "wio"}
        m.d.comb += [flip["w"].eq(begin | (advance & ~main.last & moved["w"])),
                     flip["i"].eq(begin | (advance & ~main.last & moved["i"])), flip["o"].eq(advance & moved["o"])]
        for x in "wio":
            with m.If(self.start):
                m.d.sync += getattr(self, f"{x}_half").eq(int(x != "o"))
            with m.Elif(flip[x]):
                m.d.sync += getattr(self, f"{x}_half").eq(~getattr(self, f"{x}_half"))
        self._phases(m, main, begin, advance, stalled, finish, moved)
        for x, nest in fills.items():
            self._fetch_ahead(m, x, nest, flip[x])
        m.d.comb += [main.load.eq(self.start), main.step.eq(advance),
                     self.core_start.eq(begin | (advance & ~main.last)), self.start_store.eq(flip["o"]),
                     self.start_residual.eq(flip["o"] & f.has_residual)]
        reduced = [f.dram_reduction[i] & main.index[i].any() for i in range(DRAM_LOOPS)]
        m.d.comb += self.first_reduction.eq(~Cat(reduced).any())
        with m.If(flip["o"]):
            m.d.sync += [getattr(self, f"store_{n}").eq(getattr(main, n)) for n in _MAIN]
        self._banks(m, main, fills["w"], flip)
        return m

    def _nest(self, m, name, addresses):
        m.submodules[name] = nest = Nest(DRAM_LOOPS, WIDTHS["dram_last_0"], {n: (b, b) for n, b in addresses.items()})
        connect_nest(m, nest, self.fields, "dram")
        return nest

    def _phases(self, m, main, begin, advance, stalled, finish, moved):
        ready = Signal()  # past the last tile the class is above every j: all groups must be idle
        read_ok = ~(moved["w"] | moved["i"] | (moved["o"] & self.fields.has_residual) | main.last) | self.read_idle
        write_ok = ~(moved["o"] | main.last) | self.write_idle
        m.d.comb += ready.eq(read_ok & write_ok)
        with m.FSM(name="phase"):
            with m.State("IDLE"), m.If(self.start):
                m.next = "FIRST_FETCHES"
            with m.State("FIRST_FETCHES"):
                m.d.comb += [self.start_i.eq(1), self.start_w.eq(1)]
                m.next = "WAIT_FETCHES"
            with m.State("WAIT_FETCHES"):
                m.d.comb += begin.eq(self.read_idle)
                with m.If(begin):
                    m.next = "TILES"
            with m.State("TILES"):
                over = self.core_done | stalled
                m.d.comb += advance.eq(over & ready)
                m.d.sync += stalled.eq(over & ~ready)
                with m.If(advance & main.last):
                    m.next = "LAST_STORE"
            with m.State("LAST_STORE"):
                m.d.comb += [finish.eq(self.write_idle & self.read_over), self.done.eq(finish)]
                with m.If(finish):
                    m.next = "IDLE"

    def _fetch_ahead(self, m, x, nest, flip):
        """Fetches of I or W run one tile ahead, from a nest that skips the loops below j_X."""
        more = Signal(name=f"{x}_more")
        start, place = getattr(self, f"start_{x}"), _INPUT if x == "i" else _WEIGHT
        with m.If(flip & more):
            m.d.comb += start.eq(1)
        m.d.comb += [nest.load.eq(self.start), nest.step.eq(start),
                     nest.ignore_below.eq(self.fields[f"dram_j_{x}"])]
        with m.If(start):
            m.d.sync += [more.eq(~nest.last), *(getattr(self, f"fetch_{n}").eq(getattr(nest, n)) for n in place)]

    def _banks(self, m, main, w_fetch, flip):
        """Parameter banks move on after each W tile that is last along C: of those fetched, of those used."""
        reductions = self.fields.dram_reduction

        def last_along_c(nest):
            return ~Cat(reductions[i] & (nest.index[i] != nest.last_index[i]) for i in range(DRAM_LOOPS)).any()

        fetched_last, used = Signal(), Signal(range(PARAM_BANKS))
        with m.If(self.start):
            m.d.sync += [self.w_fill_bank.eq(0), fetched_last.eq(0), used.eq(0)]
        with m.Elif(self.start_w):
            m.d.sync += [self.w_fill_bank.eq(self.w_fill_bank + fetched_last), fetched_last.eq(last_along_c(w_fetch))]
        begun = Signal()
        m.d.sync += begun.eq(Mux(self.start, 0, begun | self.core_start))
        with m.If(flip["w"] & begun):
            m.d.sync += used.eq(used + last_along_c(main))
        with m.If(flip["o"]):
            m.d.sync += self.store_bank.eq(used)
