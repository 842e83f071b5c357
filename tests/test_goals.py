"""Targets and modes as options, and how their outcome is told."""

import pytest

from dna_asic import goals, search
from dna_asic.cosearch.targets import Targets
from dna_asic.errors import SpecError, TargetMissed
from dna_asic.goals import Mode
from dna_asic.networks import expand, load_macro

MISSED = {"target": "min_accuracy", "limit": 0.99, "value": 0.95, "kept": False}
KEPT = {"target": "max_area_mm2", "limit": 0.5, "value": 0.25, "kept": True}


def parsed(*argv):
    return search.parser().parse_args(argv)


def test_targets_of_options():
    assert goals.targets_of(parsed()) == Targets()
    assert goals.targets_of(parsed("--max-power-mw", "5", "--min-accuracy", "0")) == Targets(max_power_mw=5)
    assert goals.targets_of(parsed("--network", "a.onnx", "--max-area-mm2", "2", "--mode", "accelerator-only")) == \
        Targets(max_area_mm2=2)


@pytest.mark.parametrize("argv,message", [
    (["--min-accuracy", "0.9"], "--min-accuracy needs a network that is searched"),
    (["--mode", "sequential"], "--mode sequential searches a network"),
    (["--mode", "network-only"], "only the accelerator is searched")])
def test_targets_wrong_for_a_network_that_is_brought(argv, message):
    with pytest.raises(SpecError, match=message):
        goals.targets_of(parsed("--network", "a.onnx", *argv))


@pytest.mark.parametrize("argv,message", [
    (["--min-accuracy", "97"], "--min-accuracy must be in 0.0..1, not 97.0"),
    (["--max-latency-ms", "0"], "--max-latency-ms must be in 1e-09..inf, not 0.0"),
    (["--max-power-mw", "nan"], "--max-power-mw must be in 1e-09..inf, not nan")])
def test_targets_wrong_numbers(argv, message):
    with pytest.raises(SpecError, match=message):
        search.check_ranges(parsed(*argv))


def test_middle_choices_are_of_median_macs():
    macro = load_macro("digits")
    choices = goals.middle_choices(macro)
    first = {label: expand(macro, [label, *choices[1:]]).macs for label in macro.options(macro.places[0])
             if label != "skip"}
    middle = first[choices[0]]
    assert "skip" not in choices and abs(sum((x > middle) - (x < middle) for x in first.values())) <= 1


def test_modes_say_what_they_search():
    assert {(m, m.searches_network, m.searches_accelerator) for m in Mode} == {
        ("joint", True, True), ("sequential", True, True), ("network-only", True, False),
        ("accelerator-only", False, True)}


def test_outcome_is_told(capsys):
    goals.tell_targets({"targets": []})
    goals.require_targets({"run": "runs/a", "targets": [KEPT]})
    assert capsys.readouterr().out == ""
    goals.tell_targets({"targets": [KEPT, MISSED]})
    printed = capsys.readouterr().out
    assert "max_area_mm2    0.5   0.25  yes" in printed and "min_accuracy   0.99   0.95  MISSED" in printed
    summary = {"run": "runs/a", "targets": [KEPT, MISSED]}
    with pytest.raises(TargetMissed, match=r"'runs/a' is whole, but misses min_accuracy 0.99 \(found 0.95\)") as raised:
        goals.require_targets(summary)
    assert raised.value.record == summary and raised.value.exit_status == 1
