"""The core against numpy (O buffer, bit for bit), the closed form (cycles) and the reuse formulas (counts)."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator
from chips import KINDS, QUICK_KINDS, kind_chip
from core_program import (
    convolve,
    core_counts,
    core_cycles,
    core_instruction,
    input_image,
    output_words,
    weight_image,
)

from dna_asic.errors import InfeasibleDesign
from dna_asic.mapping.mapper import random_orders
from dna_asic.spec.accelerator import AcceleratorConfig, ChunkConfig, Mapping, Reduction
from dna_asic.spec.dims import DIMS, Operand
from dna_asic.spec.geometry import check_mapping
from dna_asic.spec.latency import CORE_CYCLES, drain_latency, fill_latency
from dna_asic.spec.layer import MAX_KERNEL, LayerOp, LayerShape
from rtl_gen.chunk import COUNT_BITS, ChunkCore

G, K, C, P, Q, R, S = DIMS
CHUNKS = {  # rows, cols, pair, reduction, (n_w, n_i, n_o, n_pp), RF words, port bytes
    "kc-tree-4x4": (4, 4, (K, C), "tree", (4, 2, 2, 4), (8, 16, 8), 8),
    "kc-tree-2x3": (2, 3, (K, C), "tree", (1, 1, 2, 1), (4, 8, 1), 8),
    "kc-drain-4x4": (4, 4, (K, C), "drain", (2, 4, 4, 2), (8, 16, 4), 16),
    "kc-drain-3x6": (3, 6, (K, C), "drain", (2, 2, 1, 8), (1, 9, 4), 8),
    "kc-tree-1x8": (1, 8, (K, C), "tree", (8, 8, 1, 2), (2, 4, 16), 8),
    "pq-4x4": (4, 4, (P, Q), "tree", (1, 1, 1, 4), (12, 20, 4), 8),
    "pq-3x2": (3, 2, (P, Q), "tree", (1, 1, 1, 1), (4, 25, 9), 8),
    "kc-tree-1x1": (1, 1, (K, C), "tree", (1, 1, 1, 1), (1, 1, 1), 8),
    "kc-tree-wide-fill": (2, 16, (K, C), "tree", (16, 16, 1, 8), (3, 4, 4), 8),
    "kc-tree-wide-drain": (16, 2, (K, C), "tree", (2, 2, 16, 8), (4, 4, 4), 8),
}


def make_chunk(name):
    if name in KINDS:
        config = kind_chip(name)
        return config.chunks[0], config
    rows, cols, (row_dim, col_dim), reduction, (n_w, n_i, n_o, n_pp), (w, i, o), port = CHUNKS[name]
    chunk = ChunkConfig(
        pe_rows=rows, pe_cols=cols, row_dim=row_dim, col_dim=col_dim, reduction=Reduction(reduction),
        n_w=n_w, n_i=n_i, n_o=n_o, n_pp=n_pp, rf_w_words=w, rf_i_words=i, rf_o_words=o,
        gb_w_bytes=4096, gb_i_bytes=8192, gb_o_bytes=8192)
    return chunk, AcceleratorConfig(name=name, chunks=(chunk,), port_bytes=port, memory_latency_cycles=8,
                                    clk_period_ns=1.0)


def random_tile(rng, chunk, port_bytes, kind):
    """A layer that is one DRAM tile, and a mapping that fills the machine to a random degree."""
    for _ in range(4000):
        rf, gb = ([rng.choice((1, 1, 1, 2, 3)) for _ in DIMS] for _ in range(2))
        noc = [1] * 7
        for d, extent in ((chunk.row_dim, chunk.pe_rows), (chunk.col_dim, chunk.pe_cols)):
            noc[d] = rng.randint(1, extent)
        if kind != "dense":
            rf[K] = rf[C] = gb[K] = gb[C] = noc[K] = noc[C] = 1
        else:
            rf[G], gb[G] = (rng.choice((1, 1, 1, 2)) for _ in range(2))
        mapping = Mapping(rf=tuple(rf), noc=tuple(noc), gb=tuple(gb), dram=(1,) * 7, **random_orders(rng))
        g, k, c, p, q, r, s = (a * b * n for a, b, n in zip(rf, gb, noc, strict=True))
        stride = rng.choice((1, 1, 2, 3))
        if kind == "dense" and k == c == 1 or max(r, s) > MAX_KERNEL or r * s * p * q > 600:
            continue
        layer = LayerShape(g=g, k=k, c=c, p=p, q=q, r=r, s=s, stride=stride, h=(p - 1) * stride + r,
                           w=(q - 1) * stride + s, op=LayerOp.MAX if kind == "max" else LayerOp.MAC)
        config = AcceleratorConfig(name="t", chunks=(chunk,), port_bytes=port_bytes, memory_latency_cycles=8,
                                   clk_period_ns=1.0)
        try:
            geo = check_mapping(layer, config, chunk, mapping)
        except InfeasibleDesign:
            continue
        if core_cycles(chunk, mapping, geo) <= 900 and np.prod(gb) > 1:
            return SimpleNamespace(layer=layer, mapping=mapping, geo=geo)
    raise AssertionError("no legal tile found")


class Core:
    """Target: fills the buffers, runs a tile, reads psums and counts."""

    def __init__(self, ctx, dut):
        self.ctx, self.dut = ctx, dut
        self.counts = dict.fromkeys(COUNT_BITS, 0)

    async def tick(self):
        await self.ctx.tick()
        for name in self.counts:
            self.counts[name] += self.ctx.get(getattr(self.dut, f"count_{name}"))

    async def write(self, x, half, image):
        port = self.dut.config.port_bytes
        self.ctx.set(getattr(self.dut, f"gb_{x}_write_half"), half)
        for row in range(-(-len(image) // port)):
            data = int.from_bytes(image[row * port:(row + 1) * port], "little")
            self.ctx.set(getattr(self.dut, f"gb_{x}_write_en"), 1)
            self.ctx.set(getattr(self.dut, f"gb_{x}_write_row"), row)
            self.ctx.set(getattr(self.dut, f"gb_{x}_write_data"), data)
            await self.tick()
        self.ctx.set(getattr(self.dut, f"gb_{x}_write_en"), 0)

    async def run(self, halves, first_reduction):
        for name, half in zip(("w_half", "i_half", "o_half"), halves, strict=True):
            self.ctx.set(getattr(self.dut, name), half)
        self.ctx.set(self.dut.first_reduction, first_reduction)
        self.ctx.set(self.dut.start, 1)
        await self.tick()
        self.ctx.set(self.dut.start, 0)
        cycles = 1
        while not self.ctx.get(self.dut.done):
            await self.tick()
            cycles += 1
            assert cycles < 5000, "the core hangs"
        return cycles

    async def read(self, half, words):
        """{address: signed value} of the n_pp-word groups that hold `words`."""
        n_pp, found = self.dut.chunk.n_pp, {}
        for unit in sorted({a // n_pp for a in words}):
            self.ctx.set(self.dut.gb_o_read_en, 1)
            self.ctx.set(self.dut.gb_o_read_half, half)
            self.ctx.set(self.dut.gb_o_read_address, unit)
            await self.tick()
            self.ctx.set(self.dut.gb_o_read_en, 0)
            data = self.ctx.get(self.dut.gb_o_read_data)
            for n in range(n_pp):
                value = data >> 32 * n & 0xFFFFFFFF
                found[unit * n_pp + n] = value - (value >> 31 << 32)
        return {a: found[a] for a in words}


async def check_tile(core, rng, tile):
    """Two tiles along C (the second added to the first), then compare everything."""
    layer, chunk, port = tile.layer, core.dut.chunk, core.dut.config.port_bytes
    numbers = np.random.default_rng(rng.randrange(1 << 30))
    instruction = core_instruction(layer, chunk, port, tile.mapping, tile.geo)
    core.ctx.set(core.dut.instruction.as_value(), int.from_bytes(instruction.encode(), "little"))
    g, k, c, _, _, r, s = tile.geo.gb_tile
    o_half, expected = rng.randrange(2), None
    runs = 1 + (rng.random() < 0.4)
    for n in range(runs):
        weights = numbers.integers(-128, 128, (g, k, c, r, s), np.int8)
        inputs = numbers.integers(-128, 128, (g, c, *tile.geo.i_tile[:2]), np.int8)
        w_half, i_half = rng.randrange(2), rng.randrange(2)
        await core.write("w", w_half, weight_image(layer, chunk, tile.mapping, tile.geo, weights))
        await core.write("i", i_half, input_image(layer, port, tile.geo, inputs))
        await core.tick()
        before = dict(core.counts)
        cycles = await core.run((w_half, i_half, o_half), n == 0)
        await core.tick()
        counts = {name: core.counts[name] - before[name] for name in before}
        assert cycles == core_cycles(chunk, tile.mapping, tile.geo)
        expected_counts = core_counts(chunk, port, tile.mapping, tile.geo)
        if n:
            expected_counts["gb_o_reads"] = expected_counts["gb_o_writes"]
        assert {name: counts[name] for name in expected_counts} == expected_counts
        psums = convolve(layer, tile.geo, weights, inputs)
        combine = np.maximum if layer.op is LayerOp.MAX else np.add
        expected = psums if expected is None else combine(expected, psums)
    words = output_words(tile.geo, expected)
    assert await core.read(o_half, words) == words


def simulate_core(config, scenario, reset=None):
    """Run `scenario(core)` on a core of `config`, with `reset` as its synchronous reset."""
    dut = ChunkCore(config, config.chunks[0])

    async def bench(ctx):
        await scenario(Core(ctx, dut))

    sim = Simulator(dut if reset is None else ResetInserter(reset)(dut))
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize("name,seed", [
    *((name, 0) for name in (*CHUNKS, *QUICK_KINDS)),
    *(pytest.param(name, 1, marks=pytest.mark.slow) for name in (*CHUNKS, *KINDS))])
def test_core_computes_in_the_cycles_of_the_closed_form(name, seed):
    rng = random.Random(f"{name} {seed}")
    chunk, config = make_chunk(name)

    async def scenario(core):
        for kind in ("dense", "dense", "depthwise", "dense", "max"):
            tile = random_tile(rng, chunk, config.port_bytes, kind)
            print(kind, tile.layer, tile.mapping)
            await check_tile(core, rng, tile)

    simulate_core(config, scenario)


def test_core_has_no_bubble_when_fills_hide():
    """A compute-bound nest: cycles are the MACs and the first fills and last drain."""
    rng = random.Random(11)
    chunk = ChunkConfig(
        pe_rows=2, pe_cols=2, row_dim=K, col_dim=C, reduction=Reduction.TREE, n_w=2, n_i=2, n_o=2, n_pp=2,
        rf_w_words=18, rf_i_words=50, rf_o_words=9, gb_w_bytes=1024, gb_i_bytes=1024, gb_o_bytes=4096)
    config = AcceleratorConfig(name="busy", chunks=(chunk,), port_bytes=8, memory_latency_cycles=8, clk_period_ns=1.0)
    layer = LayerShape(k=4, c=8, p=6, q=3, r=3, s=3, h=8, w=5)
    mapping = Mapping(rf=(1, 1, 2, 3, 3, 3, 3), noc=(1, 2, 2, 1, 1, 1, 1), gb=(1, 2, 2, 2, 1, 1, 1), dram=(1,) * 7,
                      gb_order=(C, K, Q, P, R, S, G))
    geo = check_mapping(layer, config, chunk, mapping)
    fills = fill_latency(chunk, Operand.W) + max(geo.fill_beats[Operand.W], geo.fill_beats[Operand.I])
    drain = drain_latency(chunk) + geo.fill_beats[Operand.O]
    assert core_cycles(chunk, mapping, geo) == fills + 8 * 162 + drain + CORE_CYCLES
    simulate_core(config, lambda core: check_tile(core, rng, SimpleNamespace(layer=layer, mapping=mapping, geo=geo)))


def test_core_starts_again_after_a_reset():
    """Reset in the middle of a tile; the next tile is whole, in the usual cycles."""
    rng = random.Random(12)
    chunk, config = make_chunk("kc-drain-4x4")
    tile = random_tile(rng, chunk, config.port_bytes, "dense")
    reset = Signal()

    async def scenario(core):
        for cycles in (1, 20, 60):
            core.ctx.set(core.dut.instruction.as_value(), int.from_bytes(core_instruction(
                tile.layer, chunk, config.port_bytes, tile.mapping, tile.geo).encode(), "little"))
            await core.tick()
            core.ctx.set(core.dut.start, 1)
            await core.tick()
            core.ctx.set(core.dut.start, 0)
            for _ in range(cycles):
                await core.tick()
            core.ctx.set(reset, 1)
            await core.tick()
            core.ctx.set(reset, 0)
            await check_tile(core, rng, tile)

    simulate_core(config, scenario, reset)
