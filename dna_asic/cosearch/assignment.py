"""Which chunk runs which layer."""

import torch
from torch import Tensor

_STEPS = 32


def assign(costs: Tensor) -> Tensor:
    """int64 [layers]: the chunk of each, for a small energy x latency of the whole network.

    costs: float64 [layers, chunks, 2], energy and cycles; infinite where a chunk cannot run a layer. The logarithm of
    (sum of energies) x (sum of cycles) is concave, so a linearisation lies above it and falls apart into layers: each
    step takes its minimum, and none makes the product larger. Layers on different chunks add their cycles, because the
    product is of one image alone.
    """
    chosen = costs.prod(dim=2).argmin(dim=1)
    for _ in range(_STEPS):
        total = assigned(costs, chosen).sum(dim=0)
        following = (costs / total).sum(dim=2).argmin(dim=1)
        if not total.isfinite().all() or torch.equal(following, chosen):
            break
        chosen = following
    return chosen


def assigned(costs: Tensor, chosen: Tensor) -> Tensor:
    """float64 [layers, 2]: energy and cycles of each layer on its chunk."""
    return costs[torch.arange(len(costs)), chosen]
