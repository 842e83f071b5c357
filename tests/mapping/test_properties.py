"""What holds whatever the numbers: wider ports, larger memories, searches with a start."""

import dataclasses
import random

import pytest
import torch
from chips import CHIPS, make_chip

from dna_asic.cost import ChipBatch, LayerBatch, MappingBatch, Prices, evaluate
from dna_asic.errors import InfeasibleDesign, SpecError
from dna_asic.mapping.mapper import random_mapping
from dna_asic.mapping.optimise import Mapper
from dna_asic.mapping.tilings import OBJECTIVES, Effort, search_tilings
from dna_asic.spec.accelerator import LoopOrders
from dna_asic.spec.dims import Operand
from dna_asic.spec.geometry import check_mapping, geometry, mapping_faults, positions
from dna_asic.spec.layer import LayerShape
from dna_asic.technology import load_technology

TECHNOLOGY = load_technology("asic-28nm")
LAYERS = (
    LayerShape(k=24, c=16, p=8, q=8, r=3, s=3, pad=1, h=8, w=8),
    LayerShape(k=17, c=3, p=5, q=7, r=3, s=3, stride=2, h=11, w=15),
    LayerShape(g=40, k=1, c=1, p=8, q=8, r=3, s=3, pad=1, h=8, w=8),
    LayerShape(k=30, c=40, p=1, q=1, h=1, w=1),
    LayerShape(k=16, c=24, p=8, q=8, h=8, w=8, has_residual=True),
)
SOME = Effort(width=96, rounds=6, keep=12)


def cycles(layer, chip, mappings):
    return evaluate(LayerBatch.from_shapes([layer]), ChipBatch.from_configs([chip]),
                    MappingBatch.from_mappings(mappings), Prices.of([chip], TECHNOLOGY)).cycles


def with_chunk(chip, **changes):
    return dataclasses.replace(chip, chunks=(dataclasses.replace(chip.chunks[0], **changes),))


def widened(chip, port):
    """The chip with one port twice as wide; raises InfeasibleDesign where there is none."""
    if port == "port_bytes":
        return dataclasses.replace(chip, port_bytes=2 * chip.port_bytes)
    return with_chunk(chip, **{port: 2 * getattr(chip.chunks[0], port)})


def pads_more(layer, narrow, wide, port, mapping):
    """Whether the wide port must move words that the narrow one need not: see the test."""
    if port == "n_w":
        return positions(wide.chunks[0], mapping.noc, Operand.W)[0] % wide.chunks[0].n_w > 0
    channels = [geometry(layer, c.chunks[0], c.port_bytes, mapping).o_channels for c in (narrow, wide)]
    return channels[0] != channels[1]


@pytest.mark.parametrize("port", ["port_bytes", "n_w", "n_i", "n_o", "n_pp"])
def test_wider_port_never_costs_cycles(port):
    """Of the same mapping. Two paddings are no part of it: a fill of W carries n_w bytes a beat even where one PE lies
    on its lane axis, and the O buffer has channels, with parameters to be fetched, in whole units of max(n_o, n_pp).
    """
    rng, compared = random.Random(port), 0
    for name in CHIPS:
        narrow = make_chip(name)
        try:
            wide = widened(narrow, port)
        except InfeasibleDesign:
            continue
        for layer in LAYERS:
            mappings = [random_mapping(layer, narrow, narrow.chunks[0], rng) for _ in range(25)]
            mappings = [m for m in mappings if not any(mapping_faults(layer, wide, wide.chunks[0], m))
                        and not pads_more(layer, narrow, wide, port, m)]
            if mappings:
                assert (cycles(layer, wide, mappings) <= cycles(layer, narrow, mappings)).all()
                compared += len(mappings)
    assert compared > 50


@pytest.mark.parametrize("memory", ["rf_w_words", "rf_i_words", "rf_o_words", "gb_w_bytes", "gb_i_bytes", "gb_o_bytes"])
def test_larger_memory_never_costs_cycles_with_the_smaller_ones_optimum(memory):
    small = make_chip("kc-tree-4x4")
    large = with_chunk(small, **{memory: 2 * getattr(small.chunks[0], memory)})
    best = Mapper(small, TECHNOLOGY, "latency", SOME)
    start = {layer: [best.layer(layer)] for layer in LAYERS}
    for layer, (mapping,) in start.items():
        assert int(cycles(layer, small, [mapping])) == int(cycles(layer, large, [mapping]))
    again = Mapper(large, TECHNOLOGY, "latency", Effort(width=8, rounds=1, keep=4), start=start)
    assert (again.costs(LAYERS)[:, 1] <= best.costs(LAYERS)[:, 1]).all()


def test_mapper_start_is_never_lost():
    """No search to speak of, only what was given."""
    chip, layer = make_chip("kc-drain-4x4"), LAYERS[0]
    good = Mapper(chip, TECHNOLOGY, effort=SOME).layer(layer)
    orders = LoopOrders(rf_order=(good.rf_order,), gb_order=(good.gb_order,), dram_order=(good.dram_order,))
    found = Mapper(chip, TECHNOLOGY, effort=Effort(width=1, rounds=1, keep=2), orders=orders, start={layer: [good]})
    assert found.layer(layer) == good


def test_mapper_wrong_start_order():
    chip = make_chip("kc-drain-4x4")
    mapping = random_mapping(LAYERS[0], chip, chip.chunks[0], random.Random(4))
    with pytest.raises(SpecError, match="must be one of the given orders"):
        Mapper(chip, TECHNOLOGY, start={LAYERS[0]: [mapping]}, orders=LoopOrders(
            gb_order=(tuple(reversed(mapping.gb_order)),)))


@pytest.mark.parametrize("name", ["kc-tree-4x4", "kc-drain-3x6", "pq-3x2"])
def test_every_mapping_is_legal(name):
    chip = make_chip(name)
    mapped = Mapper(chip, TECHNOLOGY, effort=SOME).network(LAYERS)
    for layer, mapping in zip(LAYERS, mapped.mappings, strict=True):
        check_mapping(layer, chip, chip.chunks[0], mapping)


def test_answers_do_not_depend_on_the_company():
    """Of other layers of the same kind, or of other chips."""
    chips = [make_chip(name) for name in ("kc-tree-4x4", "pq-4x4", "kc-drain-4x4")]
    alone = Mapper(chips[0], TECHNOLOGY, effort=SOME).costs(LAYERS[:1])
    assert torch.equal(alone, Mapper(chips[0], TECHNOLOGY, effort=SOME).costs(LAYERS)[:1])
    layers = LayerBatch.from_shapes([LAYERS[0]] * len(chips))
    together = search_tilings(layers, ChipBatch.from_configs(chips), Prices.of(chips, TECHNOLOGY), OBJECTIVES["edp"],
                              torch.Generator().manual_seed(0), SOME)
    for i, chip in enumerate(chips):
        energy, count = Mapper(chip, TECHNOLOGY, effort=SOME).costs(LAYERS[:1])[0]
        assert (float(together.energy_pj[i]), int(together.cycles[i])) == (float(energy), int(count))
