"""Compiler and functional simulator together against the integer reference, bit for bit."""

import dataclasses
import random

import numpy as np
import pytest
from chips import CHIPS, KINDS, make_chip

from dna_asic.errors import InfeasibleDesign, VerificationError
from dna_asic.golden import run_golden
from dna_asic.mapping.compile import compile_program
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.mapper import random_mapping, trivial_mapping
from dna_asic.mapping.simulate import Memory, run_memory, simulate
from dna_asic.spec.geometry import mapping_faults
from dna_asic.spec.instruction import BASE_PROGRAM, INSTRUCTION_BYTES, Instruction
from sim.all_kinds import all_kinds
from sim.four_layers import four_layers
from sim.integers import random_images

NETWORKS = {"four-layers": four_layers, "all-kinds": all_kinds}


def compiled(chip, quant, map_layer):
    """Program of `quant`, every layer mapped by `map_layer`(shape)."""
    shapes = hardware_shapes(quant.network, chip.port_bytes)
    return compile_program(chip, quant, {name: map_layer(shape) for name, shape in shapes})


def assert_golden(program, chip, quant, image):
    """Every layer of the simulated program equals the reference."""
    (outputs,) = simulate(program, chip, [program.input.pack(image)])
    expected = run_golden(quant, image[None])
    assert set(outputs) == set(expected)
    for layer in program.layers:
        np.testing.assert_array_equal(layer.output.unpack(outputs[layer.name]), expected[layer.name][0], layer.name)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", CHIPS)
def test_program_random_mappings(name, network):
    for seed in range(4):
        rng = random.Random(f"{name} {network} {seed}")
        chip, quant = make_chip(name), NETWORKS[network](seed)
        chunk = chip.chunks[0]
        program = compiled(chip, quant, lambda s: random_mapping(s, chip, chunk, rng))  # noqa: B023
        assert_golden(program, chip, quant, random_images(quant.network, 1, seed)[0])


@pytest.mark.parametrize("name", KINDS)
def test_program_random_mappings_of_every_kind_of_chip(name):
    chip, rng = make_chip(name), random.Random(name)
    for network in NETWORKS.values():
        quant = network(rng.randrange(100))
        program = compiled(chip, quant, lambda s: random_mapping(s, chip, chip.chunks[0], rng))
        assert_golden(program, chip, quant, random_images(quant.network, 1, rng.randrange(100))[0])


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", CHIPS)
def test_program_trivial_mapping(name, network):
    chip, quant = make_chip(name), NETWORKS[network]()
    program = compiled(chip, quant, lambda s: trivial_mapping(s, chip, chip.chunks[0]))
    assert_golden(program, chip, quant, random_images(quant.network, 1, 5)[0])


def test_random_mapping_is_legal_and_seeded():
    chip = make_chip("kc-tree-4x4")
    for _, shape in hardware_shapes(all_kinds().network, chip.port_bytes):
        draws = [random_mapping(shape, chip, chip.chunks[0], random.Random(3)) for _ in range(2)]
        assert draws[0] == draws[1] and not list(mapping_faults(shape, chip, chip.chunks[0], draws[0]))


def test_trivial_mapping_wrong_buffers_too_small():
    chip = make_chip("kc-tree-4x4")
    chunk = dataclasses.replace(chip.chunks[0], gb_w_bytes=1024)
    shape = dict(hardware_shapes(four_layers().network, chip.port_bytes))["classifier"]
    with pytest.raises(InfeasibleDesign, match="enlarge the buffers.\nGlobal buffer half of W holds 512 bytes"):
        trivial_mapping(shape, chip, chunk)


@pytest.fixture
def four():
    chip, quant = make_chip("kc-tree-4x4"), four_layers()
    return chip, quant, compiled(chip, quant, lambda s: trivial_mapping(s, chip, chip.chunks[0]))


def test_program_image_holds_the_instructions(four):
    program = four[2]
    for i, layer in enumerate(program.layers):
        at = i * INSTRUCTION_BYTES
        assert Instruction.decode(program.image[at:at + INSTRUCTION_BYTES]) == layer.instruction
    end = len(program.layers) * INSTRUCTION_BYTES
    assert not any(program.image[end:end + INSTRUCTION_BYTES])


def test_program_tensors_do_not_overlap(four):
    tensors = sorted((x.output for x in four[2].layers if x.output.base_select == BASE_PROGRAM),
                     key=lambda t: t.address)
    assert len(four[2].image) <= tensors[0].address
    for before, after in zip(tensors, tensors[1:], strict=False):
        assert before.address + before.size_bytes <= after.address and after.address % 64 == 0
    assert tensors[-1].address + tensors[-1].size_bytes <= four[2].size_bytes


def test_compile_wrong_missing_mapping(four):
    with pytest.raises(InfeasibleDesign, match="Layer 'depthwise' has no mapping"):
        compile_program(four[0], four[1], {"conv": four[2].layers[0].mapping})


def test_compile_wrong_illegal_mapping(four):
    mappings = {x.name: x.mapping for x in four[2].layers}
    mappings["conv"] = dataclasses.replace(mappings["conv"], dram=(1, 1, 1, 1, 1, 2, 1))
    with pytest.raises(InfeasibleDesign, match="Layer 'conv': DRAM factors of R and S must be 1"):
        compile_program(four[0], four[1], mappings)


def test_simulate_wrong_opcode(four):
    memory = Memory.of(four[2], [four[2].input.pack(random_images(four[1].network, 1, 0)[0])])
    memory.regions[BASE_PROGRAM][INSTRUCTION_BYTES] ^= 1
    with pytest.raises(VerificationError, match=f"illegal instruction at offset {INSTRUCTION_BYTES}"):
        run_memory(memory, four[0], [0], 1)


def test_simulate_wrong_program_without_an_end(four):
    chip, _, program = four
    last = Instruction({**program.layers[-1].instruction.values, "is_last": 0}).encode()
    at = (len(program.layers) - 1) * INSTRUCTION_BYTES
    image = program.image[:at] + last + program.image[at + INSTRUCTION_BYTES:]
    memory = Memory.of(dataclasses.replace(program, image=image), [bytes(program.input.size_bytes)])
    with pytest.raises(VerificationError, match="opcode 0x0"):
        run_memory(memory, chip, [0], 1)
