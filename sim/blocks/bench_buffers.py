"""Memories: banked buffers of every pair of widths, the SRAM wrapper and the psum buffer; against Python lists."""

import cocotb

from sim.blocks.bench import Bench, mask, seeded

_EXTREMES = (-1 << 31, -1, 0, 1, (1 << 31) - 1)


class Bytes:
    """A memory with a write and a read port; None is an unknown byte."""

    def __init__(self, bench, part):
        self.bench, self.part, block = bench, part, bench.block.parts[part]
        if part == "sram":
            self.row, self.unit, rows, self.port, self.scale = "write_address", 1, block.words, 1, block.bits
        else:
            self.row, self.unit, rows, self.port = "write_row", block.read_bytes, block.rows, block.write_bytes
            self.scale = 8
        self.bytes, self.shown = [None] * (rows * self.port), [None] * self.unit

    def stimulus(self, rng, write=0.5, read=0.7):
        """Inputs of this cycle: never a read of what is written."""
        row, at = rng.randrange(len(self.bytes) // self.port), rng.randrange(len(self.bytes) // self.unit)
        values = [rng.randrange(1 << self.scale) for _ in range(self.port)]
        self.write = (row * self.port, values) if rng.random() < write else None
        overlap = self.write and row * self.port < (at + 1) * self.unit and at * self.unit < (row + 1) * self.port
        self.read = at * self.unit if rng.random() < read and not overlap else None
        packed = sum(value << self.scale * n for n, value in enumerate(values))
        inputs = {"write_en": self.write is not None, self.row: row, "write_data": packed,
                  "read_en": self.read is not None, "read_address": at}
        return {f"{self.part}_{name}": value for name, value in inputs.items()}

    def check(self):
        """Read data shown in this cycle; then what the cycle's accesses do. Returns whether anything was known."""
        known = None not in self.shown
        if known:
            expected = sum(value << self.scale * n for n, value in enumerate(self.shown))
            assert self.bench.get(f"{self.part}_read_data") == expected, f"{self.part}: data of the last read"
        if self.read is not None:
            self.shown = self.bytes[self.read:self.read + self.unit]
        if self.write:
            at, values = self.write
            self.bytes[at:at + self.port] = values
        return known


@cocotb.test()
async def memories_hold_what_is_written(dut):
    """Random writes and reads each cycle; read data stays until the next read. A reset may lose everything."""
    bench, rng = await Bench.start(dut, "buffers"), seeded("buffers")
    checked = 0
    for _ in range(3):
        memories = [Bytes(bench, part) for part in ("narrow", "wide", "equal", "sram")]
        for n in range(250):
            inputs = [memory.stimulus(rng, read=0.7 if n % 50 else 0) for memory in memories]
            await bench.cycle(**{name: value for part in inputs for name, value in part.items()})
            checked += sum(memory.check() for memory in memories)
        await bench.reset()
    assert checked > 1500


class Psums:
    """A psum buffer: passes of a drain over one half, reads of the other meanwhile."""

    def __init__(self, bench, rng, part):
        self.bench, self.rng, self.part = bench, rng, part
        self.block = bench.block.parts[part]
        self.words = [[None] * (self.block.words) for _ in range(2)]
        self.shown, self.checked = None, 0

    def _int32(self):
        return self.rng.choice(_EXTREMES) if self.rng.random() < 0.2 else self.rng.randint(-1 << 31, (1 << 31) - 1)

    def _lane(self, old, first, op_max):
        """A lane's value whose sum with the old word fits 32 bits, at their edge now and then."""
        value = self._int32()
        return value if first or op_max else max(-(1 << 31), min((1 << 31) - 1, old + value)) - old

    async def cycle(self, half, **drain):
        """One cycle of a drain of `half`; half of the time a word group of the other is read."""
        n_pp, other = self.block.n_pp, self.words[1 - half]
        unit, read = self.rng.randrange(len(other) // n_pp), self.rng.randrange(2)
        inputs = {"drain_half": half, "drain_read_en": 0, "write_en": 0, "read_en": read, "read_half": 1 - half,
                  "read_address": unit} | drain
        await self.bench.cycle(**{f"{self.part}_{name}": value for name, value in inputs.items()})
        if self.shown and None not in self.shown:
            data = self.bench.get(f"{self.part}_read_data")
            assert [data >> 32 * n & 0xFFFFFFFF for n in range(n_pp)] == [mask(word, 32) for word in self.shown]
            self.checked += 1
        if read:
            self.shown = other[unit * n_pp:(unit + 1) * n_pp]

    async def drain(self, half, *, first, op_max, single):
        """A pass over every word once, in random order, with gaps."""
        n_o, rng, words = self.block.n_o, self.rng, self.words[half]
        addresses = list(range(0, len(words), 1 if single else n_o))
        rng.shuffle(addresses)
        static, write = {"first": first, "op_max": op_max, "single": single}, {}
        while addresses or write:
            read, following = {}, {}
            if addresses and rng.random() < 0.8:
                at = addresses.pop()
                lanes = [self._lane(words[at + n], first, op_max) for n in range(1 if single else n_o)]
                read = {"drain_read_en": int(not first), "drain_read_address": at}
                following = {"write_en": 1, "write_address": at} | {f"lane_{n}": v for n, v in enumerate(lanes)}
                for n, lane in enumerate(lanes):
                    old = words[at + n]
                    words[at + n] = lane if first else max(old, lane) if op_max else old + lane
            await self.cycle(half, **static, **read, **write)
            write = following
        for _ in range(2):
            await self.cycle(half)

    async def run(self):
        """Passes that set, add and take the maximum, both halves in turn, in whole beats and word by word."""
        rng = self.rng
        for n in range(6):
            await self.drain(n % 2, first=1, op_max=rng.randrange(2), single=int(n in (2, 3)))
            for _ in range(2):
                await self.drain(n % 2, first=0, op_max=rng.randrange(2), single=rng.randrange(2))


@cocotb.test()
async def psum_buffers_join_and_serve(dut):
    """Sums and maxima at the ends of int32; the half that is not drained is read meanwhile."""
    bench, rng = await Bench.start(dut, "buffers"), seeded("psums")
    for part in ("lanes", "words"):
        psums = Psums(bench, rng, part)
        await psums.run()
        assert psums.checked > 300
