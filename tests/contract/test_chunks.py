"""The contract on chips of several chunks: schedule and bytes, several images at once, and under random stalls."""

import pytest
from chips import make_chips
from running import assert_golden, assert_modelled, run

from dna_asic.spec.latency import RUN_CYCLES
from sim.all_kinds import all_kinds
from sim.four_layers import four_layers

TWO = ("kc-tree-4x4", "pq-3x2")
THREE = ("kc-drain-3x6", "kc-tree-2x3", "pq-4x4")
FOUR = ("kc-tree-1x8", "kc-drain-4x4", "pq-3x2", "kc-tree-16x2")
SEVERAL = [TWO, pytest.param(THREE, marks=pytest.mark.slow), pytest.param(FOUR, marks=pytest.mark.slow)]


@pytest.mark.simulator
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("names", SEVERAL, ids=len)
def test_schedule_is_the_chip(names, seed, tmp_path_factory):
    quant = (four_layers, all_kinds)[seed % 2](seed)
    point, runs = run(make_chips(*names), quant, seed, [1, 5, 2], tmp_path_factory)
    assert_golden(point, runs)
    assert_modelled(point, runs)
    assert runs[0].cycles == point.report.latency_cycles


@pytest.mark.simulator
@pytest.mark.parametrize("names", SEVERAL, ids=len)
def test_throughput_is_the_slowest_chunk(names, tmp_path_factory):
    point, runs = run(make_chips(*names), four_layers(), 7, [30, 31, 32], tmp_path_factory)
    assert_golden(point, runs)
    cycles = [result.cycles for result in runs]
    assert cycles[1] - cycles[0] == cycles[2] - cycles[1] == point.report.period_cycles
    assert runs[1].cycles < 31 * (point.report.latency_cycles - RUN_CYCLES)


@pytest.mark.simulator
@pytest.mark.parametrize("stall_seed", [5, 6, 7])
@pytest.mark.parametrize("names", SEVERAL, ids=len)
def test_stalls_on_every_port_change_cycles_only(names, stall_seed, tmp_path_factory):
    quant = (four_layers, all_kinds)[stall_seed % 2](stall_seed)
    point, runs = run(make_chips(*names), quant, stall_seed, [1, 6], tmp_path_factory, stall_seed=stall_seed)
    assert_golden(point, runs)
    for result in runs:
        model = point.times(len(result.outputs)).ends
        assert set(result.ends) == set(model) and all(result.ends[k] > end for k, end in model.items())


@pytest.mark.simulator
def test_images_follow_each_other_on_one_chunk(tmp_path_factory):
    point, runs = run(make_chips("kc-tree-4x4"), all_kinds(1), 1, [3], tmp_path_factory)
    assert_golden(point, runs)
    assert_modelled(point, runs)
    assert runs[0].cycles == RUN_CYCLES + 3 * point.report.period_cycles
