"""The contract on chips of several chunks: schedule and bytes, several images at once, and under random stalls."""

import pytest
from chips import make_chips, without_waits
from running import assert_golden, assert_modelled, run

from dna_asic.spec.latency import RUN_CYCLES
from sim.all_kinds import all_kinds
from sim.four_layers import four_layers

CHIPS = {2: ("kc-tree-4x4", "pq-3x2"), 3: ("kc-drain-3x6", "kc-tree-2x3", "pq-4x4"),
         4: ("kc-tree-1x8", "kc-drain-4x4", "pq-3x2", "kc-tree-16x2")}
SMALL = 4  # a seed for which four layers take few cycles and keep every chunk busy
SEVERAL = [2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
slow = pytest.mark.slow


@pytest.mark.simulator
@pytest.mark.parametrize("chunks", SEVERAL)
def test_schedule_is_the_chip(chunks, tmp_path_factory):
    point, runs = run(make_chips(*CHIPS[chunks]), four_layers(SMALL), SMALL, [1, 5, 2], tmp_path_factory)
    assert all(point.places.programs)
    assert_golden(point, runs)
    assert_modelled(point, runs)
    assert runs[0].cycles == point.report.latency_cycles


@pytest.mark.simulator
@pytest.mark.parametrize("seed", [1, 2, pytest.param(3, marks=slow), pytest.param(5, marks=slow)])
@pytest.mark.parametrize("chunks", [2, pytest.param(3, marks=slow), pytest.param(4, marks=slow)])
def test_schedule_is_the_chip_on_random_points(chunks, seed, tmp_path_factory):
    quant = (four_layers, all_kinds)[seed % 2](seed)
    point, runs = run(make_chips(*CHIPS[chunks]), quant, seed, [1, 3], tmp_path_factory)
    assert_golden(point, runs)
    assert_modelled(point, runs)


@pytest.mark.simulator
@pytest.mark.parametrize("chunks", SEVERAL)
def test_throughput_is_the_slowest_chunk(chunks, tmp_path_factory):
    point, runs = run(make_chips(*CHIPS[chunks]), four_layers(SMALL), SMALL, [6, 7, 8], tmp_path_factory)
    assert_golden(point, runs)
    cycles = [result.cycles for result in runs]
    assert cycles[1] - cycles[0] == cycles[2] - cycles[1] == point.report.period_cycles
    assert runs[1].cycles < 7 * (point.report.latency_cycles - RUN_CYCLES)


@pytest.mark.simulator
@pytest.mark.parametrize("stall_seed", [5, 6, 7])
@pytest.mark.parametrize("chunks", SEVERAL)
def test_stalls_on_every_port_change_cycles_only(chunks, stall_seed, tmp_path_factory):
    point, runs = run(make_chips(*CHIPS[chunks]), four_layers(SMALL), SMALL, [1, 6], tmp_path_factory,
                      stall_seed=stall_seed)
    assert_golden(point, runs)
    assert_later(point, runs)


@pytest.mark.simulator
@pytest.mark.slow
@pytest.mark.parametrize("chunks", CHIPS)
def test_stalls_on_all_kinds(chunks, tmp_path_factory):
    point, runs = run(make_chips(*CHIPS[chunks]), all_kinds(1), 1, [3], tmp_path_factory, stall_seed=chunks)
    assert_golden(point, runs)
    assert_later(point, runs)


def assert_later(point, runs):
    """Each layer ended, and later than on the ideal memory."""
    for result in runs:
        model = point.times(len(result.outputs)).ends
        assert set(result.ends) == set(model) and all(result.ends[k] > end for k, end in model.items())


@pytest.mark.simulator
def test_waits_are_needed(tmp_path_factory):
    point, runs = run(make_chips(*CHIPS[2]), four_layers(SMALL), SMALL, [3], tmp_path_factory, change=without_waits)
    with pytest.raises(AssertionError):
        assert_golden(point, runs)


@pytest.mark.simulator
def test_images_follow_each_other_on_one_chunk(tmp_path_factory):
    point, runs = run(make_chips("kc-tree-4x4"), all_kinds(1), 1, [3], tmp_path_factory)
    assert_golden(point, runs)
    assert_modelled(point, runs)
    assert runs[0].cycles == RUN_CYCLES + 3 * point.report.period_cycles
