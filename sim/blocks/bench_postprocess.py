"""Post-processing: the requantiser alone, and walks over whole O tiles; against Python integers and spec.quant."""

from collections import deque

import cocotb

from dna_asic.spec.instruction import STORE_LOOPS, nest_jumps
from dna_asic.spec.latency import STORE_CYCLES
from dna_asic.spec.quant import MULTIPLIER_BITS, PARAM_BYTES, SHIFT_BITS
from rtl_gen.postprocess import Requantiser
from sim.blocks.bench import Bench, mask, seeded

_INT32 = (-1 << 31, (1 << 31) - 1)
_MULTIPLIERS = (0, 1, 2, 3, 1 << MULTIPLIER_BITS - 1, (1 << MULTIPLIER_BITS) - 1)
_SHIFTS = 1 << SHIFT_BITS


def divide_rounding(value: int, divisor: int) -> int:
    """value / divisor to the nearest integer, halves away from zero."""
    quotient, rest = divmod(abs(value), divisor)
    quotient += 2 * rest >= divisor
    return -quotient if value < 0 else quotient


def saturate(value: int, low: int, high: int) -> int:
    """`value` limited to low..high."""
    return max(low, min(high, value))


def requantise(acc, bias, multiplier, shift, residual, s) -> int:
    """Equation of spec.quant; s: res_multiplier, res_shift, clamp_lo, clamp_hi."""
    main = divide_rounding((acc + bias) * multiplier, 1 << shift)
    extra = divide_rounding(residual * s["res_multiplier"], 1 << s["res_shift"])
    return saturate(saturate(main, -1 << 15, (1 << 15) - 1) + saturate(extra, -1 << 15, (1 << 15) - 1),
                    s["clamp_lo"], s["clamp_hi"])


def draw_scale(rng, shift) -> tuple[int, int, int]:
    """(acc, bias, multiplier) whose scaled sum is near a tie, near the ends of int8 or int16, or anything."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(_INT32), rng.choice((*_INT32, 0)), rng.choice(_MULTIPLIERS)
    multiplier = rng.choice((1, rng.randrange(1, 1 << MULTIPLIER_BITS)))
    wished = rng.choice((0, 1, 127, 128, 1 << 15, rng.randrange(200))) * 2 + rng.randint(-1, 1)  # halves
    total = rng.choice((-1, 1)) * ((wished << shift) // (2 * multiplier)) + rng.choice((-1, 0, 0, 1))
    if kind == 1 or not _INT32[0] <= total <= _INT32[1]:
        total = rng.randint(-1 << rng.randrange(1, 32), 1 << rng.randrange(1, 31))
    total = saturate(total, *_INT32)
    bias = saturate(rng.randint(-1 << 20, 1 << 20), total - _INT32[1], total - _INT32[0])
    return total - bias, bias, multiplier


def draw_layer(rng) -> dict[str, int]:
    """Values that a layer holds still: residual scale, half of the time one that makes ties, and clamps."""
    low, high = rng.choice(((-128, 127), (0, 127), (0, 96), (-5, -5), (-128, -100)))
    shift = rng.choice((0, 1, 20, rng.randrange(_SHIFTS), _SHIFTS - 1))
    multiplier = rng.choice((*_MULTIPLIERS, rng.randrange(1 << MULTIPLIER_BITS), 1 << 20))
    if rng.random() < 0.5:
        shift = rng.randrange(1, MULTIPLIER_BITS - 1)
        multiplier = rng.choice((1, 3)) << shift - 1
    return {"res_multiplier": multiplier, "res_shift": shift, "clamp_lo": low, "clamp_hi": high}


def signed_inputs(values: dict[str, int], widths: dict[str, int]) -> dict[str, int]:
    """The same with values of the named widths as two's complement."""
    return {name: mask(value, widths[name]) if name in widths else value for name, value in values.items()}


@cocotb.test()
async def requantises(dut):
    """Every shift, ties of both signs, saturation at both ends, clamps and residuals; the pipeline stalls."""
    bench, rng = await Bench.start(dut, "postprocess"), seeded("requantiser")
    widths = {"acc": 32, "bias": 32, "residual": 8, "clamp_lo": 8, "clamp_hi": 8}
    results, pipeline = set(), [None] * Requantiser.LATENCY  # what each stage will give; None where unknown
    for n in range(16):
        layer = draw_layer(rng) if n else {"res_multiplier": 0, "res_shift": 0, "clamp_lo": -128, "clamp_hi": 127}
        shifts = rng.sample(range(_SHIFTS), _SHIFTS) + [None] * Requantiser.LATENCY  # and the pipeline runs empty
        while shifts:
            moves = int(rng.random() < 0.8)
            shift = shifts.pop(0) if moves else rng.randrange(_SHIFTS)
            acc, bias, multiplier = draw_scale(rng, shift or 0)
            residual = rng.choice((-128, 127, rng.randint(-128, 127)))
            values = {"en": moves, "acc": acc, "bias": bias, "multiplier": multiplier, "shift": shift or 0,
                      "residual": residual} | layer
            await bench.cycle(**{f"lane_{name}": v for name, v in signed_inputs(values, widths).items()})
            if pipeline[-1] is not None:
                assert bench.get_signed("lane_out") == pipeline[-1]
                results.add(pipeline[-1])
            if moves:
                entering = None if shift is None else requantise(acc, bias, multiplier, shift, residual, layer)
                pipeline = [entering, *pipeline[:-1]]
    assert {-128, 127} <= results


class Tile:
    """An O tile with its parameters, and the beats that must come of it; kind: "plain", "residual", or a pooling."""

    def __init__(self, rng, block, kind):
        self.rng, self.kind, self.n_pp, self.port, self.groups = rng, kind, block.n_pp, block.port, block.groups
        most = (1 << len(block.psum_read_address)) * block.n_pp
        log2 = rng.choice((1, 1, 2, 3)) if kind in ("average", "maximum") else 0
        window = 1 << log2
        pixels = most // window ** 2
        self.channels = rng.randint(1, min(6, pixels // block.n_pp)) * block.n_pp
        rows = rng.randint(1, min(4, pixels // self.channels))
        columns = rng.randint(1, min(5, pixels // self.channels // rows))
        self.window, self.rows, self.columns, self.blocks = window, rows, columns, -(-self.channels // self.port)
        self.layer = draw_layer(rng) | {"has_residual": int(kind == "residual"), "pool_log2": log2,
                                        "pool_average": int(kind == "average")}
        self.params = [self._channel() for _ in range(self.channels)]
        self.psums = [[[self._psum(c) for c in range(self.channels)] for _ in range(columns * window)]
                      for _ in range(rows * window)]
        self.residuals = [[rng.choice((-128, 127, rng.randint(-128, 127))) for _ in range(self.port)]
                          for _ in range(self.blocks * rows * columns)]

    def _channel(self):
        """(typical acc, bias, multiplier, shift); half of the channels scale by one, so that ties are averaged."""
        if self.rng.random() < 0.5:
            shift = self.rng.randrange(MULTIPLIER_BITS)
            return self.rng.randint(-140, 140), self.rng.randint(-3, 3), 1 << shift, shift
        shift = self.rng.randrange(_SHIFTS)
        return *draw_scale(self.rng, shift), shift

    def _psum(self, channel):
        typical = self.params[channel][0]
        return self.rng.choice((typical, saturate(typical + self.rng.randint(-3, 3), *_INT32),
                                saturate(-typical, *_INT32), self.rng.randint(*_INT32)))

    def fields(self) -> dict[str, int]:
        """What the instruction says of it."""
        unit = self.channels // self.n_pp
        row = self.columns * self.window * unit
        last = [self.window - 1, self.window - 1, self.columns - 1, self.rows - 1, self.blocks - 1]
        jumps = nest_jumps(last, [unit, row, self.window * unit, self.window * row, self.groups])
        fields = {f"st_last_{i}": last[i] for i in range(STORE_LOOPS)}
        fields |= {f"st_a_{i}": jumps[i] for i in range(STORE_LOOPS)}
        return fields | self.layer | {"st_group_last": self.groups - 1,
                                      "st_group_last_of_last_block": (unit - 1) % self.groups}

    @property
    def steps(self) -> int:
        """Word groups of the tile."""
        return self.rows * self.columns * self.window ** 2 * self.channels // self.n_pp

    def words(self, address: int) -> int:
        """Data of the O buffer at an address in units of n_pp words."""
        pixel, group = divmod(address, self.channels // self.n_pp)
        row, column = divmod(pixel, self.columns * self.window)
        values = self.psums[row][column][group * self.n_pp:(group + 1) * self.n_pp]
        return sum(mask(value, 32) << 32 * n for n, value in enumerate(values))

    def beats(self) -> list[int]:
        """Output beats in order: blocks, rows, columns."""
        places = [(b, y, x) for b in range(self.blocks) for y in range(self.rows) for x in range(self.columns)]
        return [pack([self._byte(place, self.residuals[n][byte], byte) for byte in range(self.port)])
                for n, place in enumerate(places)]

    def _byte(self, place, residual, byte):
        block, row, column = place
        channel = block * self.port + byte
        if channel >= self.channels:
            return 0
        _, bias, multiplier, shift = self.params[channel]
        values = [requantise(self.psums[row * self.window + y][column * self.window + x][channel], bias, multiplier,
                             shift, residual if self.kind == "residual" else 0, self.layer)
                  for y in range(self.window) for x in range(self.window)]
        return divide_rounding(sum(values), len(values)) if self.kind == "average" else max(values)


def pack(values) -> int:
    """int8 values as bytes, the first lowest."""
    return sum(mask(value, 8) << 8 * n for n, value in enumerate(values))


class Store:
    """Runs tiles through post-processing: serves psums and residuals, takes beats."""

    def __init__(self, bench, rng):
        self.bench, self.rng, self.post = bench, rng, bench.block.parts["post"]

    async def cycle(self, **inputs):
        await self.bench.cycle(**{f"post_{name}": value for name, value in inputs.items()})

    def get(self, name):
        return self.bench.get(f"post_{name}")

    async def load(self, tile, bank):
        """Write the parameters of a tile; fetches of other tiles fill the other banks meanwhile."""
        data = b"".join(mask(bias, 32).to_bytes(4, "little") + (multiplier | shift << MULTIPLIER_BITS).to_bytes(
            4, "little") for _, bias, multiplier, shift in tile.params)
        port, rows = tile.port, self.post.channels * PARAM_BYTES // tile.port
        for at in range(0, len(data), port):
            await self.cycle(param_write_en=1, param_write_row=bank * rows + at // port,
                             param_write_data=int.from_bytes(data[at:at + port], "little"))
        await self.cycle(param_write_en=0)

    async def run(self, tile, *, stall: float, stop_after: int | None = None) -> None:
        """One tile, every beat; stall: share of cycles in which the other side is not ready. Or its first cycles."""
        rng, bank, half = self.rng, self.rng.randrange(4), self.rng.randrange(2)
        await self.load(tile, bank)
        fields = self.post.signature.members["fields"].shape.const(tile.fields()).as_bits()
        await self.cycle(fields=fields, start=1, half=half, bank=bank, ready=1, residual_valid=0)
        began, expected, residuals = self.bench.now, tile.beats(), deque(tile.residuals)
        psums, read = {}, None
        while expected:
            ready, valid = (int(rng.random() >= stall) for _ in range(2))
            valid &= tile.kind == "residual" and bool(residuals)
            offered = residuals[0] if valid else [rng.randrange(-128, 128) for _ in range(tile.port)]
            if read is not None:
                psums = {"psum_read_data": tile.words(read)}
            await self.cycle(start=0, ready=ready, residual_valid=valid, residual_data=pack(offered), **psums)
            read = self.get("psum_read_address") if self.get("psum_read_en") else None
            assert read is None or self.get("psum_read_half") == half
            if valid and self.get("residual_take"):
                residuals.popleft()
            if self.get("beat"):
                assert self.get("data") == expected[0], f"beat {len(tile.beats()) - len(expected)} of {tile.kind}"
                if ready:
                    expected.pop(0)
            if self.bench.now - began == stop_after:
                return
            assert self.bench.now - began < 60 * (tile.steps + STORE_CYCLES), "post-processing hangs"
        assert tile.kind != "residual" or not residuals
        if not stall:
            assert self.bench.now - began == tile.steps + STORE_CYCLES
        for _ in range(STORE_CYCLES):
            await self.cycle(ready=1)
            assert not self.get("beat"), "a beat after the last"


@cocotb.test()
async def stores_tiles(dut):
    """Plain, with residual, pooled; ragged last blocks; without stalls in the cycles of the model, then with stalls."""
    bench, rng = await Bench.start(dut, "postprocess"), seeded("postprocess")
    store = Store(bench, rng)
    for stall in (0, 0.3, 0.8):
        for kind in ("plain", "residual", "average", "maximum") * 5:
            await store.run(Tile(rng, store.post, kind), stall=stall)


@cocotb.test()
async def stores_again_after_a_reset(dut):
    """A reset in the middle of a tile; the next one is whole."""
    bench, rng = await Bench.start(dut, "postprocess"), seeded("postprocess reset")
    store = Store(bench, rng)
    for stop_after in (1, 3, 9, 30):
        await store.run(Tile(rng, store.post, "average"), stall=0.2, stop_after=stop_after)
        await bench.reset(post_start=0, post_residual_valid=0)
        await store.run(Tile(rng, store.post, "residual"), stall=0)
