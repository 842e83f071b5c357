"""The command of NASAIC's flows: small budgets on digits, specs given or by a run made by hand."""

import functools
import json

import pytest
from runs_by_hand import make_run

from dna_asic import learning, nasaic
from dna_asic.baselines.nasaic_points import recost
from dna_asic.baselines.nasaic_proxy import ProxyAccuracy
from dna_asic.cosearch.designs import map_design
from dna_asic.mapping.tilings import Effort
from dna_asic.runs import RunFolder
from dna_asic.spec.design import design_from_yaml

EFFORT = Effort(width=16, rounds=1, keep=4)
SPECS = ("--max-latency-cycles", "30000", "--max-energy-j", "1e-5", "--max-area-mm2", "2")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A light mapper, and accuracies by formula."""
    monkeypatch.setattr(nasaic, "QUICK", EFFORT)
    monkeypatch.setattr(nasaic, "map_design", functools.partial(map_design, effort=EFFORT))
    monkeypatch.setattr(nasaic, "recost", functools.partial(recost, network=(8, 32, 0, 32, 0, 32, 0), effort=EFFORT))
    monkeypatch.setattr(ProxyAccuracy, "__call__", lambda self, network: sum(network) / 1000)


def arguments(folder, *more):
    return ["--episodes", "3", "--hardware-steps", "2", "--final-epochs", "1", "--out", str(folder), "--quiet", *more]


def test_flows_end_with_runs_that_are_kept(tmp_path, capsys, monkeypatch):
    assert nasaic.main(arguments(tmp_path, *SPECS)) == 0
    first = capsys.readouterr().out.splitlines()
    (path,) = tmp_path.glob("digits-*/nasaic.json")
    record = json.loads(path.read_text())
    assert [row["name"] for row in record["rows"]] == ["nasaic", "nas-asic", "asic-nas"]
    for line, row in zip(first[-3:], record["rows"], strict=True):
        assert line.startswith(f"nasaic: flow={row['name']} accuracy={row['accuracy']:.4f} latency_cycles=")
        assert "episodes=3 meets_specs=" in line
        run = RunFolder.open(path.parent / row["name"])
        design = design_from_yaml(run.path / "design.yaml")
        assert len(design.accelerator.chunks) == 2 and design.accelerator.pes <= 4096
        summary = json.loads((run.path / "summary.json").read_text())
        assert [summary[name] for name in ("latency_cycles", "energy_j", "area_mm2", "edp_js")] == [
            row[name] for name in ("latency_cycles", "energy_j", "area_mm2", "edp_js")]
        assert {p.name for p in run.path.iterdir()} == {
            "arguments.json", "design.yaml", "flow.json", "origin.json", "quant", "report.json", "summary.json"}
    monkeypatch.setattr(nasaic, "FLOWS", dict.fromkeys(nasaic.FLOWS))  # nothing is searched again
    assert nasaic.main(arguments(tmp_path, *SPECS)) == 0 and capsys.readouterr().out.splitlines()[-3:] == first[-3:]


def test_networks_are_judged_by_fewer_images_and_the_last_trained_with_all(tmp_path, monkeypatch):
    """And it alone with cutout, CutMix and a teacher."""
    judged, trained, train = set(), [], nasaic.train_network

    def how(splits, settings):
        return len(splits.train.labels), settings.cutout, settings.cutmix

    monkeypatch.setattr(ProxyAccuracy, "__call__",
                        lambda self, network: judged.add(how(self.splits, self.settings)) or 0.5)
    monkeypatch.setattr(nasaic, "train_network", lambda module, splits, *rest, teacher, **more: trained.append(
        (*how(splits, more["settings"]), teacher)) or train(module, splits, *rest, **more))
    monkeypatch.setattr(learning, "load_teacher", lambda args, splits: args.teacher)
    teacher = str(make_run(tmp_path)[0].path)
    assert nasaic.main(arguments(tmp_path, *SPECS, "--flow", "nas-asic", "--proxy-images", "50", "--cutout", "2",
                                 "--cutmix", "0.5", "--teacher", teacher)) == 0
    assert judged == {(50, 0, 0.0)} and trained == [(1438, 2, 0.5, teacher)]


def test_specs_follow_the_run(tmp_path, capsys):
    run, _ = make_run(tmp_path)
    own = json.loads((run.path / "summary.json").read_text())
    assert nasaic.main(arguments(tmp_path, "--run", str(run.path), "--flow", "nasaic", "--max-area-mm2", "1")) == 0
    (path,) = tmp_path.glob("digits-*/nasaic.json")
    record = json.loads(path.read_text())
    assert record["limits"] == {"latency_cycles": 2 * own["latency_cycles"], "area_mm2": 1.0,
                                "energy_j": pytest.approx(2 * own["energy_j"])}
    first = record["rows"][0]
    assert (first["name"], first["accuracy"], first["meets"]) == ("the run's design", 0.97, True)
    assert len(capsys.readouterr().out.splitlines()[-1].split()) == 10


def test_recost_shows_published_figures_as_ratios_alone(tmp_path, capsys):
    assert nasaic.main(arguments(tmp_path, "--recost")) == 0
    out = capsys.readouterr().out
    assert "1.216 [M]" in out and "2.49 [M]" in out  # 9.45e5 / 7.77e5 cycles, 3.56e9 / 1.43e9 of their energy
    assert not any(text in out for text in ("945,000", "3.56e+09", "4.71e+09"))
    (path,) = tmp_path.glob("recost-*/recost.json")
    points = json.loads(path.read_text())["points"]
    assert [p["pes"] for p in points] == [4096, 3456, 2368, 4096, 3648, 3296]
    assert out.splitlines()[-1].startswith(f"nasaic: recost=6 out={path.parent} target=asic-28nm nas_asic_cycles_rat")


@pytest.mark.parametrize("more,message", [
    (["--episodes", "0"], "--episodes must be in 1..inf, not 0"), (["--times", "0"], "--times must be in 1e-30..inf"),
    (["--run", "nowhere"], "does not exist"), ([*SPECS[:4], "--max-area-mm2", "0.01"], "enlarge the limit"),
    ([*SPECS, "--dataset", "letters"], "Dataset 'letters' is not known")])
def test_command_wrong_arguments(tmp_path, capsys, more, message):
    assert nasaic.main(arguments(tmp_path, "--flow", "asic-nas", *more)) == 2 and message in capsys.readouterr().err
