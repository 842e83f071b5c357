"""DNS: the differentiable search of the network; the joint loop calls it step by step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dna_asic.cosearch.compute import CPU, Compute
from dna_asic.data import Subset, to_float
from dna_asic.errors import SpecError
from dna_asic.networks import Macro, SuperNet

JUDGED = 512  # images at most whose statistics normalise them


@dataclass(frozen=True, kw_only=True)
class DnsSettings:
    """Weights by SGD with a cosine over `epochs`; alpha by Adam; temperature decays geometrically per epoch.

    The defaults suit a small dataset and a search of minutes. DNA's authors search CIFAR for 90 epochs with weight
    rate 0.025, arch rate 3e-4, temperature 5 and decay 0.975 in later work.
    """

    epochs: int = 30
    weight_rate: float = 0.2
    weight_rate_end: float = 0.002
    momentum: float = 0.9
    weight_decay: float = 3e-4
    gradient_limit: float = 5.0
    arch_rate: float = 0.03
    temperature: float = 5.0
    temperature_decay: float = 0.9
    backward_paths: int = 2


class ArchLosses(NamedTuple):
    """Of one architecture step: cross-entropy, ln(E T) of the sampled path (units of hw_cost), their weighted sum."""

    task: float
    hardware: float
    total: float


class NetworkSearch:
    """A supernet with its optimisers, temperature and random generator; on a CPU everything depends on `seed` alone.

    A batch is (images [N, C, H, W], labels [N]) on the device of `compute`: of the training set for weights, of the
    validation set for alpha.
    """

    def __init__(self, macro: Macro, settings: DnsSettings, seed: int, compute: Compute = CPU):
        self.macro, self.settings, self.compute, self.epoch = macro, settings, compute, 0
        self.supernet = compute.place(SuperNet(macro, seed))
        self.generator = torch.Generator().manual_seed(seed)
        self._weights = torch.optim.SGD(self.supernet.weight_parameters, settings.weight_rate,
                                        momentum=settings.momentum, weight_decay=settings.weight_decay)
        self._arch = torch.optim.Adam([self.supernet.alpha], settings.arch_rate, betas=(0.5, 0.999))

    @property
    def temperature(self) -> float:
        """Gumbel-Softmax temperature of this epoch."""
        return self.settings.temperature * self.settings.temperature_decay ** self.epoch

    @property
    def options(self) -> list[tuple[str, ...]]:
        """Options per choice, in the order of alpha's columns."""
        return self.supernet.options

    def probabilities(self) -> Tensor:
        """softmax(alpha) [choices, options], without gradient; 0 where a choice has no such option."""
        return torch.softmax(self.supernet.logits().detach(), dim=1)

    def train_weights_step(self, batch: tuple[Tensor, Tensor]) -> float:
        """One SGD step of the weights of one sampled network; its cross-entropy."""
        images, labels = batch
        self.supernet.train()
        with self.compute.autocast():
            loss = F.cross_entropy(self.supernet.run_path(images, self.sample()), labels)
        self._weights.zero_grad(set_to_none=True)
        loss.backward()
        self.compute.average(self.supernet.weight_parameters)
        nn.utils.clip_grad_norm_(self.supernet.weight_parameters, self.settings.gradient_limit)
        self._weights.step()
        return loss.item()

    def arch_step(self, batch: tuple[Tensor, Tensor], hw_cost: Tensor | None, lam: float) -> ArchLosses:
        """One Adam step of alpha on task + lam * ln(E T) of one hard Gumbel sample; no hw_cost: on the task alone.

        hw_cost: energy and latency, in any unit, of every part that a network may have: finite [2, parts, candidates,
        widths in, widths out], no gradient; see `blocks.part_layers`. E and T are the sums over the sample's parts.
        """
        images, labels = batch
        self.supernet.train()
        gates = self._gates()
        with self.compute.autocast():
            task = F.cross_entropy(self.supernet(images, gates, self.settings.backward_paths), labels)
        hardware = self._hardware(gates, hw_cost)
        total = task + lam * hardware
        (self.supernet.alpha.grad,) = torch.autograd.grad(total, [self.supernet.alpha])
        self.compute.average([self.supernet.alpha])
        self._arch.step()
        return ArchLosses(task.item(), hardware.item(), total.item())

    def loss(self, choice: Sequence[str], part: Subset, hw_cost: Tensor | None, lam: float) -> float:
        """What `arch_step` samples, of the network of `choice` and all images of `part`, with the supernet's weights;
        the images' own statistics normalise them.
        """
        gates = torch.zeros_like(self.supernet.alpha)
        for row, options, label in zip(gates, self.options, choice, strict=True):
            row[options.index(label)] = 1.0
        return F.cross_entropy(self.logits(choice, part.images), part.labels).item() + lam * self._hardware(
            gates, hw_cost).item()

    def accuracy(self, choice: Sequence[str], part: Subset) -> float:
        """Share of right answers of that network."""
        return float((self.logits(choice, part.images).argmax(dim=1) == part.labels).float().mean())

    @torch.no_grad()
    def logits(self, choice: Sequence[str], images: Tensor) -> Tensor:
        """float32 [N, classes] of that network and uint8 images [N, C, H, W]."""
        self.supernet.train()
        with self.compute.busy(), self.compute.autocast():
            return torch.cat([self.supernet.run_path(to_float(x), choice).float()
                              for x in images.chunk(math.ceil(len(images) / JUDGED))])

    def _gates(self) -> Tensor:
        return self.supernet.sample_gates(self.temperature, self.generator)

    def _hardware(self, gates: Tensor, hw_cost: Tensor | None) -> Tensor:
        if hw_cost is None:
            return gates.new_zeros(())
        parts = self.supernet.part_gates(gates)
        if hw_cost.shape != (2, *parts.shape) or not torch.isfinite(hw_cost).all():
            raise SpecError(f"hw_cost must be finite numbers {[2, *parts.shape]}, not {list(hw_cost.shape)} or with "
                            f"infinities; price every candidate.")
        return (parts * hw_cost.detach().to(parts.device).float()).flatten(1).sum(dim=1).log().sum()

    def sample(self) -> list[str]:
        """Options of one hard Gumbel sample."""
        return self._labels(self._gates().argmax(dim=1))

    def derive(self) -> list[str]:
        """The likeliest option of each choice."""
        return self._labels(self.supernet.logits().argmax(dim=1))

    def _labels(self, indices: Tensor) -> list[str]:
        return [options[i] for options, i in zip(self.options, indices.tolist(), strict=True)]

    def entropy(self) -> float:
        """Mean entropy of softmax(alpha) over the choices, in nats: log(options) at the start, 0 when decided."""
        return float(torch.special.entr(self.probabilities()).sum(dim=1).mean())

    def anneal(self) -> None:
        """End an epoch: lower the temperature and the rate of the weights."""
        s = self.settings
        self.epoch += 1
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, self.epoch / s.epochs)))
        for group in self._weights.param_groups:
            group["lr"] = s.weight_rate_end + (s.weight_rate - s.weight_rate_end) * cosine

    def state_dict(self) -> dict:
        """Everything that a later `load_state_dict` needs to go on as if never stopped; tensors and numbers only."""
        return {"supernet": self.supernet.state_dict(), "weights": self._weights.state_dict(),
                "arch": self._arch.state_dict(), "epoch": self.epoch, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict) -> None:
        """Take up a `state_dict`; raises SpecError if it is of another macro-architecture or damaged."""
        try:
            self.supernet.load_state_dict(state["supernet"])
            self._weights.load_state_dict(state["weights"])
            self._arch.load_state_dict(state["arch"])
            self.epoch = state["epoch"]
            self.generator.set_state(state["generator"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise SpecError(f"Checkpoint does not fit macro '{self.macro.name}': {error}; "
                            f"start the search anew.") from error
