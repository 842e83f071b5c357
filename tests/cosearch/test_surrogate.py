"""The model of costs, against enumeration of a space of 24 samples."""

import itertools

import pytest
import torch

from dna_asic.cosearch.surrogate import ROOM, Surrogate

SIZES = (2, 3, 4)
SPACE = torch.tensor(list(itertools.product(*map(range, SIZES))))
COSTS = torch.tensor([[0.0, 3.0], [2.0, 0.0]], dtype=torch.float64)[SPACE[:, 0], SPACE[:, 1] % 2] + 0.1 * SPACE[:, 1]


DIFFERENT = SPACE.double() @ torch.tensor([1.0, 3.0, 0.5], dtype=torch.float64)


def fitted(index=SPACE, costs=COSTS, steps=30, prior=None):
    model = Surrogate(len(SIZES))
    model.fit(index, costs, torch.zeros_like(costs) if prior is None else prior, steps)
    return model


def predict(model, index=SPACE):
    return model.predict(index, torch.zeros(len(index), dtype=torch.float64))


def test_model_meets_what_was_priced_and_finds_what_matters():
    model = fitted()
    mean, deviation = predict(model)
    assert torch.allclose(mean, COSTS.minimum(model.top), atol=0.1) and deviation.max() < 0.3
    first, second, idle = torch.nn.functional.softplus(model.raw[:3]).tolist()
    assert first > 2 * idle and second > 2 * idle


def test_model_cuts_dear_costs_off():
    dear = COSTS.clone()
    dear[COSTS.argmax()] = 1e6
    model = fitted()
    assert torch.equal(predict(fitted(costs=dear))[0], predict(model)[0])
    assert model.top == max(COSTS.median(), COSTS.min() + ROOM)


def test_model_tells_apart_what_is_expected_to_be_dear():
    model = fitted(prior=COSTS)
    dear = torch.tensor([100.0, 200.0], dtype=torch.float64)
    mean, _ = model.predict(SPACE[:1].repeat(2, 1), dear)
    assert model.top < 100 and float(mean[1] - mean[0]) == pytest.approx(100)


def test_model_knows_less_far_from_what_was_priced():
    model = fitted(SPACE[:8], DIFFERENT[:8])
    deviation = predict(model)[1]
    assert deviation[:8].max() < deviation[20:].min()


def test_model_begins_with_what_was_expected():
    """Where only a constant is left to learn, unpriced samples are known as well as the expectation is."""
    model = fitted(SPACE[:8], DIFFERENT[:8] + 0.3, prior=DIFFERENT[:8])
    far = model.top >= DIFFERENT
    mean, _ = model.predict(SPACE, DIFFERENT)
    assert torch.allclose(mean[far], DIFFERENT[far] + 0.3, atol=0.05) and far[8:].any()
    ignorant = predict(fitted(SPACE[:8], DIFFERENT[:8]))[0]
    assert (ignorant - DIFFERENT)[far].abs().max() > 0.2


@pytest.mark.parametrize("costs", [torch.ones(24, dtype=torch.float64), COSTS[:1]])
def test_model_learns_nothing_from_equal_costs(costs):
    model = fitted(SPACE[:len(costs)], costs)
    mean, deviation = model.predict(SPACE, DIFFERENT)
    assert not model.ready and torch.equal(mean, DIFFERENT) and (deviation == 0).all()
