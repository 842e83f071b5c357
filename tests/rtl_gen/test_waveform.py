"""The waves that docs/hardware.md shows are those of the array sequencer."""

from pathlib import Path

from amaranth.sim import Simulator
from chips import make_chip

from rtl_gen.sequencer import ArraySequencer

PAGE = Path(__file__).parents[2] / "docs/hardware.md"
FIELDS = {"rf_last_0": 5, "gb_last_0": 2, "gb_last_1": 1, "gb_j_w": 0, "gb_j_i": 1, "gb_j_o": 0}
CYCLES = {"w": 8, "i": 9, "o": 5}  # of a fill or drain
SHOWN = ("w_start", "w_idle", "i_start", "i_idle", "issue", "o_start", "o_idle", "done")


def waves(cycles: int) -> dict[str, str]:
    """A character a cycle from the first fills on: # high, _ low. Ports are busy for CYCLES from a start on."""
    dut, shown = ArraySequencer(make_chip("kc-tree-4x4").chunk), dict.fromkeys(SHOWN, "")
    left = dict.fromkeys(CYCLES, 0)

    async def bench(ctx):
        for name, value in FIELDS.items():
            ctx.set(getattr(dut.instruction, name), value)
        for x in CYCLES:
            ctx.set(getattr(dut, f"{x}_idle"), 1)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        for _ in range(cycles):
            for name in SHOWN:
                shown[name] += "#" if ctx.get(getattr(dut, name)) else "_"
            started = [x for x in CYCLES if ctx.get(getattr(dut, f"{x}_start"))]
            await ctx.tick()
            for x in CYCLES:
                left[x] = CYCLES[x] - 1 if x in started else max(0, left[x] - 1)
                ctx.set(getattr(dut, f"{x}_idle"), left[x] == 0)

    simulator = Simulator(dut)
    simulator.add_clock(1e-9)
    simulator.add_testbench(bench)
    simulator.run()
    return shown


def test_waves_of_the_page():
    text = "\n".join(f"    {name:<9}{wave}" for name, wave in waves(63).items())
    assert text in PAGE.read_text(encoding="utf-8"), f"docs/hardware.md must show:\n{text}"


def test_waves_are_the_schedule_of_the_model():
    """As worked out in docs/model.md: 60 cycles from the first fills to the end of the last drain, then `done`."""
    shown = waves(63)
    assert [c for c, bit in enumerate(shown["o_start"]) if bit == "#"] == [17, 25, 33, 41, 49, 55]
    assert shown["issue"].count("#") == 36 and shown["done"].index("#") == 60 + 1
