"""`reproduce` with small stand-ins for the stages: modules that print a last line and count how often they ran."""

import re
import subprocess
from pathlib import Path

import pytest

from dna_asic import cli, reproduce
from dna_asic.errors import SpecError
from dna_asic.runs import MARKER

README = """# project
    make search      # sets up
    search: run=runs/small-seed0 accuracy=0.98 edp_js=1.69e-10 seconds=192
    sim: images=16 mismatches=0
    compare: out=runs/small-seed0/compare rows=5
    synth: cells=126217 slack_ps=-3404
    das: points=10 optimum_gap_pct=0.00
"""
LINES = {"search": "run={run} accuracy=0.98 edp_js=1.69e-10 seconds=7", "rtl": None, "sim": "images=16 mismatches=0",
         "compare": "out={run}/compare rows=5", "synth": "cells=126217 slack_ps=-3404", "report": "page=x",
         "das": "points=10 optimum_gap_pct=0.00"}
STAND_IN = """import sys
from pathlib import Path
here = Path(__file__).parent
with (here / "{stage}.ran").open("a") as ran:
    print(*sys.argv[1:], file=ran)
print("a table")
line = {line!r}
if line:
    print("{stage}:", line.format(run=sys.argv[-1]))
sys.exit({status})
"""


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """Function that lays down the stages; the folder is on the path of child processes."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(reproduce, "COMMANDS", cli.COMMANDS | {s: (f"stand_in_{s}", "") for s in LINES})
    monkeypatch.setattr(reproduce, "source_commit", lambda: "0123456789abcdef")
    (tmp_path / "README.md").write_text(README)

    def lay(status=0, **lines):
        for stage, line in (LINES | lines).items():
            (tmp_path / f"stand_in_{stage}.py").write_text(
                STAND_IN.format(stage=stage, line=line, status=status if stage in lines else 0))
    lay()
    return lay


def run(folder: Path, *also: str) -> int:
    return reproduce.main(["--readme", str(folder / "README.md"), "--runs-dir", str(folder / "runs"), *also])


def ran(folder: Path) -> dict[str, list[str]]:
    return {p.stem: p.read_text().splitlines() for p in folder.glob("*.ran")}


def test_reproduce_equal_figures_and_nothing_twice(stand_ins, tmp_path, capsys):
    assert run(tmp_path) == 0
    run_folder = tmp_path / "runs/reproduce/0123456789ab/small-seed0"
    assert ran(tmp_path) == {s: [f"--run {run_folder}"] for s in reproduce.STAGES} | {
        "search": [f"--runs-dir {run_folder.parent} --name small-seed0"]}
    assert run(tmp_path, "--also", "das") == 0
    assert ran(tmp_path)["search"] == [f"--runs-dir {run_folder.parent} --name small-seed0"]
    assert ran(tmp_path)["das"] == [""]
    said = capsys.readouterr().out
    assert re.search(r"^search +edp_js +1.69e-10 +1.69e-10 +equal$", said, re.MULTILINE)
    assert re.search(r"^search +seconds +192 +7 +apart$", said, re.MULTILINE)
    assert said.splitlines()[-1] == "reproduce: stages=7 figures=12 equal=9 differ=0"


def test_reproduce_wrong_figures_are_shown(stand_ins, tmp_path, capsys):
    stand_ins(sim="images=16 mismatches=3", synth="cells=126217")
    assert run(tmp_path) == 1
    said = capsys.readouterr()
    assert re.search(r"^sim +mismatches +0 +3 +DIFFERS$", said.out, re.MULTILINE)
    assert said.out.splitlines()[-1] == "reproduce: stages=6 figures=10 equal=5 differ=2"
    assert "FAILED: sim mismatches is 3, in the README 0; synth slack_ps is -, in the README -3404." in said.err


def test_reproduce_goes_on_where_a_stage_failed(stand_ins, tmp_path, capsys):
    stand_ins(status=1, sim=None)
    assert run(tmp_path) == 2
    error = capsys.readouterr().err
    assert "Stage 'sim' ended with status 1 and no last line" in error and "Go on with: " in error
    stand_ins()
    assert run(tmp_path) == 0
    assert {s: len(calls) for s, calls in ran(tmp_path).items()} == dict.fromkeys(reproduce.STAGES, 1) | {"sim": 2}


def test_reproduce_takes_up_a_search_that_was_stopped(stand_ins, tmp_path):
    run_folder = tmp_path / "runs/reproduce/0123456789ab/small-seed0"
    run_folder.mkdir(parents=True)
    (run_folder / MARKER).touch()
    assert run(tmp_path) == 0
    assert ran(tmp_path)["search"] == [f"--resume {run_folder}"]


def test_reproduce_of_other_sources_is_another(stand_ins, tmp_path, monkeypatch):
    assert run(tmp_path) == 0
    monkeypatch.setattr(reproduce, "source_commit", lambda: "fedcba9876543210")
    assert run(tmp_path) == 0
    assert len(ran(tmp_path)["search"]) == 2


def test_reproduce_state_of_changed_sources(tmp_path, monkeypatch):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    (tmp_path / "file").write_text("a")
    for command in (["init", "-q"], ["add", "file"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setattr(reproduce, "SOURCES", tmp_path / "package")
    monkeypatch.setattr(reproduce, "source_commit", lambda: "0123456789abcdef+changes")
    states = set()
    for text in "bcb":
        (tmp_path / "file").write_text(text)
        states.add(reproduce.source_state())
    assert len(states) == 2 and all(re.fullmatch("0123456789ab-[0-9a-f]{8}", state) for state in states)
    monkeypatch.setattr(reproduce, "source_commit", lambda: None)
    with pytest.raises(SpecError, match="must be a git checkout"):
        reproduce.source_state()


def test_reproduce_wrong_readme(stand_ins, tmp_path, capsys):
    assert run(tmp_path, "--also", "contract") == 2
    assert "must show the last line of contract, as" in capsys.readouterr().err
    assert not ran(tmp_path)


def test_reproduce_reads_the_readme_of_the_project():
    shown = reproduce.expected(reproduce.README, (*reproduce.STAGES, *reproduce.LONG))
    assert shown["search"].keys() >= {"run", "int8_test_accuracy", "edp_js", "seconds"}
    assert shown["sim"]["mismatches"] == "0" and float(shown["synth"]["area_mm2"]) > 0
