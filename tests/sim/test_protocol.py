"""The chip on its buses: AXI4, AXI4-Lite, errors and recovery, with cocotbext-axi on the other side."""

import json
import random
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from chips import make_chip

from dna_asic.errors import ToolError
from dna_asic.golden import run_golden
from dna_asic.mapping.compile import compile_program
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.mapper import random_mapping
from dna_asic.spec.instruction import BASE_PROGRAM, INSTRUCTION_BYTES, OFFSETS
from rtl_gen.emit import emit_verilog
from sim.chip import FOLDER
from sim.four_layers import four_layers
from sim.integers import random_images
from sim.runner import SIMULATORS, find_tool, run_bench

PAGE = 4096
MAPPING_SEED = 3540  # tilings of few cycles, every layer in several DRAM tiles
SEED = 20


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Folder with chip.v, memory.bin and job.json: four layers on 4 x 4 PEs, two images."""
    folder = tmp_path_factory.mktemp("protocol")
    chip, quant, rng = make_chip("kc-tree-4x4"), four_layers(), random.Random(MAPPING_SEED)
    mappings = {key: random_mapping(shape, chip, chip.chunks[0], rng)
                for key, shape in hardware_shapes(quant.network, chip.port_bytes)}
    program = compile_program(chip, quant, mappings)
    images = random_images(quant.network, 2, SEED)
    golden = run_golden(quant, images)
    residual = next(i for i in (layer.instruction for layer in program.layers) if i["has_residual"])
    base = 3 * PAGE - residual["r_addr"] - 3 * chip.port_bytes  # a row of an activation tensor lies across two pages
    base += PAGE * (base < 0)
    output = base + program.size_bytes
    inputs = [output + program.output.size_bytes + n * program.input.size_bytes for n in range(2)]
    memory = np.full(1 << 16, 0xA5, np.uint8)
    memory[base:base + len(program.image)] = np.frombuffer(program.image, np.uint8)
    for at, image in zip(inputs, images):
        memory[at:at + program.input.size_bytes] = np.frombuffer(program.input.pack(image), np.uint8)
    (folder / "memory.bin").write_bytes(memory.tobytes())

    def tensor(layer, image):
        place, want = layer.output, golden[layer.name][image]
        want = np.asarray(want).reshape(len(place.slots), place.height, place.width)
        return {"name": layer.name, "bytes": place.pack(want).hex(), "used": place.pack(np.ones_like(want)).hex(),
                "at": place.address + (base if place.base_select == BASE_PROGRAM else output)}

    def residual_region(n):
        f, size = program.layers[n].instruction, program.layers[n].output.size_bytes
        return [base + f["r_addr"], base + f["r_addr"] + size] if f["has_residual"] else [0, 0]

    layers = len(program.layers)
    (folder / "job.json").write_text(json.dumps({
        "seed": SEED, "memory": str(folder / "memory.bin"), "port_bytes": chip.port_bytes, "program": base,
        "length": layers, "output": output, "instruction_bytes": INSTRUCTION_BYTES,
        "opcode_byte": OFFSETS["opcode"] // 8, "residuals": [residual_region(n) for n in range(layers)],
        "weights": [base + layers * INSTRUCTION_BYTES, base + len(program.image)], "limit_cycles": 200_000,
        "handshakes": 1600,
        "images": [{"input": inputs[n], "tensors": [tensor(layer, n) for layer in program.layers]} for n in range(2)]}))
    emit_verilog(chip, folder / "chip.v")
    return folder


@pytest.mark.simulator
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_protocol(job, simulator, tmp_path):
    try:
        find_tool(simulator)
    except ToolError as fault:
        pytest.skip(str(fault))
    sources = [job / "chip.v"] + [FOLDER / "chip_ports.vlt"] * (simulator == "verilator")
    run_bench(module="sim.bench_protocol", top="chip", sources=sources, build_root=tmp_path / "build",
              work=tmp_path / "work", simulator=simulator, environment={"DNA_ASIC_JOB": str(job / "job.json")})
    passed = [case.get("name") for case in ElementTree.parse(tmp_path / "work" / "results.xml").iter("testcase")]
    assert sorted(passed) == sorted(cases())


def cases():
    """Names of the bench's cases, as its source has them."""
    return re.findall(r"^@case\nasync def (\w+)", (FOLDER / "bench_protocol.py").read_text(), re.M)
