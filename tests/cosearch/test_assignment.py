"""Layers on chunks."""

import itertools

import pytest
import torch

from dna_asic.cosearch.assignment import assign, assigned


def product(costs, chosen):
    return float(assigned(costs, torch.tensor(chosen)).sum(dim=0).prod())


@pytest.mark.parametrize("seed", range(20))
def test_assignment_is_the_best_of_all(seed):
    generator = torch.Generator().manual_seed(seed)
    costs = torch.rand((6, 3, 2), dtype=torch.float64, generator=generator) ** 2 + 0.01
    best = min(product(costs, chosen) for chosen in itertools.product(range(3), repeat=6))
    assert product(costs, assign(costs).tolist()) == pytest.approx(best)


def test_a_chunk_that_cannot_run_a_layer_does_not_get_it():
    costs = torch.ones((2, 2, 2), dtype=torch.float64)
    costs[0, 0], costs[1, 1] = torch.inf, torch.inf
    assert assign(costs).tolist() == [1, 0]


def test_no_chunk_can_run_a_layer():
    costs = torch.ones((2, 2, 2), dtype=torch.float64)
    costs[0] = torch.inf
    assert assigned(costs, assign(costs)).sum(dim=0).isinf().all()
