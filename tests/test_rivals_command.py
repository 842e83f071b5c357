"""The command that sets DAS beside its rivals, on a small network and the reduced space."""

import json

import pytest

from dna_asic import rivals
from dna_asic.baselines import rivals as baselines
from dna_asic.baselines.counted import CurvePoint
from dna_asic.cosearch.gumbel import ABLATIONS, GumbelSettings
from dna_asic.das import small_network


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(rivals, "known_network", lambda name: small_network())


def arguments(folder, *more):
    return ["--network", "resnet18", "--method", "random", "--method", "das", "--seeds", "2", "--evaluations", "24",
            "--space", "reduced", "--port-bytes", "8", "--max-area-mm2", "2", "--out", str(folder), "--quiet", *more]


def cell(method, *points):
    curve = tuple(CurvePoint(evaluations=n, seconds=n / 2, edp_js=e) for n, e in points)
    return rivals.Cell(network="n", method=method, seed=0, chip=None, edp_js=None, curve=curve)


def test_command_keeps_finished_cells_and_reports_them(tmp_path, capsys, monkeypatch):
    assert rivals.main(arguments(tmp_path)) == 0
    first = capsys.readouterr().out
    (record,) = tmp_path.glob("*/rivals.json")
    cells = json.loads(record.read_text())["cells"]
    assert [(c["method"], c["seed"]) for c in cells] == [("random", 0), ("das", 0), ("random", 1), ("das", 1)]
    assert all(c["curve"][-1]["evaluations"] <= 24 and c["edp_js"] <= c["curve"][-1]["edp_js"] * 1.001 for c in cells)
    last = first.splitlines()[-1]
    assert last.startswith(f"rivals: out={record.parent} networks=1 methods=2 cells=4 das_evaluations_to_rivals_end=")
    assert " das_behind_evaluations=" in last and " das_behind_seconds=" in last
    assert (record.parent / "resnet18.png").stat().st_size > 10_000
    monkeypatch.setattr(rivals, "SEARCHES", dict.fromkeys(rivals.SEARCHES))  # nothing is searched again
    assert rivals.main(arguments(tmp_path)) == 0 and capsys.readouterr().out == first


def test_ablations_are_searches_with_a_part_less(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(baselines, "search_within",
                        lambda search, network, budget: asked.append(search.gumbel.settings) or search.step(network))
    assert rivals.main(arguments(tmp_path, "--seeds", "1", "--ablations")) == 0
    (record,) = tmp_path.glob("*/rivals.json")
    methods = [c["method"] for c in json.loads(record.read_text())["cells"]]
    assert methods == ["random", "das", *ABLATIONS]
    assert asked == [GumbelSettings(**flags) for flags in ({}, *ABLATIONS.values())]


def test_best_at_and_first_below():
    one, two = cell("das", (4, 8.0), (10, 2.0), (24, 1.0)), cell("das", (6, 3.0), (24, 2.5))
    assert [rivals.best_at(one, "evaluations", n) for n in (3, 4, 9, 10, 99)] == [float("inf"), 8, 8, 2, 1]
    assert rivals.first_below([one, two], "evaluations", 3.0) == 8 and rivals.first_below([one], "seconds", 2.0) == 5
    assert rivals.first_below([one, two, two], "evaluations", 2.0) is None


def test_behind_lasts_until_no_rival_is_below():
    das, late = cell("das", (4, 8.0), (10, 2.0), (24, 1.0)), cell("das", (4, 8.0), (24, 2.0))
    of = {"random": [cell("random", (3, 9.0), (6, 5.0), (24, 1.0))], "bayesian": [cell("bayesian", (24, 3.0))],
          "informed_evolution": [cell("informed_evolution", (12, 0.1))]}
    assert rivals.behind({"das": [das, late, das], **of}, "evaluations") == 10
    assert rivals.behind({"das": [das], **of}, "seconds") == 5
    assert rivals.behind({"das": [late], **of}, "evaluations") == float("inf")
    assert rivals.behind({"das": [das], "bayesian": of["bayesian"]}, "evaluations") == 0


def test_curve_is_kept_where_it_changes():
    points = [CurvePoint(evaluations=n, seconds=n, edp_js=e)
              for n, e in ((1, float("inf")), (2, 5.0), (3, 5.0), (4, 4.0), (5, 4.0))]
    assert [p.evaluations for p in rivals._steps(points)] == [2, 4, 5]
    assert [p.evaluations for p in rivals._steps(points[:4])] == [2, 4]


@pytest.mark.parametrize("more,message", [
    (["--seeds", "0"], "--seeds must be at least 1"), (["--evaluations", "9"], "--evaluations at least 10"),
    (["--port-bytes", "12"], "port_bytes must be"),
    (["--run", "nowhere"], "does not exist")])
def test_command_wrong_arguments(tmp_path, capsys, more, message):
    assert rivals.main(arguments(tmp_path, *more)) == 2 and message in capsys.readouterr().err
