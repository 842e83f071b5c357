"""Programs of several chunks: every layer of every image, in any order that the waits allow, against the reference."""

import random

import numpy as np
import pytest
from chips import draw_design, make_chips, without_waits

from dna_asic.golden import run_golden
from dna_asic.mapping.compile import compile_program
from dna_asic.mapping.simulate import simulate
from dna_asic.spec.instruction import BASE_PROGRAM, INSTRUCTION_BYTES, Instruction
from sim.all_kinds import all_kinds
from sim.four_layers import four_layers
from sim.integers import random_images

CHIPS = [("kc-tree-4x4", "pq-3x2"), ("kc-drain-3x6", "kc-tree-4x4", "pq-4x4"),
         ("kc-tree-2x3", "kc-drain-4x4", "pq-3x2", "kc-tree-1x8")]


def compiled(names, quant, seed):
    """(chip, program) of a random assignment with random mappings."""
    chip = make_chips(*names)
    assignment, mappings = draw_design(chip, quant.network, random.Random(seed))
    return chip, compile_program(chip, quant, mappings, assignment)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("names", CHIPS, ids=len)
def test_chunks_equal_golden_in_any_order(names, seed):
    quant = (all_kinds, four_layers)[seed % 2](seed)
    chip, program = compiled(names, quant, seed)
    images = random_images(quant.network, 5, seed)
    expected = run_golden(quant, images)
    packed = [program.input.pack(x) for x in images]
    for order in range(3):
        outputs = simulate(program, chip, packed, seed=order)
        for n, of_image in enumerate(outputs):
            for layer in program.layers:
                got = layer.output.unpack(of_image[layer.name])
                np.testing.assert_array_equal(got, expected[layer.name][n].reshape(got.shape), f"{layer.name} {n}")


def test_chunk_programs_lie_apart():
    _, program = compiled(CHIPS[2], all_kinds(), 1)
    assert {layer.name for layer in program.layers} == {x.name for c in program.chunks for x in c.layers}
    for chunk in program.chunks:
        for k, layer in enumerate(chunk.layers):
            at = chunk.address + k * INSTRUCTION_BYTES
            assert Instruction.decode(program.image[at:at + INSTRUCTION_BYTES]) == layer.instruction
            assert layer.place.position == k and layer.instruction["is_last"] == (k == len(chunk.layers) - 1)
        end = chunk.address + len(chunk.layers) * INSTRUCTION_BYTES
        assert not any(program.image[end:end + INSTRUCTION_BYTES])


def test_copies_do_not_overlap():
    _, program = compiled(CHIPS[0], all_kinds(), 1)
    spans = [(0, len(program.image))]
    for tensor in (x.output for x in program.layers if x.output.base_select == BASE_PROGRAM):
        spans += [(tensor.at(n), tensor.at(n) + tensor.size_bytes) for n in range(tensor.copies)]
        assert tensor.at(tensor.copies) == tensor.address
    spans.sort()
    assert any(layer.output.copies > 1 for layer in program.layers)
    assert all(before[1] <= after[0] for before, after in zip(spans, spans[1:])) and spans[-1][1] <= program.size_bytes


def test_simulate_without_waits_is_wrong():
    """The waits are needed: without them a layer reads what is not there yet."""
    quant = all_kinds()
    chip, program = compiled(CHIPS[1], quant, 0)
    images = random_images(quant.network, 3, 0)
    outputs = simulate(without_waits(program), chip, [program.input.pack(x) for x in images])
    got = program.output.unpack(outputs[2][program.output.name])
    assert (got != run_golden(quant, images)[program.output.name][2].reshape(got.shape)).any()
