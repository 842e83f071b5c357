"""What `cosearch.prior` expects of samples, worked out chip by chip."""

import torch

from dna_asic.cosearch.designs import REFUSED
from dna_asic.cosearch.estimate import estimated
from dna_asic.mapping.layout import hardware_shapes


def estimates(designs, chips, network):
    """float64 [chips]: ln EDP with the penalty of the targets of `designs`; None is no chip."""
    return torch.tensor([_estimate(designs, chip, network) for chip in chips], dtype=torch.float64)


def _estimate(designs, chip, network):
    excess = 2.0 if chip is None else designs._area_excess(chip)
    if excess:
        return REFUSED + excess
    shapes = [shape for _, shape in hardware_shapes(network, chip.port_bytes)]
    costs = estimated(chip.alone, shapes, designs.layers.technology)
    if len(chip.chunks) > 1:
        idle = torch.tensor([designs.layers.idle_pj(alone) for alone in chip.alone], dtype=torch.float64)
        costs = torch.stack([costs[:, :, 0] + costs[:, :, 1] * (idle.sum() - idle)[:, None], costs[:, :, 1]], dim=2)
    best = costs[costs.prod(dim=2).argmin(dim=0), torch.arange(costs.shape[1])]
    refused = float(best[:, 1].isinf().double().mean())
    return REFUSED + refused if refused else designs.ln_cost(chip, *best.sum(dim=0).tolist())
