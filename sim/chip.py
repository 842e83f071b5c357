"""Run a compiled program on the Verilog of a chip, and read back every tensor and counter."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dna_asic.errors import VerificationError
from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.instruction import BASE_OUTPUT, BASE_PROGRAM
from dna_asic.spec.program import Program
from rtl_gen.control import COUNTERS
from sim.runner import run_bench

FOLDER = Path(__file__).parent
_PROGRAM_AT = 4096  # not 0, so that a lost base register is seen
_ALIGNMENT = 4096
_LEAST_SIZE = 1 << 20  # one build serves all small programs
_POISON = 0xA5  # what memory holds before it is written


@dataclass(frozen=True, kw_only=True)
class ChipRun:
    """One image. outputs: memory bytes of every layer's tensor; layer_cycles: cycle in which each layer ended,
    counted from the start bit; counters: the chip's own, by name, and layer_counters what each layer added to them
    (cycles and layers not among these); error: name of the error, or "none".
    """

    ended: bool
    error: str
    outputs: dict[str, bytes]
    layer_cycles: tuple[int, ...]
    layer_counters: tuple[dict[str, int], ...]
    counters: dict[str, int]


def run_chip(verilog: Path, program: Program, accelerator: AcceleratorConfig, images: Sequence[bytes], *, work: Path,
             build_root: Path, simulator: str = "verilator", stall_seed: int = 0, limit_cycles: int = 100_000_000,
             waves: bool = False, record: int | None = None, quick: bool = False) -> list[ChipRun]:
    """One run per input tensor (memory bytes), one after another without reset, until one fails.

    stall_seed: 0 for the ideal memory. limit_cycles: give up a run after so many. waves: build so that waves can be
    recorded (slower). record: image from which on waves go to `work`/activity.vcd. quick: see `run_bench`. Raises
    ToolError, VerificationError.
    """
    work = Path(work).resolve()
    work.mkdir(parents=True, exist_ok=True)
    for old in (*work.glob("memory-*.hex"), work / "results.json"):
        old.unlink(missing_ok=True)
    port = accelerator.port_bytes
    memory = _Memory.of(program, len(images), port)
    (work / "image.hex").write_text(memory.hex(program, images))
    job = {"program": memory.program, "length": len(program.layers), "stall_seed": stall_seed,
           "timeout_cycles": 0, "limit_cycles": limit_cycles, "record": record,
           "dump": [memory.program // port, memory.inputs // port - 1],
           "wipe": (memory.program + len(program.image)) // port,
           "runs": [{"input": at, "output": memory.output} for at in memory.input_addresses]}
    (work / "job.json").write_text(json.dumps(job))
    run_bench(module="sim.bench_chip", top="tb_chip", sources=[FOLDER / "memory.v", FOLDER / "tb_chip.v", verilog],
              build_root=build_root, work=work, simulator=simulator, waves=waves, quick=quick,
              parameters={"PORT_BYTES": port, "SIZE_BYTES": memory.size, "LATENCY": accelerator.memory_latency_cycles},
              plusargs=["+image=image.hex", *(["+waves"] if waves else [])],
              environment={"DNA_ASIC_JOB": str(work / "job.json")})
    results = json.loads((work / "results.json").read_text())
    ends = np.array([line.split() for line in (work / "layers.txt").read_text().splitlines()], int)
    runs, at = [], 0
    for n, result in enumerate(results):
        if result["wrong_last"]:
            raise VerificationError(f"Image {n}: a write burst was longer or shorter than its address said.")
        layers = result["counters"]["layer"]
        data, mine = _read_hex(work / f"memory-{n:04}.hex"), ends[at:at + layers].reshape(layers, len(COUNTERS) - 1)
        runs.append(ChipRun(
            ended=result["ended"], error=result["error"], counters=result["counters"],
            outputs=memory.outputs(program, data), layer_cycles=tuple(mine[:, 0].tolist()),
            layer_counters=tuple(dict(zip(COUNTERS[1:-1], row)) for row in np.diff(mine[:, 1:], axis=0, prepend=0).tolist())))
        at += layers
    return runs


@dataclass(frozen=True)
class _Memory:
    """Byte addresses: program with intermediate tensors, output, then the inputs one after another; size of all."""

    program: int
    output: int
    inputs: int
    input_addresses: tuple[int, ...]
    size: int
    port: int

    @classmethod
    def of(cls, program, images, port):
        output = _aligned(_PROGRAM_AT + program.size_bytes)
        inputs = _aligned(output + program.output.size_bytes)
        pitch = -(-program.input.size_bytes // 64) * 64
        size = max(_LEAST_SIZE, 1 << (inputs + images * pitch - 1).bit_length())
        return cls(_PROGRAM_AT, output, inputs, tuple(inputs + n * pitch for n in range(images)), size, port)

    def hex(self, program: Program, images) -> str:
        """For $readmemh: one word of the port's width per line, highest byte first."""
        data = np.full(self.input_addresses[-1] + len(images[-1]), _POISON, np.uint8)
        data[self.program:self.program + len(program.image)] = np.frombuffer(program.image, np.uint8)
        for at, image in zip(self.input_addresses, images):
            data[at:at + len(image)] = np.frombuffer(image, np.uint8)
        text = data.reshape(-1, self.port)[:, ::-1].tobytes().hex()
        width = 2 * self.port
        return "\n".join(text[i:i + width] for i in range(0, len(text), width)) + "\n"

    def outputs(self, program: Program, data: np.ndarray) -> dict[str, bytes]:
        """Bytes of every layer's tensor; data: memory from the program's base on."""
        base = {BASE_PROGRAM: 0, BASE_OUTPUT: self.output - self.program}
        tensors = [layer.output for layer in program.layers]
        return {t.name: data[base[t.base_select] + t.address:][:t.size_bytes].tobytes() for t in tensors}


def _aligned(address):
    return -(-address // _ALIGNMENT) * _ALIGNMENT


def _read_hex(path: Path) -> np.ndarray:
    """Bytes of a $writememh file, in address order; a word with unknown bits reads as poison."""
    words = [line for line in path.read_text().splitlines() if line and not line.startswith(("//", "@"))]
    text = "".join(words).replace("x", f"{_POISON:02x}"[0])
    return np.frombuffer(bytes.fromhex(text), np.uint8).reshape(len(words), -1)[:, ::-1].reshape(-1)
