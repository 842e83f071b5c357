"""Calibrated coefficients in technology files."""

import dataclasses
import shutil

import pytest

from dna_asic.errors import SpecError
from dna_asic.spec.record import from_plain, load_yaml
from dna_asic.technology import Technology, load_technology, targets
from dna_asic.technology.calibrated import write_calibrated
from dna_asic.technology.scaling import area_factor, energy_factor
from dna_asic.technology.table import CALIBRATED, FOLDER, UNITS

SOURCE = "calibrated: make silicon, seed 3, 30 points, predictive28 library [D]"


def test_write_calibrated_scales_to_other_nodes(tmp_path):
    for target in targets():
        shutil.copy(FOLDER / f"{target}.yaml", tmp_path)
    write_calibrated({"mac_pj": 0.123456789, "mac_area_um2": 200.0}, 28, SOURCE, tmp_path)
    for target in targets():
        path = tmp_path / f"{target}.yaml"
        got, before = from_plain(Technology, load_yaml(path), target), load_technology(target)
        assert got["mac_pj"] == pytest.approx(0.12346 * energy_factor(28, got.node_nm), rel=1e-4)
        assert got["mac_area_um2"] == pytest.approx(200 * area_factor(28, got.node_nm), rel=1e-4)
        assert got.values["mac_pj"].source == SOURCE
        assert (got.values["mac_pj"].scaled is None) == (got.node_nm == 28)
        assert {n: v for n, v in got.values.items() if n not in ("mac_pj", "mac_area_um2")} == {
            n: v for n, v in before.values.items() if n not in ("mac_pj", "mac_area_um2")}
        assert path.read_text().splitlines()[0].startswith("#")


def test_every_calibrated_coefficient_has_a_unit_and_a_source():
    assert CALIBRATED.keys() <= UNITS.keys()
    for target in targets():
        technology = load_technology(target)
        assert all(technology.values[name].source.startswith(("calibrated: make silicon", "fitted to synthesis of "))
                   for name in CALIBRATED)


def test_technology_wrong_calibration():
    good = load_technology("asic-28nm")
    value = dataclasses.replace(good.values["mac_pj"], source="calibrated by hand [D]")
    with pytest.raises(SpecError, match="mac_pj must name seed, points and library of its calibration"):
        dataclasses.replace(good, values=good.values | {"mac_pj": value})
