"""PE, accumulator, adder tree, psum buffer and sequencer alone, each against its contract."""

import random

import pytest
from amaranth.sim import Simulator
from test_core import CHUNKS, make_chunk

from dna_asic.errors import InfeasibleDesign
from dna_asic.spec.latency import CORE_CYCLES, tree_depth
from rtl_gen.buffer import PsumBuffer
from rtl_gen.nest import Nest
from rtl_gen.pe import Accumulator, OperandFile, Pe
from rtl_gen.pe_line import AdderTree
from rtl_gen.sequencer import ArraySequencer


def simulate(dut, bench):
    sim = Simulator(dut)
    sim.add_clock(1e-9)
    sim.add_testbench(bench)
    sim.run()


def drive(ctx, dut, **values):
    for name, value in values.items():
        ctx.set(getattr(dut, name), value)


@pytest.mark.parametrize("w,i", [(-128, -128), (127, -128), (-1, 1), (0, 99)])
@pytest.mark.parametrize("op_max", [0, 1])
def test_pe_product(w, i, op_max):
    pe = Pe()

    async def bench(ctx):
        drive(ctx, pe, op_max=op_max, w=w, i=i, multiply=1)
        await ctx.tick()
        assert ctx.get(pe.product) == (i if op_max else w * i)
        drive(ctx, pe, w=3, i=5, multiply=0)
        await ctx.tick()
        assert ctx.get(pe.product) == (i if op_max else w * i)

    simulate(pe, bench)


@pytest.mark.parametrize("words", [1, 3])
def test_operand_file_reads_the_half_that_is_not_filled(words):
    file = OperandFile(words)

    async def bench(ctx):
        for half, data in ((1, 5), (0, -7)):  # halves 0 and 1
            drive(ctx, file, capture=1, word=words - 1, data=data, half=half)
            await ctx.tick()
        drive(ctx, file, capture=0, address=words - 1, load=1)
        for half, data in ((0, 5), (1, -7)):
            drive(ctx, file, half=half)
            await ctx.tick()
            assert ctx.get(file.operand) == data
        drive(ctx, file, half=0, load=0)
        await ctx.tick()
        assert ctx.get(file.operand) == -7

    simulate(file, bench)


@pytest.mark.parametrize("terms", [2, 3, 4, 5, 12, 16, 17])
def test_adder_tree_sums_after_its_depth(terms):
    tree, rng = AdderTree(terms), random.Random(terms)

    async def bench(ctx):
        expected = []
        for _ in range(10):
            values = [rng.choice((-32768, 32767, rng.randint(-32768, 32767))) for _ in range(terms)]
            drive(ctx, tree, **{f"term_{n}": v for n, v in enumerate(values)})
            expected.append(sum(values))
            if len(expected) > tree_depth(terms):
                await ctx.delay(1e-12)
                assert ctx.get(tree.total) == expected[-1 - tree_depth(terms)]
            await ctx.tick()

    simulate(tree, bench)


@pytest.mark.parametrize("words", [1, 4])
@pytest.mark.parametrize("op_max", [0, 1])
def test_accumulator_visits_back_to_back(words, op_max):
    """One-MAC visits to random words every cycle; the other half is drained meanwhile."""
    root, rng = Accumulator(words, 18), random.Random(words)

    async def bench(ctx):
        psums = {}
        drive(ctx, root, op_max=op_max, enable=1, visit_start=1, visit_end=1)
        for _ in range(40):
            word, term = rng.randrange(words), rng.randint(-130000, 130000)
            first = word not in psums
            drive(ctx, root, term=term, address=word, visit_first=first)
            joined = max(psums.get(word, term), term) if op_max else psums.get(word, 0) + term
            psums[word] = term if first else joined
            await ctx.tick()
        drive(ctx, root, enable=0, half=1)
        for word, value in psums.items():
            drive(ctx, root, drain_address=word)
            await ctx.delay(1e-12)
            assert ctx.get(root.drain_data) == value

    simulate(root, bench)


@pytest.mark.parametrize("n_o,n_pp", [(1, 1), (4, 1), (1, 4), (4, 4), (2, 8)])
def test_psum_buffer_adds_and_serves(n_o, n_pp):
    buffer, rng = PsumBuffer(n_o, n_pp, 1024), random.Random(n_o * n_pp)
    words = [0] * 128

    async def drain(ctx, address, lanes, first, single, half):
        drive(ctx, buffer, drain_half=half, drain_read_en=not first, drain_read_address=address, first=first,
              single=single)
        await ctx.tick()
        drive(ctx, buffer, drain_read_en=0, write_en=1, write_address=address)
        drive(ctx, buffer, **{f"lane_{n}": v for n, v in enumerate(lanes)})
        await ctx.tick()
        drive(ctx, buffer, write_en=0)
        await ctx.tick()
        for n, value in enumerate(lanes[:1] if single else lanes):
            words[address + n] = value if first else words[address + n] + value

    async def bench(ctx):
        half = 1
        for address in range(0, 128, n_o):
            await drain(ctx, address, [rng.randint(-9, 9) for _ in range(n_o)], 1, 0, half)
        for _ in range(60):
            single = rng.randrange(2)
            address = rng.randrange(128) if single else rng.randrange(128 // n_o) * n_o
            await drain(ctx, address, [rng.randint(-1 << 20, 1 << 20) for _ in range(n_o)], 0, single, half)
        for unit in range(128 // n_pp):
            drive(ctx, buffer, read_en=1, read_half=half, read_address=unit)
            await ctx.tick()
            packed = sum((v & 0xFFFFFFFF) << 32 * n for n, v in enumerate(words[unit * n_pp:(unit + 1) * n_pp]))
            assert ctx.get(buffer.read_data) == packed

    simulate(buffer, bench)


def test_sequencer_waits_for_the_port_of_the_flipping_operand():
    """Two steps of one MAC that change W alone: the second begins when the W fill is over, however long I takes."""
    chunk, _ = make_chunk("kc-tree-4x4")
    sequencer, steps = ArraySequencer(chunk), []
    starts, duration = {"w": [], "i": [], "o": []}, {"w": 10, "i": 17, "o": 5}

    async def bench(ctx):
        fields = sequencer.instruction
        for level in ("rf", "gb"):
            for x in "wio":
                ctx.set(fields[f"{level}_j_{x}"], 7)
        ctx.set(fields.gb_last_0, 1)
        ctx.set(fields.gb_j_w, 0)
        ctx.set(sequencer.start, 1)
        for cycle in range(1, 60):
            await ctx.tick()
            ctx.set(sequencer.start, 0)
            for x, past in starts.items():
                ctx.set(getattr(sequencer, f"{x}_idle"), not past or cycle - past[-1] >= duration[x])
            await ctx.delay(1e-12)
            for x, past in starts.items():
                past.extend([cycle] * ctx.get(getattr(sequencer, f"{x}_start")))
            steps.extend([cycle] * ctx.get(sequencer.issue))
            if ctx.get(sequencer.done):
                return steps.append(cycle)

    simulate(sequencer, bench)
    assert starts["w"] == [1, 18] and starts["i"] == [1]
    assert steps == [19, 29, CORE_CYCLES + 17 + 10 + 1 + 5]
    assert starts["o"] == [29]


def test_psum_buffer_wrong_size():
    with pytest.raises(InfeasibleDesign, match="words must be at least 2"):
        Simulator(PsumBuffer(16, 16, 128))


def test_nest_wrong_address():
    with pytest.raises(AttributeError):
        Nest(2, 4, {"a": (8, 8)}).jump("b")


def test_configurations_are_distinct():
    assert len({v for v in CHUNKS.values()}) == len(CHUNKS)
