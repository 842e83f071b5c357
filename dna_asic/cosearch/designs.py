"""A network's EDP on whole chips: layers laid out for the chip's port, mapped, each on the chunk that suits it."""

import json
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dna_asic.cosearch.assignment import assign, assigned
from dna_asic.cosearch.pricing import LayerPricer
from dna_asic.cosearch.targets import NO_TARGETS, Targets
from dna_asic.cost import area_um2, design_schedule, evaluate_design, idle_fetch_pj, idle_pj
from dna_asic.errors import InfeasibleDesign
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.optimise import Mapper
from dna_asic.mapping.tilings import Effort
from dna_asic.spec.accelerator import AcceleratorConfig, Mapping
from dna_asic.spec.latency import RUN_CYCLES
from dna_asic.spec.layer import LayerShape, NetworkSpec
from dna_asic.spec.pipeline import Pipeline, pipeline
from dna_asic.spec.record import from_plain, to_plain
from dna_asic.spec.report import CostReport

REFUSED = 10.0  # ln EDP in J s beyond that of any chip


class FoundAccelerator(NamedTuple):
    """A chip; mapping and chunk of each hardware layer of its network; the exact report; tilings priced for it."""

    accelerator: AcceleratorConfig
    mappings: dict[str, Mapping]
    assignment: dict[str, int]
    report: CostReport
    evaluations: int


class DesignPricer:
    """Prices chips for one network at a time, each once; those above the area of `targets` are refused without a
    mapping, the EDP of those above its latency or power counts e to `Targets.penalty` times.

    least_area_mm2: of all chips asked for, where the area is limited. evaluations: chips on which a network was mapped,
    so far; what was asked again is not counted again.
    """

    def __init__(self, layers: LayerPricer, targets: Targets = NO_TARGETS):
        self.layers, self.targets, self.evaluations, self.least_area_mm2 = layers, targets, 0, math.inf
        self._network: NetworkSpec | None = None
        self._edp: dict[AcceleratorConfig | None, float] = {}
        self._excess: dict[AcceleratorConfig | None, float] = {}
        self._shapes: dict[int, list[LayerShape]] = {}

    def edp_js(self, chips: Sequence[AcceleratorConfig | None], network: NetworkSpec) -> Tensor:
        """float64 [chips]: EDP of the network on each, with the penalty for what it breaks; infinite for None, above
        the area, where a layer cannot run.
        """
        self._turn_to(network)
        new = [chip for chip in dict.fromkeys(chips) if chip not in self._edp]
        self._edp |= dict.fromkeys(new, math.inf)
        self._excess |= {chip: self._area_excess(chip) for chip in new}
        new = [chip for chip in new if not self._excess[chip]]
        self.layers.price([(alone, shape) for chip in new for alone in chip.alone
                           for shape in self._laid_out(chip.port_bytes)])  # all in one batch
        self._edp |= {chip: self._edp_js(chip) for chip in new}
        self.evaluations += len(new)
        return torch.tensor([self._edp[chip] for chip in chips], dtype=torch.float64)

    def _turn_to(self, network):
        if network != self._network:
            self._network, self._edp, self._excess, self._shapes = network, {None: math.inf}, {None: 2.0}, {}

    def ln_cost(self, chip: AcceleratorConfig, energy_pj: float, cycles: float) -> float:
        """ln EDP of one image with the penalty for what the chip breaks."""
        return math.log(edp_js(chip, energy_pj, cycles)) + self.targets.penalty(*_units(chip, energy_pj, cycles))

    def log_costs(self, chips: Sequence[AcceleratorConfig | None]) -> Tensor:
        """float64 [chips], finite: ln EDP of chips that were priced for the present network.

        What is infinite costs twice the EDP of the worst so far that is not (1 J s where there is none), times e to the
        share of layers that no chunk can run, to 1 + ln of the area over the limit, or to 2 for what is no chip.
        """
        worst = math.log(2 * max((edp for edp in self._edp.values() if math.isfinite(edp)), default=0.5))
        return torch.tensor([math.log(self._edp[c]) if math.isfinite(self._edp[c]) else worst + self._excess[c]
                             for c in chips], dtype=torch.float64)

    def reprice(self, targets: Targets) -> None:
        """Take other limits of latency and power, for what was priced for the present network too."""
        self.targets = targets
        self._edp |= {chip: self._edp_js(chip) for chip, edp in self._edp.items() if math.isfinite(edp)}

    def known(self, chip: AcceleratorConfig, network: NetworkSpec) -> bool:
        """Whether it costs no evaluation to ask for this chip."""
        return network == self._network and chip in self._edp

    def best(self, count: int) -> list[AcceleratorConfig]:
        """The chips of least EDP, as `edp_js` has it, of all priced for the present network, best first."""
        runs = [chip for chip, edp in self._edp.items() if math.isfinite(edp)]
        return sorted(runs, key=self._edp.get)[:count]

    def state_dict(self) -> dict:
        """What was priced for the present network, as tensors, numbers and strings; `layers` has its own."""
        chips = [chip for chip in self._edp if chip is not None]
        return {"network": None if self._network is None else json.dumps(to_plain(self._network)),
                "chips": [json.dumps(to_plain(chip)) for chip in chips], "evaluations": self.evaluations,
                "edp_js": torch.tensor([[self._edp[c], self._excess[c]] for c in chips], dtype=torch.float64)}

    def load_state_dict(self, state: dict) -> None:
        """Inverse of `state_dict`; raises SpecError for a damaged record."""
        self._network = state["network"] and from_plain(NetworkSpec, json.loads(state["network"]), "priced network")
        chips = [from_plain(AcceleratorConfig, json.loads(text), "priced chip") for text in state["chips"]]
        columns = state["edp_js"].reshape(-1, 2).T.tolist()
        self._edp = {None: math.inf} | dict(zip(chips, columns[0], strict=True))
        self._excess = {None: 2.0} | dict(zip(chips, columns[1], strict=True))
        self._shapes, self.evaluations = {}, state["evaluations"]

    def _area_excess(self, chip):
        if math.isinf(self.targets.max_area_mm2):
            return 0.0
        return self.area_excess(sum(area_um2(chip, self.layers.technology).values()) * 1e-6)

    def area_excess(self, area_mm2: float) -> float:
        """0 within the limit, else 1 + ln of the area over it; the area counts as asked for."""
        self.least_area_mm2, limit = min(self.least_area_mm2, area_mm2), self.targets.max_area_mm2
        return 0.0 if area_mm2 <= limit else 1 + math.log(area_mm2 / limit)

    def _laid_out(self, port_bytes) -> list[LayerShape]:
        if port_bytes not in self._shapes:
            self._shapes[port_bytes] = [shape for _, shape in hardware_shapes(self._network, port_bytes)]
        return self._shapes[port_bytes]

    def _edp_js(self, chip):
        costs = self.layers.on_chunks(chip, self._laid_out(chip.port_bytes))
        self._excess[chip] = float(costs[:, :, 1].amin(dim=1).isinf().double().mean())
        energy_pj, cycles = design_cost(self.layers, self._network, chip, costs)
        edp = edp_js(chip, energy_pj, cycles)
        penalty = self.targets.penalty(*_units(chip, energy_pj, cycles)) if math.isfinite(edp) else 0.0
        return edp * math.exp(penalty)

    def figures(self, chip: AcceleratorConfig) -> tuple[float, float, float]:
        """(EDP in J s, energy in J, latency in s) of the present network on a chip that was priced for it."""
        costs = self.layers.on_chunks(chip, self._laid_out(chip.port_bytes))
        cost = design_cost(self.layers, self._network, chip, costs)
        return edp_js(chip, *cost), *_units(chip, *cost)


def design_cost(layers: LayerPricer, network: NetworkSpec, chip: AcceleratorConfig,
                costs: Tensor) -> tuple[float, float]:
    """Energy in pJ and cycles of one image, layers placed by `place_layers`; infinite where a layer cannot run.

    costs: float64 [layers, chunks, 2], as `layers.on_chunks` has them.
    """
    if len(chip.chunks) == 1:
        energy_pj, cycles = costs[:, 0].sum(dim=0).tolist()
        return energy_pj, cycles
    placed = place_layers(network, costs)
    chosen = chosen_costs(costs, placed)
    energy_pj, cycles = chosen.sum(dim=0).tolist()
    if math.isinf(cycles):
        return energy_pj, cycles
    times = design_schedule(placed.programs, dict(zip(placed.layers, map(int, chosen[:, 1]))), chip)
    energy_pj += sum(map(layers.idle_pj, chip.alone)) * (times.cycles - cycles)
    return energy_pj + idle_fetch_pj(times, layers.technology), times.cycles


def map_design(chip: AcceleratorConfig, network: NetworkSpec, pricer: LayerPricer, seed: int,
               effort: Effort | None = None) -> FoundAccelerator:
    """Layers on their chunks as `pricer` prices them, then the mapper (with full effort, unless told otherwise) for the
    network's EDP. Raises InfeasibleDesign where a layer cannot run.
    """
    layers = dict(hardware_shapes(network, chip.port_bytes))
    costs = pricer.on_chunks(chip, list(layers.values()))
    placed, mappings, evaluations = place_layers(network, costs), {}, 0
    energy_pj, cycles = chosen_costs(costs, placed).sum(dim=0).tolist()
    for alone, program in zip(chip.alone, placed.programs, strict=True):
        mine = [place.name for place in program]
        others_pj = idle_pj(chip, pricer.technology) - idle_pj(alone, pricer.technology)
        weights = (1 / energy_pj, others_pj / energy_pj + 1 / (cycles + RUN_CYCLES))  # d ln(E T)
        shapes = [layers[name] for name in mine]
        mapper = Mapper(alone, pricer.technology, effort=effort, seed=seed, orders=pricer.orders_of(alone),
                        start=pricer.known(alone, shapes))
        mapped = mapper.network(shapes, weights if len(chip.chunks) > 1 else None)
        mappings |= zip(mine, mapped.mappings, strict=True)
        evaluations += mapped.evaluations
    mappings = {name: mappings[name] for name in layers}
    report = evaluate_design(list(layers.items()), chip, mappings, pricer.technology, placed)
    assignment = {name: place.chunk for name, place in placed.layers.items()}
    return FoundAccelerator(chip, mappings, assignment, report, evaluations)


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


def _units(chip, energy_pj, cycles):
    """The same in J and s."""
    return energy_pj * 1e-12, (cycles + RUN_CYCLES) * chip.clk_period_ns * 1e-9
