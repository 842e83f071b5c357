"""Tilings by rule: legal, near what the search finds, and of chip and layer alone."""

import pytest
import torch

from dna_asic.cost import ChipBatch, LayerBatch, Prices
from dna_asic.gads import GadsSpace
from dna_asic.mapping.candidates import ORDER
from dna_asic.mapping.greedy import candidates, greedy_tilings
from dna_asic.mapping.optimise import Mapper
from dna_asic.mapping.tilings import OBJECTIVES, Effort, mapping_of
from dna_asic.spec.geometry import check_mapping
from dna_asic.spec.layer import LayerOp, LayerShape
from dna_asic.technology import load_technology

TECHNOLOGY = load_technology("asic-28nm")
SPACE = GadsSpace.load("default").pinned(["chunks=1"]).at_clock(1.0)
SHAPES = (LayerShape(k=24, c=16, p=8, q=8, r=3, s=3, pad=1, h=8, w=8),
          LayerShape(g=24, k=1, c=1, p=7, q=7, r=3, s=3, stride=2, pad=1, h=13, w=13),
          LayerShape(k=30, c=17, p=5, q=5, h=5, w=5, has_residual=True),
          LayerShape(g=16, k=1, c=1, p=4, q=4, r=2, s=2, stride=2, h=8, w=8, op=LayerOp.MAX))


def chips(count):
    generator = torch.Generator().manual_seed(0)
    return [SPACE.feasible(generator)[1] for _ in range(count)]


def find(shape, accelerators):
    return greedy_tilings(LayerBatch.from_shapes([shape] * len(accelerators)), ChipBatch.from_configs(accelerators),
                          Prices.of(accelerators, TECHNOLOGY), OBJECTIVES["edp"], SPACE.orders)


@pytest.mark.parametrize("shape", SHAPES, ids=["dense", "depthwise", "pointwise", "max"])
def test_greedy_tilings_are_legal_and_near_the_mappers(shape):
    accelerators = chips(40)
    found = find(shape, accelerators)
    runs = found.score.isfinite().nonzero()[:, 0].tolist()
    assert len(runs) >= 25
    for i in runs:
        check_mapping(shape, accelerators[i], accelerators[i].chunk, mapping_of(found.survivors[i, 0], SPACE.orders))
    some = runs[:6]
    best = torch.stack([Mapper(accelerators[i], TECHNOLOGY, effort=Effort(width=64, rounds=8, keep=8),
                               orders=SPACE.orders).costs([shape]).prod() for i in some])
    assert (found.score[some] / best).median() < 2


def test_greedy_tilings_do_not_depend_on_the_batch():
    accelerators = chips(6)
    alone = [find(SHAPES[0], [chip]) for chip in accelerators]
    together = find(SHAPES[0], accelerators)
    assert torch.cat([t.score for t in alone]).equal(together.score)
    assert sum(t.evaluations for t in alone) == together.evaluations


def test_candidates_fit_the_register_files_and_stand_once():
    """Legal or not, no tile is larger than a PE's words; and what stands twice is refused the second time."""
    accelerators = chips(6)
    batch = ChipBatch.from_configs(accelerators)
    rows = candidates(LayerBatch.from_shapes([SHAPES[0]] * 6), batch, SPACE.orders)
    g, k, c, p, q, r, s = rows[:, :, 0].unbind(dim=2)
    assert (g * k * c * r * s <= batch.rf_w_words[:, None]).all()
    assert (g * c * (p + r - 1) * (q + s - 1) <= batch.rf_i_words[:, None]).all()
    for mine in rows:
        once = mine[mine[:, ORDER - 1, 5] == 1].flatten(1)
        assert len(once) == len(once.unique(dim=0)) == len(mine.flatten(1).clone().index_fill_(
            1, torch.tensor([(ORDER - 1) * 7 + 5]), 1).unique(dim=0))
