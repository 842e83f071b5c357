"""cocotb bench of tb_chip: runs the images of a job one after another, and keeps what the chip left in memory.

The job (JSON, its path in DNA_ASIC_JOB): program, length, timeout_cycles (register values), runs (input and output
address each), dump (first and last memory word), wipe (first word to poison after a run), stall_seed, limit_cycles
(give up a run after so many), record (the run from which on waves are written, or null). The bench writes
memory-<run>.hex and, after every run, results.json: per run whether it ended, error, counters.
"""

import json
import os
from pathlib import Path

import cocotb
from cocotb.triggers import First, RisingEdge, Timer, ValueChange, with_timeout

from rtl_gen.control import COUNTERS, COUNTERS_AT, ERRORS, REGISTERS, VERSION

_RESET_CYCLES = 4
_ACCESS_CYCLES = 1000


class Lite:
    """AXI4-Lite accesses through tb_chip's request and response."""

    def __init__(self, dut):
        self.dut, self.request = dut, 0

    async def write(self, address: int, value: int) -> None:
        """Write one register; returns after the response."""
        self.dut.data.value = value
        await self._access(address, 1)

    async def read(self, address: int) -> int:
        """Read one register."""
        await self._access(address, 0)
        return int(self.dut.data.value)

    async def _access(self, address, write):
        self.dut.address.value, self.dut.write.value = address, write
        self.request ^= 1
        self.dut.request.value = self.request
        await with_timeout(ValueChange(self.dut.response), _ACCESS_CYCLES, "ns")
        await Timer(1, "ns")


async def reset(dut) -> None:
    """Hold the reset for some cycles."""
    dut.rst.value = 1
    await Timer(_RESET_CYCLES, "ns")
    dut.rst.value = 0
    await Timer(1, "ns")


async def counters(lite: Lite) -> dict[str, int]:
    """All event counters."""
    values = {}
    for n, name in enumerate(COUNTERS):
        low, high = await lite.read(COUNTERS_AT + 8 * n), await lite.read(COUNTERS_AT + 8 * n + 4)
        values[name] = low | high << 32
    return values


@cocotb.test()
async def run_images(dut):
    job = json.loads(Path(os.environ["DNA_ASIC_JOB"]).read_text())
    lite, results = Lite(dut), []
    dut.stall_seed.value = job["stall_seed"]
    dut.dump_first.value, dut.dump_last.value = job["dump"]
    dut.wipe_first.value = job["wipe"]
    await reset(dut)
    assert await lite.read(REGISTERS["version"]) == VERSION
    await lite.write(REGISTERS["program"], job["program"])
    await lite.write(REGISTERS["length"], job["length"])
    await lite.write(REGISTERS["timeout"], job["timeout_cycles"])
    names = {code: name for name, code in ERRORS.items()}
    for n, run in enumerate(job["runs"]):
        await lite.write(REGISTERS["input"], run["input"])
        await lite.write(REGISTERS["output"], run["output"])
        dut.record.value = int(n == job["record"])
        await lite.write(REGISTERS["control"], 1)
        await First(RisingEdge(dut.irq), Timer(job["limit_cycles"], "ns"))
        ended = int(dut.irq.value)
        error = await lite.read(REGISTERS["error"])
        results.append({"ended": bool(ended), "error": names.get(error, "none") if error else "none",
                        "counters": await counters(lite), "wrong_last": int(dut.wrong_last.value)})
        dut.dump.value = 1
        await Timer(1, "ns")
        dut.dump.value = 0
        await Timer(1, "ns")
        Path("memory.hex").replace(f"memory-{n:04}.hex")
        part = Path("results.json.part")
        part.write_text(json.dumps(results))
        part.replace("results.json")
        if not ended or error:
            break
