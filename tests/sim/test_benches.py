"""Every block's Verilog in every simulator, under its cocotb bench."""

import itertools
import json
import random

import numpy as np
import pytest

from dna_asic.errors import SpecError, ToolError
from dna_asic.mapping.compile import compile_program
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.mapper import random_mapping
from dna_asic.mapping.simulate import Memory, _Layer
from dna_asic.spec.dims import Dim
from dna_asic.spec.layer import LayerOp, LayerSpec, NetworkSpec
from sim.blocks.blocks import ARRAYS, BLOCKS, block_verilog, make_block, run_block
from sim.integers import conv_shape, random_images, random_quant
from sim.runner import SIMULATORS, find_tool

SEED = 1
SHAPES = {  # sizes that divide neither the arrays nor the port
    "pointwise": conv_shape(3, 5, k=5, c=7),
    "dense": conv_shape(4, 3, k=3, c=5, kernel=3, pad=1),
    "stride 2": conv_shape(5, 6, k=3, c=2, kernel=(3, 2), pad=1, stride=2),
    "stride 3": conv_shape(8, 7, k=2, c=3, kernel=2, stride=3),
    "grouped": conv_shape(3, 3, g=2, k=3, c=2, kernel=2, pad=1),
    "depthwise": conv_shape(3, 5, g=9, k=1, c=1, kernel=3, pad=1, stride=2),
    "maximum": conv_shape(5, 6, g=5, k=1, c=1, kernel=2, stride=2, op=LayerOp.MAX),
    "whole map": conv_shape(2, 3, k=7, c=3, kernel=(2, 3)),
}


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    """Folder of all builds of this run."""
    return tmp_path_factory.mktemp("builds")


@pytest.fixture(scope="module", params=BLOCKS)
def verilog(request):
    """(block, its Verilog), made once for all simulators."""
    return request.param, block_verilog(request.param)


@pytest.fixture(scope="module")
def array_job(tmp_path_factory):
    """File with the tiles of bench_array, drawn once for all simulators."""
    path = tmp_path_factory.mktemp("job") / "job.json"
    path.write_text(json.dumps({name: [make_tile(kind, config, random.Random(f"{SEED} {name} {kind}"))
                                       for kind in SHAPES] for name, config in ARRAYS.items()}))
    return path


def make_tile(kind, config, rng):
    """A layer that is one DRAM tile, compiled with a random mapping; its psums by the functional simulator."""
    shape = SHAPES[kind]
    network = NetworkSpec(name=kind, input_shape=(shape.g * shape.c, shape.h, shape.w),
                          layers=(LayerSpec(name="layer", shape=shape, source="input"),))
    quant = random_quant(network, rng.randrange(1 << 30))
    (_, physical), = hardware_shapes(network, config.port_bytes)
    mappings = (random_mapping(physical, config, config.chunks[0], rng) for _ in range(3000))
    whole = itertools.islice((m for m in mappings if max(m.dram) == 1), 12)
    # several groups in a register file where the layer allows; then a short run
    mapping = min(whole, key=lambda m: (-m.rf[Dim.G] * physical.depthwise, np.prod(m.rf) * np.prod(m.gb)))
    print(config.name, kind, mapping)
    program = compile_program(config, quant, {"layer": mapping})
    instruction = program.layers[0].instruction
    psums, runs = np.zeros(config.chunks[0].gb_o_bytes // 8, np.int64), []
    for n, image in enumerate(random_images(network, 2, rng.randrange(1 << 30))):
        layer = _Layer(instruction, config, Memory.of(program, [program.input.pack(image)]))
        at = dict.fromkeys(("w", "i", "o", "p", "q", "ib", "ob"), 0)
        weights, inputs = layer._fetch_weights(at)[0], layer._fetch_inputs(at)
        layer.array.run(weights, inputs, psums, first=n == 0)
        runs.append({"w": weights.tobytes().hex(), "i": inputs.tobytes().hex()})
    words = np.unique(layer.array.gb.address["o"][:, None] + layer.array.o_map.reshape(1, -1))
    return {"kind": kind, "instruction": instruction.encode().hex(), "runs": runs,
            "words": {int(word): int(psums[word]) for word in words}}


@pytest.mark.simulator
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_block(verilog, simulator, builds, tmp_path, request):
    try:
        find_tool(simulator)
    except ToolError as missing:
        pytest.skip(str(missing))
    block, text = verilog
    job = request.getfixturevalue("array_job") if block == "array" else None
    print(f"seed {SEED}")
    run_block(block, text, simulator=simulator, seed=SEED, build_root=builds, work=tmp_path, job=job)


def test_block_wrong_name():
    with pytest.raises(SpecError, match="Block must be one of pe, .*, not 'alu'"):
        make_block("alu")
