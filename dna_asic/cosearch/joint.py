"""The joint loop: DNS and DAS in turn, each priced by the other's optimum of the moment (arXiv 2010.14778)."""

import dataclasses
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dna_asic.cosearch.das import AcceleratorSearch, chosen_costs, place_layers
from dna_asic.cosearch.dns import NetworkSearch
from dna_asic.cosearch.targets import NO_TARGETS, Targets
from dna_asic.cosearch.training import augment, batches
from dna_asic.data import DatasetSplits, to_float
from dna_asic.errors import SpecError
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.networks import Macro, expand, part_layers
from dna_asic.spec.layer import LayerShape, LayerSpec, NetworkSpec

POLISH_PASSES = 3  # times all options, at most


@dataclass(frozen=True, kw_only=True)
class JointSettings:
    """warmup_epochs train weights alone; joint_epochs alternate weights, alpha and gamma.

    das_steps: steps of gamma per joint epoch. hw_weight: lambda at the start, the weight of ln EDP beside the
    cross-entropy.
    """

    warmup_epochs: int = 10
    joint_epochs: int = 16
    batch: int = 32
    das_steps: int = 4
    hw_weight: float = 0.1


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """What one epoch did; hardware entries are None while the weights warm up.

    hw_loss: mean ln of a sampled network's EDP over that of the derived one, on the best chip as the epoch began.
    hw_weight: lambda of the epoch. sampled_edp_js: None too where no sample of gamma's runs the network. best_*: of the
    derived network, as the epoch began, on the best chip so far. val_accuracy: of that network with the supernet's
    weights, where it has a target.
    """

    epoch: int
    weight_loss: float
    task_loss: float | None = None
    hw_loss: float | None = None
    alpha_entropy: float | None = None
    gamma_entropy: float | None = None
    sampled_edp_js: float | None = None
    best_edp_js: float | None = None
    best_latency_ms: float | None = None
    best_power_mw: float | None = None
    val_accuracy: float | None = None
    hw_weight: float | None = None
    choices: tuple[str, ...] | None = None


def candidate_shapes(layers: tuple[LayerSpec, ...], port_bytes: int) -> list[LayerShape]:
    """Hardware layers of one candidate block, laid out as a network of its own."""
    if not layers:
        return []
    outside = layers[0].source
    local = tuple(dataclasses.replace(x, source="input" if x.source == outside else x.source,
                                      residual="input" if x.residual == outside else x.residual) for x in layers)
    first = local[0].shape
    shape = (first.g * first.c, first.h, first.w)
    fragment = NetworkSpec(name="candidate", input_shape=shape, layers=local)
    return [s for _, s in hardware_shapes(fragment, port_bytes)]


class JointSearch:
    """State of a co-search; `run_epoch` moves it by one epoch. Everything follows from the seed.

    Without an accelerator the network is searched for its cross-entropy alone. targets: what lambda is moved for. Of
    several processes the first alone has the accelerator. Raises SpecError for batches that they cannot share.
    """

    def __init__(self, macro: Macro, splits: DatasetSplits, network: NetworkSearch,
                 accelerator: AcceleratorSearch | None, settings: JointSettings, seed: int,
                 targets: Targets = NO_TARGETS):
        self.macro, self.splits = macro, splits.on(network.compute.device)
        self.settings, self.targets = settings, targets
        self.network, self.accelerator = network, accelerator
        self.epoch, self.hw_weight = 0, settings.hw_weight if accelerator else 0.0
        self.generator = torch.Generator().manual_seed(seed)
        self.history: list[EpochRecord] = []
        ranks, least = network.compute.ranks, min(len(splits.train.labels), len(splits.val.labels))
        if ranks > 1 and not (settings.batch % ranks == 0 and 2 * ranks <= settings.batch <= least):
            raise SpecError(f"--batch must be a multiple of the {ranks} processes, at least {2 * ranks} and at most "
                            f"the {least} images of the smaller part, not {settings.batch}.")

    @property
    def epochs(self) -> int:
        """Epochs in all."""
        return self.settings.warmup_epochs + self.settings.joint_epochs

    def run_epoch(self, tick: Callable[[], None] = lambda: None) -> EpochRecord:
        """One epoch over the training part; `tick` is called after each batch."""
        joint = self.epoch >= self.settings.warmup_epochs
        hardware = self._search_accelerator() if joint else {}
        hw_cost = self.candidate_costs() if joint else None
        hw_cost, self.hw_weight = self.network.compute.told((hw_cost, self.hw_weight))
        weight_losses, arch_losses, whole = [], [], self.network.compute.ranks > 1
        val_order = batches(len(self.splits.val.labels), self.settings.batch, self.generator, whole)
        train_order = batches(len(self.splits.train.labels), self.settings.batch, self.generator, whole)
        with self.network.compute.busy():
            for i, index in enumerate(train_order):
                images = self._batch(self.splits.train, index, True)
                weight_losses.append(self.network.train_weights_step(images))
                if joint:
                    val = self._batch(self.splits.val, val_order[i % len(val_order)], False)
                    arch_losses.append(self.network.arch_step(val, hw_cost, self.hw_weight))
                tick()
        record = EpochRecord(epoch=self.epoch, weight_loss=_mean(weight_losses), **hardware)
        if joint:
            record = dataclasses.replace(
                record, task_loss=_mean([x.task for x in arch_losses]),
                hw_loss=_mean([x.hardware for x in arch_losses]), hw_weight=self.hw_weight,
                alpha_entropy=self.network.entropy(), choices=tuple(self.network.derive()))
            self.network.anneal()
        self.epoch += 1
        self.history.append(record)
        return record

    def _batch(self, subset, index, train):
        index = self.network.compute.share(index)
        images = to_float(subset.images[index])
        if train:
            images = augment(images, self.generator, mirror=self.splits.mirrored)
        return images, subset.labels[index]

    def _search_accelerator(self) -> dict[str, float | None]:
        """Move gamma, then lambda."""
        if self.accelerator is None:
            return {}
        choices = self.network.derive()
        network = expand(self.macro, choices)
        for _ in range(self.settings.das_steps):
            stats = self.accelerator.step(network)
        edp_js, energy_j, latency_s = self.accelerator.figures()
        accuracy = self.network.accuracy(choices, self.splits.val) if self.targets.min_accuracy else None
        self.hw_weight = self.targets.next_weight(self.hw_weight, self.settings.hw_weight, energy_j, latency_s,
                                                  accuracy)
        sampled = stats.mean_cost if math.isfinite(stats.mean_cost) else None
        return {"gamma_entropy": stats.entropy, "sampled_edp_js": sampled, "best_edp_js": edp_js,
                "best_latency_ms": latency_s * 1e3, "best_power_mw": energy_j / latency_s * 1e3,
                "val_accuracy": accuracy}

    def polish(self, progress: Callable[[int, int], None] = lambda done, of: None) -> list[str]:
        """The derived network, one choice after the other moved to the option of least loss while that lowers it.

        The loss is alpha's, on the best chip so far, of the network alone and all validation images.
        """
        costs, losses = self.candidate_costs(), {}

        def loss(choice):
            if choice not in losses:
                losses[choice] = self.network.loss(choice, self.splits.val, costs, self.hw_weight)
                progress(len(losses), most)
            return losses[choice]

        options, best, settled = self.network.options, tuple(self.network.derive()), 0
        most = POLISH_PASSES * sum(map(len, options))
        for at in itertools.cycle(range(len(options))):
            if settled == len(options) or len(losses) >= most:
                return list(best)
            moved = min((best[:at] + (option,) + best[at + 1:] for option in options[at]),
                        key=lambda choice: (loss(choice), choice != best))
            settled = settled + 1 if moved == best else 0
            best = moved

    def candidate_costs(self) -> Tensor | None:
        """[2, parts, candidates, widths in, widths out]: energy and latency of each on the best chip so far, as shares
        of those of the derived network; see `blocks.part_layers`.

        Each is on the chunk that adds least to ln(E T) of that network. A candidate that this chip cannot run counts as
        twice the dearest of its part. None without an accelerator.
        """
        if self.accelerator is None:
            return None
        port, derived = self.accelerator.port_bytes, expand(self.macro, self.network.derive())
        parts = {at: candidate_shapes(layers, port) for at, layers in part_layers(self.macro).items()}
        whole = [shape for _, shape in hardware_shapes(derived, port)]
        shapes = whole + [s for part in parts.values() for s in part]
        prices = dict(zip(shapes, self.accelerator.layer_costs(shapes), strict=True))
        of_whole = torch.stack([prices[s] for s in whole])
        total = chosen_costs(of_whole, place_layers(derived, of_whole)).sum(dim=0)
        shares = {s: min((price / total).tolist(), key=sum) for s, price in prices.items()}
        supernet = self.network.supernet
        costs = torch.zeros((2, *supernet.part_gates(supernet.alpha.detach()).shape), dtype=torch.float64)
        for at, part in parts.items():
            costs[:, *at] = torch.tensor([shares[s] for s in part], dtype=torch.float64).reshape(-1, 2).sum(dim=0)
        runs = costs.isfinite()
        dearest = costs.where(runs, 0).amax(dim=(2, 3, 4), keepdim=True)
        return costs.where(runs, 2 * dearest)

    def state_dict(self) -> dict:
        """For a checkpoint: tensors, numbers and strings only."""
        return {"epoch": self.epoch, "generator": self.generator.get_state(), "network": self.network.state_dict(),
                "accelerator": self.accelerator and self.accelerator.state_dict(), "hw_weight": self.hw_weight,
                "history": [dataclasses.asdict(r) for r in self.history]}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a `state_dict` as if never stopped."""
        self.epoch, self.hw_weight = state["epoch"], state["hw_weight"]
        self.generator.set_state(state["generator"])
        self.network.load_state_dict(state["network"])
        if self.accelerator:
            self.accelerator.load_state_dict(state["accelerator"])
        self.history = [EpochRecord(**r) for r in state["history"]]

    def load_warm_up(self, state: dict) -> None:
        """Go on from the `state_dict` of a search that has only warmed up, with this one's accelerator and lambda."""
        own = self.state_dict()
        self.load_state_dict(state | {key: own[key] for key in ("accelerator", "hw_weight")})


def _mean(values):
    return sum(values) / len(values)
