"""A model of what samples cost, from those that were priced and from what was expected of them before: the control
variate of the search, and its screen.

A Gaussian process over the choices with the product kernel k(x, y) = prod_i (1 if x_i = y_i else r_i), 0 < r_i < 1:
the less an r_i, the more choice i matters. Its mean is the expectation that each sample comes with.
"""

import torch
from torch import Tensor

KEPT = 384  # samples the model is made of: the best, and the latest
JITTER = 1e-6
ROOM = 1.5  # nats over the least cost that are told apart at least


class Surrogate:
    """The model of samples int64 [n, choices]; costs, and what is expected of them, are cut off above.

    Deterministic. Nothing is learned from fewer than two samples: `ready` says so.
    """

    def __init__(self, choices: int):
        self.raw = torch.full((choices + 1,), -1.0, dtype=torch.float64)  # per choice, and of the noise; see `_shape`
        self.ready, self.top = False, torch.tensor(torch.inf, dtype=torch.float64)

    def fit(self, index: Tensor, costs: Tensor, prior: Tensor, steps: int) -> None:
        """Take up priced samples with what was expected of them: `steps` of the likelihood's gradient for what matters,
        then the model anew.
        """
        order = costs.argsort(stable=True)[:KEPT // 2]
        kept = torch.cat([order, torch.arange(len(costs))[-KEPT // 2:]]).unique()
        self.top = costs.median().maximum(costs.min() + ROOM)  # what lies above is not worth telling apart
        self.ready = len(kept) > 1 and bool(costs[kept].minimum(self.top).std() > 1e-9)
        if not self.ready:
            return
        left = costs[kept].minimum(self.top) - prior[kept].minimum(self.top)
        self.mean, self.scale = left.mean(), left.std().clamp(min=1e-3)
        y, self.index = (left - self.mean) / self.scale, index[kept]
        differs = (self.index[:, None] != self.index[None]).double()
        self._learn(differs, y, steps)
        self.factor = torch.linalg.cholesky(self._kernel(self.raw, differs))
        self.weights = torch.cholesky_solve(y[:, None], self.factor)[:, 0]

    def _learn(self, differs, y, steps):
        raw = self.raw.clone().requires_grad_()
        adam = torch.optim.Adam([raw], 0.2)
        for _ in range(steps):
            factor = torch.linalg.cholesky(self._kernel(raw, differs))
            solved = torch.cholesky_solve(y[:, None], factor)[:, 0]
            loss = (0.5 * (y * solved).sum() + factor.diagonal().log().sum()) / len(y) + 0.01 * (raw + 1).pow(2).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
        self.raw = raw.detach().clamp(-8, 4)

    def _shape(self, raw):
        """(r of each choice as its logarithm, variance of the noise)."""
        return -torch.nn.functional.softplus(raw[:-1]), 0.1 * torch.sigmoid(raw[-1])

    def _kernel(self, raw, differs):
        logs, noise = self._shape(raw)
        return torch.exp(differs @ logs) + (noise + JITTER) * torch.eye(len(differs), dtype=torch.float64)

    def predict(self, index: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
        """(mean, deviation) [n] of samples; while nothing is known, what was expected, and 0."""
        if not self.ready:
            return prior, torch.zeros_like(prior)
        logs, _ = self._shape(self.raw)
        cross = torch.exp((index[:, None] != self.index[None]).double() @ logs)
        known = torch.linalg.solve_triangular(self.factor, cross.T, upper=False).pow(2).sum(dim=0)
        mean = prior + self.mean + self.scale * (cross @ self.weights)
        return mean, self.scale * (1 - known).clamp(min=1e-9).sqrt()
