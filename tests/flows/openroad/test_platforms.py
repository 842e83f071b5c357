"""Which library is found, and by what it is scaled."""

import gzip

import pytest

from dna_asic.errors import SpecError, ToolError
from dna_asic.technology import load_technology
from flows.openroad import platforms
from flows.openroad.platforms import DEBIAN, PLATFORMS, find_library, predictive_platform, scaling_of

AT_28, AT_45 = load_technology("asic-28nm"), load_technology("asic-45nm")


@pytest.fixture
def kit(tmp_path, monkeypatch):
    """A kit root with an (empty) Nangate library in it."""
    file = tmp_path / "nangate45" / "lib" / "NangateOpenCellLibrary_typical.lib.gz"
    file.parent.mkdir(parents=True)
    file.write_bytes(gzip.compress(b"library (x) {}"))
    monkeypatch.setenv(platforms.ROOT_VARIABLE, str(tmp_path))
    return tmp_path


def test_find_library_takes_the_kit_of_the_node(kit):
    found = find_library(AT_45, kit / "out")
    assert found.platform.name == "nangate45" and not found.note
    assert found.liberty.read_text() == "library (x) {}"


def test_find_library_is_predictive_where_nothing_is_named(kit):
    found = find_library(AT_28, kit / "out")
    assert found.platform.name == "predictive28" and "a model's, no foundry's" in found.note
    assert found.liberty.is_file() and all(path.is_file() for path in found.lef)
    assert find_library(AT_45, kit / "out", "predictive").platform.name == "predictive45"


def test_find_library_needs_no_kit(monkeypatch, tmp_path):
    monkeypatch.delenv(platforms.ROOT_VARIABLE, raising=False)
    assert find_library(AT_45, tmp_path).platform.name == "predictive45"


def test_find_library_wrong_name(kit):
    with pytest.raises(SpecError, match="'nangate' is unknown; use one of predictive, nangate45"):
        find_library(AT_28, kit, "nangate")


def test_find_library_named_but_missing(kit):
    with pytest.raises(ToolError, match="sky130hd/lib/sky130_fd_sc_hd__tt_025C_1v80.lib.gz not found"):
        find_library(AT_28, kit, "sky130hd")


def test_find_library_debian_only_when_named(monkeypatch, tmp_path):
    monkeypatch.setattr(platforms, "DEBIAN_FOLDER", tmp_path)
    with pytest.raises(ToolError, match="apt-get install qflow-tech-osu018"):
        find_library(AT_28, tmp_path / "out", "osu018")
    (tmp_path / DEBIAN.liberty[0]).write_text("library (osu) {}")
    assert find_library(AT_28, tmp_path / "out", "osu018").platform is DEBIAN


def test_scaling_of_table():
    nangate, sky = PLATFORMS
    assert scaling_of(nangate, 45).area == 1.0
    assert scaling_of(nangate, 28).energy == pytest.approx(0.507, abs=1e-3)
    assert scaling_of(sky, 45).area == 0.16
    assert scaling_of(DEBIAN, 28).scaled
    assert scaling_of(predictive_platform(AT_28), 28).note == "28 nm as predicted"


def test_scaling_wrong_node_is_unscaled():
    factors = scaling_of(PLATFORMS[0], 5)
    assert (factors.area, factors.energy, factors.scaled) == (1.0, 1.0, False)
    assert "unscaled" in factors.note
