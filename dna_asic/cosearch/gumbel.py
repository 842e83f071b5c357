"""Gradient search over categoricals whose cost is a table look-up, by straight-through Gumbel-Softmax.

The loss of a step is the mean over its samples of advantage x sum of the chosen options' gates. A gate has the value 1
and, straight through, the gradient of its relaxed sample softmax((gamma + Gumbel noise) / temperature); the sum of the
gates has the gradient of their product, by which DNA multiplies the cost of a hard sample (arXiv 2010.14778,
section III-C). The advantage is the cost less the mean of the step's costs, over their deviation: a baseline that
DNA does not have, and without which every sampled option is held back whatever it costs (`docs/search.md`).
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dna_asic.errors import SpecError
from dna_asic.space import Choice

Sample = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class GumbelSettings:
    """samples: priced per step. rate: of Adam. temperature: of the first step; it decays geometrically per step down to
    temperature_end.

    What DNA's search lacks, each to be switched off alone. baseline: the mean of a step's costs is taken from them.
    prior: the model of the samples priced begins with an estimate of each. control_variate: the model gives the
    gradient, by draws of gamma, and the step's samples what it leaves. screened: so many of a step's samples are the
    best by the model of draws and of `pool` varied copies of the `elites` best (with 0 of `pool` draws alone). shrunk:
    half of the copies, and what differs from the best sample in one choice, are made to fit the area. exchanged: elites
    get each other's and any other known chunks. polish: moves of one choice at the end.
    """

    samples: int = 8
    rate: float = 0.1
    baseline: bool = True
    prior: bool = True
    control_variate: bool = True
    screened: int = 6
    pool: int = 448
    elites: int = 16
    shrunk: bool = True
    exchanged: bool = True
    polish: bool = True
    temperature: float = 3.0
    temperature_decay: float = 0.97
    temperature_end: float = 0.5


PLAIN = {"prior": False, "control_variate": False, "screened": 0, "polish": False}
ABLATIONS: dict[str, dict] = {
    "plain Gumbel, no baseline": {"baseline": False, **PLAIN},
    "plain Gumbel": PLAIN,
    "without prior": {"prior": False},
    "without control variate": {"control_variate": False},
    "without screen": {"screened": 0},
    "without elites": {"elites": 0},
    "without shrinking": {"shrunk": False},
    "without exchange": {"exchanged": False},
    "without polish": {"polish": False},
}


class GumbelSearch:
    """gamma (one vector of logits per choice) with its optimiser and random generator; all depends on `seed`."""

    def __init__(self, choices: Sequence[Choice], seed: int, settings: GumbelSettings):
        self.choices, self.settings, self.steps = tuple(choices), settings, 0
        self.gamma = [torch.zeros(len(c.options), dtype=torch.float64, requires_grad=True) for c in choices]
        self.generator = torch.Generator().manual_seed(seed)
        self._adam = torch.optim.Adam(self.gamma, settings.rate, betas=(0.5, 0.999))

    @property
    def temperature(self) -> float:
        """Of the next step."""
        s = self.settings
        return max(s.temperature_end, s.temperature * s.temperature_decay ** self.steps)

    def draw(self, count: int | None = None) -> tuple[list[Sample], Tensor]:
        """Hard samples, and the gates [samples, choices] of their chosen options: of value 1, and differentiable.

        count: how many; those of the settings if none is said.
        """
        chosen, gates = [], []
        for gamma in self.gamma:
            relaxed = torch.softmax((gamma + self._noise(count or self.settings.samples, gamma)) / self.temperature, 1)
            soft, index = relaxed.max(dim=1)
            chosen.append(index)
            gates.append(1 + (soft - soft.detach()))
        return self.samples(torch.stack(chosen, dim=1)), torch.stack(gates, dim=1)

    def draw_index(self, count: int) -> Tensor:
        """int64 [count, choices]: options of hard samples, without gates."""
        return torch.stack([(g.detach() + self._noise(count, g)).argmax(dim=1) for g in self.gamma], dim=1)

    def _noise(self, count, gamma):
        uniform = torch.rand((count, len(gamma)), dtype=torch.float64, generator=self.generator)
        return -torch.log(-torch.log(uniform.clamp(1e-12, 1 - 1e-12)))

    def samples(self, index: Tensor) -> list[Sample]:
        """Of options [n, choices]."""
        return [self._sample(row) for row in index.tolist()]

    def index(self, samples: Sequence[Sample]) -> Tensor:
        """int64 [n, choices]: the options of samples."""
        return torch.tensor([[c.options.index(s[c.label]) for c in self.choices] for s in samples],
                            dtype=torch.int64).reshape(-1, len(self.choices))

    def log_likelihood(self, index: Tensor) -> Tensor:
        """[n]: of samples int64 [n, choices], differentiable."""
        return torch.stack([torch.log_softmax(g, 0)[index[:, i]] for i, g in enumerate(self.gamma)]).sum(dim=0)

    def update(self, gates: Tensor, costs: Tensor, expected: Tensor | float = 0.0) -> None:
        """One step of gamma: `costs` [samples], finite, of what `draw` gave.

        expected: the rest of the loss, differentiable, where `costs` are but what a control variate leaves of them.
        """
        advantage = costs - costs.mean() if isinstance(expected, Tensor) else self._advantage(costs)
        self.descend((advantage * gates.sum(dim=1)).mean() + expected)
        self.steps += 1

    def descend(self, loss: Tensor) -> None:
        """Move gamma against the gradient of a loss."""
        for gamma, gradient in zip(self.gamma, torch.autograd.grad(loss, self.gamma), strict=True):
            gamma.grad = gradient
        self._adam.step()

    def _advantage(self, costs):
        """Without a baseline all are positive, the worst 1: DNA multiplies by the cost, not by its logarithm."""
        if not self.settings.baseline:
            return (costs - costs.max()).exp()
        return (costs - costs.mean()) / costs.std().clamp(min=1e-9)

    def likeliest(self) -> Sample:
        """The likeliest option of each choice."""
        return self._sample([int(gamma.argmax()) for gamma in self.gamma])

    def _sample(self, indices):
        return {c.label: c.options[i] for c, i in zip(self.choices, indices, strict=True)}

    def entropy(self) -> float:
        """Mean entropy of softmax(gamma) over the choices, in nats: 0 when all is decided."""
        entropies = [torch.special.entr(torch.softmax(gamma.detach(), 0)).sum() for gamma in self.gamma]
        return float(torch.stack(entropies).mean())

    def state_dict(self) -> dict:
        """For `load_state_dict` to go on as if never stopped: tensors, numbers and strings only."""
        return {"labels": [c.label for c in self.choices], "gamma": [g.detach().clone() for g in self.gamma],
                "adam": copy.deepcopy(self._adam.state_dict()), "generator": self.generator.get_state(),
                "steps": self.steps}

    def load_state_dict(self, state: dict) -> None:
        """Take up a `state_dict`; raises SpecError when it is of other choices."""
        sizes = [len(g) for g in state["gamma"]]
        if state["labels"] != [c.label for c in self.choices] or sizes != [len(c.options) for c in self.choices]:
            raise SpecError("Checkpoint is of another accelerator space; start the search anew.")
        with torch.no_grad():
            for gamma, saved in zip(self.gamma, state["gamma"], strict=True):
                gamma.copy_(saved)
        self._adam.load_state_dict(state["adam"])
        self.generator.set_state(state["generator"])
        self.steps = state["steps"]
