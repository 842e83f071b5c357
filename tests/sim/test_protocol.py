"""The chip on its buses: AXI4, AXI4-Lite, errors and recovery, with cocotbext-axi on the other side."""

import json
import math
import random
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from chips import make_chip, make_chips

from dna_asic.contract.model import predict_cycles
from dna_asic.errors import ToolError
from dna_asic.golden import run_golden
from dna_asic.mapping.compile import compile_program
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.mapper import random_mapping, trivial_mapping
from dna_asic.spec.instruction import BASE_PROGRAM, INSTRUCTION_BYTES, OFFSETS, Instruction
from rtl_gen.emit import emit_verilog
from sim.chip import FOLDER
from sim.four_layers import four_layers
from sim.integers import random_images
from sim.runner import find_tool, run_bench

PAGE = 4096
MAPPING_SEED = 3540  # tilings of few cycles, every layer in several DRAM tiles
SEED = 20
DRAWS = 300
ASSIGNMENT = {"conv": 0, "depthwise": 1, "pointwise": 0, "classifier": 1}


class Job:
    """A folder with chip.v, memory.bin and job.json: four layers, `runs` (of each its number of images)."""

    def __init__(self, folder, seed, chip, mappings, assignment, runs, handshakes):
        self.quant = four_layers()
        self.program = compile_program(chip, self.quant, mappings, assignment)
        images = random_images(self.quant.network, sum(runs), seed)
        self.golden = run_golden(self.quant, images)
        residual = next(x.instruction for x in self.program.layers if x.instruction["has_residual"])
        base = 3 * PAGE - residual["r_addr"] - 3 * chip.port_bytes  # a row of an activation tensor lies on two pages
        self.base = base = base + PAGE * (base < 0)
        self.output = base + self.program.size_bytes
        self.inputs = self.output + max(runs) * self.program.output.pitch
        memory = np.full(1 << (self.inputs + sum(runs) * self.program.input.pitch).bit_length(), 0xA5, np.uint8)
        memory[base:base + len(self.program.image)] = np.frombuffer(self.program.image, np.uint8)
        for n, image in enumerate(images):
            at = self.inputs + self.program.input.at(n)
            memory[at:at + self.program.input.size_bytes] = np.frombuffer(self.program.input.pack(image), np.uint8)
        (folder / "memory.bin").write_bytes(memory.tobytes())
        programs = self.program.chunks
        (folder / "job.json").write_text(json.dumps({
            "seed": seed, "memory": str(folder / "memory.bin"), "port_bytes": chip.port_bytes,
            "registers": {"output": self.output, "input_pitch": self.program.input.pitch,
                          "output_pitch": self.program.output.pitch},
            "chunks": [{"registers": {"program": base + c.address, "length": len(c.layers)},
                        "residuals": [self.residual_region(x) for x in c.layers],
                        "falling": self.falling_stage(c)} for c in programs],
            "instruction_bytes": INSTRUCTION_BYTES, "opcode_byte": OFFSETS["opcode"] // 8,
            "weights": [base + sum(len(c.layers) + 1 for c in programs) * INSTRUCTION_BYTES,
                        base + len(self.program.image)],
            "limit_cycles": 200_000, "handshakes": handshakes,
            "runs": [self.run(sum(runs[:n]), images) for n, images in enumerate(runs)]}))
        emit_verilog(chip, folder / "chip.v")

    def run(self, first, images):
        """Registers of a run, and what it leaves in memory."""
        left = [(layer, n) for layer in self.program.layers for n in range(images)
                if not layer.output.copies or n >= images - layer.output.copies]
        return {"registers": {"input": self.inputs + self.program.input.at(first), "images": images},
                "tensors": [self.tensor(layer, first, n) for layer, n in left]}

    def tensor(self, layer, first, n):
        """Of a run that begins with image `first`, the tensor of its image n."""
        place = layer.output
        want = np.asarray(self.golden[layer.name][first + n]).reshape(len(place.slots), place.height, place.width)
        return {"name": layer.name, "bytes": place.pack(want).hex(), "used": place.pack(np.ones_like(want)).hex(),
                "at": place.at(n) + (self.base if place.base_select == BASE_PROGRAM else self.output)}

    @staticmethod
    def falling_stage(chunk):
        """The first instruction with a stage above the second's."""
        first, second = (layer.instruction for layer in chunk.layers[:2])
        return Instruction({**first.values, "stage": second["stage"] + 1}).encode().hex()

    def residual_region(self, layer):
        """First and last address of what the layer adds."""
        f = layer.instruction
        if not f["has_residual"]:
            return [0, 0]
        copies = ((1 << f["r_copies_log2"]) - 1) * f["r_pitch"]
        return [self.base + f["r_addr"], self.base + f["r_addr"] + copies + layer.output.size_bytes]


def one_chunk(folder, seed):
    """4 x 4 PEs, two runs of an image each."""
    chip, rng = make_chip("kc-tree-4x4"), random.Random(MAPPING_SEED)
    mappings = {key: random_mapping(shape, chip, chip.chunk, rng)
                for key, shape in hardware_shapes(four_layers().network, chip.port_bytes)}
    Job(folder, seed, chip, mappings, {}, [1, 1], handshakes=1600)


def wide_port(folder, seed):
    """4 x 4 PEs with drain chains and a port of 16 bytes, two runs of an image each."""
    chip, rng = make_chip("kc-drain-4x4"), random.Random(seed)
    shapes = dict(hardware_shapes(four_layers().network, chip.port_bytes))
    Job(folder, seed, chip, {key: tiled(shape, chip, rng) for key, shape in shapes.items()}, {}, [1, 1],
        handshakes=300)


def tiled(shape, chip, rng):
    """Of random mappings with several DRAM tiles, the fastest; of all if none has."""
    drawn = [random_mapping(shape, chip, chip.chunk, rng) for _ in range(DRAWS)]
    cycles = predict_cycles([(shape, chip, mapping) for mapping in drawn])
    return min(zip(drawn, cycles, strict=True), key=lambda x: (math.prod(x[0].dram) == 1, x[1]))[0]


def two_chunks(folder, seed):
    """4 x 4 and 2 x 3 PEs, a run of three images and one of one."""
    chip = make_chips("kc-tree-4x4", "kc-tree-2x3")
    mappings = {key: trivial_mapping(shape, alone, alone.chunk)
                for key, shape in hardware_shapes(four_layers().network, chip.port_bytes)
                for alone in [chip.alone[ASSIGNMENT[key]]]}
    Job(folder, seed, chip, mappings, ASSIGNMENT, [3, 1], handshakes=300)


ONE, TWO = ("bench_protocol", one_chunk, SEED), ("bench_chunks", two_chunks, SEED)
QUICK = [(ONE, "verilator"), (TWO, "verilator")]
SLOW = [(ONE, "icarus"), (TWO, "icarus"), *(((bench, make, seed), "verilator") for bench, make, seed in (
    ("bench_protocol", wide_port, SEED), ("bench_protocol", wide_port, SEED + 1),
    ("bench_protocol", one_chunk, SEED + 1), ("bench_chunks", two_chunks, SEED + 1)))]
CASES = [pytest.param(job, simulator, marks=[pytest.mark.slow] * ((job, simulator) in SLOW),
                      id=f"{job[1].__name__}-{job[2]}-{simulator}") for job, simulator in QUICK + SLOW]


@pytest.fixture(scope="module")
def job(request, tmp_path_factory):
    """(bench, folder of its job), made once for all simulators."""
    bench, make, seed = request.param
    print(f"seed {seed}")
    folder = tmp_path_factory.mktemp(bench)
    make(folder, seed)
    return bench, folder


@pytest.mark.simulator
@pytest.mark.parametrize(("job", "simulator"), CASES, indirect=["job"])
def test_protocol(job, simulator, tmp_path):
    bench, folder = job
    try:
        find_tool(simulator)
    except ToolError as fault:
        pytest.skip(str(fault))
    sources = [folder / "chip.v"] + [FOLDER / "chip_ports.vlt"] * (simulator == "verilator")
    run_bench(module=f"sim.{bench}", top="chip", sources=sources, build_root=tmp_path / "build",
              work=tmp_path / "work", simulator=simulator, environment={"DNA_ASIC_JOB": str(folder / "job.json")})
    passed = [case.get("name") for case in ElementTree.parse(tmp_path / "work" / "results.xml").iter("testcase")]
    assert sorted(passed) == sorted(cases(bench))


def cases(bench):
    """Names of a bench's cases, as its source has them."""
    return re.findall(r"^@case\nasync def (\w+)", (FOLDER / f"{bench}.py").read_text(), re.M)
