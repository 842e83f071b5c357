"""cocotb bench of `chip` with two chunks that wait for each other: an error or a time-out in one of them, resets."""

import cocotb
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiResp

from rtl_gen.registers import ERRORS, PAGE_BITS, REGISTERS
from sim.protocol import BUSY, DONE, FAILED, SOFT_RESET, START, Fault, case

MANY, ONE = 0, 1  # runs of the job: several images, one image
CHUNKS = (0, 1)


async def all_counters(bench):
    """Of both chunks."""
    return [await bench.counters(chunk) for chunk in CHUNKS]


@case
async def back_to_back(bench):
    """Runs of several images, of one, of several again; the counters of equal runs are equal."""
    assert await bench.read("chunks") == len(CHUNKS)
    images = bench.job["runs"][MANY]["registers"]["images"]
    await bench.run(MANY)
    first = await all_counters(bench)
    for chunk, counters in enumerate(first):
        assert counters["layer"] == images * bench.job["chunks"][chunk]["registers"]["length"]
        assert bench.ports[chunk].monitor.handshakes > bench.job["handshakes"]
    await bench.run(ONE)
    await bench.run(MANY)
    assert await all_counters(bench) == first


@case
async def random_pauses(bench):
    """Every channel of either port pauses at random; results stay."""
    for run, probability in ((MANY, 0.3), (ONE, 0.7)):
        bench.pause((*bench.memory_channels, *bench.host_channels), probability)
        await bench.run(run)


@case
async def bus_errors(bench):
    """On either port: the run ends with the error of that chunk, and the next is right."""
    await bench.run(MANY)
    counters = await all_counters(bench)
    beats = [dict(port.read_side.beats) for port in bench.ports]
    for chunk, port in enumerate(bench.ports):
        for kind in (*beats[chunk], "b"):
            fault = Fault(kind, bench.rng.randrange(beats[chunk].get(kind, 6)), AxiResp.SLVERR)
            port.read_side.fault = port.write_side.fault = fault
            cocotb.log.info("chunk %d: %s", chunk, fault)
            await bench.start(MANY)
            await bench.expect_error("write" if kind == "b" else "read", chunk)
            assert fault.fired
        await bench.run(ONE)
    await bench.run(MANY)
    assert await all_counters(bench) == counters


@case
async def broken_programs(bench):
    """An illegal instruction, a program without an end and a falling stage, in either chunk."""
    for chunk in CHUNKS:
        registers = bench.job["chunks"][chunk]["registers"]
        at = registers["program"] + bench.job["opcode_byte"] + bench.job["instruction_bytes"]
        bench.mem[at] ^= 1
        await bench.start(MANY)
        await bench.expect_error("illegal", chunk)
        bench.mem[at] ^= 1
        await bench.write("length", 1, chunk)
        await bench.start(MANY)
        await bench.expect_error("past_end", chunk)
        await bench.write("length", registers["length"], chunk)
        falling = bytes.fromhex(bench.job["chunks"][chunk]["falling"])  # the first layer with a stage above the second
        place = slice(registers["program"], registers["program"] + len(falling))
        good, bench.mem[place] = bench.mem[place], falling
        await bench.start(MANY)
        await bench.expect_error("illegal", chunk)
        bench.mem[place] = good
        await bench.run(ONE)


@case
async def time_out_of_one(bench):
    """One port falls silent: its chunk is named, however long the other has waited for it; then all is right again."""
    await bench.write("timeout", 400)
    for chunk, port in enumerate(bench.ports):
        _, w, b, ar, r = port.channels
        for channel in (w, b, ar, r)[chunk::2]:
            await bench.start(MANY)
            await bench.beats(bench.rng.randrange(1, bench.job["handshakes"]))
            bench.stop((channel,), True)
            await bench.interrupt()
            assert await bench.read("error") == ERRORS["timeout"] | chunk << 8
            assert await bench.status() == DONE | FAILED
            await bench.start(ONE)  # waits for what the silent memory owes
            await ClockCycles(bench.dut.clk, bench.rng.randrange(200))
            bench.stop((channel,), False)
            await bench.expect_done(ONE)


@case
async def waiting_is_no_time_out(bench):
    """A chunk waits for a slow one much longer than the limit, with nothing outstanding."""
    await bench.write("timeout", 60)
    for port in bench.ports:
        bench.pause(port.channels, 0.8)
        await bench.run(MANY)
        bench.pause(port.channels, 0)


@case
async def soft_reset(bench):
    """In the middle of a run: both ports drain, neither interrupt nor error is left, the next run is right."""
    for run in (ONE, MANY) * 2:
        await bench.start(MANY)
        await bench.beats(bench.rng.randrange(1, bench.job["handshakes"]))
        await bench.write("control", SOFT_RESET)
        await bench.start(run)
        await bench.expect_done(run)
        assert await bench.read("error") == 0
    await bench.start(MANY)
    await bench.beats(1)
    await bench.write("control", SOFT_RESET)
    await bench.becomes_quiet()
    assert bench.dut.irq.value == 0 and await bench.status() == 0


@case
async def start_while_busy(bench):
    """The second start is refused; the first run ends right."""
    await bench.start(MANY)
    await bench.beats(bench.rng.randrange(1, bench.job["handshakes"]))
    await bench.write("images", 1)
    await bench.write("input_pitch", 0)
    await bench.write("length", 0, 1)
    await bench.write("control", START)
    assert await bench.status() == BUSY | FAILED
    await bench.expect_done(MANY, ERRORS["busy"])
    await bench.hard_reset()
    await bench.run(ONE)


@case
async def no_programs(bench):
    """A chip without any program is finished at once."""
    for chunk in CHUNKS:
        await bench.write("length", 0, chunk)
    await bench.write("control", START)
    await bench.interrupt()
    assert await bench.status() == DONE
    assert [counters["layer"] for counters in await all_counters(bench)] == [0, 0]


@case
async def pages(bench):
    """Each chunk has a program and a length; nothing else can be written in the second page."""
    for name in ("program", "length"):
        for chunk in CHUNKS:
            await bench.write(name, 0x1000 * chunk + 5, chunk)
        assert [await bench.lite.read_dword((chunk << PAGE_BITS) + REGISTERS[name]) for chunk in CHUNKS] == [5, 0x1005]
    before = {name: await bench.read(name) for name in REGISTERS}
    for address in range(1 << PAGE_BITS, 4 << PAGE_BITS, 4):
        if address - (1 << PAGE_BITS) not in (REGISTERS["program"], REGISTERS["length"]):
            await bench.lite.write_dword(address, 0xFFFFFFFF)
            assert await bench.lite.read_dword(address) == 0
    assert {name: await bench.read(name) for name in REGISTERS} == before
