"""The mapper: the best tiling and loop orders of a layer on a chip by the exact cost model.

A tiling is written as genes per dim: its factor at RF, at the NoC, and the wished number of DRAM tiles; the factor at
the global buffer is what remains, rounded so that tiles meet the alignment rules. Three more genes choose the loop
orders. An evolutionary search over genes
(fresh samples, changed copies of the best, exchanged dims) runs for many (layer, chip) pairs in one batch; every
tiling is checked before it is priced. Everything follows from the generator.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dna_asic.cost import ChipBatch, LayerBatch, MappingBatch, Prices, evaluate, layer_kind, mapping_at
from dna_asic.cost.nest import OrderBatch
from dna_asic.errors import InfeasibleDesign, SpecError
from dna_asic.mapping.legality import check_batch
from dna_asic.spec.accelerator import ALL_ORDERS, ORDERS, AcceleratorConfig, LoopOrders, Mapping
from dna_asic.spec.dims import DIMS
from dna_asic.spec.geometry import ceil_div, round_up
from dna_asic.spec.latency import RUN_CYCLES
from dna_asic.spec.layer import LayerShape
from dna_asic.technology import Technology

G, K, C, P, Q, R, S = DIMS
GENES = 4  # RF, NoC, DRAM per dim; the numbers of the loop orders
MAX_ORDER_GENE = 5040
MAX_RF_FACTOR = 16
Score = Callable[[Tensor, Tensor], Tensor]  # (energy_pj, cycles) -> lower is better
OBJECTIVES: dict[str, Score] = {
    "edp": lambda energy, cycles: energy * cycles,
    "energy": lambda energy, cycles: energy,
    "latency": lambda energy, cycles: cycles.double(),
}


@dataclass(frozen=True, kw_only=True)
class Effort:
    """width: tilings per pair and round; rounds; keep: tilings that survive a round."""

    width: int = 384
    rounds: int = 10
    keep: int = 24


QUICK = Effort(width=48, rounds=4, keep=8)


@dataclass(frozen=True, kw_only=True)
class Tilings:
    """Best tiling of each of M pairs. factors: int64 [M, 4, 7]; score, cycles, energy_pj: [M] (score inf where no
    legal tiling was found); genes: int64 [M, keep, GENES, 7], best first, to start the next search from. evaluations:
    tilings priced.
    """

    factors: Tensor
    score: Tensor
    cycles: Tensor
    energy_pj: Tensor
    genes: Tensor
    evaluations: int


def search_tilings(layers: LayerBatch, chips: ChipBatch, prices: Prices, score: Score, generator: torch.Generator,
                   effort: Effort = QUICK, start: Tensor | None = None, orders: LoopOrders = ALL_ORDERS) -> Tilings:
    """Search for the M pairs (row i of layers, chips, prices); `start`: genes [M, n, GENES, 7] to begin with."""
    pool, priced = _Pool.empty(len(layers), effort.keep), 0
    for n in range(effort.rounds):
        genes = _first(layers, chips, effort, generator, start) if n == 0 else _next(
            layers, chips, pool, effort, generator)
        pair = torch.arange(len(layers)).repeat_interleave(genes.shape[1])
        flat = genes.flatten(0, 1)
        rows = (layers.take(pair), chips.take(pair))
        factors = complete(*rows, flat)
        every = MappingBatch.from_tensor(factors, orders_of(flat, orders))
        legal = check_batch(*rows, every).legal.nonzero().squeeze(1)
        who = pair[legal]
        mapping = MappingBatch.from_tensor(factors[legal], orders_of(flat[legal], orders))
        cost = evaluate(rows[0].take(legal), rows[1].take(legal), mapping, prices.take(who))
        priced += len(legal)
        value = torch.full((3, len(flat)), torch.inf, dtype=torch.float64)
        value[:, legal] = torch.stack([score(cost.energy_pj, cost.cycles), cost.energy_pj, cost.cycles.double()])
        pool = pool.merge(genes, factors.view(*genes.shape[:2], 4, 7), value.view(3, *genes.shape[:2]), effort.keep)
    best = pool.value[:, :, 0]
    cycles = torch.where(best[2].isfinite(), best[2], -1).long()
    return Tilings(factors=pool.factors[:, 0], score=best[0], cycles=cycles, energy_pj=best[1], genes=pool.genes,
                   evaluations=priced)


def orders_of(genes: Tensor, orders: LoopOrders) -> dict[str, OrderBatch]:
    """Per level the loop orders of genes [N, GENES, 7]."""
    options = {name: getattr(orders, name) for name in ORDERS}
    return {name: OrderBatch(table, genes[:, 3, i] % len(table)) for i, (name, table) in enumerate(options.items())}


@dataclass(frozen=True)
class _Pool:
    """Survivors per pair, best first: genes [M, n, GENES, 7], factors [M, n, 4, 7], value (score, pJ, cycles)."""

    genes: Tensor
    factors: Tensor
    value: Tensor

    @classmethod
    def empty(cls, pairs, keep):
        ones = torch.ones((pairs, keep, 1, 7), dtype=torch.int64)
        return cls(ones.expand(-1, -1, GENES, -1), ones.expand(-1, -1, 4, -1),
                   torch.full((3, pairs, keep), torch.inf, dtype=torch.float64))

    def merge(self, genes, factors, value, keep):
        """The best `keep` of both; of equal scores only the first, so that the pool stays varied."""
        value = torch.cat([self.value, value], dim=2)
        order = value[0].argsort(dim=1, stable=True)
        ranked = value[0].gather(1, order)
        again = torch.zeros_like(ranked, dtype=torch.bool)
        again[:, 1:] = (ranked[:, 1:] == ranked[:, :-1]) & ranked[:, 1:].isfinite()
        order = order.gather(1, again.to(torch.uint8).argsort(dim=1, stable=True)[:, :keep])
        pick = lambda old, new: torch.cat([old, new], dim=1).gather(  # noqa: E731
            1, order[:, :, None, None].expand(-1, -1, *old.shape[2:]))
        return _Pool(pick(self.genes, genes), pick(self.factors, factors),
                     value.gather(2, order.expand(3, -1, -1)))


def complete(layers: LayerBatch, chips: ChipBatch, genes: Tensor) -> Tensor:
    """[N, 4, 7] factors of genes [N, GENES, 7]: tiles of about the wished size that meet the alignment rules."""
    rf, noc, wished, _ = genes.unbind(1)
    bounds = torch.stack(layers.bounds, dim=1)
    array = rf * noc
    unit = _tile_unit(layers, chips, wished)
    tile = round_up(ceil_div(bounds, wished), unit)
    gb = round_up(ceil_div(tile, array), unit // torch.gcd(array, unit))
    dram = ceil_div(bounds, array * gb)
    unit = _tile_unit(layers, chips, torch.ones_like(dram))  # where nothing is split, nothing is aligned to B
    whole = round_up(ceil_div(bounds, array), unit // torch.gcd(array, unit))
    return torch.stack([rf, noc, torch.where(dram == 1, whole, gb), dram], dim=1)


def _tile_unit(layers, chips, dram):
    """[N, 7]: what a DRAM tile must be a multiple of, if split into `dram` tiles."""
    unit = torch.ones_like(dram)
    aligned = (G, K, C) if layers.depthwise else (K, C)
    for d in aligned:
        unit[:, d] = torch.where(dram[:, d] > 1, chips.port_bytes, 1)
    for d in (P, Q):
        unit[:, d] = layers.pool_window
    return unit


def _first(layers, chips, effort, generator, start):
    """[M, width, GENES, 7]: fresh samples, the smallest tiles, and what was given."""
    pair = torch.arange(len(layers)).repeat_interleave(effort.width)
    fresh = _sample(layers.take(pair), chips.take(pair), generator).view(len(layers), effort.width, GENES, 7)
    smallest = _smallest(layers)
    fresh[:, 0] = smallest
    fresh[:, 1, 0], fresh[:, 1, 2] = smallest[:, 0], smallest[:, 2]
    if start is None:
        return fresh
    again = torch.arange(len(layers)).repeat_interleave(start.shape[1])
    given = _restrict(layers.take(again), chips.take(again), start.flatten(0, 1)).view_as(start)
    return torch.cat([fresh, given], dim=1)


def _smallest(layers):
    """[M, GENES, 7]: the tiling that asks least of every memory."""
    genes = torch.ones((len(layers), GENES, 7), dtype=torch.int64)
    for d in (G, K, C, P, Q):
        genes[:, 2, d] = layers.bound(d)
    return genes


def _next(layers, chips, pool, effort, generator):
    """[M, width, GENES, 7]: changed copies of survivors; a third of the dims may come from another survivor."""
    pairs, keep = pool.genes.shape[:2]
    pair = torch.arange(pairs)[:, None]
    rank = lambda: (torch.rand((pairs, effort.width), generator=generator) ** 2 * keep).long()  # noqa: E731
    parent, other = pool.genes[pair, rank()], pool.genes[pair, rank()]
    exchange = torch.rand((pairs, effort.width, 1, 7), generator=generator) < 0.1
    child = torch.where(exchange, other, parent)
    flat = torch.arange(pairs).repeat_interleave(effort.width)
    fresh = _sample(layers.take(flat), chips.take(flat), generator).view_as(child)
    near = _neighbour(child, generator)
    mutate = torch.rand(child.shape, generator=generator) < 0.1
    child = torch.where(mutate, torch.where(torch.rand(child.shape, generator=generator) < 0.5, fresh, near), child)
    return _restrict(layers.take(flat), chips.take(flat), child.flatten(0, 1)).view_as(child)


def _neighbour(genes, generator):
    step = torch.randint(4, genes.shape, generator=generator)
    near = torch.where(step == 0, genes + 1, torch.where(step == 1, genes - 1, torch.where(
        step == 2, genes * 2, genes // 2)))
    return near.clamp(min=1)


def _restrict(layers, chips, genes):
    """Bring genes to what their dim allows: NoC to legal extents, no more than the bound, whole kernels at DRAM."""
    rf, noc, dram, order = (x.clone() for x in genes.unbind(1))
    bounds = torch.stack(layers.bounds, dim=1)
    noc = noc.minimum(chips.spatial_extents).minimum(round_up(bounds, chips.lane_units))
    noc = torch.where(bounds == 1, 1, (noc // chips.lane_units * chips.lane_units).clamp(min=1))
    noc[:, R] = torch.where(layers.maximum, 1, noc[:, R])
    if not layers.depthwise:
        noc[:, G] = torch.where(chips.wide_group_lanes, 1, noc[:, G])
    rf = rf.minimum(ceil_div(bounds, noc)).clamp(max=MAX_RF_FACTOR)
    rf[:, [P, R]] = torch.where(chips.crossed[:, None], 1, rf[:, [P, R]])
    dram = dram.minimum(bounds)
    dram[:, [R, S]] = 1
    if layers.grouped:
        shuffled = layers.k_segments > 1
        dram[:, G] = torch.where(shuffled, layers.bound(G), dram[:, G])
        dram[:, K] = torch.where(shuffled, layers.k_segments, dram[:, K])
        single = (dram[:, G] == layers.bound(G))[:, None]
        one = torch.zeros_like(rf, dtype=torch.bool)
        one[:, G] = True
        rf, noc = (torch.where(single & one, 1, x) for x in (rf, noc))
        several = (~single).squeeze(1)  # several groups in a tile: C and K stay whole
        for d in (K, C):
            dram[:, d] = torch.where(several, 1, dram[:, d])
    return torch.stack([rf, noc, dram, order], dim=1)


def _sample(layers, chips, generator):
    """[N, GENES, 7]: fresh genes. PEs mostly all used, RF factors mostly 1, DRAM split as a row's mood says."""
    rows = len(layers)
    rand = lambda *shape: torch.rand((rows, *shape), generator=generator)  # noqa: E731
    bounds = torch.stack(layers.bounds, dim=1)
    log_uniform = lambda top: torch.exp(rand(7) * (top + 1).double().log()).long().minimum(top).clamp(min=1)  # noqa: E731
    noc = torch.where(rand(7) < 0.7, 64, log_uniform(torch.full_like(bounds, 64)))
    rf = torch.where(rand(7) < 0.55, 1, log_uniform(bounds.clamp(max=MAX_RF_FACTOR)))
    kernel = torch.where(rand(2) < 0.5, 1, bounds[:, [R, S]])
    rf[:, [R, S]] = kernel
    split = rand(7) < torch.tensor([0.0, 0.15, 0.5])[(rand(1) * 3).long()]
    dram = torch.where(split, log_uniform(bounds), 1)
    if layers.grouped:
        dram[:, G] = torch.where(rand() < 0.6, bounds[:, G], dram[:, G])
    order = (rand(7) * MAX_ORDER_GENE).long()
    return _restrict(layers, chips, torch.stack([rf, noc, dram, order], dim=1))


@dataclass(frozen=True, kw_only=True)
class MappedNetwork:
    """Mapping, cycles and energy of each layer given, in order; evaluations: tilings priced."""

    mappings: tuple[Mapping, ...]
    cycles: tuple[int, ...]
    energy_pj: tuple[float, ...]
    evaluations: int


class Mapper:
    """Maps layers on one accelerator; results are kept by shape.

    objective: "edp", "energy" or "latency". orders: what it may choose from. Deterministic in the seed, whatever the
    order of the questions.
    """

    def __init__(self, accelerator: AcceleratorConfig, technology: Technology, objective: str = "edp",
                 effort: Effort | None = None, seed: int = 0, orders: LoopOrders = ALL_ORDERS):
        if objective not in OBJECTIVES:
            raise SpecError(f"Mapper: objective must be one of {', '.join(OBJECTIVES)}, not '{objective}'.")
        self.accelerator, self.objective, self.seed = accelerator, objective, seed
        self.effort, self.orders = effort or Effort(), orders
        self._chip = ChipBatch.from_configs([accelerator])
        self._prices = Prices.of([accelerator], technology)
        self._kept: dict[LayerShape, Tilings] = {}
        self.evaluations = 0

    def layer(self, shape: LayerShape) -> Mapping:
        """Best mapping of one layer alone; raises InfeasibleDesign when none is legal."""
        return self._mapping(self._tilings([shape])[shape])

    def costs(self, shapes: Sequence[LayerShape]) -> Tensor:
        """float64 [n, 2]: energy in pJ and cycles of each layer at its best mapping."""
        kept = self._tilings(shapes)
        return torch.tensor([[float(kept[s].energy_pj), int(kept[s].cycles)] for s in shapes],
                            dtype=torch.float64).reshape(-1, 2)

    def network(self, shapes: Sequence[LayerShape], weights: tuple[float, float] | None = None) -> MappedNetwork:
        """Mappings that are best for the whole: with objective "edp", for the product of the sums.

        weights: worth of a pJ and of a cycle, where these layers are not the whole.
        """
        before, kept = self.evaluations, self._tilings(shapes)
        if self.objective == "edp":
            energy, cycles = self.costs(shapes).sum(dim=0)
            pj, cycle = weights or (1 / energy, 1 / (cycles + RUN_CYCLES))  # d ln(E T)
            score = lambda e, t: e * pj + t * cycle  # noqa: E731
            kept = self._search(sorted(set(shapes), key=repr), score, {s: t.genes[None] for s, t in kept.items()})
        best = [kept[s] for s in shapes]
        return MappedNetwork(
            mappings=tuple(map(self._mapping, best)), cycles=tuple(int(t.cycles) for t in best),
            energy_pj=tuple(float(t.energy_pj) for t in best), evaluations=self.evaluations - before)

    def _mapping(self, tilings: Tilings) -> Mapping:
        orders = orders_of(tilings.genes[:1], self.orders)
        return mapping_at(tilings.factors, {name: batch.options[int(batch.choice)] for name, batch in orders.items()})

    def _tilings(self, shapes):
        fresh = sorted(set(shapes) - set(self._kept), key=repr)
        self._kept |= self._search(fresh, OBJECTIVES[self.objective], {})
        return self._kept

    def _search(self, shapes, score, start):
        """One search per shape, each with a generator of its own, so that no answer depends on the others."""
        found = {}
        for shape in shapes:
            tilings = search_tilings(
                LayerBatch.from_shapes([shape]), self._chip, self._prices, score,
                torch.Generator().manual_seed(self.seed), self.effort, start.get(shape), self.orders)
            self.evaluations += tilings.evaluations
            if not tilings.score.isfinite():
                raise InfeasibleDesign(f"Accelerator '{self.accelerator.name}': no legal tiling found for {shape}; "
                                       f"enlarge its buffers.")
            found[shape] = dataclasses.replace(tilings, **{n: getattr(tilings, n)[0] for n in (
                "factors", "score", "cycles", "energy_pj", "genes")})
        return found


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
