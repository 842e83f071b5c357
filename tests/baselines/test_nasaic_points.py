"""NASAIC's published points in this project's cost model."""

import dataclasses

import pytest

from dna_asic.baselines.nasaic_points import NETWORK, SPACE, recost
from dna_asic.baselines.nasaic_space import Silicon, TemplatePricer
from dna_asic.mapping.tilings import Effort
from dna_asic.report.published import load_published
from dna_asic.technology import load_technology

EFFORT = Effort(width=16, rounds=1, keep=4)
PUBLISHED = load_published()
SHORT = dataclasses.replace(PUBLISHED, rows=PUBLISHED.rows[:3])
SMALL = (8, 32, 0, 32, 0, 32, 0)


def points(folder, target):
    technology = load_technology(target)
    silicon = Silicon(technology=technology, clk_period_ns=technology.clk_period_ns, memory_latency_cycles=20)
    pricer = TemplatePricer(technology, 0, EFFORT, folder=folder / target, key="k")
    return list(recost(SHORT, silicon, pricer, 0, SMALL, EFFORT))


def test_points_change_with_the_node(tmp_path):
    at28, at45 = (points(tmp_path, target) for target in ("asic-28nm", "asic-45nm"))
    for small, large in zip(at28, at45, strict=True):
        assert small.row == large.row and small.pes == large.pes
        assert 1.5 < large.area_mm2 / small.area_mm2 < 4 and large.energy_j > small.energy_j
        assert large.edp_js > small.edp_js
    assert [p.pes for p in at28] == [4096, 3456, 2368]
    assert at28[0].area_mm2 > at28[1].area_mm2 > at28[2].area_mm2


def test_ratios_are_as_the_published_ones(tmp_path):
    first, _, base = points(tmp_path, "asic-28nm")
    cycles, energy, area, product = first.ratios(base)
    assert base.ratios(base) == (1, 1, 1, 1) and area == first.area_mm2 / base.area_mm2 > 1.3
    assert product == pytest.approx(cycles * energy)
    assert len(first.row.ratios(base.row)) == 4 and PUBLISHED.base(first.row) == base.row


def test_network_is_of_the_space():
    for choice, value in zip(SPACE.network_choices, NETWORK, strict=True):
        assert value in choice.options
    assert SPACE.network(NETWORK).layers[0].shape.k == 32
