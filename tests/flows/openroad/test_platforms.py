"""Which library is found, and by what it is scaled."""

import gzip

import pytest

from dna_asic.errors import SpecError, ToolError
from flows.openroad import platforms
from flows.openroad.platforms import DEBIAN, PLATFORMS, find_library, plain_liberty, scaling


@pytest.fixture
def kit(tmp_path, monkeypatch):
    """A kit root with an (empty) Nangate library in it."""
    file = tmp_path / "nangate45" / "lib" / "NangateOpenCellLibrary_typical.lib.gz"
    file.parent.mkdir(parents=True)
    file.write_bytes(gzip.compress(b"library (x) {}"))
    monkeypatch.setenv(platforms.ROOT_VARIABLE, str(tmp_path))
    return tmp_path


def test_find_library_takes_what_is_there(kit):
    found = find_library(target_nm=130)
    assert found.platform.name == "nangate45"
    assert plain_liberty(found, kit).read_text() == "library (x) {}"


def test_find_library_wrong_name(kit):
    with pytest.raises(SpecError, match="'nangate' is unknown; use one of nangate45"):
        find_library("nangate")


def test_find_library_named_but_missing(kit):
    with pytest.raises(ToolError, match="sky130hd/lib/sky130_fd_sc_hd__tt_025C_1v80.lib.gz not found"):
        find_library("sky130hd")


def test_find_library_falls_back_and_says_so(monkeypatch, tmp_path):
    monkeypatch.delenv(platforms.ROOT_VARIABLE, raising=False)
    monkeypatch.setattr(platforms, "DEBIAN_FOLDER", tmp_path)
    with pytest.raises(ToolError, match="apt-get install qflow-tech-osu018"):
        find_library()
    (tmp_path / DEBIAN.liberty[0]).write_text("library (osu) {}")
    assert "wanted nangate45/lib" in find_library().note
    assert find_library("osu018").note == ""


def test_scaling_of_table():
    nangate, sky = PLATFORMS
    assert scaling(nangate, 45).area == 1.0
    assert scaling(nangate, 28).energy == 0.507
    assert scaling(sky, 45).area == pytest.approx(0.059 / 0.377)


def test_scaling_wrong_node_is_unscaled():
    factors = scaling(DEBIAN, 28)
    assert (factors.area, factors.energy, factors.scaled) == (1.0, 1.0, False)
    assert "unscaled" in factors.note
