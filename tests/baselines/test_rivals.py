"""DAS and its rivals by the common interface: budgets, curves, seeds; all on the reduced space."""

import itertools
import math

import pytest
import torch

from dna_asic.baselines.counted import CountedCost
from dna_asic.baselines.rivals import PARTLY, SEARCHES, Controller, PolicyGradient
from dna_asic.cosearch.enumeration import fixed_pricer
from dna_asic.das import small_network
from dna_asic.gads import GadsSpace
from dna_asic.technology import load_technology

TECHNOLOGY = load_technology("asic-28nm")
SPACE = GadsSpace.load("reduced").at_clock(TECHNOLOGY.clk_period_ns)
METHODS = [pytest.param(name, id=name) for name in SEARCHES]


def run(method, seed, budget=45, **more):
    if method == "bayesian":
        pytest.importorskip("optuna", reason="optuna is not installed")
    cost = CountedCost(SPACE, small_network(), fixed_pricer(SPACE, TECHNOLOGY), budget, **more)
    (SEARCHES | PARTLY)[method](cost, seed)
    return cost


@pytest.mark.parametrize("method", METHODS)
def test_search_spends_its_budget_and_no_more(method):
    cost = run(method, 0)
    assert 0.6 * 45 <= cost.evaluations <= 45 and cost.evaluations == cost.curve[-1].evaluations
    for before, after in itertools.pairwise(cost.curve):
        assert after.edp_js <= before.edp_js and after.evaluations >= before.evaluations
        assert after.seconds >= before.seconds
    assert cost.curve[-1].edp_js == cost.edp_js([cost.chip], small_network())[0]


@pytest.mark.parametrize("method", METHODS)
def test_search_is_seeded(method):
    one, same, other = run(method, 1, 24), run(method, 1, 24), run(method, 2, 24)
    bests = [[(p.evaluations, p.edp_js) for p in cost.curve] for cost in (one, same, other)]
    assert bests[0] == bests[1] != bests[2] and one.chip == same.chip


def test_chips_above_the_area_cost_nothing_and_are_never_found():
    cap = 0.16
    cost = run("random", 0, max_area_mm2=cap)
    assert cost._area_excess(cost.chip) == 0 and 0 < cost.evaluations <= 45 < cost.asked


@pytest.mark.parametrize("method", ["evolution", "plain Gumbel"])
def test_a_search_without_a_chip_ends(method):
    cost = run(method, 0, budget=10, max_area_mm2=1e-6)
    assert cost.evaluations == 0 and cost.chip is None and math.isinf(cost.curve[-1].edp_js) and cost.left == 0


def test_costs_are_finite_and_order_what_does_not_run():
    """Below what runs is what does not, by its area where that is too large."""
    cost = CountedCost(SPACE, small_network(), fixed_pricer(SPACE, TECHNOLOGY), 100, max_area_mm2=0.2)
    generator = torch.Generator().manual_seed(0)
    samples = [SPACE.sample(generator) for _ in range(60)]
    costs, chips = cost.costs(samples), [SPACE.build(s) for s in samples]
    edp = cost.edp_js(chips, small_network())
    assert costs.isfinite().all() and torch.equal(costs[edp.isfinite()], edp[edp.isfinite()].log())
    assert costs[edp.isinf()].min() > costs[edp.isfinite()].max()
    large = sorted((cost._area_excess(c), float(x)) for c, x in zip(chips, costs, strict=True) if cost._area_excess(c))
    assert len(large) > 5 and [x for _, x in large] == sorted(x for _, x in large)


def test_controller_has_the_likelihood_of_its_samples():
    torch.manual_seed(0)
    controller = Controller([2, 3])
    with torch.no_grad():
        controller.heads[1].weight.zero_()
        controller.heads[1].bias.copy_(torch.tensor([0.0, 0.0, math.log(2)]))
    index, likelihood, entropy = controller(400, torch.Generator().manual_seed(0))
    assert set(index[:, 0].tolist()) == {0, 1} and abs(float((index[:, 1] == 2).double().mean()) - 0.5) < 0.1
    first = torch.log_softmax(controller.heads[0](controller.cell(controller.start)[0]), dim=1)[0]
    second = torch.tensor([0.25, 0.25, 0.5]).log()
    assert torch.allclose(likelihood, first[index[:, 0]] + second[index[:, 1]], atol=1e-5)
    assert 0 < float(entropy) < math.log(3)


def test_controller_takes_what_is_allowed_and_shares_first_choices():
    torch.manual_seed(0)
    controller, even = Controller([3, 4, 4]), torch.tensor([True, False, True, False])
    limit = lambda place, chosen: even.expand(len(chosen[0]), -1) if place == 1 else None  # noqa: E731
    index, likelihood, entropy = controller(200, torch.Generator().manual_seed(0), shared=1, allowed=limit)
    assert len(set(index[:, 0].tolist())) == 1 and set(index[:, 1].tolist()) == {0, 2}
    assert set(index[:, 2].tolist()) == {0, 1, 2, 3}
    assert likelihood.isfinite().all() and 0 < float(entropy) < (math.log(3) + math.log(2) + math.log(4)) / 3 + 1e-6


def test_policy_gradient_comes_to_the_rewarded_options():
    policy = PolicyGradient([4, 4], 0, least=1e-3, rate=2e-2)
    for _ in range(80):
        rows = policy.draw(8)
        policy.learn(torch.tensor([float(a == 3) + float(b == 1) for a, b in rows]))
    assert sum(row == [3, 1] for row in policy.draw(50)) > 40
