"""DMA: read and store engines on an AXI bus of cocotbext-axi, stalled on every channel; against Python loops."""

import logging
from dataclasses import dataclass, field

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import Timer
from cocotbext.axi import AxiBus, AxiSlave

from dna_asic.spec.instruction import INSTRUCTION_BYTES
from rtl_gen.dma import JOBS, PARAM_BANKS
from sim.blocks.bench import PERIOD_NS, Bench, mask, seeded
from sim.blocks.blocks import PAIR

_PORT = PAIR.port_bytes
_READ = range(4096, 1 << 18)  # where reads find their data; not from 0, so that a lost base is seen
_WRITE = range(1 << 18, 1 << 19)
_CHANNELS = ("ar", "r", "aw", "w", "b")
_PAYLOAD = {"ar": ("araddr", "arlen"), "aw": ("awaddr", "awlen"), "w": ("wdata", "wstrb", "wlast")}
_LIMIT_CYCLES = 20_000


class Ram:
    """Memory behind the bus; accesses to `faulty` addresses and outside fail."""

    def __init__(self, rng):
        self.data, self.faulty = bytearray(rng.randbytes(_WRITE.stop)), range(0)

    async def read(self, address: int, length: int) -> bytes:
        self._check(address, length)
        return bytes(self.data[address:address + length])

    async def write(self, address: int, data: bytes) -> None:
        self._check(address, len(data))
        self.data[address:address + len(data)] = data

    def _check(self, address, length):
        if address + length > len(self.data) or address in self.faulty:
            raise ValueError(f"no memory at {address:#x}")

    def beat(self, address: int) -> int:
        """A beat as a number."""
        return int.from_bytes(self.data[address:address + _PORT], "little")


@dataclass
class Box:
    """A box of beats [block][row][column] in a tensor; origin, sizes and counts as (column, row, block)."""

    address: int  # of the tensor
    counts: tuple[int, int, int]
    pitches: tuple[int, int, int]
    origin: tuple[int, int, int]
    sizes: tuple[int, int, int]

    @classmethod
    def random(cls, rng, region, sizes, lowest=0) -> "Box":
        """A box of a tensor in `region` that may begin at `lowest` and pass the tensor's ends."""
        counts = tuple(rng.randint(1, size + 3) for size in sizes)
        row = counts[0] * _PORT + rng.choice((0, _PORT, 100 * _PORT))
        block = counts[1] * row + rng.choice((0, 3 * _PORT))
        origin = *(rng.randint(lowest, count - 1) for count in counts[:2]), rng.randrange(counts[2])
        span = (counts[2] - 1) * block + (counts[1] - 1) * row + counts[0] * _PORT
        address = rng.randrange(region.start, region.stop - span, _PORT)
        return cls(address, counts, (_PORT, row, block), origin, sizes)

    def at(self, *place: int) -> int:
        """Address of a place in the tensor."""
        return self.address + sum(n * pitch for n, pitch in zip(place, self.pitches))

    def beats(self) -> list[int | None]:
        """Addresses in order; None outside the tensor."""
        places = ([n + first for n, first in zip((x, y, b), self.origin)] for b in range(self.sizes[2])
                  for y in range(self.sizes[1]) for x in range(self.sizes[0]))
        return [self.at(*place) if all(0 <= n < count for n, count in zip(place, self.counts)) else None
                for place in places]


def random_sizes(rng, most: int) -> tuple[int, int, int]:
    """Columns, rows and blocks of at most `most` beats."""
    columns = rng.choice((1, 2, rng.randint(1, 12), rng.randint(1, most)))
    rows = rng.randint(1, max(1, min(6, most // columns)))
    return columns, rows, rng.randint(1, max(1, min(3, most // columns // rows)))


@dataclass
class Reads:
    """A set of read jobs: inputs, and what must come out of each."""

    jobs: tuple[str, ...]
    inputs: dict[str, int]
    expected: dict[str, list]  # per job, in order
    requested: int  # beats on the bus
    seen: dict[str, list] = field(default_factory=lambda: {job: [] for job in JOBS})
    order: list[str] = field(default_factory=list)

    @classmethod
    def random(cls, bench, ram, rng) -> "Reads":
        """Any jobs at once."""
        jobs = tuple(job for job in JOBS if rng.random() < 0.5) or (rng.choice(JOBS),)
        pad, half, bank = rng.randrange(4), rng.randrange(2), rng.randrange(PARAM_BANKS)
        i_box = Box.random(rng, _READ, random_sizes(rng, 300), lowest=-pad)
        o_box = Box.random(rng, _READ, random_sizes(rng, 60))
        w_beats, param_beats = rng.choice(((1, 1), (rng.randint(1, 700), rng.randint(1, 200))))
        w_at, instruction_at = (rng.randrange(_READ.start, _READ.stop // 2, _PORT) for _ in range(2))
        fields = {"pad": pad, "w_beats": w_beats, "w_param_beats": param_beats}
        fields |= dict(zip(("i_w", "i_h", "i_b"), i_box.counts)) | dict(zip(("o_w", "o_h", "o_b"), o_box.counts))
        fields |= {f"it_{n}_last": size - 1 for n, size in zip("whb", i_box.sizes)}
        fields |= {f"st_last_{2 + n}": size - 1 for n, size in enumerate(o_box.sizes)}
        fields |= {f"{x}_{n}_pitch": box.pitches[1 + k] for x, box in (("i", i_box), ("o", o_box))
                   for k, n in enumerate(("row", "block"))}
        tile_at = i_box.at(*(n + pad for n in i_box.origin[:2]), i_box.origin[2])
        shape = bench.block.engines["read"].signature.members["fields"].shape
        inputs = {"fields": shape.const(fields).as_bits(), "i_address": tile_at,
                  "i_column_0": mask(i_box.origin[0], 15), "i_row_0": mask(i_box.origin[1], 15),
                  "i_block_0": i_box.origin[2], "i_half": half, "w_half": 1 - half, "w_bank": bank,
                  "w_address": w_at, "instruction_address": instruction_at, "residual_address": o_box.at(*o_box.origin)}
        inputs |= {f"residual_{n}_0": first for n, first in zip(("column", "row", "block"), o_box.origin)}
        columns, rows, blocks = i_box.sizes
        places = [(y * columns + x) * blocks + b for b in range(blocks) for y in range(rows) for x in range(columns)]
        linear = [ram.beat(w_at + n * _PORT) for n in range(w_beats + param_beats)]
        expected = {
            "i": [("i", half, row, ram.beat(at) if at is not None else 0) for row, at in zip(places, i_box.beats())],
            "w": [("w", 1 - half, n, data) for n, data in enumerate(linear[:w_beats])]
            + [("param", bank, n, data) for n, data in enumerate(linear[w_beats:])],
            "residual": [ram.beat(at) if at is not None else 0 for at in o_box.beats()],
            "instruction": [ram.data[instruction_at:instruction_at + INSTRUCTION_BYTES]],
        }
        beats = {"i": sum(at is not None for at in i_box.beats()), "w": len(linear),
                 "residual": sum(at is not None for at in o_box.beats()), "instruction": INSTRUCTION_BYTES // _PORT}
        return cls(jobs, inputs, {job: expected[job] if job in jobs else [] for job in JOBS},
                   sum(beats[job] for job in jobs))

    def observe(self, bench):
        """Take what the engine puts out in this cycle."""
        get, rows = bench.get, bench.block.engines["read"].param_rows
        data = get("read_write_data") if any(get(f"read_{x}_write_en") for x in ("w", "i", "param")) else None
        for x in "wi":
            if get(f"read_{x}_write_en"):
                self._take(x, (x, get(f"read_{x}_write_half"), get(f"read_{x}_write_row"), data))
        if get("read_param_write_en"):
            self._take("w", ("param", *divmod(get("read_param_write_row"), rows), data))
        if get("read_residual_valid") and get("read_residual_take"):
            self._take("residual", get("read_residual_data"))

    def _take(self, job, result):
        self.seen[job].append(result)
        if job not in self.order:
            self.order.append(job)

    def finish(self, bench):
        """Compare when all is over."""
        if "instruction" in self.jobs:
            self.seen["instruction"] = [bench.get("read_instruction").to_bytes(INSTRUCTION_BYTES, "little")]
        for job in JOBS:
            assert self.seen[job] == self.expected[job], f"{job} job"
        assert self.order == [job for job in self.jobs if job != "instruction"], "order of pending jobs"


class Store:
    """A tile to store: inputs, the beats it is given, and what memory must hold then."""

    def __init__(self, bench, ram, rng):
        self.bench, self.box = bench, Box.random(rng, _WRITE, random_sizes(rng, 200))
        self.beats = [rng.randbytes(_PORT) for _ in self.box.beats()]
        self.before = bytes(ram.data)
        box = self.box
        fields = {f"st_last_{2 + n}": size - 1 for n, size in enumerate(box.sizes)}
        fields |= dict(zip(("o_w", "o_h", "o_b"), box.counts))
        fields |= {"o_row_pitch": box.pitches[1], "o_block_pitch": box.pitches[2]}
        shape = bench.block.engines["store"].signature.members["fields"].shape
        self.inputs = {"fields": shape.const(fields).as_bits(), "tile_address": box.at(*box.origin)}
        self.inputs |= {f"{n}_0": first for n, first in zip(("column", "row", "block"), box.origin)}
        self.given, self.offered = 0, False

    def offer(self, rng) -> dict[str, int]:
        """Inputs of this cycle; a beat once offered stays."""
        self.offered = self.given < len(self.beats) and (self.offered or rng.random() < 0.8)
        data = self.beats[self.given] if self.offered else rng.randbytes(_PORT)
        return {"store_beat": int(self.offered), "store_data": int.from_bytes(data, "little")}

    def observe(self):
        """Whether the beat was taken; `done` comes with the last."""
        taken = self.offered and self.bench.get("store_ready")
        self.given += taken
        self.offered &= not taken
        assert self.bench.get("store_done") == int(taken and self.given == len(self.beats))

    def expected(self) -> bytes:
        """Memory after the whole tile."""
        data = bytearray(self.before)
        for at, beat in zip(self.box.beats(), self.beats):
            if at is not None:
                data[at:at + _PORT] = beat
        return bytes(data)


class Dma:
    """Both engines, the bus model with its pauses, and a check of the bus signals in every cycle."""

    def __init__(self, bench, rng):
        self.bench, self.rng, self.ram = bench, rng, Ram(rng)
        self.stalls, self.held = dict.fromkeys(_CHANNELS, 0.0), {}
        self.counts = dict.fromkeys(("asked", "taken", "bursts", "read_error", "store_error"), 0)

    @classmethod
    async def start(cls, dut, subject: str) -> "Dma":
        """Clocks, reset, bus model."""
        bench = await Bench.start(dut, "dma")
        dma = cls(bench, seeded(subject))
        logging.getLogger(f"cocotb.{dut._name}").setLevel(logging.ERROR)
        await Timer(PERIOD_NS // 4, "ns")
        cocotb.start_soon(Clock(dut.bus_clk, PERIOD_NS, unit="ns").start())
        slave = AxiSlave(AxiBus.from_prefix(dut, "m_axi"), dut.bus_clk, dut.rst, dma.ram)
        for name in _CHANNELS:
            side = slave.read_if if name in ("ar", "r") else slave.write_if
            getattr(side, f"{name}_channel").set_pause_generator(dma._pauses(name))
        await bench.reset()
        return dma

    def _pauses(self, channel):
        while True:
            yield self.rng.random() < self.stalls[channel]

    async def cycle(self, **inputs):
        """One cycle, and the rules of the bus: what is valid stays until it is taken."""
        get = self.bench.get
        await self.bench.cycle(**inputs)
        for channel, signals in _PAYLOAD.items():
            valid, payload = get(f"m_axi_{channel}valid"), [get(f"m_axi_{name}") for name in signals]
            taken = valid and get(f"m_axi_{channel}ready")
            if channel in self.held:
                assert valid and payload == self.held[channel], f"{channel} moved before it was taken"
            self.held.pop(channel, None)
            if valid and not taken:
                self.held[channel] = payload
            if taken and channel == "ar":
                self.counts["asked"] += payload[1] + 1
            self.counts["bursts"] += bool(taken and channel == "aw")
        self.counts["taken"] += sum(get(f"read_count_{job}") for job in JOBS)
        for name in ("read_error", "store_error"):
            self.counts[name] += get(name)

    async def run(self, stop_after: int | None = None, faulty: bool = False) -> tuple[Reads, Store]:
        """Read jobs and a store at once, until all is quiet; or for some cycles. faulty: their data do not count."""
        bench, rng = self.bench, self.rng
        reads, store = Reads.random(bench, self.ram, rng), Store(bench, self.ram, rng)
        before = dict(self.counts)
        starts = {"store_start": 1} | {f"read_start_{job}": int(job in reads.jobs) for job in JOBS}
        await self.cycle(**starts, **{f"read_{name}": value for name, value in reads.inputs.items()},
                         **{f"store_{name}": value for name, value in store.inputs.items()})
        for n in range(_LIMIT_CYCLES):
            await self.cycle(**dict.fromkeys(starts, 0), read_residual_take=int(rng.random() < 0.7), **store.offer(rng))
            reads.observe(bench)
            store.observe()
            if n == stop_after:
                return reads, store
            over = store.given == len(store.beats) and bench.get("store_quiet") and bench.get("read_idle")
            if over and n > 2 and bench.get("read_quiet"):
                break
        else:
            raise AssertionError("the DMA hangs")
        await self.cycle(store_beat=0)
        assert not bench.get("read_busy")
        if not faulty:
            reads.finish(bench)
            assert self.ram.data == store.expected(), "memory after the store"
        asked, taken = (self.counts[n] - before[n] for n in ("asked", "taken"))
        assert asked == taken == reads.requested, "beats on the bus"
        return reads, store

    async def abort(self, store):
        """Abort as the chip does; the store has written nothing but beats that it was given."""
        await self.cycle(abort=1, store_beat=0, read_residual_take=0)
        for _ in range(_LIMIT_CYCLES):
            if self.bench.get("read_quiet") and self.bench.get("store_quiet"):
                break
            await self.cycle()
        else:
            raise AssertionError("the aborted bus is never quiet")
        await self.cycle(abort=0)
        expected = store.expected()
        assert all(now in pair for now, *pair in zip(self.ram.data, store.before, expected))


@cocotb.test()
async def moves_whole_tiles(dut):
    """Jobs of every kind and ragged stores at once, back to back; then each channel stalled more than the others."""
    dma = await Dma.start(dut, "dma")
    for channel in (None, *_CHANNELS):
        dma.stalls = {name: 0.8 if name == channel else 0.2 if channel else 0.0 for name in _CHANNELS}
        for _ in range(5):
            await dma.run()
    assert dma.counts["read_error"] == dma.counts["store_error"] == 0


@cocotb.test()
async def moves_again_after_a_reset(dut):
    """Reset of block and bus in the middle of bursts; the next tiles are whole."""
    dma = await Dma.start(dut, "dma reset")
    dma.stalls = dict.fromkeys(_CHANNELS, 0.3)
    for stop_after in (2, 10, 40):
        await dma.run(stop_after)
        dma.held.clear()
        await dma.bench.reset(store_beat=0)
        await dma.run()


@cocotb.test()
async def drains_an_aborted_bus(dut):
    """An abort in the middle of bursts: the bus owes nothing afterwards, nothing else was written, the next runs."""
    dma = await Dma.start(dut, "dma abort")
    dma.stalls = dict.fromkeys(_CHANNELS, 0.3)
    for stop_after in (2, 10, 40):
        _, store = await dma.run(stop_after)
        await dma.abort(store)
        await dma.run()


@cocotb.test()
async def reports_errors_of_the_bus(dut):
    """Every beat and every burst that fails is an error, what failed is not written, and nothing stops."""
    dma = await Dma.start(dut, "dma errors")
    dma.stalls = dict.fromkeys(_CHANNELS, 0.3)
    dma.ram.faulty = range(_READ.start, _WRITE.stop)
    for _ in range(6):
        _, store = await dma.run(faulty=True)
        assert dma.ram.data == store.before
    assert dma.counts["read_error"] == dma.counts["taken"] > 0
    assert dma.counts["store_error"] == dma.counts["bursts"] > 0
    dma.ram.faulty = range(0)
    await dma.run()
