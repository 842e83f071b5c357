"""Tilings by rule that a search begins with: legal, near what the mapper finds, of each pair alone."""

import pytest
import torch

from dna_asic.cost import ChipBatch, LayerBatch, Prices
from dna_asic.gads import GadsSpace
from dna_asic.gads.presets import presets
from dna_asic.mapping.optimise import Mapper
from dna_asic.mapping.rules import GROWTH, dram_tiles, ruled
from dna_asic.mapping.tilings import OBJECTIVES, Pairs
from dna_asic.spec.layer import LayerShape
from dna_asic.technology import load_technology

TECHNOLOGY = load_technology("asic-28nm")
SPACE = GadsSpace.load("full").pinned(["chunks=1", "port_bytes=64"]).at_clock(1.0)
CHIPS = [entry.accelerator(name, 1.0) for name, entry in presets().items()]
SHAPES = (LayerShape(k=64, c=3, p=112, q=112, r=7, s=7, stride=2, pad=3, h=224, w=224),
          LayerShape(k=256, c=256, p=14, q=14, r=3, s=3, pad=1, h=14, w=14),
          LayerShape(g=96, k=1, c=1, p=56, q=56, r=3, s=3, stride=2, pad=1, h=112, w=112),
          LayerShape(k=1000, c=512, p=1, q=1, h=1, w=1))


def price(shape, chips, rows):
    pairs = Pairs(LayerBatch.from_shapes([shape] * len(chips)), ChipBatch.from_configs(chips),
                  Prices.of(chips, TECHNOLOGY), OBJECTIVES["edp"], SPACE.orders)
    return pairs.price(rows)[1][0]


def candidates(shape, chips):
    return ruled(LayerBatch.from_shapes([shape] * len(chips)), ChipBatch.from_configs(chips), SPACE.orders)


@pytest.mark.parametrize("shape", SHAPES, ids=["stem", "dense", "depthwise", "classifier"])
def test_tilings_by_rule_are_near_the_mappers_on_every_preset(shape):
    scores = price(shape, CHIPS, candidates(shape, CHIPS))
    best = torch.stack([Mapper(chip, TECHNOLOGY, orders=SPACE.orders).costs([shape]).prod() for chip in CHIPS])
    ratio = scores.amin(dim=1) / best
    assert ratio.isfinite().all() and ratio.median() < 1.5 and ratio.max() < 5


def test_tilings_by_rule_do_not_depend_on_the_batch():
    together = candidates(SHAPES[1], CHIPS)
    assert torch.cat([candidates(SHAPES[1], [chip]) for chip in CHIPS]).equal(together)
    assert together.shape[1] == 2 * len(GROWTH) * len(SPACE.orders.gb_order) * len(SPACE.orders.dram_order)


def test_splits_come_in_the_order_of_what_they_read():
    layers, chips = LayerBatch.from_shapes([SHAPES[1]] * len(CHIPS)), ChipBatch.from_configs(CHIPS)
    first, second = (dram_tiles(layers, chips, rank) for rank in range(2))
    assert (first.reads + 60 * first.count <= second.reads + 60 * second.count).all()
    assert (first.tile != second.tile).any(dim=0).all()
