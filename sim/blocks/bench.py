"""What the benches of blocks share: clock, reset, and driving and sampling so that every simulator agrees."""

import os
import random

import cocotb
from amaranth.lib.wiring import In
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly

from sim.blocks.blocks import make_block

PERIOD_NS = 4


def seeded(subject: str) -> random.Random:
    """Random numbers of this run's seed for `subject`; the seed is written to the log."""
    seed = os.environ["COCOTB_RANDOM_SEED"]
    cocotb.log.info("%s: seed %s", subject, seed)
    return random.Random(f"{subject} {seed}")


class Bench:
    """A block in simulation, cycle by cycle.

    `cycle` drives inputs at the falling edge of `clk` and returns when outputs have settled, before the rising edge
    that ends the cycle: `get` then gives what registers hold from the cycles before, and what follows from the inputs.
    """

    def __init__(self, dut, block: str):
        self.dut, self.block, self.now = dut, make_block(block), 0
        self.inputs = ["__".join(map(str, path)) for path, member, _ in self.block.signature.flatten(self.block)
                       if member.flow is In]

    @classmethod
    async def start(cls, dut, block: str) -> "Bench":
        """The bench of a block, after reset with all inputs 0."""
        bench = cls(dut, block)
        for name in bench.inputs:
            getattr(dut, name).value = 0
        cocotb.start_soon(Clock(dut.clk, PERIOD_NS, unit="ns").start(start_high=False))
        await bench.reset()
        return bench

    async def reset(self, **inputs: int) -> None:
        """One cycle of reset, with these inputs changed, and one after it."""
        await self.cycle(rst=1, **inputs)
        await self.cycle(rst=0)

    async def cycle(self, **inputs: int) -> None:
        """The next cycle, with these inputs changed."""
        await FallingEdge(self.dut.clk)
        for name, value in inputs.items():
            getattr(self.dut, name).value = value
        await ReadOnly()
        self.now += 1

    async def cycles(self, count: int) -> None:
        """Some cycles with inputs as they are."""
        for _ in range(count):
            await self.cycle()

    def get(self, name: str) -> int:
        """An output as an unsigned integer; raises ValueError when a bit is unknown."""
        return int(getattr(self.dut, name).value)

    def bits(self, name: str) -> str:
        """An output as binary digits, highest first, unknown ones among them."""
        return str(getattr(self.dut, name).value)

    def get_signed(self, name: str) -> int:
        """An output as a signed integer."""
        value, bits = self.get(name), len(getattr(self.dut, name))
        return value - (value >> bits - 1 << bits)


def mask(value: int, bits: int) -> int:
    """Two's complement of `value` in `bits` bits."""
    return value & (1 << bits) - 1
