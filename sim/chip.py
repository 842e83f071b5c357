"""Run a compiled program on the Verilog of a chip, and read back every tensor and counter."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dna_asic.errors import VerificationError
from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.instruction import BASE_OUTPUT, BASE_PROGRAM
from dna_asic.spec.pipeline import passes
from dna_asic.spec.program import Program
from sim.runner import run_bench
from sim.vector_chip import EVENTS, vector_chip

FOLDER = Path(__file__).parent
_PROGRAM_AT = 4096  # not 0, so that a lost base register is seen
_ALIGNMENT = 4096
_LEAST_SIZE = 1 << 20  # one build serves all small programs
_POISON = 0xA5  # what memory holds before it is written


@dataclass(frozen=True, kw_only=True)
class ChipRun:
    """One run. outputs: of each image, memory bytes of every layer's tensor that is still there after the run (of a
    tensor with fewer copies than images only the last images'). ends: cycle in which each layer ended, by (layer,
    image), counted from the start bit. events: by (layer, image), what was added to each counter of
    `vector_chip.EVENTS` since the end before on the same chunk. counters: of each chunk, by name. error: its name, or
    "none".
    """

    ended: bool
    error: str
    error_chunk: int
    outputs: list[dict[str, bytes]]
    ends: dict[tuple[str, int], int]
    events: dict[tuple[str, int], dict[str, int]]
    counters: list[dict[str, int]]

    @property
    def cycles(self) -> int:
        """From the start bit to the interrupt."""
        return max(counters["cycles"] for counters in self.counters)


def run_chip(verilog: Path, program: Program, accelerator: AcceleratorConfig, runs: Sequence[Sequence[bytes]], *,
             work: Path, build_root: Path, simulator: str = "verilator", stall_seed: int = 0,
             limit_cycles: int = 100_000_000, waves: bool = False, record: int | None = None,
             quick: bool = False, steps: bool = False, gates: bool = False) -> list[ChipRun]:
    """Each run with its images' input tensors (memory bytes), one run after another without reset, until one fails.

    stall_seed: 0 for the ideal memory. limit_cycles: give up a run after so many. waves: build so that waves can be
    recorded (slower). record: run from which on waves go to `work`/activity.vcd. quick: see `run_bench`. steps: let
    the bench write `work`/steps.txt (`sim.steps`). gates: `verilog` is a netlist: events are 0. Raises
    ToolError, VerificationError.
    """
    work = Path(work).resolve()
    work.mkdir(parents=True, exist_ok=True)
    for old in (*work.glob("memory-*.hex"), work / "results.json"):
        old.unlink(missing_ok=True)
    port, images = accelerator.port_bytes, [image for run in runs for image in run]
    memory = _Memory.of(program, [len(run) for run in runs], port)
    (work / "image.hex").write_text(memory.hex(program, images))
    (work / "vector_chip.v").write_text(vector_chip(accelerator, steps, gates))
    job = {"chunks": [{"program": memory.program + c.address, "length": len(c.layers)} for c in program.chunks],
           "registers": {"output": memory.output, "timeout": 0, "input_pitch": program.input.pitch,
                         "output_pitch": program.output.pitch},
           "runs": [{"input": at, "images": len(run)} for at, run in zip(memory.run_inputs, runs)],
           "stall_seed": stall_seed, "limit_cycles": limit_cycles, "record": record,
           "dump": [memory.program // port, memory.inputs // port - 1],
           "wipe": (memory.program + len(program.image)) // port}
    (work / "job.json").write_text(json.dumps(job))
    run_bench(module="sim.bench_chip", top="tb_chip",
              sources=[FOLDER / "memory.v", FOLDER / "tb_chip.v", work / "vector_chip.v", verilog],
              build_root=build_root, work=work, simulator=simulator, waves=waves, quick=quick,
              parameters={"PORTS": len(accelerator.chunks), "PORT_BYTES": port, "SIZE_BYTES": memory.size,
                          "LATENCY": accelerator.memory_latency_cycles},
              plusargs=["+image=image.hex", *(["+waves"] if waves else [])],
              environment={"DNA_ASIC_JOB": str(work / "job.json")})
    return _results(work, program, memory, [len(run) for run in runs])


def _results(work, program, memory, images) -> list[ChipRun]:
    """What the bench has left of each run, which had so many images."""
    lines = [[] for _ in program.chunks]  # (end, counters) of all runs' layers, by chunk
    for line in (work / "layers.txt").read_text().splitlines():
        chunk, cycle, *counters = map(int, line.split())
        lines[chunk].append((cycle, counters))
    runs = []
    for n, result in enumerate(json.loads((work / "results.json").read_text())):
        if result["wrong_last"]:
            raise VerificationError(f"Run {n}: a write burst was longer or shorter than its address said.")
        ends, events = {}, {}
        for chunk, counters, left in zip(program.chunks, result["counters"], lines, strict=True):
            order, before = passes([layer.place for layer in chunk.layers], images[n]), [0] * len(EVENTS)
            for place, image in itertools.islice(order, counters["layer"]):
                ends[place.name, image], now = left.pop(0)
                events[place.name, image] = dict(zip(EVENTS, (b - a for a, b in zip(before, now))))
                before = now
        data = _read_hex(work / f"memory-{n:04}.hex")
        runs.append(ChipRun(ended=result["ended"], error=result["error"], error_chunk=result["error_chunk"],
                            counters=result["counters"], outputs=memory.outputs(program, data, images[n]), ends=ends,
                            events=events))
    return runs


@dataclass(frozen=True)
class _Memory:
    """Byte addresses: program with intermediate tensors, outputs, then the inputs of one run after another; size of
    all.
    """

    program: int
    output: int
    inputs: int
    run_inputs: tuple[int, ...]
    size: int
    port: int

    @classmethod
    def of(cls, program, images, port):
        """images: of each run."""
        output = _aligned(_PROGRAM_AT + program.size_bytes)
        inputs = _aligned(output + max(images) * program.output.pitch)
        *run_inputs, end = (inputs + n * program.input.pitch for n in itertools.accumulate(images, initial=0))
        size = max(_LEAST_SIZE, 1 << (end - 1).bit_length())
        return cls(_PROGRAM_AT, output, inputs, tuple(run_inputs), size, port)

    def hex(self, program: Program, images) -> str:
        """For $readmemh: one word of the port's width per line, highest byte first."""
        data = np.full(self.inputs + len(images) * program.input.pitch, _POISON, np.uint8)
        data[self.program:self.program + len(program.image)] = np.frombuffer(program.image, np.uint8)
        for n, image in enumerate(images):
            at = self.inputs + program.input.at(n)
            data[at:at + len(image)] = np.frombuffer(image, np.uint8)
        text = data.reshape(-1, self.port)[:, ::-1].tobytes().hex()
        width = 2 * self.port
        return "\n".join(text[i:i + width] for i in range(0, len(text), width)) + "\n"

    def outputs(self, program: Program, data: np.ndarray, images: int) -> list[dict[str, bytes]]:
        """Of each image, bytes of every layer's tensor that no later image has overwritten; data: memory from the
        program's base on.
        """
        base = {BASE_PROGRAM: 0, BASE_OUTPUT: self.output - self.program}
        found = [{} for _ in range(images)]
        for tensor in (layer.output for layer in program.layers):
            for n in range(max(0, images - tensor.copies) if tensor.copies else 0, images):
                found[n][tensor.name] = data[base[tensor.base_select] + tensor.at(n):][:tensor.size_bytes].tobytes()
        return found


def _aligned(address):
    return -(-address // _ALIGNMENT) * _ALIGNMENT


def _read_hex(path: Path) -> np.ndarray:
    """Bytes of a $writememh file, in address order; a word with unknown bits reads as poison."""
    words = [line for line in path.read_text().splitlines() if line and not line.startswith(("//", "@"))]
    text = "".join(words).replace("x", f"{_POISON:02x}"[0])
    return np.frombuffer(bytes.fromhex(text), np.uint8).reshape(len(words), -1)[:, ::-1].reshape(-1)
