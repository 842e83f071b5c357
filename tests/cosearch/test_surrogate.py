"""The model of costs, against enumeration of a space of 24 samples."""

import itertools

import pytest
import torch

from dna_asic.cosearch.surrogate import Surrogate

SIZES = (2, 3, 4)
SPACE = torch.tensor(list(itertools.product(*map(range, SIZES))))
COSTS = torch.tensor([[0.0, 3.0], [2.0, 0.0]], dtype=torch.float64)[SPACE[:, 0], SPACE[:, 1] % 2] + 0.1 * SPACE[:, 1]


DIFFERENT = SPACE.double() @ torch.tensor([1.0, 3.0, 0.5], dtype=torch.float64)


def fitted(index=SPACE, costs=COSTS, steps=30):
    model = Surrogate(len(SIZES))
    model.fit(index, costs, steps)
    return model


def test_model_meets_what_was_priced_and_finds_what_matters():
    model = fitted()
    mean, deviation = model.predict(SPACE)
    below = COSTS.le(COSTS.median())
    assert torch.allclose(mean[below], model.standard(COSTS)[below], atol=0.05) and deviation.max() < 0.3
    first, second, idle = torch.nn.functional.softplus(model.raw[:3]).tolist()
    assert first > 2 * idle and second > 2 * idle


def test_model_cuts_dear_costs_off():
    dear = COSTS.clone()
    dear[COSTS.argmax()] = 1e6
    assert torch.equal(fitted(costs=dear).predict(SPACE)[0], fitted().predict(SPACE)[0])
    assert fitted().standard(COSTS).max() == fitted().standard(COSTS.median())


def test_model_knows_less_far_from_what_was_priced():
    model = fitted(SPACE[:8], DIFFERENT[:8])
    deviation = model.predict(SPACE)[1]
    assert deviation[:8].max() < deviation[20:].min()


def test_expected_is_the_mean_over_the_space_and_so_is_its_gradient():
    model = fitted(SPACE[::2], DIFFERENT[::2])
    gammas = [torch.linspace(-1, 1, n, dtype=torch.float64).requires_grad_() for n in SIZES]
    p = [torch.softmax(g, 0) for g in gammas]
    weight = torch.stack([p[i][SPACE[:, i]] for i in range(3)]).prod(dim=0)
    exact, closed = (weight * model.predict(SPACE)[0]).sum(), model.expected(p)
    assert closed.item() == pytest.approx(exact.item(), abs=1e-12)
    for a, b in zip(torch.autograd.grad(exact, gammas, retain_graph=True), torch.autograd.grad(closed, gammas)):
        assert torch.allclose(a, b, atol=1e-12) and a.abs().max() > 1e-3


@pytest.mark.parametrize("costs", [torch.ones(24, dtype=torch.float64), COSTS[:1]])
def test_model_learns_nothing_from_equal_costs(costs):
    model = fitted(SPACE[:len(costs)], costs)
    mean, deviation = model.predict(SPACE)
    assert not model.ready and (mean == 0).all() and (deviation == 1).all()
