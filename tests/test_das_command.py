"""The command that shows DAS against an enumerated optimum, on a part of the reduced space."""

import json

import pytest
import torch

from dna_asic import das
from dna_asic.cosearch.enumeration import Enumeration, distinct_samples, enumerate_space
from dna_asic.gads import GadsSpace
from dna_asic.report.files import write_json_atomically
from dna_asic.technology import load_technology

PINS = ["reduction=tree", "rf_w_words=9", "rf_i_words=8", "n_w=4", "gb_i_bytes=8192", "port_bytes=8", "pe_rows=2|8",
        "pe_cols=4|8", "rf_o_words=4|16"]
TECHNOLOGY = load_technology("asic-28nm")
SPACE = GadsSpace.load("reduced").pinned(PINS).at_clock(TECHNOLOGY.clk_period_ns)


def arguments(folder, *more):
    return [*(f"--set={pin}" for pin in PINS), "--runs-dir", str(folder), "--quiet", "--jobs", "1", *more]


@pytest.fixture(scope="module")
def enumerated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blocks")
    return folder, enumerate_space(SPACE, das.small_network(), TECHNOLOGY, folder, 1, write_json_atomically)


def test_points_are_the_chips_of_the_space():
    samples = distinct_samples(SPACE)
    chips = [SPACE.build(s) for s in samples]
    assert len(chips) == len(set(chips)) < SPACE.space.size
    assert SPACE.feasible(torch.Generator().manual_seed(1))[1] in chips


def test_enumeration_goes_on_from_its_blocks(enumerated, monkeypatch):
    folder, whole = enumerated
    blocks = sorted(folder.glob("block-*.json"))
    assert blocks and len(whole.samples) == len(whole.edp_js) and whole.tilings > len(whole.samples)
    blocks[0].write_text("{")
    calls = []
    monkeypatch.setattr("dna_asic.cosearch.enumeration.price_block",
                        lambda *a: calls.append(a) or {"edp_js": whole.edp_js[:512].tolist(), "tilings": 1})
    again = enumerate_space(SPACE, das.small_network(), TECHNOLOGY, folder, 1, lambda *_: None)
    assert len(calls) == 1 and torch.equal(again.edp_js, whole.edp_js)


def test_uniform_samples_get_better_with_their_number():
    samples = tuple({"i": i} for i in range(50))
    whole = Enumeration(samples=samples, edp_js=torch.arange(1, 51, dtype=torch.float64), tilings=50)
    one, ten, all_of_them = das.best_of_uniform(whole, [1, 10, 50])
    assert 15 < one < 35 and 2 <= ten <= 7 and all_of_them == 1


def test_command_reports_the_worst_seed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(das, "MAX_EVALUATIONS_PCT", 60.0)
    monkeypatch.setattr(das, "ABLATIONS", {"plain Gumbel": das.ABLATIONS["plain Gumbel"]})
    assert das.main(arguments(tmp_path, "--seeds", "2", "--budget-pct", "60", "--ablations")) == 0
    out = capsys.readouterr().out
    (record,) = tmp_path.glob("das/*/das.json")
    runs = json.loads(record.read_text())["runs"]
    points = len(distinct_samples(SPACE))
    mine = [r for r in runs if r["search"] == "DAS"]
    share = 100 * max(r["evaluations"] for r in mine) / points
    assert out.splitlines()[-1] == (f"das: points={points} optimum_gap_pct={max(r['gap_pct'] for r in mine):.2f} "
                                    f"evaluations_pct={share:.2f}")
    assert {r["search"] for r in runs} == {"DAS", *das.ABLATIONS}
    assert all(r["evaluations"] <= 0.6 * points for r in runs)
    assert mine[0]["steps"][-1]["entropy"] < mine[0]["steps"][0]["entropy"]


def test_command_fails_above_its_limits(tmp_path, capsys):
    assert das.main(arguments(tmp_path, "--seeds", "1", "--budget-pct", "40")) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith("das: points=") and "as evaluations, not" in err


def test_search_is_seeded():
    found = [das.search_run("DAS", seed, 40, SPACE, das.small_network(), TECHNOLOGY, 1e-10, das.GumbelSettings())
             for seed in (3, 3, 4)]
    assert found[0].steps == found[1].steps != found[2].steps and found[0].chip == found[1].chip


def test_check_price_wrong_price():
    found = das.search_run("DAS", 0, 20, SPACE, das.small_network(), TECHNOLOGY, 1e-10, das.GumbelSettings())
    whole = Enumeration(samples=({},), edp_js=torch.tensor([found.edp_js * 1.001], dtype=torch.float64), tilings=1)
    with pytest.raises(das.VerificationError, match="in the enumeration"):
        das.check_price(found, whole, {found.chip: 0})


@pytest.mark.parametrize("more,message", [
    (["--space", "full"], "too many to price them all"), (["--seeds", "0"], "--seeds and --jobs must be at least 1"),
    (["--set", "gb_w_bytes=1"], "must be one of"), (["--budget-pct", "1"], "that a step of the search takes"),
    (["--space", "none"], "Space must be one of")])
def test_command_wrong_arguments(tmp_path, capsys, more, message):
    args = arguments(tmp_path, *more) if "--space" not in more else [*more, "--runs-dir", str(tmp_path)]
    assert das.main(args) == 2 and message in capsys.readouterr().err
