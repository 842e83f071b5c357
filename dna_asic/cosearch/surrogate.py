"""A model of what samples cost, from those that were priced: the control variate of the search, and its screen.

A Gaussian process over the choices with the product kernel k(x, y) = prod_i (1 if x_i = y_i else r_i), 0 < r_i < 1:
the less an r_i, the more choice i matters. Its mean m(x) = sum_n v_n k(x, x_n) has a closed expectation under
independent categoricals p_i, E[k(x, y)] = prod_i (r_i + (1 - r_i) p_i(y_i)), whose gradient needs no sample.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

KEPT = 384  # samples the model is made of: the best, and the latest
JITTER = 1e-6


class Surrogate:
    """The model of samples int64 [n, choices]; costs are in units of their own deviation, and cut off above.

    Deterministic. Nothing is learned from fewer than two different costs: `ready` says so.
    """

    def __init__(self, choices: int):
        self.raw = torch.full((choices + 1,), -1.0, dtype=torch.float64)  # per choice, and of the noise; see `_shape`
        self.ready = False

    def fit(self, index: Tensor, costs: Tensor, steps: int) -> None:
        """Take up priced samples: `steps` of the likelihood's gradient for what matters, then the model anew."""
        order = costs.argsort(stable=True)[:KEPT // 2]
        kept = torch.cat([order, torch.arange(len(costs))[-KEPT // 2:]]).unique()
        self.top = costs.median()  # what lies above is not worth telling apart
        index, y = index[kept], costs[kept].minimum(self.top)
        self.ready = len(kept) > 1 and bool(y.std() > 1e-9)
        if not self.ready:
            return
        self.mean, self.scale = float(y.mean()), float(y.std())
        y = (y - self.mean) / self.scale
        differs = (index[:, None] != index[None]).double()
        self._learn(differs, y, steps)
        with torch.no_grad():
            self.index, kernel = index, self._kernel(self.raw, differs)
            self.factor = torch.linalg.cholesky(kernel)
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

    def predict(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """(mean, deviation) [n] of samples, in units of the deviation of the costs; 0 and 1 while nothing is known."""
        if not self.ready:
            return torch.zeros(len(index), dtype=torch.float64), torch.ones(len(index), dtype=torch.float64)
        logs, _ = self._shape(self.raw)
        cross = torch.exp((index[:, None] != self.index[None]).double() @ logs)
        known = torch.linalg.solve_triangular(self.factor, cross.T, upper=False).pow(2).sum(dim=0)
        return cross @ self.weights, (1 - known).clamp(min=1e-9).sqrt()

    def standard(self, costs: Tensor) -> Tensor:
        """Costs in the model's units, cut off as its own."""
        return (costs.minimum(self.top) - self.mean) / self.scale

    def expected(self, probabilities: Sequence[Tensor]) -> Tensor:
        """Mean of the model under independent categoricals, differentiable; `ready` only."""
        logs, _ = self._shape(self.raw)
        terms = 1.0
        for i, p in enumerate(probabilities):
            r = logs[i].exp()
            terms = terms * (r + (1 - r) * p[self.index[:, i]])
        return (terms * self.weights).sum()
