"""The mapper: the best tiling and loop orders of each layer of a network on a chip by the exact cost model."""

import dataclasses
from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dna_asic.cost import ChipBatch, LayerBatch, Prices, layer_kind
from dna_asic.errors import InfeasibleDesign, SpecError
from dna_asic.mapping.candidates import ORDER, ROWS, smallest
from dna_asic.mapping.tilings import OBJECTIVES, Effort, Tilings, mapping_of, search_tilings
from dna_asic.spec.accelerator import ALL_ORDERS, ORDERS, AcceleratorConfig, LoopOrders, Mapping
from dna_asic.spec.dims import Level
from dna_asic.spec.latency import RUN_CYCLES
from dna_asic.spec.layer import LayerShape
from dna_asic.technology import Technology


@dataclass(frozen=True, kw_only=True)
class MappedNetwork:
    """Mapping, cycles and energy of each layer given, in order; evaluations: tilings priced."""

    mappings: tuple[Mapping, ...]
    cycles: tuple[int, ...]
    energy_pj: tuple[float, ...]
    evaluations: int


class Mapper:
    """Maps layers on one accelerator; results are kept by shape.

    objective: "edp", "energy" or "latency". orders: what it may choose from. start: mappings of a shape to begin with,
    their orders among `orders`; its result is never worse than those of them that are legal. Deterministic in the seed,
    whatever the order of the questions.
    """

    def __init__(self, accelerator: AcceleratorConfig, technology: Technology, objective: str = "edp",
                 effort: Effort | None = None, seed: int = 0, orders: LoopOrders = ALL_ORDERS,
                 start: Table[LayerShape, Sequence[Mapping]] | None = None):
        if objective not in OBJECTIVES:
            raise SpecError(f"Mapper: objective must be one of {', '.join(OBJECTIVES)}, not '{objective}'.")
        self.accelerator, self.objective, self.seed = accelerator, objective, seed
        self.effort, self.orders = effort or Effort(), orders
        self._start = {s: torch.stack([self._row(m) for m in mappings]) for s, mappings in (start or {}).items()}
        self._chip = ChipBatch.from_configs([accelerator])
        self._prices = Prices.of([accelerator], technology)
        self._kept: dict[LayerShape, _Found] = {}
        self.evaluations = 0

    def layer(self, shape: LayerShape) -> Mapping:
        """Best mapping of one layer alone; raises InfeasibleDesign when none is legal."""
        return mapping_of(self._found([shape])[shape].survivors[0], self.orders)

    def costs(self, shapes: Sequence[LayerShape]) -> Tensor:
        """float64 [n, 2]: energy in pJ and cycles of each layer at its best mapping."""
        found = self._found(shapes)
        return torch.tensor([[found[s].energy_pj, found[s].cycles] for s in shapes], dtype=torch.float64).reshape(-1, 2)

    def network(self, shapes: Sequence[LayerShape], weights: tuple[float, float] | None = None) -> MappedNetwork:
        """Mappings that are best for the whole: with objective "edp", for the product of the sums.

        weights: worth of a pJ and of a cycle, where these layers are not the whole.
        """
        before, found = self.evaluations, self._found(shapes)
        if self.objective == "edp":
            energy, cycles = self.costs(shapes).sum(dim=0)
            pj, cycle = weights or (1 / energy, 1 / (cycles + RUN_CYCLES))  # d ln(E T)
            score = lambda e, t: e * pj + t * cycle  # noqa: E731
            again = dataclasses.replace(self.effort, rounds=max(1, self.effort.rounds // 4))
            found = self._search(found.keys() & set(shapes), score, again, {s: f.survivors for s, f in found.items()})
        best = [found[s] for s in shapes]
        return MappedNetwork(
            mappings=tuple(mapping_of(f.survivors[0], self.orders) for f in best), cycles=tuple(f.cycles for f in best),
            energy_pj=tuple(f.energy_pj for f in best), evaluations=self.evaluations - before)

    def _found(self, shapes):
        self._kept |= self._search(set(shapes) - set(self._kept), OBJECTIVES[self.objective], self.effort, self._start)
        return self._kept

    def _search(self, shapes, score, effort, start):
        """All layers of one kind in one batch. Those without anything to start from repeat what every layer tries."""
        found, shapes = {}, sorted(shapes, key=repr)
        for kind in group_kinds(shapes):
            layers = LayerBatch.from_shapes([shapes[i] for i in kind])
            given = [start.get(shapes[i], smallest(layers)[n]) for n, i in enumerate(kind)]
            most = max(map(len, given))
            tilings = search_tilings(
                layers, self._chip, self._prices, score, torch.Generator().manual_seed(self.seed), effort,
                torch.stack([rows[torch.arange(most) % len(rows)] for rows in given]), self.orders)
            self.evaluations += tilings.evaluations
            found |= {shapes[i]: self._checked(shapes[i], tilings, n) for n, i in enumerate(kind)}
        return found

    def _checked(self, shape, tilings: Tilings, n: int) -> "_Found":
        if not tilings.score[n].isfinite():
            raise InfeasibleDesign(f"Accelerator '{self.accelerator.name}': no legal tiling found for {shape}; "
                                   f"enlarge its buffers.")
        return _Found(tilings.survivors[n], int(tilings.cycles[n]), float(tilings.energy_pj[n]))

    def _row(self, mapping: Mapping) -> Tensor:
        """The candidate that is `mapping`."""
        row = torch.zeros((ROWS, 7), dtype=torch.int64)
        row[:ORDER] = torch.tensor([mapping.factors(level) for level in Level])
        for i, name in enumerate(ORDERS):
            options, order = getattr(self.orders, name), getattr(mapping, name)
            if order not in options:
                raise SpecError(f"Mapper: {name} of a mapping to start from must be one of the given orders, not "
                                f"{' '.join(d.name for d in order)}.")
            row[ORDER, i] = options.index(order)
        return row


@dataclass(frozen=True)
class _Found:
    """survivors: int64 [keep, 5, 7], candidates, the best first; cycles, energy_pj: of the best."""

    survivors: Tensor
    cycles: int
    energy_pj: float


def map_layer(layer: LayerShape, accelerator: AcceleratorConfig, technology: Technology, objective: str = "edp",
              effort: Effort | None = None, seed: int = 0) -> Mapping:
    """Best mapping found of one layer; deterministic. Raises InfeasibleDesign. `Mapper` keeps results for many."""
    return Mapper(accelerator, technology, objective, effort, seed).layer(layer)


def group_kinds(shapes: Sequence[LayerShape]) -> list[list[int]]:
    """Indices of layers of one kind, which can be searched in one batch."""
    kinds = {}
    for i, shape in enumerate(shapes):
        kinds.setdefault(layer_kind(shape), []).append(i)
    return list(kinds.values())
