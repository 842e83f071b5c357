"""The chip's AXI4-Lite slave: registers, and the run of all chunks as one, with errors, interrupt and soft reset."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

VERSION = 0x444E4102
ADDRESS_BITS = 12
PAGE_BITS = 8  # a page of registers per chunk; those of the whole chip lie in the first
REGISTERS = {"version": 0x00, "control": 0x04, "status": 0x08, "error": 0x0C, "program": 0x10, "length": 0x14,
             "input": 0x18, "output": 0x1C, "timeout": 0x20, "images": 0x24, "input_pitch": 0x28,
             "output_pitch": 0x2C, "chunks": 0x30}
PAGED = ("program", "length")  # in the page of each chunk, kept by its run controller
STORED = {"input": 0, "output": 0, "timeout": 0, "images": 1, "input_pitch": 0, "output_pitch": 0}  # reset values
TAKEN = ("images", "input_pitch", "output_pitch")  # held through the run, whatever is written meanwhile
ERRORS = {"illegal": 1, "past_end": 2, "read": 3, "write": 4, "timeout": 5, "busy": 6}
ERROR_BITS = 4
ERROR_CHUNK_AT = 8  # of ERROR: lowest bit of the chunk's number


class Registers(wiring.Component):
    """Registers of docs/architecture.md, for `chunks` run controllers.

    `begin`: all start; `input`, `output` and the pages' registers count in that cycle, `images` and the pitches from
    the next on. The run is over when no controller is `running`: then the interrupt rises. A controller's `fault` ends
    it at once, and so does a soft reset, which leaves neither error nor interrupt: `halt` for a cycle, then `abort`
    until every bus is quiet (datapaths are held in reset and what the bus still owes is dropped); a start in that time
    waits. An AXI4-Lite access names a word: its two lowest address bits are ignored. Its latency is two cycles.
    """

    def __init__(self, chunks: int):
        self.chunks = chunks
        ports = {
            "awvalid": In(1), "awready": Out(1), "awaddr": In(ADDRESS_BITS), "wvalid": In(1), "wready": Out(1),
            "wdata": In(32), "wstrb": In(4), "bvalid": Out(1), "bready": In(1), "arvalid": In(1), "arready": Out(1),
            "araddr": In(ADDRESS_BITS), "rvalid": Out(1), "rready": In(1), "rdata": Out(32), "irq": Out(1),
            "begin": Out(1), "halt": Out(1), "abort": Out(1), "write_word": Out(PAGE_BITS - 2),
            "read_word": Out(PAGE_BITS - 2),
        }
        ports |= {name: Out(32) for name in STORED}
        for n in range(chunks):
            ports |= {f"write_{n}": Out(1), f"data_{n}": In(32), f"running_{n}": In(1), f"quiet_{n}": In(1),
                      f"fault_{n}": In(ERROR_BITS)}
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        stored = {name: Signal(32, init=init, name=f"{name}_register") for name, init in STORED.items()}
        error, done, busy = Signal(32), Signal(), Signal()
        command = {name: Signal(name=f"command_{name}") for name in ("start", "stop", "clear")}
        m.d.comb += [self.irq.eq(done), *(getattr(self, n).eq(stored[n]) for n in STORED if n not in TAKEN)]
        with m.If(self.begin):
            m.d.sync += [getattr(self, name).eq(stored[name]) for name in TAKEN]
        self._write_port(m, stored, command)
        values = {"version": Const(VERSION, 32), "control": Const(0, 32), "error": error, "chunks": self.chunks,
                  "status": Cat(busy, done, error != 0)} | stored
        self._read_port(m, {REGISTERS[name]: value for name, value in values.items()})
        self._run(m, command, error, done, busy)
        return m

    def _each(self, name):
        return [getattr(self, f"{name}_{n}") for n in range(self.chunks)]

    def _write_port(self, m, stored, command):
        accept, page = Signal(), self.awaddr[PAGE_BITS:]
        m.d.comb += [accept.eq(self.awvalid & self.wvalid & ~self.bvalid), self.awready.eq(accept),
                     self.wready.eq(accept), self.write_word.eq(self.awaddr[2:PAGE_BITS])]
        m.d.comb += [write.eq(accept & (page == n)) for n, write in enumerate(self._each("write"))]
        with m.If(accept):
            m.d.sync += self.bvalid.eq(1)
        with m.Elif(self.bready):
            m.d.sync += self.bvalid.eq(0)
        with m.If(accept & (page == 0)):
            with m.Switch(self.write_word):
                with m.Case(REGISTERS["control"] >> 2), m.If(self.wstrb[0]):
                    start, stop, clear = self.wdata[:3]
                    m.d.comb += [command["start"].eq(start & ~stop), command["stop"].eq(stop),
                                 command["clear"].eq(clear)]
                for name, register in stored.items():
                    with m.Case(REGISTERS[name] >> 2):
                        write_bytes(m, register, self.wdata, self.wstrb)

    def _read_port(self, m, values):
        accept, page = Signal(), self.araddr[PAGE_BITS:]
        m.d.comb += [accept.eq(self.arvalid & ~self.rvalid), self.arready.eq(accept),
                     self.read_word.eq(self.araddr[2:PAGE_BITS])]
        with m.If(accept):
            pages = Array(self._each("data"))
            m.d.sync += [self.rvalid.eq(1), self.rdata.eq(Mux(page < self.chunks, pages[page], 0))]
            with m.If(page == 0), m.Switch(self.read_word):
                for address, value in values.items():
                    with m.Case(address >> 2):
                        m.d.sync += self.rdata.eq(value)
        with m.Elif(self.rready):
            m.d.sync += self.rvalid.eq(0)

    def _run(self, m, command, error, done, busy):
        fault = Signal(32)  # of the lowest chunk that has one, as ERROR shows it
        for n, code in reversed(list(enumerate(self._each("fault")))):
            with m.If(code != 0):
                m.d.comb += fault.eq(code | n << ERROR_CHUNK_AT)
        m.d.comb += [self.begin.eq(command["start"] & ~busy), self.halt.eq(busy & ((fault != 0) | command["stop"]))]
        with m.If(command["clear"]):
            m.d.sync += done.eq(0)
        with m.If(command["start"] & busy):
            m.d.sync += error.eq(ERRORS["busy"])
        with m.If(self.begin):
            m.d.sync += [busy.eq(1), done.eq(0), error.eq(0)]
        with m.Elif(self.halt):
            m.d.sync += [busy.eq(0), done.eq(1), self.abort.eq(1)]
            with m.If(fault != 0):
                m.d.sync += error.eq(fault)
        with m.Elif(busy & ~Cat(self._each("running")).any()):
            m.d.sync += [busy.eq(0), done.eq(1)]
        with m.If(self.abort & Cat(self._each("quiet")).all() & ~self.halt):
            m.d.sync += self.abort.eq(0)
        with m.If(command["stop"]):
            m.d.sync += [done.eq(0), error.eq(0)]


def write_bytes(m, register, data, strobes):
    """Take the bytes of `data` whose strobe is set."""
    for byte in range(4):
        with m.If(strobes[byte]):
            m.d.sync += register.word_select(byte, 8).eq(data.word_select(byte, 8))
