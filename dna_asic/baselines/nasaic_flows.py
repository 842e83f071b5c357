"""NASAIC's three flows (Yang et al., arXiv 2002.04116): how network and hardware of its space are found.

Source: the paper, as far as known; what is from memory, not confirmed, is marked [M].

- `nasaic`: one controller (RNN, REINFORCE) names the network, then the hardware. An episode is one network with several
  hardware steps [M]; its training is skipped where none of them meets the specs [M]. Reward: accuracy - rho x
  violation, rho = 10 [M]; accuracy counts 0 where training was skipped.
- `nas-asic`: the controller names networks, reward: accuracy alone; then, for the best, hardware by brute force.
- `asic-nas`: first the hardware that lies closest to the specs, of a Monte Carlo search [M]; then the controller names
  networks for it, reward as in `nasaic`.

The violation is the sum over latency, energy and area of the excess over its limit, as a share of the way to a bound,
at most 1 each [M]. Assumed here: a bound is the largest of `BOUND_SAMPLES` uniform pairs, and at least twice the limit;
hardware that cannot run a network is at the bounds of latency and energy. Brute force and Monte Carlo
draw uniformly among the chips within the area limit, Monte Carlo networks too. A flow maps no more than about twice
episodes x hardware steps pairs and trains at most one network an episode.
"""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from dna_asic.baselines.nasaic import MAX_PES
from dna_asic.baselines.nasaic_space import (
    GB_PER_S_STEP,
    MAX_GB_PER_S,
    Hardware,
    NasaicSpace,
    Silicon,
    SubAccelerator,
    Values,
)
from dna_asic.baselines.rivals import PolicyGradient
from dna_asic.cosearch.designs import design_cost
from dna_asic.cosearch.pricing import LayerPricer
from dna_asic.cost import area_um2
from dna_asic.errors import InfeasibleDesign
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.spec.latency import RUN_CYCLES

RHO = 10.0  # [M]
BOUND_SAMPLES = 64
BATCH = 32  # chips of a Monte Carlo search, priced together
POLICY = {"least": 0.05, "entropy_weight": 0.1}  # accuracies that differ by less than 0.05 are nearly equal
Progress = Callable[[str, int, int], None]  # (stage, done, of)
Pair = tuple[Values, Hardware]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one image on one design; or limits of them. Infinite where the network cannot run."""

    latency_cycles: float
    energy_j: float
    area_mm2: float

    def over(self, limits: "Figures") -> tuple[float, float, float]:
        """Latency, energy and area, each over its limit."""
        return (self.latency_cycles / limits.latency_cycles, self.energy_j / limits.energy_j,
                self.area_mm2 / limits.area_mm2)

    def meets(self, limits: "Figures") -> bool:
        """Whether none is above its limit."""
        return max(self.over(limits)) <= 1


@dataclass(frozen=True, kw_only=True)
class Episode:
    """A network, the best hardware that was tried with it, its figures and violation; accuracy: none if not trained.

    reward: mean over the hardware steps.
    """

    network: Values
    hardware: Hardware
    figures: Figures | None
    violation: float
    accuracy: float | None
    reward: float


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a flow ends with. mapped: pairs of network and chip that were mapped; trained: networks."""

    flow: str
    network: Values
    hardware: Hardware
    figures: Figures
    violation: float
    accuracy: float | None
    episodes: tuple[Episode, ...]
    mapped: int
    trained: int


class Bench:
    """Judges pairs for one flow: prices by `pricer`, accuracy in 0..1 by `accuracy`, each pair and network once."""

    def __init__(self, space: NasaicSpace, silicon: Silicon, pricer: LayerPricer, limits: Figures,
                 accuracy: Callable[[Values], float], seed: int, rho: float = RHO):
        self.space, self.silicon, self.pricer, self.limits, self.rho = space, silicon, pricer, limits, rho
        self.seed, self._accuracy = seed, accuracy
        self._figures: dict[Pair, Figures] = {}
        self._accuracies: dict[Values, float] = {}
        self._areas: dict[tuple[SubAccelerator, int], float] = {}

    @property
    def mapped(self) -> int:
        """Pairs mapped so far, those for `bounds` included."""
        return len(self._figures)

    @property
    def trained(self) -> int:
        """Networks whose accuracy was asked for."""
        return len(self._accuracies)

    def accuracy(self, network: Values) -> float:
        """In 0..1."""
        if network not in self._accuracies:
            self._accuracies[network] = self._accuracy(network)
        return self._accuracies[network]

    def figures(self, pairs: Sequence[Pair]) -> list[Figures]:
        """Of each pair, by the pricer's mapping; all that is new in one batch."""
        new = {pair: self.silicon.chip(pair[1]) for pair in pairs if pair not in self._figures}
        networks = {pair: self.space.network(pair[0]) for pair in new}
        shapes = {pair: [shape for _, shape in hardware_shapes(networks[pair], chip.port_bytes)]
                  for pair, chip in new.items()}
        self.pricer.price([(alone, shape) for pair, chip in new.items() for shape in shapes[pair]
                           for alone in chip.alone])
        for pair, chip in new.items():
            costs = self.pricer.on_chunks(chip, shapes[pair])
            energy_pj, cycles = design_cost(self.pricer, networks[pair], chip, costs)
            self._figures[pair] = Figures(latency_cycles=cycles + RUN_CYCLES, energy_j=energy_pj * 1e-12,
                                          area_mm2=self.area_mm2(pair[1]))
        return [self._figures[pair] for pair in pairs]

    def area_mm2(self, hardware: Hardware) -> float:
        """Of the chip, which is that of its chunks; nothing is mapped."""
        port = self.silicon.port_bytes(hardware)
        return sum(self._area_mm2(sub, port) for sub in hardware)

    def _area_mm2(self, sub: SubAccelerator, port_bytes: int) -> float:
        if (sub, port_bytes) not in self._areas:
            areas = area_um2(self.silicon.chip((sub,), port_bytes), self.silicon.technology)
            self._areas[sub, port_bytes] = sum(areas.values()) * 1e-6
        return self._areas[sub, port_bytes]

    @functools.cached_property
    def bounds(self) -> tuple[float, float, float]:
        """Of latency, energy and area, over their limits; see the module."""
        drawn = self.space.sample(BOUND_SAMPLES, torch.Generator().manual_seed(self.seed))
        ratios = zip(*(figures.over(self.limits) for figures in self.figures(drawn)), strict=True)
        return tuple(max([2.0, *filter(math.isfinite, column)]) for column in ratios)

    def violation(self, figures: Figures) -> float:
        """0 (the specs are met) to 3; see the module."""
        return sum(min(max(ratio - 1, 0.0) / (bound - 1), 1.0)
                   for ratio, bound in zip(figures.over(self.limits), self.bounds, strict=True))

    def episode(self, network: Values, tried: Sequence[Hardware]) -> tuple[Episode, list[float]]:
        """A network on each hardware, trained only where one of them meets the specs; and a reward for each."""
        figures = self.figures([(network, hardware) for hardware in tried])
        violations = list(map(self.violation, figures))
        best = min(range(len(tried)), key=lambda i: (violations[i], _edp(figures[i])))
        accuracy = self.accuracy(network) if figures[best].meets(self.limits) else None
        rewards = [(accuracy or 0.0) - self.rho * violation for violation in violations]
        return Episode(network=network, hardware=tried[best], figures=figures[best], violation=violations[best],
                       accuracy=accuracy, reward=sum(rewards) / len(rewards)), rewards

    def monte_carlo(self, count: int, network: Values | None, progress: Progress) -> list[tuple[Pair, Figures]]:
        """Up to `count` chips within the area limit, each of them as likely, with `network` or each with a uniform one,
        and their figures. Raises InfeasibleDesign where none is within the limit.
        """
        generator, subs, found = torch.Generator().manual_seed(self.seed), self.space.sub_accelerators, []
        able = self.affordable()
        if not len(able):
            raise InfeasibleDesign(f"NASAIC's space: no pair of sub-accelerators is within {self.limits.area_mm2:.4g} "
                                   f"mm2; enlarge the limit.")
        rows = able[torch.randperm(len(able), generator=generator)[:count]].tolist()
        drawn = self.space.sample(len(rows), generator)
        pairs = [(network or own, (subs[i], subs[j])) for (own, _), (i, j) in zip(drawn, rows, strict=True)]
        for start in range(0, len(pairs), BATCH):
            batch = pairs[start:start + BATCH]
            found += zip(batch, self.figures(batch), strict=True)
            progress("hardware", len(found), len(pairs))
        return found

    def affordable(self) -> torch.Tensor:
        """int64 [n, 2]: all pairs of `space.sub_accelerators` within the space and the area limit."""
        subs, found = self.space.sub_accelerators, []
        pes, speed = (torch.tensor([getattr(sub, name) for sub in subs]) for name in ("pes", "gb_per_s"))
        fits = pes[:, None] + pes <= MAX_PES
        for total in range(2 * GB_PER_S_STEP, MAX_GB_PER_S + 1, GB_PER_S_STEP):
            area = torch.tensor([self._area_mm2(sub, self.silicon.widest_port(total / 2)) for sub in subs])
            within = area[:, None] + area <= self.limits.area_mm2
            found.append((fits & within & (speed[:, None] + speed == total)).nonzero())
        return torch.cat(found)


def _edp(figures: Figures) -> float:
    return figures.energy_j * figures.latency_cycles


def nasaic(bench: Bench, episodes: int, steps: int, progress: Progress) -> Found:
    """Network and hardware together."""
    space = bench.space
    policy = PolicyGradient([len(c.options) for c in space.choices], bench.seed, **POLICY)
    done = []
    for n in range(episodes):
        drawn = [space.split(row) for row in policy.draw(
            steps, shared=len(space.network_choices), allowed=space.allowed)]
        episode, rewards = bench.episode(drawn[0][0], [hardware for _, hardware in drawn])
        policy.learn(torch.tensor(rewards))
        done.append(episode)
        progress("episode", n + 1, episodes)
    return _found("nasaic", bench, _best(done), done)


def nas_asic(bench: Bench, episodes: int, steps: int, progress: Progress) -> Found:
    """Network first, by accuracy alone; then the hardware that meets the specs, or misses them least, at least EDP."""
    def judge(network: Values) -> tuple[Episode, list[float]]:
        accuracy = bench.accuracy(network)
        return Episode(network=network, hardware=(), figures=None, violation=0.0, accuracy=accuracy,
                       reward=accuracy), [accuracy]

    done = _search_networks(bench, judge, episodes, progress)
    best = max(done, key=lambda episode: episode.accuracy)
    (_, hardware), figures = min(bench.monte_carlo(episodes * steps, best.network, progress),
                                 key=lambda found: (bench.violation(found[1]), _edp(found[1])))
    return _found("nas-asic", bench, Episode(
        network=best.network, hardware=hardware, figures=figures, violation=bench.violation(figures),
        accuracy=best.accuracy, reward=best.reward), done)


def asic_nas(bench: Bench, episodes: int, steps: int, progress: Progress) -> Found:
    """Hardware first, the closest to the specs; then networks for it."""
    (_, hardware), _ = min(
        bench.monte_carlo(episodes * steps, None, progress),
        key=lambda found: math.hypot(*(ratio - 1 for ratio in found[1].over(bench.limits))))
    done = _search_networks(bench, lambda network: bench.episode(network, [hardware]), episodes, progress)
    return _found("asic-nas", bench, _best(done), done)


def _search_networks(bench, judge, episodes, progress) -> list[Episode]:
    """Episodes of a controller that names networks alone."""
    policy = PolicyGradient([len(c.options) for c in bench.space.network_choices], bench.seed, **POLICY)
    done = []
    for n in range(episodes):
        (row,) = policy.draw(1)
        episode, rewards = judge(bench.space.split(row)[0])
        policy.learn(torch.tensor(rewards))
        done.append(episode)
        progress("episode", n + 1, episodes)
    return done


def _best(episodes: Iterable[Episode]) -> Episode:
    """Of those that meet the specs the most accurate, of these the least EDP; without one the least violation."""
    return min(episodes, key=lambda e: (e.violation, -(e.accuracy or 0.0), _edp(e.figures)))


def _found(flow, bench, best, episodes) -> Found:
    return Found(flow=flow, network=best.network, hardware=best.hardware, figures=best.figures,
                 violation=best.violation, accuracy=best.accuracy, episodes=tuple(episodes), mapped=bench.mapped,
                 trained=bench.trained)


FLOWS: dict[str, Callable[[Bench, int, int, Progress], Found]] = {
    "nasaic": nasaic, "nas-asic": nas_asic, "asic-nas": asic_nas}
