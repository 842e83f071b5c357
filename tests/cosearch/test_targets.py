"""Targets: what counts as kept, what breaking costs, and where lambda goes."""

import dataclasses
import math

import pytest

from dna_asic.cosearch.targets import NO_TARGETS, PENALTY, SPAN, STEP, Targets
from dna_asic.errors import InfeasibleDesign
from dna_asic.spec.report import CostReport

ENERGY_J, LATENCY_S = 2e-6, 1e-5  # 200 mW
TARGETS = Targets(max_latency_ms=0.02, max_power_mw=100.0)


def report(energy_j=ENERGY_J, latency_cycles=10_000, area_mm2=0.5):
    return CostReport(technology="t", clk_period_ns=1.0, layers=(), latency_cycles=latency_cycles, idle_fetches=0,
                      period_cycles=latency_cycles, energy_pj_by_level={"mac": energy_j * 1e12},
                      area_um2_by_block={"pe": area_mm2 * 1e6})


def test_excess_is_of_both_limits_and_the_penalty_grows_with_it():
    assert TARGETS.excess(ENERGY_J, LATENCY_S) == pytest.approx(math.log(2))
    assert TARGETS.excess(ENERGY_J, 4 * LATENCY_S) == pytest.approx(math.log(2))  # of the latency now
    assert TARGETS.excess(ENERGY_J / 2, LATENCY_S) == TARGETS.penalty(ENERGY_J / 2, LATENCY_S) == 0
    assert TARGETS.penalty(ENERGY_J, LATENCY_S) == pytest.approx(PENALTY * (1 + math.log(2)))
    assert NO_TARGETS.penalty(1.0, 1.0) == 0 and NO_TARGETS.judged(report(), 0.0) == ()


def test_tightened_by_what_those_asked_are_exceeded_by():
    once = TARGETS.tightened(TARGETS, ENERGY_J, LATENCY_S)
    assert (once.max_latency_ms, once.max_power_mw) == (0.02, pytest.approx(50))
    assert once.tightened(TARGETS, 1.1 * ENERGY_J / 2, LATENCY_S).max_power_mw == pytest.approx(50 / 1.1)
    assert once.tightened(TARGETS, ENERGY_J / 2, LATENCY_S) == once and NO_TARGETS.tightened(
        NO_TARGETS, 1.0, 1.0) == NO_TARGETS


def test_every_target_is_judged():
    targets = dataclasses.replace(TARGETS, max_area_mm2=0.5, min_accuracy=0.9)
    judged = {x.target: (x.limit, x.value, x.kept) for x in targets.judged(report(), 0.89)}
    assert judged == {"max_latency_ms": (0.02, pytest.approx(0.01), True), "max_area_mm2": (0.5, 0.5, True),
                      "max_power_mw": (100.0, pytest.approx(200), False), "min_accuracy": (0.9, 0.89, False)}
    assert len(targets.judged(report())) == 3
    targets.require(report(ENERGY_J / 2), "chip 'a'")


def test_wrong_design_is_told_with_all_that_it_breaks():
    with pytest.raises(InfeasibleDesign, match=r"chip 'a' breaks max_latency_ms 0.02 with 0.03 and max_area_mm2 0.4 "
                                               r"with 0.5; allow more"):
        Targets(max_latency_ms=0.02, max_area_mm2=0.4).require(report(latency_cycles=30_000), "chip 'a'")


@pytest.mark.parametrize(("latency_s", "weight", "votes"), [
    (3e-5, 0.02, 1), (1.9e-5, 0.02, 0), (1e-5, 0.02, 0), (1e-5, 0.08, -1), (1.9e-5, 0.08, 0)],
    ids=["broken", "just kept", "never below its start", "slack", "no slack"])
def test_weight_follows_the_hardware(latency_s, weight, votes):
    moved = Targets(max_latency_ms=0.02).next_weight(weight, 0.02, ENERGY_J, latency_s)
    assert moved == pytest.approx(weight * STEP**votes)


@pytest.mark.parametrize(("accuracy", "latency_s", "votes"), [
    (0.8, 1e-5, -1), (0.905, 1e-5, 0), (0.95, 1e-5, 1), (0.8, 3e-5, 0), (0.95, 3e-5, 2)])
def test_weight_follows_the_accuracy_too(accuracy, latency_s, votes):
    targets = Targets(max_latency_ms=0.02, min_accuracy=0.9)
    assert targets.next_weight(0.02, 0.02, ENERGY_J, latency_s, accuracy) == pytest.approx(0.02 * STEP**votes)


def test_weight_stays_within_its_span_and_without_targets():
    assert NO_TARGETS.next_weight(0.02, 0.02, ENERGY_J, LATENCY_S) == 0.02
    broken, weight = Targets(max_latency_ms=1e-6), 0.02
    for _ in range(20):
        weight = broken.next_weight(weight, 0.02, ENERGY_J, LATENCY_S)
    assert weight == 0.02 * SPAN and broken.next_weight(0.0, 0.0, ENERGY_J, LATENCY_S) == 0
    poor = Targets(min_accuracy=1.0)
    assert poor.next_weight(0.02 / SPAN, 0.02, ENERGY_J, LATENCY_S, 0.5) == 0.02 / SPAN
