"""Which chunk runs which layer."""

import torch
from torch import Tensor


def assign(costs: Tensor) -> Tensor:
    """int64 [layers]: the chunk of each, for the smallest (sum of energies) x (sum of cycles).

    costs: float64 [layers, chunks, 2], energy and cycles; infinite where a chunk cannot run a layer. The product is
    quasi-concave in the two sums, so its minimum lies at a corner of the convex hull of what they can be; and each
    corner is where, for some weight w, every layer has its smallest energy + w x cycles. Layers on different chunks add
    their cycles: the product is of one image alone.
    """
    energy, cycles = costs.unbind(dim=2)
    chosen = (energy + _weights(energy, cycles)[:, None, None] * cycles).argmin(dim=2)
    layer = torch.arange(len(costs))
    products = energy[layer, chosen].sum(dim=1) * cycles[layer, chosen].sum(dim=1)
    return chosen[int(products.argmin())]


def _weights(energy, cycles):
    """[n]: one weight between every two at which a layer's best chunk may change, and one on either side."""
    saved = energy[:, :, None] - energy[:, None, :]
    turns = (saved / (cycles[:, None, :] - cycles[:, :, None])).flatten()
    turns = turns[turns.isfinite() & (turns > 0)].unique()
    if not len(turns):
        return torch.ones(1, dtype=energy.dtype)
    return torch.cat([turns[:1] / 2, (turns[:-1] * turns[1:]).sqrt(), turns[-1:] * 2])


def assigned(costs: Tensor, chosen: Tensor) -> Tensor:
    """float64 [layers, 2]: energy and cycles of each layer on its chunk."""
    return costs[torch.arange(len(costs)), chosen]
