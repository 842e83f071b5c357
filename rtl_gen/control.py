"""AXI4-Lite registers, and the run: instruction by instruction, with errors, time-out and interrupt."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dna_asic.spec.instruction import INSTRUCTION_BYTES, OPCODE_LAYER

VERSION = 0x444E4101
ADDRESS_BITS = 12
COUNTER_BITS = 48
COUNTERS = ("cycles", "macs", "rf_w_reads", "rf_i_reads", "rf_o_reads", "rf_w_writes", "rf_i_writes", "rf_o_writes",
            "gb_w_reads", "gb_i_reads", "gb_o_reads", "gb_w_writes", "gb_i_writes", "gb_o_writes", "dram_w_beats",
            "dram_i_beats", "dram_r_beats", "dram_p_beats", "dram_o_beats", "layer")
COUNTERS_AT = 0x40
REGISTERS = {"version": 0x00, "control": 0x04, "status": 0x08, "error": 0x0C, "program": 0x10, "length": 0x14,
             "input": 0x18, "output": 0x1C, "timeout": 0x20}
ERRORS = {"illegal": 1, "past_end": 2, "read": 3, "write": 4, "timeout": 5, "busy": 6}


class Control(wiring.Component):
    """Registers of docs/architecture.md. A run fetches, decodes and runs layers until one is the last.

    Addresses and length are taken at the start. An error ends the run at once, and the interrupt rises with it; a
    soft reset ends it too, and leaves neither error nor interrupt. `abort` is then high until the bus is quiet (the
    datapath is held in reset and what the bus still owes is dropped); a start in that time waits. Counter increments
    are added while a run goes on, and stay readable until the next start. An AXI4-Lite access names a word: its two
    lowest address bits are ignored. Its latency is two cycles.
    """

    def __init__(self, increments: dict[str, int]):
        self.increments = increments
        ports = {
            "awvalid": In(1), "awready": Out(1), "awaddr": In(ADDRESS_BITS), "wvalid": In(1), "wready": Out(1),
            "wdata": In(32), "wstrb": In(4), "bvalid": Out(1), "bready": In(1), "arvalid": In(1), "arready": Out(1),
            "araddr": In(ADDRESS_BITS), "rvalid": Out(1), "rready": In(1), "rdata": Out(32), "irq": Out(1),
            "fetch": Out(1), "fetch_address": Out(32), "read_idle": In(1), "opcode": In(8), "is_last": In(1),
            "start_layer": Out(1), "layer_done": In(1), "quiet": In(1), "waiting": In(1), "read_error": In(1),
            "write_error": In(1), "abort": Out(1), "bases": Out(96),
        }
        super().__init__(ports | {f"add_{name}": In(bits) for name, bits in increments.items()})

    def elaborate(self, platform):
        m = Module()
        stored = {name: Signal(32, name=f"{name}_register")
                  for name in ("program", "length", "input", "output", "timeout")}
        error, done, busy = Signal(4), Signal(), Signal()
        command = {name: Signal(name=f"command_{name}") for name in ("start", "stop", "clear")}
        raised = Signal()  # a cycle after done; falls with it
        m.d.sync += raised.eq(done)
        m.d.comb += self.irq.eq(done & raised)
        counters = self._counters(m, busy | (done & ~raised), busy, command)
        self._write_port(m, stored, command)
        values = {"version": Const(VERSION, 32), "control": Const(0, 32), "error": error,
                  "status": Cat(busy, done, error != 0)} | stored
        self._read_port(m, {REGISTERS[name]: value for name, value in values.items()}, counters)
        self._run(m, stored, command, error, done, busy)
        return m

    def _write_port(self, m, stored, command):
        accept = Signal()
        m.d.comb += [accept.eq(self.awvalid & self.wvalid & ~self.bvalid), self.awready.eq(accept),
                     self.wready.eq(accept)]
        with m.If(accept):
            m.d.sync += self.bvalid.eq(1)
        with m.Elif(self.bready):
            m.d.sync += self.bvalid.eq(0)
        with m.If(accept):
            with m.Switch(self.awaddr[2:]):
                with m.Case(REGISTERS["control"] >> 2), m.If(self.wstrb[0]):
                    start, stop, clear = self.wdata[:3]
                    m.d.comb += [command["start"].eq(start & ~stop), command["stop"].eq(stop),
                                 command["clear"].eq(clear)]
                for name, register in stored.items():
                    with m.Case(REGISTERS[name] >> 2):
                        for byte in range(4):
                            with m.If(self.wstrb[byte]):
                                m.d.sync += register.word_select(byte, 8).eq(self.wdata.word_select(byte, 8))

    def _read_port(self, m, values, counters):
        accept = Signal()
        m.d.comb += [accept.eq(self.arvalid & ~self.rvalid), self.arready.eq(accept)]
        with m.If(accept):
            m.d.sync += [self.rvalid.eq(1), self.rdata.eq(0)]
            with m.Switch(self.araddr[2:]):
                for address, value in values.items():
                    with m.Case(address >> 2):
                        m.d.sync += self.rdata.eq(value)
                for n, counter in enumerate(counters):
                    with m.Case((COUNTERS_AT >> 2) + 2 * n):
                        m.d.sync += self.rdata.eq(counter[:32])
                    with m.Case((COUNTERS_AT >> 2) + 2 * n + 1):
                        m.d.sync += self.rdata.eq(counter[32:])
        with m.Elif(self.rready):
            m.d.sync += self.rvalid.eq(0)

    def _counters(self, m, counting, busy, command):
        """Cycles count from the start bit to the interrupt, both ends included. Events are counted a cycle late, so
        that no carry chain hangs on the logic that makes them.
        """
        counters = []
        for name in COUNTERS:
            counter = Signal(COUNTER_BITS, name=f"count_{name}")
            if name == "cycles":
                step = counting
            else:
                event = self.layer_done if name == "layer" else getattr(self, f"add_{name}")
                step = Signal(len(event), name=f"step_{name}")
                m.d.sync += step.eq(event)
            with m.If(command["start"] & ~busy):
                m.d.sync += counter.eq(name == "cycles")
            with m.Else():
                m.d.sync += counter.eq(counter + step)
            counters.append(counter)
        return counters

    def _run(self, m, stored, command, error, done, busy):
        left, silence = Signal(32), Signal(32)  # instructions still allowed; cycles without bus progress
        fault, timed_out = Signal(4), Signal()
        m.d.comb += [timed_out.eq((stored["timeout"] != 0) & (silence >= stored["timeout"]))]
        m.d.sync += silence.eq(Mux(self.waiting, silence + 1, 0))
        with m.If(command["clear"]):
            m.d.sync += done.eq(0)
        with m.If(command["start"] & busy):
            m.d.sync += error.eq(ERRORS["busy"])
        for name, condition in (("timeout", timed_out), ("write", self.write_error), ("read", self.read_error)):
            with m.If(condition):
                m.d.comb += fault.eq(ERRORS[name])

        def end():
            m.d.sync += [done.eq(1), busy.eq(0), silence.eq(0)]
            with m.If(fault != 0):
                m.d.sync += error.eq(fault)

        def begin():
            m.d.sync += [busy.eq(1), done.eq(0), error.eq(0), left.eq(stored["length"]), silence.eq(0),
                         self.fetch_address.eq(stored["program"]),
                         self.bases.eq(Cat(stored["program"], stored["input"], stored["output"]))]

        failed = Signal()
        m.d.comb += failed.eq(busy & ((fault != 0) | command["stop"]))

        def leave():
            """A fault ends the run in whatever state it is."""
            with m.If(failed):
                end()
                m.next = "DRAIN"

        with m.FSM(name="run"):
            with m.State("IDLE"):
                with m.If(busy):  # a start that waited for the bus
                    m.next = "FETCH"
                    leave()
                with m.Elif(command["start"]):
                    begin()
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.d.comb += self.fetch.eq(~failed)
                m.next = "FETCHING"
                leave()
            with m.State("FETCHING"):
                with m.If(self.read_idle):
                    m.next = "DECODE"
                leave()
            with m.State("DECODE"):
                with m.If(self.opcode != OPCODE_LAYER):
                    m.d.comb += fault.eq(ERRORS["illegal"])
                m.next = "SETUP"
                leave()
            with m.State("SETUP"):
                m.next = "START"
                leave()
            with m.State("START"):
                m.d.comb += self.start_layer.eq(~failed)
                m.next = "LAYER"
                leave()
            with m.State("LAYER"):
                with m.If(self.layer_done):
                    m.d.sync += [left.eq(left - 1), self.fetch_address.eq(self.fetch_address + INSTRUCTION_BYTES)]
                    with m.If(self.is_last):
                        end()
                        m.next = "IDLE"
                    with m.Elif(left <= 1):
                        m.d.comb += fault.eq(ERRORS["past_end"])
                    with m.Else():
                        m.next = "FETCH"
                leave()
            with m.State("DRAIN"):
                m.d.comb += self.abort.eq(1)
                with m.If(command["start"] & ~busy):
                    begin()
                with m.Elif(busy & (timed_out | command["stop"])):
                    end()
                with m.If(self.quiet):
                    m.next = "IDLE"
        with m.If(command["stop"]):
            m.d.sync += [done.eq(0), error.eq(0)]
