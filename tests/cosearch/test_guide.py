"""Memory, screen and control variate of the search, on costs that are known."""

import itertools

import pytest
import torch

from dna_asic.cosearch.designs import REFUSED
from dna_asic.cosearch.guide import Guide, places
from dna_asic.cosearch.gumbel import GumbelSearch, GumbelSettings
from dna_asic.space import Choice

CHOICES = tuple(Choice(f"c{i}", tuple(range(n))) for i, n in enumerate((2, 3, 4, 5, 4, 3)))


def cost(index):
    """Two choices that only help together, and a slope."""
    index = index.double()
    return index.sum(dim=1) + 4.0 * ((index[:, 3] == 1) ^ (index[:, 4] == 2))


def make(learnt=60, seed=0, prior=None, **settings):
    search = GumbelSearch(CHOICES, seed, GumbelSettings(**settings))
    guide = Guide(search, prior)
    index = search.draw_index(learnt)
    if learnt:
        guide.learn(index, cost(index))
    return search, guide, index


def test_nothing_is_screened_before_the_first_step():
    assert make(learnt=0)[1].screened == 0 and make(learnt=0)[1].propose() == []


def test_screened_samples_are_new_and_better_than_draws():
    search, guide, seen = make(samples=16, screened=8)
    proposed = search.index(guide.propose())
    rows = list(map(tuple, proposed.tolist()))
    assert len(rows) == len(set(rows)) == 8 and not set(rows) & set(map(tuple, seen.tolist()))
    assert cost(proposed).mean() < cost(seen).mean() - 2


def test_elites_stay_near_the_best_where_gamma_does_not():
    search, guide, _ = make(elites=1, pool=32, samples=16, screened=8, learnt=200)
    (best,) = guide.best(1)
    assert best == search.samples(guide.index[guide.costs.argmin()][None])[0]
    changed = [sum(s[c] != best[c] for c in best) for s in guide.propose()]
    draws = make(elites=0, pool=32, samples=16, screened=8, learnt=200)[1].propose()
    far = [sum(s[c] != best[c] for c in best) for s in draws]
    assert sum(changed) < sum(far)


def test_costs_count_by_their_place_among_others():
    among = torch.tensor([3.0, 1.0, 2.0, 2.0])
    assert places(among, among).tolist() == [0.375, -0.375, 0.0, 0.0]
    assert places(torch.tensor([-9.0, 2.5, 1e9]), among).tolist() == [-0.5, 0.25, 0.5]


def test_control_variate_has_the_gradient_of_the_expected_place_with_less_noise():
    """Of the mean over the whole space by enumeration; over 40 steps of 8 samples each."""
    def gradients(**settings):
        search, guide, _ = make(samples=8, learnt=300, temperature=1.0, temperature_decay=1.0, **settings)
        made = []
        for _ in range(40):
            with torch.no_grad():
                for gamma in search.gamma:
                    gamma.zero_()
            samples, gates = search.draw()
            index = search.index(samples)
            guide.update(gates, index, cost(index))
            made.append(torch.cat([g.grad for g in search.gamma]))
        return torch.stack(made), search

    def noise(made, search, loss):
        exact = torch.cat(torch.autograd.grad((search.log_likelihood(whole).exp() * loss).sum(), search.gamma))
        return made.mean(dim=0), exact, 1 - torch.cosine_similarity(made, exact[None], dim=1).mean()
    whole = torch.tensor(list(itertools.product(*(c.options for c in CHOICES))))
    mean, exact, least = noise(*gradients(), places(cost(whole), cost(whole)))
    assert (mean - exact).norm() < 0.3 * exact.norm()
    assert least < 0.5 * noise(*gradients(control_variate=False, screened=8), cost(whole))[2]


def test_gamma_moves_where_none_of_its_draws_is_within_the_limits():
    """By how far each is beyond them, whatever was priced."""
    choices = [Choice(f"c{i}", tuple(range(4))) for i in range(10)]
    right, search = torch.tensor([1, 2, 0, 3, 1, 1, 2, 0, 3, 3]), GumbelSearch(choices, 0, GumbelSettings())
    guide = Guide(search, lambda index: torch.where((index[:, 1:] == right[1:]).all(dim=1), 0.1 * expected(index),
                                                    REFUSED + 0.1 * (index != right).sum(dim=1)))
    priced = right.repeat(4, 1)
    priced[:, 0] = torch.arange(4)
    guide.learn(priced, 0.1 * expected(priced))  # as was expected: there is nothing more to learn
    before = search.log_likelihood(right[None]).item()
    guide.propose()
    assert guide.model.ready and search.log_likelihood(right[None]).item() > before + 1


def test_gamma_moves_without_a_pool():
    search, guide, _ = make(pool=0)
    samples, gates = search.draw()
    guide.update(gates, search.index(samples), cost(search.index(samples)))
    assert all(gamma.isfinite().all() and gamma.abs().max() > 0 for gamma in search.gamma)


def test_plain_search_remembers_nothing():
    _, guide, _ = make(control_variate=False, screened=0)
    assert len(guide.costs) == 0 and guide.best(3) == []


def test_samples_that_differ_in_unused_choices_alone_are_one():
    """Here the last two choices are of no use where the first is 0."""
    search = GumbelSearch(CHOICES, 0, GumbelSettings(samples=16, screened=8))
    guide = Guide(search, unused=lambda index: (index[:, :1] == 0) & (torch.arange(6) >= 4))
    index = torch.tensor([[0, 1, 1, 1, 1, 1], [0, 1, 1, 1, 0, 2], [1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 2]])
    guide.learn(index, torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64))
    assert guide.index.tolist() == [[0, 1, 1, 1, 0, 0], *index[2:].tolist()]
    assert guide.costs.tolist() == [2.0, 3.0, 4.0]
    proposed = search.index(guide.propose())
    assert (proposed[proposed[:, 0] == 0][:, 4:] == 0).all()
    mean, _ = guide.expect(index)
    assert mean[0] == mean[1] and mean[2] != mean[3]


def test_latest_cost_of_a_sample_counts():
    search, guide, index = make()
    before = len(guide.costs)
    guide.learn(index[:2], torch.tensor([-5.0, -5.0], dtype=torch.float64))
    assert len(guide.costs) == before and guide.best(1) == search.samples(index[:1])


def test_rebase_moves_all_as_the_best_moved():
    search, guide, _ = make()
    best, before = search.index(guide.best(4)), guide.costs.clone()
    guide.rebase(best, cost(best) + torch.tensor([2.0, 4.0, 2.0, 4.0], dtype=torch.float64))
    moved = (guide.costs - before).sort().values
    assert moved.unique().tolist() == pytest.approx([2.0, 3.0, 4.0]) and (moved == 3.0).sum() == len(moved) - 4


def expected(index):
    """A rough idea of `cost`: of single choices alone."""
    return index.double().sum(dim=1)


def test_what_is_expected_serves_before_anything_was_priced():
    search, guide, _ = make(learnt=0, prior=expected)
    first = search.log_likelihood(torch.zeros((1, len(CHOICES)), dtype=torch.int64)).item()
    proposed = guide.propose()
    assert guide.screened == len(proposed) == 6 and expected(search.index(proposed)).mean() < 4
    assert search.log_likelihood(torch.zeros((1, len(CHOICES)), dtype=torch.int64)).item() > first + 1


def test_each_sample_is_expected_once_a_step():
    asked = []
    _, guide, _ = make(prior=lambda index: asked.extend(map(tuple, index.tolist())) or expected(index))
    asked.clear()
    guide.propose()
    assert len(asked) == len(set(asked)) > 100


def test_screened_samples_are_not_all_of_one_option_of_the_widest_choice():
    search, guide, _ = make(prior=expected)
    options = search.index(guide.propose())[:, 3].tolist()
    assert max(map(options.count, options)) <= 2


def test_elites_are_of_every_number_of_used_choices():
    """Here the last two choices are of no use where the first is 0, and then cost 10 less."""
    search = GumbelSearch(CHOICES, 0, GumbelSettings(elites=4))
    guide = Guide(search, lambda index: expected(index) - 10 * (index[:, 0] == 0),
                  unused=lambda index: (index[:, :1] == 0) & (torch.arange(6) >= 4))
    guide.propose()
    assert guide._front[:, 0].sort().values.tolist() == [0, 0, 1, 1]
    assert guide._front[guide._front[:, 0] == 0][:, 3].unique().numel() == 2


def test_what_is_made_of_elites_is_judged_as_all_else():
    """Every other copy passes through `repaired`; `exchanged` is asked for more, of what is within the limits."""
    best, asked = torch.zeros((1, 6), dtype=torch.int64), []

    def exchanged(index, elites):
        asked.append((index, elites))
        return best

    search = GumbelSearch(CHOICES, 0, GumbelSettings())
    prior = lambda index: expected(index) + 100.0 * (index[:, 1] == 2)  # noqa: E731
    guide = Guide(search, prior, repaired=lambda index, generator: index.clamp(min=1), exchange=lambda: exchanged)
    proposed = search.index(guide.propose())
    assert best[0].tolist() in proposed.tolist() and len(asked) > 3
    assert all((index[:, 1] != 2).all() and len(elites) <= 16 for index, elites in asked)
    guide.learn(proposed, expected(proposed))
    copies, more = guide._of_elites({}, 50, exchanged)
    assert len(copies) == 50 and (copies[25:] >= 1).all() and (copies[:25] < 1).any() and torch.equal(more, best)


def test_what_differs_from_the_best_in_one_choice_passes_through_repair():
    asked, search = [], GumbelSearch(CHOICES, 0, GumbelSettings(pool=0))
    guide = Guide(search, expected, repaired=lambda index, generator: asked.append(index) or torch.zeros_like(index))
    index = torch.tensor([[1, 2, 3, 4, 3, 2], [1, 1, 1, 1, 1, 1]])
    guide.learn(index, expected(index))
    proposed = guide.propose()
    assert (asked[0] != index[1]).sum(dim=1).max() == 1 and 0 in search.index(proposed).sum(dim=1)


def test_rebase_moves_each_as_what_is_expected_of_it():
    slope = [0.1]
    _, guide, _ = make(prior=lambda index: slope[0] * expected(index))
    before, slope[0] = guide.costs.clone(), 0.2
    priced = guide.index[:3]
    guide.rebase(priced, guide.costs[:3] + 0.1 * expected(priced))
    assert torch.allclose(guide.costs, before + 0.1 * expected(guide.index))


def test_state_resumes_exactly():
    search, guide, _ = make()
    again = make(learnt=0, seed=9)[1]
    again.load_state_dict(guide.state_dict())
    again.search.load_state_dict(search.state_dict())
    assert again.propose() == guide.propose() and again.best(5) == guide.best(5)
