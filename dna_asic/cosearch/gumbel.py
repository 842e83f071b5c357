"""Gradient search over categoricals whose cost is a table look-up, by straight-through Gumbel-Softmax.

The loss of a step is the mean over its samples of advantage x sum of the chosen options' gates. A gate has the value 1
and, straight through, the gradient of its relaxed sample softmax((gamma + Gumbel noise) / temperature); the sum of the
gates has the gradient of their product, by which DNA multiplies the cost of a hard sample (arXiv 2010.14778,
section III-C). The advantage is the cost less the mean of the step's costs, over their deviation: a baseline that
DNA does not have, and without which every sampled option is held back whatever it costs.
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
    """samples: drawn per step. rate: of Adam. temperature: of the first step; it decays geometrically per step down to
    temperature_end."""

    samples: int = 16
    rate: float = 0.1
    temperature: float = 3.0
    temperature_decay: float = 0.97
    temperature_end: float = 0.5


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

    def draw(self) -> tuple[list[Sample], Tensor]:
        """Hard samples, and the gates [samples, choices] of their chosen options: of value 1, and differentiable."""
        chosen, gates = [], []
        for gamma in self.gamma:
            uniform = torch.rand((self.settings.samples, len(gamma)), dtype=torch.float64, generator=self.generator)
            noise = -torch.log(-torch.log(uniform.clamp(1e-12, 1 - 1e-12)))
            relaxed = torch.softmax((gamma + noise) / self.temperature, dim=1)
            soft, index = relaxed.max(dim=1)
            chosen.append(index.tolist())
            gates.append(1 + (soft - soft.detach()))
        return [self._sample(row) for row in zip(*chosen, strict=True)], torch.stack(gates, dim=1)

    def update(self, gates: Tensor, costs: Tensor) -> None:
        """One step of gamma: `costs` [samples], finite, of what `draw` gave."""
        advantage = (costs - costs.mean()) / costs.std().clamp(min=1e-9)
        loss = (advantage * gates.sum(dim=1)).mean()
        for gamma, gradient in zip(self.gamma, torch.autograd.grad(loss, self.gamma), strict=True):
            gamma.grad = gradient
        self._adam.step()
        self.steps += 1

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
