"""cocotb bench of `chip`: bus rules, pauses, faults, resets and registers, with cocotbext-axi on both sides.

The job (JSON, its path in DNA_ASIC_JOB): seed; memory, the path of its bytes; port_bytes; program, length, output as in
the registers; instruction_bytes, opcode_byte; weights, residuals (of each layer): first and last address; images: input
address and tensors, whose bytes count where `used` is 1; handshakes: a run has more; limit_cycles: a run has fewer.
"""

import itertools
import json
import logging
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, First, RisingEdge, Timer
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRamRead, AxiRamWrite, AxiResp

from rtl_gen.control import COUNTERS, COUNTERS_AT, ERRORS, REGISTERS, VERSION

PERIOD_NS = 2
PAGE_BYTES = 4096
POISON = 0xA5
START, SOFT_RESET, CLEAR = 1, 2, 4
BUSY, DONE, FAILED = 1, 2, 4
INCR = 1
UNKNOWN = (0x24, 0x3C, 0xE0, 0xFFC)
_TEST_LIMIT_MS = 2
_QUIET_CYCLES = 300  # no handshake for so long: the bus is quiet


@dataclass
class Fault:
    """The `number`-th read beat of a kind (or write response, kind "b") is answered with `response`, once."""

    kind: str
    number: int
    response: AxiResp
    fired: bool = False

    def answer(self, kind: str) -> AxiResp:
        """Response to the next beat of `kind`."""
        if self.fired or kind != self.kind:
            return AxiResp.OKAY
        self.number -= 1
        self.fired = self.number < 0
        return self.response if self.fired else AxiResp.OKAY


class FaultyRead(AxiRamRead):
    """Read side of the memory; `fault` may turn a beat's response into an error. beats: count by kind."""

    def __init__(self, bus, clock, reset, mem, job):
        self.fault, self.job, self.kind, self.layer, self.beats = None, job, "", 0, {}
        super().__init__(bus, clock, reset, mem=mem)
        self._send, self.r_channel.send = self.r_channel.send, self._respond

    async def _read(self, address, length):
        self.kind = self._kind_of(address)
        return await super()._read(address, length)

    async def _respond(self, beat):
        self.beats[self.kind] = self.beats.get(self.kind, 0) + 1
        if self.fault:
            beat.rresp = self.fault.answer(self.kind)
        await self._send(beat)

    def _kind_of(self, address):
        job = self.job
        if address < job["weights"][0]:
            self.layer = (address - job["program"]) // job["instruction_bytes"]
            return "instruction"
        if address < job["weights"][1]:
            return "w"
        low, high = job["residuals"][self.layer]
        return "residual" if low <= address < high else "i"


class FaultyWrite(AxiRamWrite):
    """Write side of the memory; `fault` may turn a response into an error."""

    def __init__(self, bus, clock, reset, mem):
        self.fault = None
        super().__init__(bus, clock, reset, mem=mem)
        self._send, self.b_channel.send = self.b_channel.send, self._respond

    async def _respond(self, response):
        if self.fault:
            response.bresp = self.fault.answer("b")
        await self._send(response)


class Monitor:
    """Checks the AXI rules on every channel; what it has seen is in `bursts` (read and write) and `longest`."""

    PAYLOADS = {"m_axi_ar": "addr len size burst id", "m_axi_aw": "addr len size burst id", "m_axi_w": "data strb last",
                "m_axi_r": "data resp last", "m_axi_b": "resp", "s_axil_b": "resp", "s_axil_r": "data resp"}

    def __init__(self, dut, port_bytes: int):
        self.dut, self.port = dut, port_bytes
        self.bursts, self.longest, self.page_ends, self.handshakes, self.data_first = 0, 0, 0, 0, 0
        self.clear()
        for channel, payload in self.PAYLOADS.items():
            signals = {name: getattr(dut, channel + name) for name in payload.split()}
            handle = getattr(self, f"_{channel.removeprefix('m_axi_')}")
            cocotb.start_soon(self._watch(channel, signals, handle))

    def clear(self) -> None:
        """Forget what is outstanding."""
        self.reads, self.writes, self.beats, self.sent, self.responses_due = [], [], 0, [], 0

    def quiet(self) -> bool:
        """Every burst has had its beats and its response."""
        return not (self.reads or self.writes or self.beats or self.sent or self.responses_due)

    def read_begun(self) -> bool:
        """Read beats are on their way."""
        return bool(self.reads)

    def write_begun(self) -> bool:
        """A write burst has had some of its beats."""
        return self.beats > 0

    async def _watch(self, channel, signals, handle):
        """Valid, once up, stays up with the same payload until ready; `handle` gets each payload taken."""
        dut = self.dut
        valid, ready = getattr(dut, f"{channel}valid"), getattr(dut, f"{channel}ready")
        edge, rise, held = RisingEdge(dut.clk), RisingEdge(valid), None
        while True:
            await edge
            if dut.rst.value == 1:
                held = None
            elif valid.value == 1:
                payload = {name: str(signal.value) for name, signal in signals.items()}
                assert held in (None, payload), f"{channel}: payload moved from {held} to {payload} before ready"
                held = payload
                if ready.value == 1:
                    held = None
                    self.handshakes += channel.startswith("m_axi")
                    handle({name: int(bits, 2) for name, bits in payload.items()})
            else:
                assert held is None, f"{channel}: valid fell before ready"
                await rise

    def _address(self, burst):
        beats = burst["len"] + 1
        end = burst["addr"] + beats * self.port
        assert burst["burst"] == INCR and 1 << burst["size"] == self.port and burst["id"] == 0, burst
        assert burst["addr"] % self.port == 0, burst
        assert (end - 1) // PAGE_BYTES == burst["addr"] // PAGE_BYTES, f"burst crosses 4 KiB: {burst}"
        self.bursts += 1
        self.page_ends += end % PAGE_BYTES == 0
        self.longest = max(self.longest, beats)
        return beats

    def _ar(self, burst):
        self.reads.append(self._address(burst))

    def _r(self, beat):
        assert self.reads, "read beat that nobody asked for"
        self.reads[0] -= 1
        assert beat["last"] == (self.reads[0] == 0)
        if beat["last"]:
            self.reads.pop(0)

    def _aw(self, burst):
        self.writes.append(self._address(burst))
        self._match()

    def _w(self, beat):
        self.beats += 1
        if beat["last"]:
            self.sent.append(self.beats)
            self.beats = 0
            self.data_first += not self.writes
        elif self.writes:
            assert self.beats < self.writes[0], f"no last beat on burst of {self.writes[0]}"
        self._match()

    def _match(self):
        while self.writes and self.sent:
            asked, sent = self.writes.pop(0), self.sent.pop(0)
            assert asked == sent, f"burst of {asked} beats got {sent}"
            self.responses_due += 1

    def _b(self, _):
        self.responses_due -= 1
        assert self.responses_due >= 0, "response without a burst"

    def _s_axil_b(self, response):
        assert response["resp"] == AxiResp.OKAY

    def _s_axil_r(self, response):
        assert response["resp"] == AxiResp.OKAY


class Bench:
    """The chip with its clock, memory, host and monitor. rng: from the job's seed and the test's name."""

    def __init__(self, dut, name: str):
        self.dut, self.job = dut, json.loads(Path(os.environ["DNA_ASIC_JOB"]).read_text())
        cocotb.log.info("%s: seed %d", name, self.job["seed"])
        for bus in ("m_axi", "s_axil"):
            logging.getLogger(f"cocotb.{dut._name}.{bus}").setLevel(logging.WARNING)  # else a line for each burst
        self.rng = random.Random(f"{self.job['seed']}-{name}")
        self.mem = bytearray(Path(self.job["memory"]).read_bytes())
        Clock(dut.clk, PERIOD_NS, "ns").start()
        bus = AxiBus.from_prefix(dut, "m_axi")
        self.read_side = FaultyRead(bus.read, dut.clk, dut.rst, self.mem, self.job)
        self.write_side = FaultyWrite(bus.write, dut.clk, dut.rst, self.mem)
        self.lite = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        self.monitor = Monitor(dut, self.job["port_bytes"])
        self.memory_channels = (self.write_side.aw_channel, self.write_side.w_channel, self.write_side.b_channel,
                                self.read_side.ar_channel, self.read_side.r_channel)
        write, read = self.lite.write_if, self.lite.read_if
        self.host_channels = (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel)

    @classmethod
    async def create(cls, dut, name: str) -> "Bench":
        """A bench after reset, with its addresses written."""
        dut.rst.value = 0
        await Timer(PERIOD_NS, "ns")
        bench = cls(dut, name)
        await bench.hard_reset()
        return bench

    async def hard_reset(self) -> None:
        """Reset chip, memory and host; what was outstanding is forgotten."""
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, 3)
        self.monitor.clear()
        self.dut.rst.value = 0
        await ClockCycles(self.dut.clk, 2)
        assert await self.status() == 0
        await self.write("program", self.job["program"])
        await self.write("length", self.job["length"])
        await self.write("output", self.job["output"])

    async def write(self, name: str, value: int) -> None:
        """Write a register."""
        await self.lite.write_dword(REGISTERS[name], value)

    async def read(self, name: str) -> int:
        """Read a register."""
        return await self.lite.read_dword(REGISTERS[name])

    async def status(self) -> int:
        """STATUS."""
        return await self.read("status")

    async def counters(self) -> dict[str, int]:
        """All event counters."""
        words = await self.lite.read_dwords(COUNTERS_AT, 2 * len(COUNTERS))
        return {name: words[2 * n] | words[2 * n + 1] << 32 for n, name in enumerate(COUNTERS)}

    def pause(self, channels, probability: float) -> None:
        """Pause each channel at random in that share of cycles."""
        for channel in channels:
            rng = random.Random(self.rng.random())
            channel.set_pause_generator(rng.random() < probability for _ in itertools.count())

    def stop(self, channels, stopped: bool) -> None:
        """Hold channels still, or let them go."""
        for channel in channels:
            channel.pause = stopped

    async def start(self, image: int = 0) -> None:
        """Start on an image; every tensor it must write is poisoned first."""
        for tensor in self.job["images"][image]["tensors"]:
            size = len(tensor["bytes"]) // 2
            self.mem[tensor["at"]:tensor["at"] + size] = bytes([POISON]) * size
        await self.write("input", self.job["images"][image]["input"])
        await self.write("control", START)

    async def interrupt(self) -> None:
        """Wait for the interrupt; fails when it does not come."""
        if self.dut.irq.value != 1:
            await First(RisingEdge(self.dut.irq), Timer(self.job["limit_cycles"] * PERIOD_NS, "ns"))
            assert self.dut.irq.value == 1, "the chip hangs"

    async def expect_done(self, image: int = 0, error: int = 0) -> None:
        """The run ends, with this error code (a run ends well with "busy"), and memory holds the image's tensors."""
        await self.interrupt()
        assert await self.read("error") == error
        assert await self.status() == DONE | (FAILED if error else 0)
        assert self.monitor.quiet()
        self.check_tensors(image)

    def check_tensors(self, image: int, whole: bool = True) -> None:
        """Memory holds the image's tensors; of a broken run (not `whole`) bytes may be missing, but none is wrong."""
        for tensor in self.job["images"][image]["tensors"]:
            want, used = bytes.fromhex(tensor["bytes"]), bytes.fromhex(tensor["used"])
            got = self.mem[tensor["at"]:tensor["at"] + len(want)]
            wrong = sum(g != w and (whole or g != POISON) for g, w, u in zip(got, want, used) if u)
            assert wrong == 0, f"tensor {tensor['name']}: {wrong} wrong bytes"

    async def run(self, image: int = 0) -> None:
        """A whole good inference."""
        await self.start(image)
        await self.expect_done(image)

    async def expect_error(self, name: str) -> None:
        """The run ends with this error and its interrupt, and the bus becomes quiet."""
        await self.interrupt()
        assert await self.read("error") == ERRORS[name]
        assert await self.status() == DONE | FAILED
        await self.becomes_quiet()

    async def becomes_quiet(self) -> None:
        """Nothing outstanding, and nothing more asked for."""
        before = -1
        while before != self.monitor.handshakes:
            before = self.monitor.handshakes
            await ClockCycles(self.dut.clk, _QUIET_CYCLES)
        assert self.monitor.quiet()

    async def beats(self, count: int) -> None:
        """Wait for `count` handshakes more on the memory's side."""
        target = self.monitor.handshakes + count
        await self.until(lambda: self.monitor.handshakes >= target)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition that comes within the run."""
        while not condition():
            assert self.dut.irq.value == 0, "the run ended early"
            await RisingEdge(self.dut.clk)


def case(function):
    """A cocotb test that gets a Bench."""
    async def test(dut):
        await function(await Bench.create(dut, function.__name__))
    test.__name__ = test.__qualname__ = function.__name__
    return cocotb.test(timeout_time=_TEST_LIMIT_MS, timeout_unit="ms")(test)


@case
async def back_to_back(bench):
    """Two images, then the first again; the counters of equal runs are equal."""
    assert await bench.read("version") == VERSION
    await bench.run(0)
    first = await bench.counters()
    assert first["layer"] == bench.job["length"] and first["macs"] > 0
    kinds = bench.read_side.beats
    assert [first[f"dram_{x}_beats"] for x in "piwr"] == [kinds[k] for k in ("instruction", "i", "w", "residual")]
    await bench.run(1)
    await bench.run(0)
    assert await bench.counters() == first
    monitor = bench.monitor
    assert monitor.page_ends > 0 and monitor.longest > 1
    assert monitor.handshakes > 3 * bench.job["handshakes"], f"{monitor.handshakes // 3} handshakes a run"


@case
async def clear_interrupt(bench):
    """Clearing lowers the interrupt and leaves the rest; error and counters stay until the next start."""
    await bench.write("length", 1)
    await bench.start()
    await bench.expect_error("past_end")
    counters = await bench.counters()
    await bench.write("control", CLEAR)
    assert bench.dut.irq.value == 0
    assert await bench.status() == FAILED
    assert await bench.read("error") == ERRORS["past_end"]
    assert await bench.counters() == counters
    await bench.start()
    assert await bench.status() == BUSY


@case
async def random_pauses(bench):
    """Every channel pauses at random; results stay."""
    for probability in (0.3, 0.7):
        bench.pause((*bench.memory_channels, *bench.host_channels), probability)
        await bench.run(bench.rng.randrange(2))


@case
async def data_before_address(bench):
    """A memory that takes a burst's address after its last beat: data must not wait for the address."""
    write = bench.write_side
    write.w_channel.queue_occupancy_limit = -1
    write.aw_channel.pause = True

    async def take_addresses():
        sent = RisingEdge(bench.dut.clk)
        while True:
            await sent
            write.aw_channel.pause = not bench.monitor.sent

    cocotb.start_soon(take_addresses())
    await bench.run()
    assert bench.monitor.data_first > 0


@case
async def bus_errors(bench):
    """SLVERR and DECERR on a beat of every kind of read and on a write response."""
    await bench.run()
    counts = dict(bench.read_side.beats)
    counters = await bench.counters()
    for kind in (*counts, "b"):
        for response in (AxiResp.SLVERR, AxiResp.DECERR):
            fault = Fault(kind, bench.rng.randrange(counts.get(kind, bench.job["length"])), response)
            bench.read_side.fault = bench.write_side.fault = fault
            cocotb.log.info("%s", fault)
            await bench.start()
            await bench.expect_error("write" if kind == "b" else "read")
            assert fault.fired
            if response is AxiResp.DECERR:
                await bench.run(1)
    await bench.run()
    assert await bench.counters() == counters


@case
async def illegal_opcode(bench):
    """An instruction that is none is refused."""
    at = bench.job["program"] + bench.job["opcode_byte"] + bench.rng.randrange(2) * bench.job["instruction_bytes"]
    good = bench.mem[at]
    bench.mem[at] ^= 1 << bench.rng.randrange(8)
    await bench.start()
    await bench.expect_error("illegal")
    bench.mem[at] = good
    await bench.run()


@case
async def past_end(bench):
    """A program whose last layer lies beyond LENGTH; the layers before have run."""
    for length in (1, bench.job["length"] - 1):
        await bench.write("length", length)
        await bench.start()
        await bench.expect_error("past_end")
        assert (await bench.counters())["layer"] == length
    await bench.write("length", bench.job["length"])
    await bench.run()


@case
async def time_out(bench):
    """Channels fall silent in mid-run; after the error a start waits for what the memory still owes."""
    limit, waited = 500, []
    await bench.write("timeout", limit)
    aw, w, b, ar, r = bench.memory_channels
    for number, silent in enumerate(((ar,), (r,), (aw,), (w,), (b,), bench.memory_channels)):
        await bench.start()
        await bench.beats(bench.rng.randrange(1, bench.job["handshakes"]))
        bench.stop(silent, True)
        await bench.interrupt()
        assert await bench.read("error") == ERRORS["timeout"]
        assert await bench.status() == DONE | FAILED
        if number % 2:  # the host starts again before the memory answers: late answers belong to the old run
            await bench.start(1)
            await ClockCycles(bench.dut.clk, bench.rng.randrange(limit // 2))
            bench.stop(silent, False)
            await bench.expect_done(1)
            waited.append(await bench.counters())
        else:
            await bench.write("control", SOFT_RESET)
            bench.stop(silent, False)
            await bench.becomes_quiet()
            assert await bench.status() == 0
    await bench.run()
    counters = await bench.counters()
    for other in waited:
        assert other["cycles"] > counters["cycles"]
        assert other | {"cycles": counters["cycles"]} == counters


@case
async def time_out_while_waiting(bench):
    """A start that waits for a memory which stays silent times out as well."""
    await bench.write("timeout", 200)
    bench.stop(bench.memory_channels, True)
    for _ in range(2):
        await bench.start()
        await bench.interrupt()
        assert await bench.read("error") == ERRORS["timeout"]
    bench.stop(bench.memory_channels, False)
    await bench.run()


@case
async def slow_memory_is_no_time_out(bench):
    """A memory that moves something within the limit on any channel is waited for."""
    await bench.write("timeout", 60)
    bench.pause(bench.memory_channels, 0.8)
    await bench.run()


@case
async def start_while_busy(bench):
    """The second start is refused; the first ends right. Addresses written meanwhile wait for the next start."""
    await bench.start(0)
    await bench.beats(bench.rng.randrange(1, bench.job["handshakes"]))
    for name in ("program", "input", "output", "length"):
        await bench.write(name, 0)
    await bench.write("control", START)
    assert await bench.status() == BUSY | FAILED
    await bench.expect_done(0, ERRORS["busy"])
    await bench.hard_reset()
    await bench.run(1)


@case
async def soft_reset(bench):
    """In the middle of bursts: the bus drains, neither interrupt nor error is left, nothing wrong was written."""
    bench.pause(bench.memory_channels, 0.3)
    for busy in (bench.monitor.write_begun, bench.monitor.read_begun) * 2:
        await bench.start()
        await bench.beats(bench.rng.randrange(bench.job["handshakes"] // 2))
        await bench.until(busy)
        await bench.write("control", SOFT_RESET)
        await bench.becomes_quiet()
        await bench.write("control", SOFT_RESET | START)  # the start beside a soft reset is dropped
        await bench.becomes_quiet()
        assert bench.dut.irq.value == 0 and await bench.status() == 0 and await bench.read("error") == 0
        bench.check_tensors(0, whole=False)
    await bench.run()


@case
async def soft_reset_after_start(bench):
    """Soft resets some cycles after the start, about the first burst of the run."""
    for delay in range(16):
        bench.lite.init_write(REGISTERS["control"], bytes([START]))
        await ClockCycles(bench.dut.clk, delay)
        await bench.write("control", SOFT_RESET)
        await bench.becomes_quiet()
    await bench.run()


@case
async def start_after_soft_reset(bench):
    """A start at once after a soft reset waits for the bus; of the broken run nothing is counted."""
    responses = bench.memory_channels[-1:]
    for _ in range(6):
        await bench.start()
        await bench.beats(bench.rng.randrange(bench.job["handshakes"] // 2))
        await bench.until(bench.monitor.read_begun)
        bench.stop(responses, True)
        bench.lite.init_write(REGISTERS["control"], bytes([SOFT_RESET]))
        await bench.start(1)
        await ClockCycles(bench.dut.clk, 100)
        counters = await bench.counters()
        assert {name for name, count in counters.items() if count} == {"cycles"}, counters
        bench.stop(responses, False)
        await bench.beats(1)
        await bench.write("control", SOFT_RESET)
        await bench.becomes_quiet()
    await bench.start()
    await bench.beats(bench.rng.randrange(bench.job["handshakes"] // 2))
    await bench.write("control", SOFT_RESET)
    await bench.start(1)
    await bench.expect_done(1)


@case
async def hard_reset(bench):
    """In the middle of bursts, again and again."""
    for _ in range(3):
        await bench.start()
        await bench.beats(bench.rng.randrange(1, bench.job["handshakes"]))
        await bench.hard_reset()
        assert bench.dut.irq.value == 0
    await bench.run()


@case
async def registers(bench):
    """AXI4-Lite with pauses: byte strobes, read-only and unknown addresses."""
    bench.pause(bench.host_channels, 0.5)
    stored = {name: 0 for name in ("program", "length", "input", "output", "timeout")}
    for name in stored:
        await bench.write(name, 0)
    for _ in range(60):
        name = bench.rng.choice(list(stored))
        first, data = bench.rng.randrange(4), bench.rng.randbytes(bench.rng.randint(1, 4))
        data = data[:4 - first]
        await bench.lite.write(REGISTERS[name] + first, data)
        value = bytearray(stored[name].to_bytes(4, "little"))
        value[first:first + len(data)] = data
        stored[name] = int.from_bytes(value, "little")
        for other, want in stored.items():
            assert await bench.read(other) == want
        assert (await bench.lite.read(REGISTERS[name] + first, len(data))).data == data
    for address in UNKNOWN:
        await bench.lite.write_dword(address, 0xFFFFFFFF)
        assert await bench.lite.read_dword(address) == 0
    for name, value in (("version", VERSION), ("control", 0), ("status", 0), ("error", 0)):
        if name != "control":
            await bench.write(name, 0xFFFFFFFF)
        assert await bench.read(name) == value
    await bench.lite.write(REGISTERS["control"] + 1, bytes([START, START, START]))  # no strobe on the start bit
    assert await bench.status() == 0
