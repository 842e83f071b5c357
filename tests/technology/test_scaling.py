"""Published factors between nodes."""

import pytest

from dna_asic.errors import SpecError
from dna_asic.technology import scaling


@pytest.mark.parametrize("nm,area,energy", [(130, 0.059, 0.083), (65, 0.253, 0.321), (45, 0.377, 0.507),
                                            (16, 1.97, 3.56), (7, 6.4, 8.9)])
def test_factors_to_28nm_as_accelergy_has_them(nm, area, energy):
    assert scaling.area_factor(nm, 28) == pytest.approx(area, rel=6e-3)
    assert scaling.energy_factor(nm, 28) == pytest.approx(energy, rel=6e-3)


def test_delay_factor_hand_computed():
    def at(v, d3, d2, d1, d0):
        return ((d3 * v + d2) * v + d1) * v + d0
    at_32, at_20 = at(0.9, -1047, 2982, -2797, 873.5), at(0.9, 0, 34.63, -66.37, 41.15)
    at_28 = at_32 + (at_20 - at_32) / 3
    assert scaling.delay_factor(45, 28) == pytest.approx(at_28 / at(0.9, -501.6, 1567, -1619, 566.1))
    assert scaling.delay_factor(45, 28) == pytest.approx(0.692, abs=1e-3)


@pytest.mark.parametrize("factor", scaling.FACTORS.values(), ids=scaling.FACTORS)
def test_factors_of_one_node_and_back(factor):
    assert factor(28, 28) == 1.0
    assert factor(45, 28) * factor(28, 45) == pytest.approx(1.0)
    assert factor(40, 28) == pytest.approx(factor(40, 45) * factor(45, 28), rel=0.01)


def test_factors_wrong_node():
    with pytest.raises(SpecError, match="Node 5 nm has no published scaling factor; use one of 7 to 180 nm"):
        scaling.area_factor(45, 5)
