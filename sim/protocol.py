"""Driver, memory and monitors of `chip` on its buses, with cocotbext-axi on both sides: what its protocol benches use.

The job (JSON, its path in DNA_ASIC_JOB): seed; memory, the path of its bytes; port_bytes; registers, by name; chunks:
of each its registers, and residuals (of each of its layers): first and last address; weights, likewise;
instruction_bytes, opcode_byte; runs: registers and tensors, whose bytes count where `used` is 1; handshakes: a run has
more on the first port; limit_cycles: a run has fewer.
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

from rtl_gen.control import COUNTERS, COUNTERS_AT
from rtl_gen.registers import ERROR_CHUNK_AT, ERRORS, PAGE_BITS, REGISTERS
from rtl_gen.top import port_prefixes

PERIOD_NS = 2
PAGE_BYTES = 4096
POISON = 0xA5
START, SOFT_RESET, CLEAR = 1, 2, 4
BUSY, DONE, FAILED = 1, 2, 4
INCR = 1
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
    """Read side of the memory for a chunk; `fault` may turn a beat's response into an error. beats: count by kind."""

    def __init__(self, bus, clock, reset, mem, job, chunk):
        self.fault, self.job, self.chunk, self.kind, self.layer, self.beats = None, job, chunk, "", 0, {}
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
            self.layer = (address - self.chunk["registers"]["program"]) // job["instruction_bytes"]
            return "instruction"
        if address < job["weights"][1]:
            return "w"
        low, high = self.chunk["residuals"][self.layer]
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


async def watch(dut, channel: str, payload: str, handle) -> None:
    """Valid, once up, stays up with the same payload until ready; `handle` gets each payload taken."""
    signals = {name: getattr(dut, channel + name) for name in payload.split()}
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
                handle({name: int(bits, 2) for name, bits in payload.items()})
        else:
            assert held is None, f"{channel}: valid fell before ready"
            await rise


def expect_okay(response: dict[str, int]) -> None:
    """For `watch`: a response without an error."""
    assert response["resp"] == AxiResp.OKAY


class Monitor:
    """Checks the AXI rules on every channel of a memory port; what it has seen is in `bursts` (read and write),
    `longest` and `handshakes`.
    """

    PAYLOADS = {"ar": "addr len size burst id", "aw": "addr len size burst id", "w": "data strb last",
                "r": "data resp last", "b": "resp"}

    def __init__(self, dut, prefix: str, port_bytes: int):
        self.port = port_bytes
        self.bursts, self.longest, self.page_ends, self.handshakes, self.data_first = 0, 0, 0, 0, 0
        self.clear()
        for channel, payload in self.PAYLOADS.items():
            handle = getattr(self, f"_{channel}")
            cocotb.start_soon(watch(dut, prefix + channel, payload, lambda x, handle=handle: self._taken(handle, x)))

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

    def _taken(self, handle, payload):
        self.handshakes += 1
        handle(payload)

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


class Port:
    """The memory behind one chunk's port, and its monitor."""

    def __init__(self, dut, prefix: str, mem: bytearray, job: dict, chunk: dict):
        bus = AxiBus.from_prefix(dut, prefix.rstrip("_"))
        self.read_side = FaultyRead(bus.read, dut.clk, dut.rst, mem, job, chunk)
        self.write_side = FaultyWrite(bus.write, dut.clk, dut.rst, mem)
        self.monitor = Monitor(dut, prefix, job["port_bytes"])
        self.channels = (self.write_side.aw_channel, self.write_side.w_channel, self.write_side.b_channel,
                         self.read_side.ar_channel, self.read_side.r_channel)


class Bench:
    """The chip with its clock, a memory with a port per chunk, and a host. rng: from the job's seed and the test's
    name.

    read_side, write_side, monitor: of the first port; memory_channels: of all ports.
    """

    def __init__(self, dut, name: str):
        self.dut, self.job = dut, json.loads(Path(os.environ["DNA_ASIC_JOB"]).read_text())
        cocotb.log.info("%s: seed %d", name, self.job["seed"])
        prefixes = port_prefixes(len(self.job["chunks"]))
        for bus in (*prefixes, "s_axil_"):  # else a line for each burst
            logging.getLogger(f"cocotb.{dut._name}.{bus.rstrip('_')}").setLevel(logging.WARNING)
        self.rng = random.Random(f"{self.job['seed']}-{name}")
        self.mem = bytearray(Path(self.job["memory"]).read_bytes())
        Clock(dut.clk, PERIOD_NS, "ns").start()
        self.ports = [Port(dut, prefix, self.mem, self.job, chunk)
                      for prefix, chunk in zip(prefixes, self.job["chunks"], strict=True)]
        self.read_side, self.write_side = self.ports[0].read_side, self.ports[0].write_side
        self.monitor = self.ports[0].monitor
        self.memory_channels = tuple(channel for port in self.ports for channel in port.channels)
        self.lite = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        write, read = self.lite.write_if, self.lite.read_if
        self.host_channels = (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel)
        for channel, payload in (("s_axil_b", "resp"), ("s_axil_r", "data resp")):
            cocotb.start_soon(watch(dut, channel, payload, expect_okay))

    @classmethod
    async def create(cls, dut, name: str) -> "Bench":
        """A bench after reset, with its addresses written."""
        dut.rst.value = 0
        await Timer(PERIOD_NS, "ns")
        bench = cls(dut, name)
        await bench.hard_reset()
        return bench

    @property
    def layers(self) -> int:
        """Of the first chunk's program."""
        return self.job["chunks"][0]["registers"]["length"]

    @property
    def handshakes(self) -> int:
        """On all memory ports."""
        return sum(port.monitor.handshakes for port in self.ports)

    def quiet(self) -> bool:
        """Nothing is outstanding on any memory port."""
        return all(port.monitor.quiet() for port in self.ports)

    async def hard_reset(self) -> None:
        """Reset chip, memory and host; what was outstanding is forgotten."""
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, 3)
        for port in self.ports:
            port.monitor.clear()
        self.dut.rst.value = 0
        await ClockCycles(self.dut.clk, 2)
        assert await self.status() == 0
        await self.write_all(self.job["registers"])
        for page, chunk in enumerate(self.job["chunks"]):
            await self.write_all(chunk["registers"], page)

    async def write(self, name: str, value: int, page: int = 0) -> None:
        """Write a register."""
        await self.lite.write_dword((page << PAGE_BITS) + REGISTERS[name], value)

    async def write_all(self, values: dict[str, int], page: int = 0) -> None:
        """Write registers by name."""
        for name, value in values.items():
            await self.write(name, value, page)

    async def read(self, name: str) -> int:
        """Read a register."""
        return await self.lite.read_dword(REGISTERS[name])

    async def status(self) -> int:
        """STATUS."""
        return await self.read("status")

    async def counters(self, chunk: int = 0) -> dict[str, int]:
        """All event counters of a chunk."""
        words = await self.lite.read_dwords((chunk << PAGE_BITS) + COUNTERS_AT, 2 * len(COUNTERS))
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

    async def start(self, run: int = 0) -> None:
        """Start a run; every tensor it must write is poisoned first."""
        for tensor in self.job["runs"][run]["tensors"]:
            size = len(tensor["bytes"]) // 2
            self.mem[tensor["at"]:tensor["at"] + size] = bytes([POISON]) * size
        await self.write_all(self.job["runs"][run]["registers"])
        await self.write("control", START)

    async def interrupt(self) -> None:
        """Wait for the interrupt; fails when it does not come."""
        if self.dut.irq.value != 1:
            await First(RisingEdge(self.dut.irq), Timer(self.job["limit_cycles"] * PERIOD_NS, "ns"))
            assert self.dut.irq.value == 1, "the chip hangs"

    async def expect_done(self, run: int = 0, error: int = 0) -> None:
        """The run ends, with this error code (a run ends well with "busy"), and memory holds its tensors."""
        await self.interrupt()
        assert await self.read("error") == error
        assert await self.status() == DONE | (FAILED if error else 0)
        assert self.quiet()
        self.check_tensors(run)

    def check_tensors(self, run: int, whole: bool = True) -> None:
        """Memory holds the run's tensors; of a broken run (not `whole`) bytes may be missing, but none is wrong."""
        for tensor in self.job["runs"][run]["tensors"]:
            want, used = bytes.fromhex(tensor["bytes"]), bytes.fromhex(tensor["used"])
            got = self.mem[tensor["at"]:tensor["at"] + len(want)]
            wrong = sum(g != w and (whole or g != POISON) for g, w, u in zip(got, want, used) if u)
            assert wrong == 0, f"tensor {tensor['name']}: {wrong} wrong bytes"

    async def run(self, run: int = 0) -> None:
        """A whole good run."""
        await self.start(run)
        await self.expect_done(run)

    async def expect_error(self, name: str, chunk: int = 0) -> None:
        """The run ends with this error of a chunk and its interrupt, and the bus becomes quiet."""
        await self.interrupt()
        assert await self.read("error") == ERRORS[name] | chunk << ERROR_CHUNK_AT
        assert await self.status() == DONE | FAILED
        await self.becomes_quiet()

    async def becomes_quiet(self) -> None:
        """Nothing outstanding, and nothing more asked for."""
        before = -1
        while before != self.handshakes:
            before = self.handshakes
            await ClockCycles(self.dut.clk, _QUIET_CYCLES)
        assert self.quiet()

    async def beats(self, count: int) -> None:
        """Wait for `count` handshakes more on the memory ports."""
        target = self.handshakes + count
        await self.until(lambda: self.handshakes >= target)

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
