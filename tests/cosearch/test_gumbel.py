"""The gradient search over categoricals, on costs whose optimum is known."""

import itertools

import pytest
import torch

from dna_asic.cosearch.gumbel import GumbelSearch, GumbelSettings
from dna_asic.errors import SpecError
from dna_asic.space import Choice

CHOICES = tuple(Choice(f"c{i}", tuple(range(n))) for i, n in enumerate((2, 3, 4, 5, 4, 3)))


def table(seed):
    """A cost per option of each choice, all different; the whole cost is their sum."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randperm(len(c.options), generator=generator).double() for c in CHOICES]


def cost(table, samples):
    return torch.tensor([sum(t[s[c.label]] for c, t in zip(CHOICES, table)) for s in samples], dtype=torch.float64)


def run(search, table, steps):
    for _ in range(steps):
        samples, gates = search.draw()
        search.update(gates, cost(table, samples))
    return [g.detach().clone() for g in search.gamma]


@pytest.mark.parametrize("seed", range(5))
def test_search_finds_the_optimum_of_a_separable_space(seed):
    search, costs = GumbelSearch(CHOICES, seed, GumbelSettings()), table(seed)
    before = search.entropy()
    run(search, costs, 100)
    assert search.likeliest() == {c.label: int(t.argmin()) for c, t in zip(CHOICES, costs)}
    assert search.entropy() < before / 2


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_gradient_has_the_sign_of_the_expected_cost(temperature):
    """Against the exact gradient of the expected cost, by enumeration of the whole space."""
    settings = GumbelSettings(samples=4096, temperature=temperature)
    search, costs = GumbelSearch(CHOICES[:3], 0, settings), table(1)[:3]
    with torch.no_grad():
        for gamma in search.gamma:
            gamma.copy_(torch.linspace(-0.5, 0.5, len(gamma)))
    expected = sum(
        torch.stack([torch.softmax(g, 0)[i] for g, i in zip(search.gamma, point)]).prod()
        * sum(t[i] for t, i in zip(costs, point)) for point in itertools.product(*map(range, (2, 3, 4))))
    exact = torch.cat(torch.autograd.grad(expected, search.gamma))
    samples, gates = search.draw()
    search.update(gates, torch.stack([sum(t[s[c.label]] for c, t in zip(CHOICES, costs)) for s in samples]))
    estimate = torch.cat([g.grad for g in search.gamma])
    assert torch.cosine_similarity(exact, estimate, dim=0) > 0.9
    clear = exact.abs() > 0.1 * exact.abs().max()
    assert clear.sum() >= 5 and torch.equal(exact[clear].sign(), estimate[clear].sign())


def test_gates_are_one_and_carry_the_gradient_of_the_relaxed_sample():
    search = GumbelSearch(CHOICES, 0, GumbelSettings(samples=8))
    samples, gates = search.draw()
    assert gates.shape == (8, 6) and torch.equal(gates, torch.ones(8, 6, dtype=torch.float64))
    for n, sample in enumerate(samples):
        gradients = torch.autograd.grad(gates[n].sum(), search.gamma, retain_graph=True)
        for choice, gradient in zip(CHOICES, gradients):
            chosen = sample[choice.label]
            assert gradient[chosen] > 0 and gradient.sum().abs() < 1e-12
            assert all(g < 0 for i, g in enumerate(gradient.tolist()) if i != chosen)


def test_equal_costs_do_not_move_gamma():
    search = GumbelSearch(CHOICES, 0, GumbelSettings())
    _, gates = search.draw()
    search.update(gates, torch.full((len(gates),), 7.0, dtype=torch.float64))
    assert all((g == 0).all() for g in search.gamma)


def test_entropy_and_temperature():
    search = GumbelSearch(CHOICES[2:3], 0, GumbelSettings(temperature=2.0, temperature_decay=0.5, temperature_end=0.7))
    assert search.entropy() == pytest.approx(torch.tensor(4.0).log().item())
    temperatures = []
    for _ in range(3):
        temperatures.append(search.temperature)
        samples, gates = search.draw()
        search.update(gates, torch.arange(len(gates)).double())
    assert temperatures == [2.0, 1.0, 0.7]


def test_state_resumes_exactly():
    whole, costs = GumbelSearch(CHOICES, 3, GumbelSettings()), table(0)
    run(whole, costs, 5)
    state = whole.state_dict()
    expected = run(whole, costs, 5)
    again = GumbelSearch(CHOICES, 9, GumbelSettings())
    again.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(run(again, costs, 5), expected, strict=True))


def test_state_wrong_space():
    with pytest.raises(SpecError, match="another accelerator space"):
        GumbelSearch(CHOICES[1:], 0, GumbelSettings()).load_state_dict(
            GumbelSearch(CHOICES, 0, GumbelSettings()).state_dict())
