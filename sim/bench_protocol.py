"""cocotb bench of `chip` with one chunk: bus rules, pauses, faults, resets and registers."""

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiResp

from rtl_gen.registers import ERRORS, PAGED, REGISTERS, STORED, VERSION
from sim.protocol import BUSY, CLEAR, DONE, FAILED, SOFT_RESET, START, Fault, case

UNKNOWN = (0x34, 0x3C, 0xE0, 0x100, 0x114, 0x140, 0xFFC)


@case
async def back_to_back(bench):
    """Two images, then the first again; the counters of equal runs are equal."""
    assert await bench.read("version") == VERSION
    await bench.run(0)
    first = await bench.counters()
    assert first["layer"] == bench.layers and first["macs"] > 0
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
            fault = Fault(kind, bench.rng.randrange(counts.get(kind, bench.layers)), response)
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
    program = bench.job["chunks"][0]["registers"]["program"]
    at = program + bench.job["opcode_byte"] + bench.rng.randrange(2) * bench.job["instruction_bytes"]
    good = bench.mem[at]
    bench.mem[at] ^= 1 << bench.rng.randrange(8)
    await bench.start()
    await bench.expect_error("illegal")
    bench.mem[at] = good
    await bench.run()


@case
async def past_end(bench):
    """A program whose last layer lies beyond LENGTH; the layers before have run."""
    for length in (1, bench.layers - 1):
        await bench.write("length", length)
        await bench.start()
        await bench.expect_error("past_end")
        assert (await bench.counters())["layer"] == length
    await bench.write("length", bench.layers)
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
    for name in (*PAGED, *STORED):
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
    stored = {name: 0 for name in (*PAGED, *STORED)}
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
    for name, value in (("version", VERSION), ("control", 0), ("status", 0), ("error", 0), ("chunks", 1)):
        if name != "control":
            await bench.write(name, 0xFFFFFFFF)
        assert await bench.read(name) == value
    await bench.lite.write(REGISTERS["control"] + 1, bytes([START, START, START]))  # no strobe on the start bit
    assert await bench.status() == 0
