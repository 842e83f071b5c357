"""The array-level sequencer: random nests and random durations of fills and drains; against the flip rule."""

from dataclasses import dataclass
from itertools import product
from random import Random

import cocotb

from dna_asic.spec.instruction import GB_LOOPS, RF_LOOPS, nest_jumps
from sim.blocks.bench import Bench, mask, seeded

_STROBES = ("w_start", "i_start", "o_start", "issue", "done")


@dataclass
class Level:
    """A loop nest, innermost first: bounds, strides and lowest relevant loop per operand, reduction loops."""

    bounds: list[int]
    strides: dict[str, list[int]]
    lowest: dict[str, int]
    reduction: list[bool]

    @classmethod
    def random(cls, rng: Random, loops: int, most: int, widths) -> "Level":
        """At most `most` iterations; addresses of `widths` bits may wrap."""
        bounds = [1] * loops
        for i in rng.sample(range(loops), rng.randint(0, loops)):
            bounds[i] = rng.choice((1, 2, 2, 3, 5))
            if _count(bounds) > most:
                bounds[i] = 1
        relevant = {x: [rng.random() < 0.6 for _ in range(loops)] for x in widths}
        strides = {x: [rng.randrange(1 << bits - 2) if used else 0 for used in relevant[x]]
                   for x, bits in widths.items()}
        lowest = {x: next((i for i in range(loops) if used[i] and bounds[i] > 1), loops)
                  for x, used in relevant.items()}
        return cls(bounds, strides, lowest, [rng.random() < 0.5 for _ in range(loops)])

    def fields(self, prefix: str, widths) -> dict[str, int]:
        """Instruction fields; addresses as in `widths`."""
        last = [bound - 1 for bound in self.bounds]
        fields = {f"{prefix}_last_{i}": n for i, n in enumerate(last)}
        for x, bits in widths.items():
            fields |= {f"{prefix}_{x}_{i}": _signed(jump, bits) for i, jump in
                       enumerate(nest_jumps(last, self.strides[x]))}
        fields[f"{prefix}_reduction"] = sum(flag << i for i, flag in enumerate(self.reduction))
        return fields | {f"{prefix}_j_{x}": j for x, j in self.lowest.items()}

    def iterations(self) -> list[tuple[int, ...]]:
        """Index of every loop, innermost first, in order."""
        return [index[::-1] for index in product(*(range(bound) for bound in reversed(self.bounds)))]

    def changes(self, x: str, before, after) -> bool:
        """Whether operand x flips on the way: the loop that increments is not under its lowest."""
        moved = max(i for i in range(len(before)) if after[i] > before[i])
        return moved >= self.lowest[x]

    def address(self, x: str, index, bits: int) -> int:
        """Address at an iteration."""
        return mask(sum(i * stride for i, stride in zip(index, self.strides[x])), bits)

    def tiles(self, x: str) -> list[tuple[int, ...]]:
        """Iterations at which operand x has a new tile, loops under its lowest at 0."""
        return [index for index in self.iterations() if not any(index[:self.lowest[x]])]

    def visited(self, index) -> bool:
        """Whether a reduction loop has moved, so that psums were visited before."""
        return any(i and flag for i, flag in zip(index, self.reduction))


def _count(bounds):
    count = 1
    for bound in bounds:
        count *= bound
    return count


def _signed(value, bits):
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


class Schedule:
    """What must happen, by cycle from `start` on: events[cycle] maps an output to its value."""

    def __init__(self, rf: Level, gb: Level, durations, halves, first_reduction: bool, bits):
        self.rf, self.gb, self.durations, self.bits = rf, gb, durations, bits
        self.halves, self.events = dict(halves), {}
        self.tiles = {x: gb.tiles(x) for x in "wi"}
        self.free = dict.fromkeys("wio", 0)  # first cycle in which a port lets its operand flip
        self.busy = {x: [] for x in "wio"}  # cycles in which a port is not idle
        now = 1
        for x in "wi":
            self._fill(x, now)
        now = max(now + 1, *(self.free[x] for x in "wi"))
        self._flip("wi", now)
        steps, fresh = gb.iterations(), True
        for n, index in enumerate(steps):
            now = self._macs(now + 1, fresh)
            following = steps[n + 1] if n + 1 < len(steps) else None
            flipping = "wio" if following is None else [x for x in "wio" if gb.changes(x, index, following)]
            now = max(now, *(self.free[x] for x in flipping), 0)
            self._flip([x for x in flipping if x != "o"], now)
            fresh = "o" in flipping
            if fresh:
                self._drain(now, index, first_reduction)
        self.end = max(now + 1, self.free["o"]) + 1
        self._add(self.end, done=1)

    def _add(self, cycle, **outputs):
        self.events.setdefault(cycle, {}).update(outputs)

    def _port(self, x, cycle):
        """Port x begins in the cycle after `cycle`."""
        self.free[x] = cycle + self.durations[x]()
        self.busy[x].extend(range(cycle + 1, self.free[x]))

    def _fill(self, x, cycle):
        if self.tiles[x]:
            address = self.gb.address(x, self.tiles[x].pop(0), self.bits[f"{x}_tile"])
            self._add(cycle, **{f"{x}_start": 1, f"{x}_tile": address})
            self._port(x, cycle)

    def _flip(self, operands, cycle):
        for x in operands:
            self.halves[x] ^= 1
            self._add(cycle + 1, **{f"{x}_half": self.halves[x]})
            self._fill(x, cycle)

    def _drain(self, cycle, index, first_reduction):
        address = self.gb.address("o", index, self.bits["o_tile"])
        kept = [i if loop >= self.gb.lowest["o"] else 0 for loop, i in enumerate(index)]
        self._add(cycle, o_start=1, o_tile=address, o_tile_first=int(first_reduction and not self.gb.visited(kept)))
        self._port("o", cycle)
        self.halves["o"] ^= 1
        self._add(cycle + 1, o_half=self.halves["o"])

    def _macs(self, cycle, fresh):
        """All MACs of a step from `cycle` on; returns the last one's cycle."""
        macs = self.rf.iterations()
        for n, index in enumerate(macs):
            moved = {x: n == 0 or self.rf.changes(x, macs[n - 1], index) for x in "wio"}
            ends = n + 1 == len(macs) or self.rf.changes("o", index, macs[n + 1])
            values = {f"{x}_address": self.rf.address(x, index, self.bits[f"{x}_address"]) for x in "wio"}
            if moved["o"]:
                values["visit_first"] = int(fresh and not self.rf.visited(index))
            self._add(cycle + n, issue=1, w_load=int(moved["w"]), i_load=int(moved["i"]),
                      visit_start=int(moved["o"]), visit_end=int(ends), **values)
        return cycle + len(macs) - 1


class Sequencer:
    """Runs schedules on the sequencer, one after another."""

    def __init__(self, bench, rng):
        self.bench, self.rng, self.halves = bench, rng, dict.fromkeys("wio", 0)
        kinds = {"tile": bench.block.tile_bits, "address": bench.block.word_bits}
        self.bits = {f"{x}_{kind}": bits for kind, widths in kinds.items() for x, bits in widths.items()}

    def draw(self) -> tuple[Schedule, dict]:
        """A random schedule and its inputs."""
        rng, widths = self.rng, self.bench.block.word_bits
        rf = Level.random(rng, RF_LOOPS, 24, widths)
        gb = Level.random(rng, GB_LOOPS, 12, self.bench.block.tile_bits)
        slowest = {x: rng.choice((2, 8, 40)) for x in "wio"}
        durations = {x: lambda x=x: rng.randint(2, slowest[x]) for x in "wio"}
        first = rng.random() < 0.7
        schedule = Schedule(rf, gb, durations, self.halves, first, self.bits)
        fields = rf.fields("rf", widths) | gb.fields("gb", self.bench.block.tile_bits)
        layout = self.bench.block.signature.members["instruction"].shape
        return schedule, {"instruction": layout.const(fields).as_bits(), "first_reduction": int(first)}

    async def run(self, stop_after: int | None = None) -> None:
        """One DRAM tile, every output of every cycle; or its first cycles."""
        schedule, inputs = self.draw()
        await self.bench.cycle(**inputs, start=1)
        busy = {x: set(cycles) for x, cycles in schedule.busy.items()}
        for cycle in range(1, schedule.end + 1):
            if cycle == stop_after:
                return
            await self.bench.cycle(start=0, **{f"{x}_idle": int(cycle not in busy[x]) for x in "wio"})
            expected = dict.fromkeys(_STROBES, 0) | schedule.events.get(cycle, {})
            self.halves |= {x: expected.pop(f"{x}_half") for x in "wio" if f"{x}_half" in expected}
            expected |= {f"{x}_half": half for x, half in self.halves.items()}
            for name, value in expected.items():
                assert self.bench.get(name) == value, f"{name} in cycle {cycle} of {schedule.end}"


@cocotb.test()
async def follows_the_flip_rule(dut):
    """Nests, addresses, flips, waits; one tile after another, the next start as early as the cycle after `done`."""
    bench, rng = await Bench.start(dut, "sequencer"), seeded("sequencer")
    sequencer = Sequencer(bench, rng)
    for _ in range(40):
        await sequencer.run()
        await bench.cycles(rng.randrange(3))


@cocotb.test()
async def starts_again_after_a_reset(dut):
    """A reset in any phase; the next tile is whole."""
    bench, rng = await Bench.start(dut, "sequencer"), seeded("sequencer reset")
    sequencer = Sequencer(bench, rng)
    for phase in (1, 2, 5, 20, 60):
        await sequencer.run(stop_after=phase)
        await bench.reset(w_idle=1, i_idle=1, o_idle=1, start=0)
        sequencer.halves = dict.fromkeys("wio", 0)
        await sequencer.run()
        await bench.cycle()
