"""The joint loop: its epochs, the costs it hands to alpha, resuming."""

import copy
import dataclasses
import itertools
import math

import pytest
import torch

from dna_asic.cosearch.compute import Compute
from dna_asic.cosearch.das import AcceleratorSearch
from dna_asic.cosearch.dns import DnsSettings, NetworkSearch
from dna_asic.cosearch.gumbel import GumbelSettings
from dna_asic.cosearch.joint import JointSearch, JointSettings
from dna_asic.cosearch.targets import NO_TARGETS, STEP, Targets
from dna_asic.data import DatasetSplits, Subset
from dna_asic.gads import GadsSpace
from dna_asic.networks import expand, load_macro
from dna_asic.networks.macro import Stage
from dna_asic.technology import load_technology

MACRO = dataclasses.replace(load_macro("digits"), head_channels=16, classes=4,
                            stages=(Stage(channels=16, layers=2, stride=1),),
                            candidates=("k3_e1", "k5_e3", "k3_e1_g2", "skip"))
SPACE = GadsSpace.load().pinned(["chunks=1"])
SETTINGS = JointSettings(warmup_epochs=1, joint_epochs=2, batch=8, das_steps=1)


def part(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return Subset(torch.rand(count, 1, 8, 8, generator=generator), torch.arange(count) % 4)


SPLITS = DatasetSplits(name="digits", num_classes=4, train=part(24, 0), val=part(16, 1), test=part(16, 2))


def make(seed=0, targets=NO_TARGETS, **settings):
    return JointSearch(
        MACRO, SPLITS, NetworkSearch(MACRO, DnsSettings(epochs=2), seed),
        AcceleratorSearch(SPACE, load_technology("asic-28nm"), seed, GumbelSettings(samples=3), targets=targets),
        dataclasses.replace(SETTINGS, **settings), seed, targets)


def test_epochs_warm_up_then_search_both():
    joint, ticks = make(), []
    alpha = joint.network.supernet.alpha.detach().clone()
    first = joint.run_epoch(lambda: ticks.append(1))
    assert len(ticks) == 3 and first.weight_loss > 0 and first.best_edp_js is None
    assert torch.equal(alpha, joint.network.supernet.alpha) and joint.accelerator.gumbel.steps == 0
    second = joint.run_epoch()
    assert not torch.equal(alpha, joint.network.supernet.alpha) and joint.accelerator.gumbel.steps == 1
    assert 0 < second.best_edp_js <= second.sampled_edp_js and second.hw_loss > 0 and len(second.choices) == 2
    assert joint.history == [first, second] and joint.epochs == 3
    assert (first.hw_weight, second.hw_weight, second.val_accuracy) == (None, SETTINGS.hw_weight, None)
    assert second.best_edp_js == pytest.approx(second.best_power_mw * second.best_latency_ms**2 * 1e-9)


def test_history_has_no_mean_where_no_sample_runs():
    joint = make(warmup_epochs=0)
    step = joint.accelerator.step
    joint.accelerator.step = lambda network: dataclasses.replace(step(network), mean_cost=math.nan)
    record = joint.run_epoch()
    assert record.sampled_edp_js is None and record.best_edp_js > 0


def test_processes_without_an_accelerator_take_costs_and_lambda_of_the_first(monkeypatch):
    joint, taken = JointSearch(MACRO, SPLITS, NetworkSearch(MACRO, DnsSettings(epochs=2), 0), None,
                               dataclasses.replace(SETTINGS, warmup_epochs=0), 0), []
    said, step = (torch.rand(2, 4, 4, 1, 1), 0.7), joint.network.arch_step
    monkeypatch.setattr(Compute, "told", lambda self, value=None: said)
    monkeypatch.setattr(joint.network, "arch_step", lambda batch, *rest: taken.append(rest) or step(batch, *rest))
    assert joint.run_epoch().hw_weight == 0.7
    assert len(taken) == 3 and all(costs is said[0] and lam == 0.7 for costs, lam in taken)


def test_candidate_costs_of_the_derived_network_add_up():
    """Energy and latency of the chosen candidates, of stem and head are those of the network."""
    joint = make()
    joint.network.derive = lambda: ["k3_e1", "k5_e3"]
    network = expand(MACRO, joint.network.derive())
    joint.accelerator.step(network)
    costs = joint.candidate_costs()[..., 0, 0]
    assert (costs[:, 0, 0] + costs[:, 1, 0] + costs[:, 2, 1] + costs[:, 3, 0]).tolist() == pytest.approx([1, 1])
    costs = costs[:, 1:3].sum(dim=0)
    assert (costs[:, 3] == 0).all() and (costs[:, 1] > costs[:, 0]).all() and (costs[:, 2] > costs[:, 0]).all()


def test_candidate_costs_are_finite_where_a_candidate_cannot_run():
    joint = make()
    joint.accelerator.step(expand(MACRO, joint.network.derive()))
    layer_costs, k5 = joint.accelerator.layer_costs, (5, 5)

    def without_k5(shapes):
        costs = layer_costs(shapes)
        costs[[i for i, s in enumerate(shapes) if (s.r, s.s) == k5]] = torch.inf
        return costs

    joint.accelerator.layer_costs = without_k5
    costs = joint.candidate_costs()[:, 1:3, :, 0, 0]
    assert torch.equal(costs[:, :, 1], 2 * costs[:, :, [0, 2, 3]].amax(dim=2))


def test_hardware_weight_makes_networks_cheaper():
    macs = []
    for hw_weight in (0.0, 100.0):
        joint = make(hw_weight=hw_weight, joint_epochs=6)
        joint.network.supernet.alpha.data[:, 1] = 0.1  # begins with the largest candidate
        for _ in range(joint.epochs):
            joint.run_epoch()
        macs.append(expand(MACRO, joint.network.derive()).macs)
    assert macs[1] < macs[0]


@pytest.mark.parametrize(("targets", "votes"), [
    (Targets(max_latency_ms=1e-6), 1), (Targets(max_power_mw=1e-3), 1), (Targets(max_latency_ms=1e3), 0),
    (Targets(min_accuracy=1.0), -1), (Targets(max_latency_ms=1e-6, min_accuracy=1.0), 0)],
    ids=["slow", "hungry", "kept", "wrong", "slow and wrong"])
def test_weight_of_the_hardware_follows_the_targets(targets, votes):
    joint = make(targets=targets, warmup_epochs=0)
    first, second = joint.run_epoch(), joint.run_epoch()
    assert (first.hw_weight, second.hw_weight) == tuple(SETTINGS.hw_weight * STEP**(n * votes) for n in (1, 2))
    assert (first.val_accuracy is None) == (not targets.min_accuracy) and first.best_edp_js < 1


@pytest.mark.parametrize("hw_weight", [0.0, 0.1, 100.0])
def test_polish_ends_where_no_move_helps(hw_weight):
    joint, counted = make(hw_weight=hw_weight), []
    for _ in range(joint.epochs):
        joint.run_epoch()
    state = copy.deepcopy(joint.state_dict())
    found = joint.polish(lambda done, of: counted.append((done, of)))
    assert str(joint.state_dict()) == str(state)
    costs, val = joint.candidate_costs(), joint.splits.val
    losses = {choice: joint.network.loss(choice, val, costs, hw_weight)
              for choice in itertools.product(*joint.network.options)}
    least = losses[tuple(found)]
    assert least <= losses[tuple(joint.network.derive())]
    assert all(loss >= least for choice, loss in losses.items() if sum(map(str.__ne__, choice, found)) == 1)
    assert [done for done, _ in counted] == [*range(1, len(counted) + 1)] and counted[-1][0] <= counted[-1][1]
    if hw_weight == 100:
        assert found == ["skip", "skip"]


def test_network_alone_is_searched_without_hardware():
    joint = JointSearch(MACRO, SPLITS, NetworkSearch(MACRO, DnsSettings(epochs=2), 0), None, SETTINGS, 0)
    alpha = joint.network.supernet.alpha.detach().clone()
    joint.run_epoch()
    record = joint.run_epoch()
    assert (record.hw_loss, record.hw_weight, record.best_edp_js) == (0, 0, None)
    assert not torch.equal(alpha, joint.network.supernet.alpha)
    again = JointSearch(MACRO, SPLITS, NetworkSearch(MACRO, DnsSettings(epochs=2), 5), None, SETTINGS, 5)
    again.load_state_dict(copy.deepcopy(joint.state_dict()))
    assert again.run_epoch() == joint.run_epoch()


def test_checkpoint_resumes_exactly(tmp_path):
    targets = Targets(max_latency_ms=1e-6)
    whole = make(targets=targets)
    for _ in range(2):
        whole.run_epoch()
    torch.save(whole.state_dict(), tmp_path / "joint.pt")
    expected = whole.run_epoch()
    again = make(seed=7, targets=targets)
    again.load_state_dict(torch.load(tmp_path / "joint.pt", weights_only=True))
    assert str(again.run_epoch()) == str(expected) and str(again.history) == str(whole.history)  # NaN is not NaN
    assert again.accelerator.best == whole.accelerator.best and again.hw_weight == whole.hw_weight > SETTINGS.hw_weight
