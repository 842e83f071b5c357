"""Chunk cores (PE array, NoC, buffers, sequencer) of every dataflow; against the O buffers that a job foresees.

The job (JSON, its path in DNA_ASIC_JOB): per core a list of tiles {kind, instruction (hex), runs: [{w, i (hex, images
of the halves)}], words: {address: psum after all runs}}. Runs after the first add to the psums of those before.
"""

import json
import os
from pathlib import Path

import cocotb

from sim.blocks.bench import Bench, seeded
from sim.blocks.blocks import ARRAYS, JOB

_LIMIT_CYCLES = 20_000


class Core:
    """One of the cores side by side in the block."""

    def __init__(self, bench, rng, name):
        self.bench, self.rng, self.name = bench, rng, name
        self.config, self.chunk = ARRAYS[name], ARRAYS[name].chunks[0]

    async def cycle(self, **inputs):
        await self.bench.cycle(**{f"{self.name}_{name}": value for name, value in inputs.items()})

    async def fill(self, x, half, image: bytes):
        """Write a half of the W or I buffer."""
        port = self.config.port_bytes
        for row in range(-(-len(image) // port)):
            data = int.from_bytes(image[row * port:(row + 1) * port], "little")
            await self.cycle(**{f"gb_{x}_write_en": 1, f"gb_{x}_write_half": half, f"gb_{x}_write_row": row,
                                f"gb_{x}_write_data": data})
        await self.cycle(**{f"gb_{x}_write_en": 0})

    async def run(self, halves, first_reduction: bool, stop_after: int | None = None) -> int:
        """Cycles from start to done; or stop in the middle."""
        await self.cycle(start=1, first_reduction=int(first_reduction), **{f"{x}_half": h for x, h in halves.items()})
        for cycle in range(1, stop_after or _LIMIT_CYCLES):
            await self.cycle(start=0)
            if self.bench.get(f"{self.name}_done"):
                return cycle
        assert stop_after, "the core hangs"
        return stop_after

    async def read(self, half, addresses) -> dict[int, int]:
        """Words of the O buffer."""
        n_pp, words = self.chunk.n_pp, {}
        for unit in sorted({address // n_pp for address in addresses}):
            await self.cycle(gb_o_read_en=1, gb_o_read_half=half, gb_o_read_address=unit)
            await self.cycle(gb_o_read_en=0)
            bits = self.bench.bits(f"{self.name}_gb_o_read_data")  # neighbours may never have been written
            for n in range(n_pp):
                word = bits[len(bits) - 32 * (n + 1):len(bits) - 32 * n]
                words[unit * n_pp + n] = int(word, 2) - (int(word[0]) << 32) if unit * n_pp + n in addresses else None
        return {address: words[address] for address in addresses}

    async def prepare(self, tile):
        """Show the instruction, as long as the core wants it before the start."""
        await self.cycle(instruction=int.from_bytes(bytes.fromhex(tile["instruction"]), "little"))
        await self.cycle()

    async def check(self, tile):
        """All runs of a tile, then its words; each run takes as long as the first."""
        rng, o_half, cycles = self.rng, self.rng.randrange(2), []
        await self.prepare(tile)
        for n, run in enumerate(tile["runs"]):
            halves = {"w": rng.randrange(2), "i": rng.randrange(2), "o": o_half}
            for x in "wi":
                await self.fill(x, halves[x], bytes.fromhex(run[x]))
            cycles.append(await self.run(halves, n == 0))
        expected = {int(address): value for address, value in tile["words"].items()}
        assert await self.read(o_half, expected) == expected, tile["kind"]
        assert len(set(cycles)) == 1, f"{tile['kind']}: cycles {cycles}"


async def together(*coroutines):
    """Run on all cores at once."""
    for task in [cocotb.start_soon(coroutine) for coroutine in coroutines]:
        await task


async def start(dut, subject) -> list[tuple[Core, list]]:
    """Every core with its tiles, after reset."""
    job, bench, rng = json.loads(Path(os.environ[JOB]).read_text()), await Bench.start(dut, "array"), seeded(subject)
    assert all(job[name] for name in ARRAYS)
    return [(Core(bench, rng, name), job[name]) for name in ARRAYS]


@cocotb.test()
async def computes_tiles(dut):
    """All tiles of the job, back to back."""
    async def check_all(core, tiles):
        for tile in tiles:
            await core.check(tile)

    await together(*(check_all(core, tiles) for core, tiles in await start(dut, "array")))


@cocotb.test()
async def computes_again_after_a_reset(dut):
    """A reset in the middle of a tile; the next one is whole."""
    async def begin(core, tile, cycles):
        await core.prepare(tile)
        await core.run({"w": 0, "i": 1, "o": 0}, True, cycles)

    cores = await start(dut, "array reset")
    for cycles in (2, 30):
        await together(*(begin(core, tiles[0], cycles) for core, tiles in cores))
        await cores[0][0].bench.reset(**{f"{core.name}_start": 0 for core, _ in cores})
        await together(*(core.check(tiles[0]) for core, tiles in cores))
