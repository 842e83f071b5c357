"""The enumerated optimum, and the mapper against it."""

import dataclasses
import random

import pytest
from chips import make_chip

from dna_asic.cost import ChipBatch, LayerBatch, MappingBatch, Prices, evaluate
from dna_asic.errors import InfeasibleDesign, SpecError
from dna_asic.mapping.exhaustive import dim_splits, exhaust
from dna_asic.mapping.mapper import random_mapping
from dna_asic.mapping.optimise import Mapper
from dna_asic.mapping.tilings import OBJECTIVES
from dna_asic.spec.accelerator import ALL_ORDERS, ORDERS
from dna_asic.spec.dims import DIMS
from dna_asic.spec.geometry import check_mapping, mapping_faults
from dna_asic.spec.layer import LayerShape
from dna_asic.technology import load_technology

G, K, C, P, Q, R, S = DIMS
TECHNOLOGY = load_technology("asic-28nm")
SMALL = {
    "pointwise": LayerShape(k=6, c=10, p=3, q=2, h=3, w=2),
    "kernel": LayerShape(k=5, c=3, p=2, q=2, r=2, s=2, h=3, w=3),
    "depthwise": LayerShape(g=10, k=1, c=1, p=3, q=3, r=2, s=2, stride=2, h=6, w=6),
    "connected": LayerShape(k=20, c=33, p=1, q=1, h=1, w=1),
}


def costs(layer, chip, mappings):
    """Energy and cycles of each."""
    batch = evaluate(LayerBatch.from_shapes([layer]), ChipBatch.from_configs([chip]),
                     MappingBatch.from_mappings(mappings), Prices.of([chip], TECHNOLOGY))
    return batch.energy_pj, batch.cycles


def random_ordered(layer, chip, rng):
    """A random legal mapping of the default orders."""
    mapping = random_mapping(layer, chip, chip.chunks[0], rng)
    return dataclasses.replace(mapping, **{name: rng.choice(getattr(ALL_ORDERS, name)) for name in ORDERS})


def test_dim_splits_hand_computed():
    chip = make_chip("kc-tree-4x4")  # K on 4 rows, drained 2 at a time; blocks of 8 channels
    layer = LayerShape(k=3, c=1, p=1, q=1, h=1, w=1)
    assert set(dim_splits(layer, chip, K)) == {
        (1, 1, 3, 1), (2, 1, 2, 1), (3, 1, 1, 1), (1, 2, 2, 1), (2, 2, 1, 1), (3, 2, 1, 1), (1, 4, 1, 1), (2, 4, 1, 1),
        (3, 4, 1, 1), (1, 1, 2, 2), (2, 1, 1, 2), (1, 2, 1, 2), (1, 1, 1, 3)}
    assert dim_splits(layer, chip, C) == [(1, 1, 1, 1)]
    kernel = LayerShape(k=1, c=1, p=1, q=1, r=3, s=3, h=3, w=3)
    assert dim_splits(kernel, chip, R) == [(1, 1, 3, 1), (2, 1, 2, 1), (3, 1, 1, 1)]


@pytest.mark.parametrize("chip, layer", [
    ("kc-tree-4x4", "pointwise"), ("pq-4x4", "kernel"), ("kc-drain-4x4", "kernel")])
def test_nothing_random_beats_the_enumeration(chip, layer):
    chip, layer, rng = make_chip(chip), SMALL[layer], random.Random(3)
    found = exhaust(layer, chip, TECHNOLOGY)
    check_mapping(layer, chip, chip.chunks[0], found.mapping)
    energy, cycles = (float(x) for x in costs(layer, chip, [found.mapping]))
    assert (energy, cycles) == (pytest.approx(found.energy_pj), found.cycles) and found.evaluations == 24 * found.legal
    assert found.score == pytest.approx(energy * cycles)
    energy, cycles = costs(layer, chip, [random_ordered(layer, chip, rng) for _ in range(300)])
    assert (energy * cycles >= found.score * (1 - 1e-9)).all()


def grown(layer, chip, mapping, rng):
    """The mapping with one GB factor larger, None where that is illegal."""
    gb = list(mapping.gb)
    gb[rng.choice(DIMS)] += rng.choice((1, 2, 8))
    larger = dataclasses.replace(mapping, gb=tuple(gb))
    return None if any(mapping_faults(layer, chip, chip.chunks[0], larger)) else larger


def test_larger_buffer_factor_never_pays():
    """What the enumeration leaves out: a GB factor above the least that covers."""
    rng, compared = random.Random(0), 0
    for chip in map(make_chip, ("kc-tree-4x4", "kc-drain-4x4", "pq-4x4")):
        for layer in SMALL.values():
            mappings = [random_ordered(layer, chip, rng) for _ in range(60)]
            pairs = [(m, larger) for m in mappings if (larger := grown(layer, chip, m, rng))]
            before, after = (costs(layer, chip, x) for x in zip(*pairs, strict=True))
            assert (after[0] >= before[0] * (1 - 1e-9)).all() and (after[1] >= before[1]).all()
            compared += len(pairs)
    assert compared > 100


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("chip, layer", [
    ("kc-tree-4x4", "pointwise"), ("kc-drain-4x4", "kernel"), ("pq-4x4", "kernel"), ("kc-tree-4x4", "depthwise"),
    ("pq-3x2", "pointwise"), ("kc-tree-4x4", "connected")])
def test_mapper_finds_the_enumerated_optimum(chip, layer, objective):
    chip, layer = make_chip(chip), SMALL[layer]
    best = exhaust(layer, chip, TECHNOLOGY, objective)
    energy, cycles = Mapper(chip, TECHNOLOGY, objective).costs([layer])[0]
    assert float(OBJECTIVES[objective](energy, cycles)) == pytest.approx(best.score, rel=1e-9)


def test_exhaust_wrong_layers():
    chip = make_chip("kc-tree-4x4")
    with pytest.raises(SpecError, match="dense and depthwise"):
        exhaust(LayerShape(g=2, k=4, c=4, p=1, q=1, h=1, w=1), chip, TECHNOLOGY)
    with pytest.raises(SpecError, match="tilings to enumerate"):
        exhaust(LayerShape(k=64, c=64, p=56, q=56, h=56, w=56), chip, TECHNOLOGY)
    with pytest.raises(InfeasibleDesign, match="no legal tiling"):
        small = dataclasses.replace(chip.chunks[0], gb_i_bytes=1024)
        exhaust(LayerShape(k=1, c=33, p=1, q=1, r=16, s=16, h=16, w=16), dataclasses.replace(chip, chunks=(small,)),
                TECHNOLOGY)
