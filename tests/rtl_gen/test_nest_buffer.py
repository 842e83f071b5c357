"""Nest against nested loops, buffers against a byte array."""

import itertools
import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from amaranth.sim import Simulator

from dna_asic.errors import InfeasibleDesign
from dna_asic.spec.instruction import nest_jumps
from rtl_gen.buffer import BankedBuffer, Sram
from rtl_gen.nest import Nest
from rtl_gen.unit import ModuleSet


def simulate(dut, bench):
    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize("seed", range(6))
def test_nest_walks_like_nested_loops(seed):
    rng = random.Random(seed)
    loops = rng.randint(1, 5)
    last = [rng.randint(0, 3) for _ in range(loops)]
    below = rng.randint(0, loops)
    strides = [rng.randint(0, 9) if i >= below else 0 for i in range(loops)]
    nest = Nest(loops, 6, {"a": (8, 8)})

    async def bench(ctx):
        for i, jump in enumerate(nest_jumps(last, strides)):
            ctx.set(nest.last_index[i], last[i])
            ctx.set(nest.jump("a")[i], jump)
        ctx.set(nest.ignore_below, below)
        ctx.set(nest.a_start, 5)
        ctx.set(nest.load, 1)
        await ctx.tick()
        ctx.set(nest.load, 0)
        ctx.set(nest.step, 1)
        bounds = [n + 1 if i >= below else 1 for i, n in enumerate(last)]
        points = list(itertools.product(*(range(b) for b in reversed(bounds))))
        for point in points + points[:2]:
            assert ctx.get(nest.a) == (5 + sum(x * s for x, s in zip(reversed(point), strides, strict=True))) % 256
            assert [ctx.get(nest.index[i]) for i in range(loops)] == list(reversed(point))
            assert ctx.get(nest.last) == (point == points[-1])
            await ctx.tick()

    simulate(nest, bench)


@pytest.mark.parametrize("write,read", [(8, 1), (8, 8), (8, 4), (8, 32), (2, 64)])
def test_banked_buffer_reads_what_was_written(write, read):
    rows = 256 // write
    buffer = BankedBuffer(write, read, rows)
    rng = random.Random(write * read)
    image = bytes(rng.randrange(256) for _ in range(256))

    async def bench(ctx):
        ctx.set(buffer.write_en, 1)
        for row in range(rows):
            ctx.set(buffer.write_row, row)
            ctx.set(buffer.write_data, int.from_bytes(image[row * write:(row + 1) * write], "little"))
            await ctx.tick()
        ctx.set(buffer.write_en, 0)
        for _ in range(50):
            at = rng.randrange(256 // read)
            ctx.set(buffer.read_address, at)
            ctx.set(buffer.read_en, 1)
            await ctx.tick()
            ctx.set(buffer.read_en, 0)
            ctx.set(buffer.read_address, 0)
            assert ctx.get(buffer.read_data).to_bytes(read, "little") == image[at * read:(at + 1) * read]
            await ctx.tick()
            assert ctx.get(buffer.read_data).to_bytes(read, "little") == image[at * read:(at + 1) * read]

    simulate(buffer, bench)


def test_banked_buffer_wrong_width():
    with pytest.raises(InfeasibleDesign, match="power of two, not 3"):
        BankedBuffer(3, 1, 8)


def test_sram_wrong_size():
    with pytest.raises(InfeasibleDesign, match="at least 2"):
        Sram(1, 8)


class _TwoMemories(wiring.Component):
    """Two memories of one size."""

    both: Out(16)

    def elaborate(self, platform):
        m = Module()
        m.submodules.a = a = Sram(4, 8)
        m.submodules.b = b = Sram(4, 8)
        m.d.comb += [self.both[:8].eq(a.read_data), self.both[8:].eq(b.read_data)]
        return m


def test_unit_is_written_once():
    text = ModuleSet().render(_TwoMemories(), "pair")
    assert text.count("module sram_4x8 ") == 1
    assert text.count("sram_4x8 ") == 3
