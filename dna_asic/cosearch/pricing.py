"""Prices of layers on sampled chips by the exact mapper: in batches, each (chip, layer) pair once.

A search over tilings begins with those by rule, and with those that were best on earlier chips of the same dataflow, so
that a small effort per pair comes near to what a large one finds.
"""

import json
from collections.abc import Sequence

import torch
from torch import Tensor

from dna_asic.cost import ChipBatch, LayerBatch, Prices, idle_pj, layer_kind
from dna_asic.mapping.candidates import ROWS
from dna_asic.mapping.greedy import greedy_tilings
from dna_asic.mapping.rules import ruled
from dna_asic.mapping.tilings import OBJECTIVES, Effort, Tilings, search_tilings
from dna_asic.spec.accelerator import ALL_ORDERS, AcceleratorConfig, LoopOrders, Mapping, Reduction
from dna_asic.spec.dims import Dim
from dna_asic.spec.layer import LayerShape
from dna_asic.spec.record import from_plain, to_plain
from dna_asic.technology import Technology

Pair = tuple[AcceleratorConfig, LayerShape]
Dataflow = tuple[Dim, Dim, Reduction]
SAMPLED = Effort(width=96, rounds=6, keep=8)


def dataflow(accelerator: AcceleratorConfig) -> Dataflow:
    """Spatial pair and reduction: chips that share them have good tilings in common."""
    chunk = accelerator.chunks[0]
    return chunk.row_dim, chunk.col_dim, chunk.reduction


class LayerPricer:
    """Maps each layer for its own energy-delay product, and keeps what it has priced.

    Deterministic in the seed and the order of the questions. evaluations: tilings priced so far.
    """

    def __init__(self, technology: Technology, seed: int, effort: Effort = SAMPLED,
                 orders: LoopOrders = ALL_ORDERS):
        self.technology, self.effort, self.orders, self.evaluations = technology, effort, orders, 0
        self.generator = torch.Generator().manual_seed(seed)
        self._idle: dict[AcceleratorConfig, float] = {}
        self._costs: dict[Pair, tuple[float, float]] = {}
        self._genes: dict[tuple[LayerShape, Dataflow], Tensor] = {}  # candidates [keep, 5, 7]

    def price(self, pairs: Sequence[Pair]) -> Tensor:
        """float64 [n, 2]: energy in pJ and cycles of each layer on its chip; infinite where no tiling is legal."""
        groups, chips = {}, {}
        for chip, shape in dict.fromkeys(pairs):
            if (chip, shape) not in self._costs:
                groups.setdefault(layer_kind(shape), []).append((chip, shape))
                chips.setdefault(chip, len(chips))
        if chips:
            batch, prices = ChipBatch.from_configs(list(chips)), Prices.of(list(chips), self.technology)
        for group in groups.values():
            index = torch.tensor([chips[chip] for chip, _ in group])
            self._search(group, batch.take(index), prices.take(index))
        return torch.tensor([self._costs[p] for p in pairs], dtype=torch.float64).reshape(-1, 2)

    def on_chunks(self, chip: AcceleratorConfig, shapes: Sequence[LayerShape]) -> Tensor:
        """float64 [layers, chunks, 2]: as `price`, each layer on each chunk, with the clock and leakage of all."""
        costs = self.price([(alone, shape) for shape in shapes for alone in chip.alone]).view(len(shapes), -1, 2)
        if len(chip.chunks) == 1:
            return costs
        idle = torch.tensor([self.idle_pj(alone) for alone in chip.alone], dtype=torch.float64)
        energy, cycles = costs.unbind(dim=2)
        others = torch.where(cycles.isfinite(), cycles * (idle.sum() - idle), 0.0)
        return torch.stack([energy + others, cycles], dim=2)

    def orders_of(self, alone: AcceleratorConfig) -> LoopOrders:
        """Loop orders that layers on this chunk may have."""
        return self.orders

    def known(self, alone: AcceleratorConfig, shapes: Sequence[LayerShape]) -> dict[LayerShape, list[Mapping]]:
        """Mappings of layers that the mapper may begin with on this chunk, of those that have some: here none has."""
        return {}

    def idle_pj(self, alone: AcceleratorConfig) -> float:
        """What a cycle of one chunk costs whatever happens in it."""
        if alone not in self._idle:
            self._idle[alone] = idle_pj(alone, self.technology)
        return self._idle[alone]

    def _search(self, pairs, chips, prices):
        tilings = self._tilings(pairs, LayerBatch.from_shapes([s for _, s in pairs]), chips, prices)
        self.evaluations += tilings.evaluations
        cycles = torch.where(tilings.score.isfinite(), tilings.cycles.double(), torch.inf)
        self._costs |= zip(pairs, zip(tilings.energy_pj.tolist(), cycles.tolist(), strict=True), strict=True)

    def _tilings(self, pairs: Sequence[Pair], layers: LayerBatch, chips: ChipBatch, prices: Prices) -> Tilings:
        """The best tiling of each pair (a row of each batch)."""
        keys = [(s, dataflow(c)) for c, s in pairs]
        start = torch.cat([torch.stack([self._start(key) for key in keys]), ruled(layers, chips, self.orders)], dim=1)
        tilings = search_tilings(layers, chips, prices, OBJECTIVES["edp"], self.generator, self.effort, start,
                                 self.orders)
        self._learn(keys, tilings)
        return tilings

    def _start(self, key: tuple[LayerShape, Dataflow]) -> Tensor:
        """int64 [n, 5, 7]: candidates that a search begins with, as many for each layer and dataflow."""
        return self._genes.get(key, torch.ones((self.effort.keep, ROWS, 7), dtype=torch.int64))

    def _learn(self, keys, tilings):
        """Of each layer and dataflow keep the best tiling on each of the chips that run it best."""
        rows = {}
        for i in tilings.score.argsort(stable=True).tolist():
            rows.setdefault(keys[i], []).append(i)
        for key, best in rows.items():
            self._genes[key] = tilings.survivors[(best * self.effort.keep)[:self.effort.keep], 0]

    def state_dict(self) -> dict:
        """Everything kept, as tensors, numbers and strings."""
        chips, shapes = ({x: i for i, x in enumerate(dict.fromkeys(p[k] for p in self._costs))} for k in (0, 1))
        return {
            "generator": self.generator.get_state(), "evaluations": self.evaluations,
            "chips": [_text(c) for c in chips], "shapes": [_text(s) for s in shapes],
            "costs": torch.tensor([(chips[c], shapes[s], *cost) for (c, s), cost in self._costs.items()],
                                  dtype=torch.float64).reshape(-1, 4),
            "genes": [(_text(shape), row.name, col.name, reduction.value, genes)
                      for (shape, (row, col, reduction)), genes in self._genes.items()]}

    def load_state_dict(self, state: dict) -> None:
        """Inverse of `state_dict`; raises SpecError for a damaged record."""
        chips = [from_plain(AcceleratorConfig, json.loads(text), "priced chip") for text in state["chips"]]
        shapes = [from_plain(LayerShape, json.loads(text), "priced layer") for text in state["shapes"]]
        self.generator.set_state(state["generator"])
        self.evaluations = state["evaluations"]
        self._costs = {(chips[int(c)], shapes[int(s)]): (e, t) for c, s, e, t in state["costs"].tolist()}
        self._genes = {(from_plain(LayerShape, json.loads(text), "priced layer"),
                        (Dim[row], Dim[col], Reduction(reduction))): genes
                       for text, row, col, reduction, genes in state["genes"]}


class GreedyPricer(LayerPricer):
    """Prices by `greedy_tilings`: a function of chip and layer alone, whatever was asked before."""

    def _tilings(self, pairs, layers, chips, prices):
        return greedy_tilings(layers, chips, prices, OBJECTIVES["edp"], self.orders)


def _text(record):
    return json.dumps(to_plain(record))
