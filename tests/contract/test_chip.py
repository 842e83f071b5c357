"""The contract: cycles, MACs and accesses of the cost model are those of the Verilog, and every byte is golden's."""


import numpy as np
import pytest
from chips import CHIPS, QUICK_KINDS, make_chip
from running import assert_golden, assert_modelled, run

from sim.all_kinds import all_kinds
from sim.four_layers import four_layers

QUICK = ("kc-tree-4x4", "kc-drain-3x6", "pq-3x2")


@pytest.mark.simulator
@pytest.mark.parametrize("name,seed", [
    *((name, 1) for name in QUICK), (QUICK_KINDS[0], 3),
    *(pytest.param(name, 2, marks=pytest.mark.slow) for name in QUICK),
    *(pytest.param(name, 1, marks=pytest.mark.slow) for name in CHIPS if name not in QUICK),
    *(pytest.param(name, 3, marks=pytest.mark.slow) for name in QUICK_KINDS[1:])])
def test_model_is_the_chip(name, seed, tmp_path_factory):
    point, runs = run(make_chip(name), all_kinds(seed), seed, [1, 1], tmp_path_factory)
    assert_golden(point, runs)
    assert_modelled(point, runs)
    for result in runs:
        assert result.cycles == point.report.latency_cycles
        assert np.diff(list(result.ends.values()), prepend=0).tolist() == [c.cycles for c in point.report.layers]


@pytest.mark.simulator
@pytest.mark.parametrize("stall_seed", [3, 4])
def test_stalls_change_cycles_only(stall_seed, tmp_path_factory):
    point, runs = run(make_chip("kc-tree-4x4"), all_kinds(stall_seed), stall_seed, [1, 1], tmp_path_factory,
                      stall_seed=stall_seed)
    assert_golden(point, runs)
    for result in runs:
        spent = np.diff(list(result.ends.values()), prepend=0)
        assert all(spent > [layer.cycles for layer in point.report.layers])


@pytest.mark.simulator
def test_icarus_agrees(tmp_path_factory):
    point, runs = run(make_chip("kc-tree-2x3"), four_layers(), 5, [1], tmp_path_factory, simulator="icarus")
    assert_golden(point, runs)
    assert runs[0].cycles == point.report.latency_cycles
