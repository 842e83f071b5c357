"""DAS: the differentiable search of the accelerator; the joint loop calls it step by step.

gamma is one categorical per entry of the space, moved by the gradient through hard Gumbel-Softmax samples
(`cosearch.gumbel`). A sample's cost is the logarithm of the network's EDP on it, by the exact mapper and cost model;
a sample that is no chip, or cannot run a layer, costs twice the EDP of the worst that can.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dna_asic.cosearch.assignment import assign, assigned
from dna_asic.cosearch.gumbel import GumbelSearch, GumbelSettings, Sample
from dna_asic.cosearch.pricing import LayerPricer
from dna_asic.cost import design_schedule, evaluate_design, idle_pj
from dna_asic.errors import InfeasibleDesign
from dna_asic.gads import GadsSpace
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.optimise import Mapper
from dna_asic.spec.accelerator import AcceleratorConfig, Mapping
from dna_asic.spec.latency import RUN_CYCLES
from dna_asic.spec.layer import LayerShape, NetworkSpec
from dna_asic.spec.pipeline import Pipeline, pipeline
from dna_asic.spec.report import CostReport
from dna_asic.technology import Technology

POLISH_PASSES = 3
FINALISTS = 4
Progress = Callable[[str, int, int], None]  # (stage, done, of)


@dataclass(frozen=True, kw_only=True)
class DasStats:
    """One step. entropy: mean of gamma's categoricals, in nats. mean_cost: mean EDP in J s of the samples that run the
    network (NaN without one). best_cost: EDP of the best chip so far, on this step's network.
    """

    entropy: float
    mean_cost: float
    best_cost: float


class FoundAccelerator(NamedTuple):
    """A chip; mapping and chunk of each hardware layer of its network; the exact report; tilings priced for it."""

    accelerator: AcceleratorConfig
    mappings: dict[str, Mapping]
    assignment: dict[str, int]
    report: CostReport
    evaluations: int


class AcceleratorSearch:
    """gamma, and the best chip so far; everything depends on `seed` alone.

    Chips run at the technology's clock unless the space fixes one.
    """

    def __init__(self, space: GadsSpace, technology: Technology, seed: int, settings: GumbelSettings | None = None):
        self.space, self.technology = space.at_clock(technology.clk_period_ns), technology
        self.gumbel = GumbelSearch(self.space.choices, seed, settings or GumbelSettings())
        self.pricer = LayerPricer(technology, seed, orders=space.orders)
        self._best: Sample | None = None

    @property
    def best(self) -> Sample:
        """The best sample so far; raises InfeasibleDesign when none could run its network."""
        if self._best is None:
            raise InfeasibleDesign(f"Space '{self.space.name}': no sampled chip could run the network; enlarge its "
                                   f"buffers or unpin entries.")
        return self._best

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
        samples, gates = self.gumbel.draw()
        known = [s for s in (self.gumbel.likeliest(), self._best) if s]
        edp = self.edp_js(samples + known, network)
        sampled = edp[:len(samples)]
        self.gumbel.update(gates, _log_costs(sampled))
        best = int(edp.argmin())
        self._best = (samples + known)[best] if edp[best].isfinite() else None
        return DasStats(entropy=self.gumbel.entropy(), mean_cost=float(sampled[sampled.isfinite()].mean()),
                        best_cost=float(edp[best]))

    def edp_js(self, samples: Sequence[Sample], network: NetworkSpec) -> Tensor:
        """float64 [samples]: EDP of the network on each, infinite for what is no chip or cannot run a layer.

        Each chip gets the network as laid out for its own port, and each layer the chunk that suits it.
        """
        chips, shapes = [self._build(s) for s in samples], {}
        for chip in filter(None, chips):
            if chip.port_bytes not in shapes:
                shapes[chip.port_bytes] = [shape for _, shape in hardware_shapes(network, chip.port_bytes)]
        self.pricer.price([(alone, shape) for chip in filter(None, chips) for alone in chip.alone
                           for shape in shapes[chip.port_bytes]])  # all in one batch
        return torch.tensor([self._edp_js(chip, network, shapes[chip.port_bytes]) if chip else math.inf
                             for chip in chips], dtype=torch.float64)

    def _edp_js(self, chip, network, shapes):
        costs = self.pricer.on_chunks(chip, shapes)
        placed = place_layers(network, costs)
        chosen = chosen_costs(costs, placed)
        energy_pj, cycles = chosen.sum(dim=0).tolist()
        if len(chip.chunks) > 1 and math.isfinite(cycles):
            times = design_schedule(placed.programs, dict(zip(placed.layers, map(int, chosen[:, 1]))), chip)
            energy_pj += idle_pj(chip, self.technology) * (times.cycles - cycles)
            cycles = times.cycles
        return edp_js(chip, energy_pj, cycles)

    def _build(self, sample):
        try:
            return self.space.build(sample)
        except InfeasibleDesign:
            return None

    def layer_costs(self, shapes: Sequence[LayerShape]) -> Tensor:
        """float64 [n, chunks, 2]: energy in pJ and cycles of each layer on each chunk of `chip`; infinite where it
        cannot run.
        """
        return self.pricer.on_chunks(self.chip, shapes)

    def map_whole(self, chip: AcceleratorConfig, network: NetworkSpec, seed: int) -> FoundAccelerator:
        """Layers on their chunks as priced, then the mapper with full effort for the network's EDP."""
        layers = dict(hardware_shapes(network, chip.port_bytes))
        costs = self.pricer.on_chunks(chip, list(layers.values()))
        placed, mappings, evaluations = place_layers(network, costs), {}, 0
        energy_pj, cycles = chosen_costs(costs, placed).sum(dim=0).tolist()
        for alone, program in zip(chip.alone, placed.programs, strict=True):
            mine = [place.name for place in program]
            others_pj = idle_pj(chip, self.technology) - idle_pj(alone, self.technology)
            weights = (1 / energy_pj, others_pj / energy_pj + 1 / (cycles + RUN_CYCLES))  # d ln(E T)
            mapper = Mapper(alone, self.technology, seed=seed, orders=self.space.orders)
            mapped = mapper.network([layers[name] for name in mine], weights if len(chip.chunks) > 1 else None)
            mappings |= zip(mine, mapped.mappings, strict=True)
            evaluations += mapped.evaluations
        mappings = {name: mappings[name] for name in layers}
        report = evaluate_design(list(layers.items()), chip, mappings, self.technology, placed)
        assignment = {name: place.chunk for name, place in placed.layers.items()}
        return FoundAccelerator(chip, mappings, assignment, report, evaluations)

    def state_dict(self) -> dict:
        """For `load_state_dict` to go on as if never stopped: tensors, numbers and strings only."""
        return {"gumbel": self.gumbel.state_dict(), "pricer": self.pricer.state_dict(), "best": self._best}

    def load_state_dict(self, state: dict) -> None:
        """Take up a `state_dict`; raises SpecError when it is of another space."""
        self.gumbel.load_state_dict(state["gumbel"])
        self.pricer.load_state_dict(state["pricer"])
        self._best = state["best"]


def place_layers(network: NetworkSpec, costs: Tensor) -> Pipeline:
    """Each layer on the chunk that `assign` gives it; all on the best chunk where the tensors of that assignment would
    have to be kept for too many images.
    """
    names, chunks = [layer.name for layer in network.layers], costs.shape[1]
    try:
        return pipeline(network, dict(zip(names, assign(costs).tolist(), strict=True)), chunks)
    except InfeasibleDesign:
        return pipeline(network, dict.fromkeys(names, int(costs.sum(dim=0).prod(dim=1).argmin())), chunks)


def chosen_costs(costs: Tensor, placed: Pipeline) -> Tensor:
    """float64 [layers, 2]: of `costs` [layers, chunks, 2] those of each layer's chunk."""
    return assigned(costs, torch.tensor([place.chunk for place in placed.layers.values()]))


def edp_js(chip: AcceleratorConfig, energy_pj: float, cycles: float) -> float:
    """EDP of layers of that energy and cycles in all, with what a run adds to their cycles."""
    return energy_pj * 1e-12 * (cycles + RUN_CYCLES) * chip.clk_period_ns * 1e-9


def _log_costs(edp: Tensor) -> Tensor:
    """ln EDP, and twice the worst where that is infinite; all 0 where nothing is finite."""
    legal = edp[edp.isfinite()]
    return torch.where(edp.isfinite(), edp, 2 * legal.max()).log() if len(legal) else torch.zeros_like(edp)


def search_accelerator(network: NetworkSpec, space: GadsSpace, technology: Technology, *, seed: int, steps: int,
                       start: AcceleratorSearch | None = None,
                       progress: Progress = lambda *_: None) -> FoundAccelerator:
    """DAS alone for a fixed network; then coordinate descent around the best chip, and the mapper with full effort on
    the last few best.

    Goes on from `start`, which is left as it is. Raises InfeasibleDesign when no chip of the space was found that
    runs the network.
    """
    search = AcceleratorSearch(space, technology, seed)
    if start is not None:
        search.load_state_dict(start.state_dict())
    for i in range(steps):
        search.step(network)
        progress("accelerator", i + 1, steps)
    chips, mapped = polish(search, network, progress), []
    for i, chip in enumerate(chips):
        mapped.append(search.map_whole(chip, network, seed))
        progress("mapping", i + 1, len(chips))
    best = min(mapped, key=lambda found: found.report.edp_js)
    return best._replace(evaluations=search.pricer.evaluations + sum(found.evaluations for found in mapped))


def require_chip(network: NetworkSpec, space: GadsSpace, technology: Technology, *, seed: int, tries: int) -> None:
    """Raise InfeasibleDesign when the samples of `tries` steps do not run the network: now, not in an hour."""
    search = AcceleratorSearch(space, technology, seed)
    for _ in range(tries):
        if math.isfinite(search.step(network).best_cost):
            return
    raise InfeasibleDesign(f"Space '{space.name}': no sampled chip could run network '{network.name}'; enlarge its "
                           f"buffers or unpin entries.")


def polish(search: AcceleratorSearch, network: NetworkSpec, progress: Progress = lambda *_: None,
           keep: int = FINALISTS) -> list[AcceleratorConfig]:
    """Coordinate descent over the choices from the best sample; the `keep` best chips that it met, best first."""
    best, seen, choices = search.best, {}, search.space.choices
    for n in range(POLISH_PASSES):
        before = best
        for i, choice in enumerate(choices):
            around = [best | {choice.label: option} for option in choice.options]
            edp = search.edp_js(around, network)
            best = around[int(edp.argmin())]
            seen |= {search.space.build(s): e for s, e in zip(around, edp.tolist(), strict=True) if math.isfinite(e)}
            progress("polish", n * len(choices) + i + 1, POLISH_PASSES * len(choices))
        if best == before:
            break
    return sorted(seen, key=seen.get)[:keep]
