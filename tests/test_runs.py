"""Run folders: never overwritten, never half read."""

import pytest

from dna_asic.errors import SpecError
from dna_asic.runs import RunFolder


def test_create_never_overwrites(tmp_path):
    names = [RunFolder.create("digits", tmp_path).path.name for _ in range(3)]
    assert names == ["digits", "digits-2", "digits-3"]


@pytest.mark.parametrize("name", ["", "latest", "..", "a/b"])
def test_create_wrong_name(tmp_path, name):
    with pytest.raises(SpecError, match="plain folder name"):
        RunFolder.create(name, tmp_path)


def test_latest_names_the_last_finished(tmp_path):
    first, second = (RunFolder.create("run", tmp_path) for _ in range(2))
    first.finish()
    assert RunFolder.open(tmp_path / "latest").path == first.path
    second.finish()
    assert RunFolder.open(tmp_path / "latest").path == second.path


def test_open_pointer_as_text(tmp_path):
    RunFolder.create("run", tmp_path).finish()
    (tmp_path / "latest").unlink()
    (tmp_path / "latest").write_text("run\n")
    assert RunFolder.open(tmp_path / "latest").path.name == "run"


def test_open_wrong_missing(tmp_path):
    with pytest.raises(SpecError, match="make search"):
        RunFolder.open(tmp_path / "latest")


def test_open_wrong_half_written(tmp_path):
    run = RunFolder.create("run", tmp_path)
    with pytest.raises(SpecError, match="half written.*--resume"):
        RunFolder.open(run.path)
    assert RunFolder.open(run.path, allow_partial=True).path == run.path


def test_require_wrong_file(tmp_path):
    run = RunFolder.create("run", tmp_path)
    with pytest.raises(SpecError, match="has no rtl/chip.v; make it with `make rtl`"):
        run.require("rtl/chip.v", "make rtl")
    (run.stage("rtl") / "chip.v").write_text("")
    assert run.require("rtl/chip.v", "make rtl").is_file()
