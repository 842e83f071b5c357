"""What goes wrong in `synth`: one clear error, the figures of before stay, and the command goes on from there."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest
from test_synth import run  # noqa: F401

from dna_asic import synth
from dna_asic.errors import ToolError
from dna_asic.technology import load_technology
from flows.openroad.platforms import ROOT_VARIABLE, find_library
from flows.openroad.steps import require_module, require_program

pytestmark = pytest.mark.sta


@pytest.fixture
def done(run, capsys):  # noqa: F811
    """The run, synthesised; skipped by name where a tool is missing."""
    try:
        require_program("sta", "apt-get install opensta")
        require_module("pyosys.libyosys", "pip install pyosys")
    except ToolError as error:
        pytest.skip(str(error))
    assert synth.main(["--run", str(run.path), "--quiet"]) == 0
    capsys.readouterr()
    return run


@pytest.fixture
def kit(tmp_path, monkeypatch):
    """A kit named nangate45 with the predictive library's files, both of which a test may change."""
    made = find_library(load_technology("asic-45nm"), tmp_path / "made", "predictive")
    for kind, names in (("lib", ["NangateOpenCellLibrary_typical.lib"]),
                        ("lef", ["NangateOpenCellLibrary.tech.lef", "NangateOpenCellLibrary.macro.mod.lef"])):
        (tmp_path / "kit" / "nangate45" / kind).mkdir(parents=True)
        for name, source in zip(names, [made.liberty] if kind == "lib" else made.lef):
            text = source.read_text().replace("TIEHI", "LOGIC1").replace("TIELO", "LOGIC0")
            (tmp_path / "kit" / "nangate45" / kind / name).write_text(text)
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "kit"))
    return tmp_path / "kit" / "nangate45"


def refused(run, capsys, *options):  # noqa: F811
    """The one error of a command that must leave the record as it was."""
    record = run.path / "synth" / "synth.json"
    before = record.read_bytes()
    assert synth.main(["--run", str(run.path), "--quiet", *options]) == 2
    printed = capsys.readouterr()
    assert record.read_bytes() == before and not printed.out and "Traceback" not in printed.err
    assert len(re.findall("^error: ", printed.err, re.MULTILINE)) == 1
    return printed.err


def record_of(run):  # noqa: F811
    return json.loads((run.path / "synth" / "synth.json").read_text())


@pytest.mark.parametrize("old,new,lacking", [
    ("cell (BUF_X1)", "cell (BUFFER)", "BUF_X1"), ("cell (LOGIC0_X1)", "cell (ZERO)", "LOGIC0_X1"),
    (" ff (", " latch (", "any flip-flop")])
def test_synth_wrong_liberty_lacks_a_cell(done, kit, capsys, old, new, lacking):
    liberty = kit / "lib" / "NangateOpenCellLibrary_typical.lib"
    whole = liberty.read_text()
    liberty.write_text(whole.replace(old, new))
    error = refused(done, capsys, "--platform", "nangate45")
    assert f"Liberty '{liberty.name}' lacks {lacking}; take the whole library of nangate45." in error
    liberty.write_text(whole)
    assert synth.main(["--run", str(done.path), "--platform", "nangate45", "--quiet"]) == 0
    assert record_of(done)["library"] == "nangate45"


def test_synth_wrong_lef(done, kit, capsys):
    lef = kit / "lef" / "NangateOpenCellLibrary.macro.mod.lef"
    whole = lef.read_text()
    lef.write_text(whole[:whole.index("END DFF_X1")])
    error = refused(done, capsys, "--platform", "nangate45", "--pnr")
    assert f"LEF '{lef.name}': macro DFF_X1 does not end; the file is damaged, write or fetch it again." in error
    lef.write_text(whole)
    assert synth.main(["--run", str(done.path), "--platform", "nangate45", "--quiet"]) == 0
    assert record_of(done)["cached"]


def test_synth_wrong_impossible_clock(done, capsys):
    assert "Clock period of 0.001 ns is impossible" in refused(done, capsys, "--clk-period-ns", "0.001")
    assert synth.main(["--run", str(done.path), "--quiet"]) == 0
    assert record_of(done)["cached"]


def test_synth_on_a_full_disk_goes_on_when_there_is_room(done, capsys, full_disk):
    """Where Yosys itself finds no room is the step's test in tests/sim/test_early_ends.py."""
    with full_disk(4096):
        error = refused(done, capsys, "--clk-period-ns", "3.5")
    assert re.search("File too large|No space left", error) and "Go on with: python -m dna_asic.synth" in error
    assert synth.main(["--run", str(done.path), "--clk-period-ns", "3.5", "--quiet"]) == 0
    assert record_of(done)["clk_period_ns"] == 3.5


def test_synth_killed_goes_on_from_the_mapped_modules(run, capsys):  # noqa: F811
    kept = run.path.parent / synth.MAPPED
    process = subprocess.Popen([sys.executable, "-m", "dna_asic.synth", "--run", str(run.path)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(kept.glob("*.json")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(kept.glob("*.json")) and not (run.path / "synth" / "synth.json").exists()
    assert synth.main(["--run", str(run.path)]) == 0
    assert re.search(r"^  [12] of 2 modules were mapped before$", capsys.readouterr().err, re.MULTILINE)
