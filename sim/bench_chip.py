"""cocotb bench of tb_chip: does the runs of a job one after another, and keeps what the chip left in memory.

The job (JSON, its path in DNA_ASIC_JOB): chunks (registers of each page, by name), registers (of the whole chip), runs
(registers of each), dump (first and last memory word), wipe (first word to poison after a run), stall_seed,
limit_cycles (give up a run after so many), record (the run from which on waves are written, or null). The bench writes
memory-<run>.hex and, after every run, results.json: per run whether it ended, error (and its chunk), counters of every
chunk.
"""

import json
import os
from pathlib import Path

import cocotb
from cocotb.triggers import First, RisingEdge, Timer, ValueChange, with_timeout

from rtl_gen.control import COUNTERS, COUNTERS_AT
from rtl_gen.registers import ERROR_CHUNK_AT, ERRORS, PAGE_BITS, REGISTERS, VERSION

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


async def counters(lite: Lite, chunk: int) -> dict[str, int]:
    """All event counters of a chunk."""
    values = {}
    for n, name in enumerate(COUNTERS):
        at = (chunk << PAGE_BITS) + COUNTERS_AT + 8 * n
        values[name] = await lite.read(at) | await lite.read(at + 4) << 32
    return values


async def write_all(lite: Lite, values: dict[str, int], page: int = 0) -> None:
    """Write registers by name."""
    for name, value in values.items():
        await lite.write((page << PAGE_BITS) + REGISTERS[name], value)


@cocotb.test()
async def do_runs(dut):
    job = json.loads(Path(os.environ["DNA_ASIC_JOB"]).read_text())
    lite, results = Lite(dut), []
    dut.stall_seed.value = job["stall_seed"]
    dut.dump_first.value, dut.dump_last.value = job["dump"]
    dut.wipe_first.value = job["wipe"]
    await reset(dut)
    assert await lite.read(REGISTERS["version"]) == VERSION
    assert await lite.read(REGISTERS["chunks"]) == len(job["chunks"])
    for page, values in enumerate(job["chunks"]):
        await write_all(lite, values, page)
    await write_all(lite, job["registers"])
    names = {0: "none"} | {code: name for name, code in ERRORS.items()}
    for n, run in enumerate(job["runs"]):
        await write_all(lite, run)
        dut.record.value = int(n == job["record"])
        await lite.write(REGISTERS["control"], 1)
        await First(RisingEdge(dut.irq), Timer(job["limit_cycles"], "ns"))
        ended = int(dut.irq.value)
        chunk, error = divmod(await lite.read(REGISTERS["error"]), 1 << ERROR_CHUNK_AT)
        results.append({"ended": bool(ended), "error": names[error], "error_chunk": chunk,
                        "counters": [await counters(lite, page) for page in range(len(job["chunks"]))],
                        "wrong_last": int(dut.wrong_last.value)})
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
