"""The memory formulas are the fits of the cited points, and pass near them."""

import pytest

from dna_asic.technology import load_technology, sram, targets
from dna_asic.technology.scaling import energy_factor


@pytest.mark.parametrize("target", targets())
def test_technology_files_hold_the_fits(target):
    values = load_technology(target).values
    base, slope = sram.fit_energy()
    access_base, access_slope = sram.fit_access()
    fits = {"sram_base_pj_per_bit": (base, sram.FIT_NM), "sram_slope_pj_per_bit_sqrt_kb": (slope, sram.FIT_NM),
            "sram_overhead_um2": (sram.fit_overhead(), sram.FIT_NM),
            "sram_area_um2_per_bit": (sram.fit_density(), sram.DENSITY_NM),
            "sram_access_base_ns": (access_base, sram.FIT_NM), "sram_access_slope_ns": (access_slope, sram.FIT_NM)}
    for name, (fit, node_nm) in fits.items():
        held = values[name].scaled
        assert (held.value, held.node_nm) if held else (values[name].value, load_technology(target).node_nm) == (
            pytest.approx(fit, rel=5e-4), node_nm), name


def test_energy_meets_the_fitted_points():
    technology = load_technology("asic-45nm")
    for point in sram.memory_points().energy:
        published = point.value * energy_factor(point.node_nm, 45)
        share = technology.sram_read_pj(point.words, point.bits) / published
        assert 0.85 < share < 1.15 if point.fitted else 0.5 < share < 7.0, point


def test_area_of_a_bit_is_between_bitcell_and_twice_the_macro():
    assert 0.12 < sram.fit_density() < 0.5


def test_points_that_are_not_fitted_say_why():
    points = sram.memory_points()
    for point in (*points.energy, *points.area_macros, *points.access):
        assert point.fitted or point.note, point
