"""DAS: the differentiable search of the accelerator; the joint loop calls it step by step.

gamma is one categorical per entry of the space, moved by the gradient through hard Gumbel-Softmax samples
(`cosearch.gumbel`), with what earlier samples tell as a control variate and as a screen (`cosearch.guide`). A
sample's cost is the logarithm of the network's EDP on it, by the exact mapper and cost model; a sample that is no chip,
too large, or cannot run a layer costs more than the worst that can (`DesignPricer.log_costs`).
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dna_asic.cosearch.designs import (
    DesignPricer,
    FoundAccelerator,
    chosen_costs,
    edp_js,
    map_design,
    place_layers,
)
from dna_asic.cosearch.guide import Guide
from dna_asic.cosearch.gumbel import GumbelSearch, GumbelSettings, Sample
from dna_asic.cosearch.pricing import LayerPricer
from dna_asic.cosearch.prior import EstimatedPrior
from dna_asic.cosearch.targets import NO_TARGETS, Targets
from dna_asic.errors import InfeasibleDesign
from dna_asic.gads import GadsSpace
from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.layer import LayerShape, NetworkSpec
from dna_asic.spec.record import from_plain, to_plain
from dna_asic.spec.report import CostReport
from dna_asic.technology import Technology

__all__ = ["AcceleratorSearch", "DasStats", "FoundAccelerator", "chosen_costs", "edp_js", "fixed_accelerator",
           "place_layers", "polish", "require_chip", "search_accelerator", "search_within"]

POLISH_PASSES = 3  # times all options, at most
POLISH_BATCH = 8  # moves priced together
POLISH_SHARE = 0.3  # of a given number of evaluations
SCOUT_DRAWS, SCOUT_ROUNDS = (64, 512), (2, 4, 8)  # that a chip each follows before the first step
IDLE_STEPS, BARREN_STEPS = 3, 300  # without a new chip: gamma has settled; there seems to be none that runs the network
RECALLED = 8  # samples of another network that are priced for the one in hand
FINALISTS = 4
ROUNDS = 4  # of finalists, until one keeps the targets
Progress = Callable[[str, int, int], None]  # (stage, done, of)


@dataclass(frozen=True, kw_only=True)
class DasStats:
    """One step. entropy: mean of gamma's categoricals, in nats. mean_cost: geometric mean of the EDP in J s of gamma's
    own samples that run the network (NaN without one). best_cost: EDP of the best chip so far, on this step's network.
    Both are with the penalty for targets that are broken. evaluations: chips mapped so far.
    """

    entropy: float
    mean_cost: float
    best_cost: float
    evaluations: int


class AcceleratorSearch:
    """gamma, and the best chip so far; everything depends on `seed` alone.

    Chips run at the technology's clock unless the space fixes one. designs: another pricer, with targets of its own.
    """

    def __init__(self, space: GadsSpace, technology: Technology, seed: int, settings: GumbelSettings | None = None,
                 designs: DesignPricer | None = None, targets: Targets = NO_TARGETS):
        self.space, self.technology = space.at_clock(technology.clk_period_ns), technology
        self.gumbel = GumbelSearch(self.space.choices, seed, settings or GumbelSettings())
        self.designs = designs or DesignPricer(LayerPricer(technology, seed, orders=space.orders), targets)
        self._prior = EstimatedPrior(self.space, self.designs)
        use = self.gumbel.settings
        self.guide = Guide(self.gumbel, self._expected if use.prior else None, self._unused,
                           repaired=self._shrunk if use.prior and use.shrunk else None,
                           exchange=self._exchange if use.prior and use.exchanged else None)
        self._best: Sample | None = None
        self._network: NetworkSpec | None = None

    @property
    def pricer(self) -> LayerPricer:
        """Prices of layers on single chunks."""
        return self.designs.layers

    @property
    def best(self) -> Sample:
        """The best sample so far; raises InfeasibleDesign when none could run its network."""
        if self._best is None:
            raise self.none_found("the network")
        return self._best

    def none_found(self, network: str) -> InfeasibleDesign:
        """The error that no sample could run `network`, within the area if that is limited."""
        limit, least = self.designs.targets.max_area_mm2, self.designs.least_area_mm2
        within, remedy = "", "enlarge its buffers"
        if math.isfinite(limit):
            within, remedy = f" within max_area_mm2 {limit:g} (the smallest met has {least:.4g})", "allow more area"
        return InfeasibleDesign(f"Space '{self.space.name}': no sampled chip{within} could run {network}; {remedy} or "
                                f"unpin entries.")

    @property
    def started(self) -> bool:
        """Whether some sample ran its network."""
        return self._best is not None

    @property
    def chip(self) -> AcceleratorConfig:
        """The chip of `best`."""
        return self.space.build(self.best)

    @property
    def port_bytes(self) -> int:
        """Memory port of `chip`."""
        return self.best["port_bytes"]

    def step(self, network: NetworkSpec) -> DasStats:
        """Draw and price samples, move gamma. Raises InfeasibleDesign when not one chip so far runs the network."""
        self._turn_to(network)
        proposed = self.guide.propose()
        samples, gates = self.gumbel.draw(self.gumbel.settings.samples - len(proposed))
        drawn = len(samples)
        samples += proposed
        samples += [s for s in (self.gumbel.likeliest(), self._best) if s]
        edp = self.edp_js(samples, network)
        index, costs = self.gumbel.index(samples), self._log_costs(samples)
        self.guide.update(gates, index[:drawn], costs[:drawn])
        self.guide.learn(index, costs)
        best = int(edp.argmin())
        self._best = samples[best] if edp[best].isfinite() else None
        own = edp[:drawn]
        return DasStats(entropy=self.gumbel.entropy(), mean_cost=float(own[own.isfinite()].log().mean().exp()),
                        best_cost=float(edp[best]), evaluations=self.designs.evaluations)

    def scout(self, network: NetworkSpec) -> None:
        """Price a few chips soon, ahead of the first step, which follows the estimate far: what it likes best of few
        and of many draws, and what it leads to in more and more rounds. Without an estimate none. Gamma is left as it
        was.
        """
        if not self.guide.informed:
            return
        self._turn_to(network)
        gumbel, guide = self.gumbel.state_dict(), self.guide.state_dict()
        drawn = self.gumbel.samples(self.gumbel.draw_index(max(SCOUT_DRAWS)))
        for draws in SCOUT_DRAWS:
            self._prefer(self.guide.ranked(drawn[:draws])[:1], network)
        for rounds in SCOUT_ROUNDS:
            self.gumbel.load_state_dict(gumbel)  # so rounds begin alike, and nothing is estimated again
            self._prefer(self.guide.propose(rounds, 1), network)
            self.guide.load_state_dict(guide)
        self.gumbel.load_state_dict(gumbel)

    def _turn_to(self, network):
        """What is remembered of another network is brought to the level of this one by its best samples."""
        before, self._network = self._network, network
        if network != before and (samples := self.guide.best(RECALLED)):
            edp = self.edp_js(samples, network)
            if edp.isfinite().any():
                self.guide.rebase(self.gumbel.index(samples), self._log_costs(samples))

    def edp_js(self, samples: Sequence[Sample], network: NetworkSpec) -> Tensor:
        """float64 [samples]: EDP of the network on each, infinite for what is no chip or cannot run a layer.

        Each chip gets the network as laid out for its own port, and each layer the chunk that suits it.
        """
        return self.designs.edp_js([self._build(s) for s in samples], network)

    def _expected(self, index):
        return self._prior(index, self._network)

    def _shrunk(self, index, generator=None):
        return self._prior.shrunk(index, self._network, generator)

    def _exchange(self):
        return self._prior.exchange(self._network)

    def _unused(self, index):
        labels = [c.label for c in self.space.choices]
        chunks = torch.tensor(self.space.space["chunks"].options)[index[:, labels.index("chunks")]]
        return torch.tensor([self.space.chunk_of(label) for label in labels]) >= chunks[:, None]

    def _log_costs(self, samples):
        return self.designs.log_costs([self._build(s) for s in samples])

    def move(self, samples: Sequence[Sample], network: NetworkSpec) -> bool:
        """Price samples and learn from them; whether one of them is now `best`."""
        better = self._prefer(samples, network)
        self.guide.learn(self.gumbel.index(samples), self._log_costs(samples))
        return better

    def _prefer(self, samples, network):
        """The best of them is `best` from now on, if it is better; whether it is."""
        before, samples = self._best, [*filter(None, [self._best]), *samples]
        edp = self.edp_js(samples, network).tolist()
        least = min(edp, default=math.inf)
        if math.isfinite(least):
            self._best = samples[edp.index(least)]
        return self._best is not before

    def _build(self, sample):
        try:
            return self.space.build(sample)
        except InfeasibleDesign:
            return None

    def tighten(self, asked: Targets, report: CostReport, network: NetworkSpec) -> None:
        """Lower the limits of quick prices by what the report of a chip exceeds those `asked` by."""
        self.designs.reprice(self.designs.targets.tightened(asked, report.energy_j, report.latency_s))
        samples = [self.best, *(s for s in self.gumbel.samples(self.guide.index)
                                if self.designs.known(self._build(s), network))]
        self.guide.learn(self.gumbel.index(samples), self._log_costs(samples))
        self._best = samples[int(self.edp_js(samples, network).argmin())]

    def moves(self, network: NetworkSpec) -> list[Sample]:
        """What differs from `best` in one choice, makes another chip and was not priced: the most promising first."""
        around = {}
        for choice in self.space.choices:
            for option in choice.options:
                sample = self.best | {choice.label: option}
                chip = self._build(sample)
                if chip is not None and not self.designs.known(chip, network):
                    around.setdefault(chip, sample)
        return self.guide.ranked(list(around.values()))

    def figures(self) -> tuple[float, float, float]:
        """(EDP in J s, energy in J, latency in s) of the last step's network on `chip`, without a penalty."""
        return self.designs.figures(self.chip)

    def layer_costs(self, shapes: Sequence[LayerShape]) -> Tensor:
        """float64 [n, chunks, 2]: energy in pJ and cycles of each layer on each chunk of `chip`; infinite where it
        cannot run.
        """
        return self.pricer.on_chunks(self.chip, shapes)

    def state_dict(self) -> dict:
        """For `load_state_dict` to go on as if never stopped: tensors, numbers and strings only."""
        return {"gumbel": self.gumbel.state_dict(), "pricer": self.pricer.state_dict(), "best": self._best,
                "guide": self.guide.state_dict(), "designs": self.designs.state_dict(),
                "network": None if self._network is None else json.dumps(to_plain(self._network))}

    def load_state_dict(self, state: dict) -> None:
        """Take up a `state_dict`; raises SpecError when it is of another space."""
        self._network = state["network"] and from_plain(NetworkSpec, json.loads(state["network"]), "searched network")
        self._best = state["best"]
        self.gumbel.load_state_dict(state["gumbel"])
        self.pricer.load_state_dict(state["pricer"])
        self.designs.load_state_dict(state["designs"])
        self.guide.load_state_dict(state["guide"])


def search_accelerator(network: NetworkSpec, space: GadsSpace, technology: Technology, *, seed: int, steps: int,
                       start: AcceleratorSearch | None = None, designs: DesignPricer | None = None,
                       progress: Progress = lambda *_: None) -> FoundAccelerator:
    """DAS alone for a fixed network; then coordinate descent around the best chip, and the mapper with full effort on
    the last few best.

    Goes on from `start`, which is left as it is. designs: another pricer, whose targets the chip keeps. Raises
    InfeasibleDesign when no chip of the space was found that runs the network, or none that keeps the targets.
    """
    search = AcceleratorSearch(space, technology, seed, designs=designs)
    if start is not None:
        search.load_state_dict(start.state_dict())
    for i in range(steps):
        search.step(network)
        progress("accelerator", i + 1, steps)
    targets, mapped = search.designs.targets, {}
    for _ in range(ROUNDS):
        if search.gumbel.settings.polish:
            polish(search, network, progress)
        chips = search.designs.best(FINALISTS)
        for i, chip in enumerate(chips):
            mapped[chip] = mapped.get(chip) or map_design(chip, network, search.pricer, seed)
            progress("mapping", i + 1, len(chips))
        best = min(mapped.values(), key=lambda x: (targets.excess(x.report.energy_j, x.report.latency_s),
                                                   x.report.edp_js))
        if not targets.excess(best.report.energy_j, best.report.latency_s):
            break
        search.tighten(targets, best.report, network)  # full effort makes a chip faster, at more power
    targets.require(best.report, f"Network '{network.name}': the nearest chip found in space '{space.name}'")
    return best._replace(evaluations=search.pricer.evaluations + sum(x.evaluations for x in mapped.values()))


def fixed_accelerator(chip: AcceleratorConfig, network: NetworkSpec, space: GadsSpace, technology: Technology, *,
                      seed: int, targets: Targets = NO_TARGETS) -> FoundAccelerator:
    """A given chip, and the best mapping of the network in the loop orders of `space`.

    Raises InfeasibleDesign where it cannot run the network, or breaks a target of hardware.
    """
    pricer = LayerPricer(technology, seed, orders=space.orders)
    found = map_design(chip, network, pricer, seed)
    targets.require(found.report, f"Network '{network.name}': chip '{chip.name}'")
    return found._replace(evaluations=pricer.evaluations + found.evaluations)


def require_chip(network: NetworkSpec, space: GadsSpace, technology: Technology, *, seed: int, tries: int,
                 targets: Targets = NO_TARGETS) -> None:
    """Raise InfeasibleDesign when neither scouts nor the samples of `tries` steps, within the area of `targets`, run
    the network: now, not in an hour.
    """
    search = AcceleratorSearch(space, technology, seed, targets=targets)
    search.scout(network)
    while not search.started:
        if not tries:
            raise search.none_found(f"network '{network.name}'")
        search.step(network)
        tries -= 1


def polish(search: AcceleratorSearch, network: NetworkSpec, progress: Progress = lambda *_: None,
           limit: float = math.inf) -> None:
    """Move from the best sample to a better one that differs in one choice, while there is one, the most promising
    tried first. limit: of `designs.evaluations`.
    """
    done, most = 0, POLISH_PASSES * sum(len(c.options) for c in search.space.choices)
    moves = search.moves(network)
    while moves and done < most and search.designs.evaluations < limit:
        batch = moves[:int(min(POLISH_BATCH, most - done, limit - search.designs.evaluations))]
        better = search.move(batch, network)
        moves = search.moves(network) if better else moves[len(batch):]
        done += len(batch)
        progress("polish", done, most)
    progress("polish", most, most)


def search_within(search: AcceleratorSearch, network: NetworkSpec, evaluations: int,
                  record: Callable[[DasStats], None] = lambda stats: None) -> float:
    """Steps and then polish in no more than so many chips mapped, from now on; the EDP in J s of `search.best`.

    Steps end early when gamma has settled. record: gets every step's figures. Raises InfeasibleDesign where no chip was
    found that runs the network.
    """
    start, idle, share = search.designs.evaluations, 0, POLISH_SHARE if search.gumbel.settings.polish else 0.0
    per_step = search.gumbel.settings.samples + 2  # the likeliest and the best are priced too
    if not search.started and len(SCOUT_DRAWS + SCOUT_ROUNDS) + per_step <= (1 - share) * evaluations:
        search.scout(network)
    most = (1 - share) * evaluations if search.started else max((1 - share) * evaluations, min(per_step, evaluations))
    while search.designs.evaluations - start + per_step <= most and idle < (
            IDLE_STEPS if search.started else BARREN_STEPS):
        before = search.designs.evaluations
        record(search.step(network))
        idle = idle + 1 if search.designs.evaluations == before else 0
    if search.gumbel.settings.polish:
        polish(search, network, limit=start + evaluations)
    return float(search.edp_js([search.best], network))
