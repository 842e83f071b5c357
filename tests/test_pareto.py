"""The command that makes a front of searches: its points, what it keeps, where it runs them."""

import contextlib
import functools
import inspect
import json
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from dna_asic import pareto, search
from dna_asic.bars import StageBars
from dna_asic.cosearch.joint import JointSearch
from dna_asic.errors import InfeasibleDesign, TargetMissed, ToolError
from dna_asic.report.files import write_json_atomically
from dna_asic.runs import MARKER, RunFolder

FIGURES = {"joint-0.01": (0.97, 5e-11), "joint-0.1": (0.96, 3e-11), "joint-1": (0.90, 3e-11),
           "sequential": (0.98, 9e-11), "network-only": (0.97, 7e-11)}


@pytest.fixture
def searched(monkeypatch):
    """Searches that end at once with FIGURES; the list has what each was asked for."""
    asked = []

    def fake(args):
        asked.append((args.name, args.mode, args.hw_weight, bool(args.resume)))
        run = RunFolder.open(args.resume, allow_partial=True) if args.resume else RunFolder.create(
            args.name, args.runs_dir)
        write_json_atomically(run.path / search.ARGUMENTS, {
            k: v for k, v in vars(args).items() if k not in search.NOT_KEPT})
        if args.name == fake.stopped:
            raise KeyboardInterrupt
        if args.name == fake.infeasible:
            raise InfeasibleDesign("no chip keeps max_power_mw 1")
        accuracy, edp = FIGURES[args.name]
        missed = [{"target": "min_accuracy", "limit": 0.95, "value": accuracy, "kept": accuracy >= 0.95}]
        write_json_atomically(run.path / "summary.json", {
            "int8_test_accuracy": accuracy, "edp_js": edp, "energy_j": 1e-6, "latency_cycles": 9, "area_mm2": 0.5,
            "targets": missed})
        run.finish()
        print(f"a table of {args.name}")
        if accuracy < 0.95:
            raise TargetMissed("misses min_accuracy", {})

    fake.stopped = fake.infeasible = None
    monkeypatch.setattr(search, "search", fake)
    return SimpleNamespace(asked=asked, fake=fake)


def command(folder, *more):
    return pareto.main(["--points", "3", "--name", "p", "--runs-dir", str(folder), "--quiet", *more])


def test_points_table_picture_and_last_line(searched, tmp_path, capsys):
    assert command(tmp_path, "--mode", "joint", "--mode", "sequential", "--mode", "network-only") == 0
    assert searched.asked == [
        ("joint-0.01", "joint", 0.01, False), ("joint-0.1", "joint", 0.1, False),
        ("joint-1", "joint", 1.0, False), ("sequential", "sequential", 0.1, False),
        ("network-only", "network-only", 0.1, False)]
    folder, printed = tmp_path / "p", capsys.readouterr().out
    record = json.loads((folder / "pareto.json").read_text())
    assert [p["hw_weight"] for p in record["points"]] == [0.01, 0.1, 1.0, None, None]
    assert record["front"] == [str(folder / name) for name in ("joint-0.1", "joint-0.01", "sequential")]
    assert printed.splitlines()[-1] == (f"pareto: points=5 front=3 best_accuracy=0.9800 least_edp_js=3e-11 "
                                        f"out={folder}")
    assert re.search(r"^joint +1 .* missed: min_accuracy +\S+joint-1$", printed, re.MULTILINE)
    assert "a table of" not in printed and "a table of sequential" in (folder / "sequential.log").read_text()
    assert (folder / "pareto.png").stat().st_size > 5_000 and (folder / "pareto.md").read_text().count("\n") == 7
    assert json.loads((folder / "origin.json").read_text())["command"].startswith("python -m dna_asic.pareto")


def test_finished_points_are_kept_and_half_finished_ones_resumed(searched, tmp_path, capsys):
    searched.fake.stopped = "joint-0.1"
    assert command(tmp_path) == 130
    assert "--points 3 --name p" in capsys.readouterr().err and (tmp_path / "p/joint-0.1" / MARKER).exists()
    searched.fake.stopped = None
    searched.asked.clear()
    (tmp_path / "p/joint-1").mkdir()
    (tmp_path / "p/joint-1" / MARKER).touch()  # stopped before it wrote its arguments
    assert command(tmp_path) == 0
    assert [(name, resumed) for name, *_, resumed in searched.asked] == [("joint-0.1", True), ("joint-1", False)]
    first = capsys.readouterr().out
    assert command(tmp_path) == 0 and len(searched.asked) == 2 and capsys.readouterr().out == first


def test_points_without_a_design_are_told(searched, tmp_path, capsys):
    searched.fake.infeasible = "joint-0.1"
    assert command(tmp_path) == 0
    printed = capsys.readouterr().out
    assert "not shown: " in printed and "no chip keeps max_power_mw 1" in printed and "pareto: points=2" in printed
    assert command(tmp_path, "--hw-weights", "0.1") == 2
    assert "No point has a design" in capsys.readouterr().err


def test_points_warm_up_together(tmp_path, monkeypatch):
    """And end as a search alone does."""
    epochs, run_epoch = [], JointSearch.run_epoch
    monkeypatch.setattr(JointSearch, "run_epoch", lambda self, tick: epochs.append(self.epoch) or run_epoch(self, tick))
    short = ["--set", "chunks=1", "--warmup-epochs", "2", "--epochs", "1", "--train-epochs", "1", "--das-steps", "1",
             "--quiet", "--runs-dir", str(tmp_path)]
    modes = ["--mode", "joint", "--mode", "sequential", "--hw-weights", "0.01,1"]
    assert pareto.main([*short, *modes, "--name", "p"]) == 0
    assert epochs == [0, 1, 2, 2, 2]
    assert search.main([*short, "--hw-weight", "1", "--name", "alone"]) == 0
    alone, shared = (json.loads((tmp_path / run / "history.json").read_text()) for run in ("alone", "p/joint-1"))
    assert shared == alone and (tmp_path / "p/joint-1/design.yaml").read_text() == (
        tmp_path / "alone/design.yaml").read_text()
    epochs.clear()
    assert pareto.main([*short, "--name", "p", "--hw-weights", "0.1", "--supernet-rate", "0.1"]) == 0
    assert epochs == [0, 1, 2]
    epochs.clear()
    assert pareto.main([*short, "--name", "p", "--hw-weights", "0.2", "--train-epochs", "2", "--das-steps", "2",
                        "--set", "port_bytes=8|16", "--max-area-mm2", "5", "--cutout", "2"]) == 0
    assert epochs == [2]


def sharing(tmp_path):
    """Arguments of a short search, two epochs of whose warm-up are shared in `tmp_path`."""
    args = search.parser().parse_args(["--set", "chunks=1", "--warmup-epochs", "2", "--epochs", "1", "--train-images",
                                       "300"])
    args.warm_up = tmp_path / "warm-up.pt"
    return args


def test_points_at_once_warm_up_once(tmp_path, monkeypatch):
    """One does; the others wait for it, and then work at once."""
    epochs, run_epoch, begun, together = [], JointSearch.run_epoch, *(threading.Barrier(3, timeout=60) for _ in "12")

    def watched(self, tick):
        epochs.append(self.epoch)
        if self.epoch == 2:
            together.wait()
        return run_epoch(self, tick)

    monkeypatch.setattr(JointSearch, "run_epoch", watched)
    args = sharing(tmp_path)

    def last_epoch(name):
        inputs, run = search.load(args), RunFolder.create(name, tmp_path)
        begun.wait()
        return search.joint_search(args, inputs, run, StageBars(quiet=True))[0].epoch

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(last_epoch, ("one", "other", "third"))) == [3, 3, 3]
    assert sorted(epochs) == [0, 1, 2, 2, 2]


def test_waiting_for_a_warm_up_is_not_counted(tmp_path, monkeypatch):
    """The seconds of a search are those of the warm-up, whoever made it, and its own."""
    now, run_epoch, in_turn = [0.0], JointSearch.run_epoch, search.in_turn

    def epoch_of_a_minute(self, tick):
        now[0] += 60
        return run_epoch(self, tick)

    @contextlib.contextmanager
    def turn_after_an_hour(path):
        now[0] += 3600
        with in_turn(path):
            yield

    monkeypatch.setattr(search, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(search, "in_turn", turn_after_an_hour)
    monkeypatch.setattr(JointSearch, "run_epoch", epoch_of_a_minute)
    args = sharing(tmp_path)
    for name in ("one", "other"):
        began, inputs, run = now[0], search.load(args), RunFolder.create(name, tmp_path)
        _, earlier_s = search.joint_search(args, inputs, run, StageBars(quiet=True))
        assert earlier_s + now[0] - began == 3 * 60


def test_wrong_options_of_a_kept_point(searched, tmp_path, capsys):
    assert command(tmp_path) == 0
    assert command(tmp_path, "--epochs", "3") == 2
    assert re.search(r"joint-0.01' was made with epochs 16, not 3: give another --name", capsys.readouterr().err)


@pytest.mark.parametrize("wrong,message", [
    (["--points", "0"], "--points and --processes must be at least 1, not 0 and 1"),
    (["--max-area-mm2", "-1"], "--max-area-mm2 must be in"), (["--target", "asic-3nm"], "Target must be one of")])
def test_wrong_arguments(tmp_path, capsys, wrong, message):
    assert command(tmp_path, *wrong) == 2
    assert message in capsys.readouterr().err


def test_wrong_weights(capsys):
    with pytest.raises(SystemExit, match="2"):
        pareto.main(["--hw-weights", "little"])
    assert "must be numbers with commas between, not 'little'" in capsys.readouterr().err


def test_weights_are_spaced_by_equal_ratios():
    assert pareto.spaced(1) == [0.1] and pareto.spaced(2) == [0.01, 1.0]
    assert pareto.spaced(5) == [0.01, 0.0316, 0.1, 0.316, 1.0]


def test_front_has_no_equals():
    points = [pareto.Point(mode="joint", hw_weight=n, run=str(n), accuracy=a, edp_js=e)
              for n, (a, e) in enumerate([(0.9, 2.0), (0.9, 1.0), (0.9, 1.0), (0.8, 0.5), (0.7, 0.6)])]
    failed = pareto.Point(mode="joint", hw_weight=9, run="9", failure="none")
    assert [p.run for p in pareto.front([*points, failed])] == ["3", "1"]


def test_executors_are_alike(monkeypatch):
    calls = []

    def remote(function):
        assert inspect.isfunction(function)  # as Ray asks
        return SimpleNamespace(remote=lambda item: lambda: function(item))

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(
        init=lambda address: calls.append(address), shutdown=lambda: calls.append("end"), remote=remote,
        get=lambda reference: reference()))
    for processes, address in ((1, None), (2, None), (1, "auto")):
        with pareto.executor(processes, address) as mapped:
            assert list(mapped(functools.partial(max, 0), [-3, 2])) == [0, 2]
    assert calls == ["auto", "end"]
    with pytest.raises(KeyboardInterrupt), pareto.executor(2, None) as mapped:
        next(iter(mapped(abs, [1])))
        raise KeyboardInterrupt


def test_wrong_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ToolError, match="needs the Python package 'ray'"), pareto.executor(1, "auto"):
        pass

    def refuse(address):
        raise ConnectionError("nobody there")
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=refuse))
    with pytest.raises(ToolError, match="no cluster at 'auto' .nobody there.; start one"), pareto.executor(1, "auto"):
        pass


def a_run_beside(folder, **facts):
    run = RunFolder.create("nasaic", folder)
    write_json_atomically(run.path / search.ARGUMENTS, {"dataset": "digits", "image_size": None})
    write_json_atomically(run.path / "summary.json", {
        "int8_test_accuracy": 0.975, "edp_js": 4e-11, "energy_j": 2e-6, "latency_cycles": 20, "area_mm2": 0.4,
        "dataset": "digits", "target": "asic-28nm"} | facts)
    run.finish()
    return str(run.path)


def test_runs_of_other_methods_stand_beside(searched, tmp_path, capsys):
    run = a_run_beside(tmp_path / "flows")
    assert command(tmp_path, "--beside", run) == 0
    record = json.loads((tmp_path / "p/pareto.json").read_text())
    last = record["points"][-1]
    assert (last["mode"], last["run"], last["accuracy"], last["edp_js"]) == ("nasaic", run, 0.975, 4e-11)
    assert record["front"] == [str(tmp_path / "p/joint-0.1"), run]
    row = next(line for line in (tmp_path / "p/pareto.md").read_text().splitlines() if "nasaic" in line)
    assert "kept" not in row and "missed" not in row
    assert "front=2" in capsys.readouterr().out


def test_a_run_beside_is_of_the_same_images_and_target(searched, tmp_path, capsys):
    run = a_run_beside(tmp_path / "flows", target="asic-7nm")
    assert command(tmp_path, "--beside", run) == 2
    assert "has target asic-7nm, not asic-28nm" in capsys.readouterr().err and not searched.asked
