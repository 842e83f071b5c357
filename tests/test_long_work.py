"""Long work: two processes never mix, a killed one leaves no lock, and a full disk loses no file that was there."""

import functools
import hashlib
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from runs_by_hand import add_stages, make_run

from dna_asic import compare, page, search, simulate, synth
from dna_asic import map as mapping
from dna_asic.contract.__main__ import main as contract
from dna_asic.errors import SpecError
from dna_asic.mapping.tilings import Effort
from dna_asic.report.files import write_text_atomically
from dna_asic.runs import MARKER, at_work, only_one
from rtl_gen import emit

HOLD = "import sys; from pathlib import Path; from dna_asic.runs import only_one\n" \
       "with only_one(Path(sys.argv[1]), 'sim'):\n    print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def run(tmp_path):
    """A run with every stage."""
    made, design = make_run(tmp_path)
    add_stages(made, [layer.name for layer in design.network.layers])
    (made.stage("rtl") / "chip.v").write_text("// old\n")
    return made


def contents(folder: Path) -> dict:
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock"}


def test_lock_ends_with_its_process(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(SpecError, match=rf"another `sim` is at work on it \(process {holder.pid}\); wait for its end"):
        with only_one(tmp_path, "sim"):
            pass
    assert at_work(tmp_path) == ["sim"]
    with only_one(tmp_path, "synth"):
        assert at_work(tmp_path) == ["sim", "synth"]
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with only_one(tmp_path, "sim"):
        assert at_work(tmp_path) == ["sim"]
    assert at_work(tmp_path) == []


@pytest.mark.parametrize(("stage", "main"), [
    ("rtl", emit.main), ("sim", simulate.main), ("synth", synth.main), ("report", page.main)])
def test_second_process_is_refused(run, stage, main, capsys):
    before = contents(run.path)
    with only_one(run.path, stage):
        assert main(["--run", str(run.path)]) == 2
    assert re.search(rf"error: Folder '.*small': another `{stage}` is at work on it", capsys.readouterr().err)
    assert contents(run.path) == before


def test_second_comparison_is_refused(run, capsys, monkeypatch):
    monkeypatch.setattr(compare, "nasaic_accelerators", lambda *_, **__: {})
    with only_one(run.path, "compare"):
        assert compare.main(["--run", str(run.path), "--quiet"]) == 2
    assert "another `compare` is at work" in capsys.readouterr().err


def test_second_resumed_search_is_refused(run, capsys):
    (run.path / MARKER).touch()
    search.write_json_atomically(run.path / search.ARGUMENTS, {
        k: v for k, v in vars(search.parser().parse_args([])).items() if k not in search.NOT_KEPT})
    with only_one(run.path, "search"):
        assert search.main(["--resume", str(run.path), "--quiet"]) == 2
    assert "another `search` is at work" in capsys.readouterr().err


def test_second_contract_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("dna_asic.contract.sweep.sources_digest", lambda: "same")
    key = hashlib.sha256(repr([2, 1, "default"]).encode()).hexdigest()[:6]
    with only_one(tmp_path / "contract" / f"seed0-same-{key}", "contract"):
        assert contract(["--points", "2", "--designs", "1", "--runs-dir", str(tmp_path), "--space", "default"]) == 2
    assert "another `contract` is at work" in capsys.readouterr().err


@pytest.mark.parametrize(("main", "options", "file"), [
    (emit.main, [], "rtl/chip.v"), (page.main, [], "report.html"),
    (mapping.main, ["-o", "{run}/mapped.yaml"], "mapped.yaml")])
def test_full_disk_leaves_what_was_there(run, main, options, file, capsys, full_disk, monkeypatch):
    monkeypatch.setattr(emit, "chip_verilog", lambda _: "// new\n" * 1000)
    little = functools.partial(mapping.Mapper, effort=Effort(width=16, rounds=2, keep=4))
    monkeypatch.setattr(mapping, "Mapper", little)
    (run.path / file).write_text("// old\n")
    argv = ["--run", str(run.path), *(option.format(run=run.path) for option in options)]
    with full_disk(2000):
        assert main(argv) == 2
    error = capsys.readouterr().err
    said = "File too large; finished steps are kept, nothing was overwritten: free some space."
    assert re.search(rf"^error: '.*{file}': {said}$", error, re.MULTILINE)
    assert (run.path / file).read_text() == "// old\n" and "Traceback" not in error
    assert not [p for p in run.path.rglob(".*") if p.suffix != ".lock"]
    assert main(argv) == 0
    assert (run.path / file).read_text() != "// old\n"


def test_full_disk_names_the_file_that_was_asked_for(tmp_path, full_disk):
    with full_disk(10), pytest.raises(OSError) as raised:
        write_text_atomically(tmp_path / "record.json", "x" * 100)
    assert raised.value.filename == str(tmp_path / "record.json") and not list(tmp_path.iterdir())
