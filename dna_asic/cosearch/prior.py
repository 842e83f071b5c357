"""What the search expects of samples that were not priced, by the estimate of `cosearch.estimate`; no evaluation.

No chip is built: samples have chunks in common, and each chunk is made, and each layer on it estimated, once. So it is
quickly told, too, which chunk would suit a sample best, and what makes one that is too large fit.
"""

import dataclasses
import functools
import math
import operator

import torch
from torch import Tensor

from dna_asic.cosearch.designs import REFUSED, DesignPricer
from dna_asic.cosearch.estimate import estimated_by_port
from dna_asic.cost import Prices, area_um2
from dna_asic.errors import InfeasibleDesign
from dna_asic.gads import GadsSpace
from dna_asic.gads.space import CHUNK_ENTRIES, NUMBERS, WIDTHS
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.space import Choice
from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.layer import NetworkSpec

KEPT = 2**15  # chunks that are remembered until all are forgotten
SHRINKS = 24  # tries to make a sample fit the area
EXCHANGED = 2  # samples that one kind of exchange proposes
NO_CHIP = 2.0  # beyond REFUSED


class EstimatedPrior:
    """Prior of samples of `space`, by the prices and targets of `designs`; a function of the sample alone."""

    def __init__(self, space: GadsSpace, designs: DesignPricer):
        self.space, self.designs = space, designs
        self._columns = {c.label: i for i, c in enumerate(space.choices)}
        self._counts = space.choices[self._columns["chunks"]].options
        self._places = [[i for label, i in self._columns.items() if space.chunk_of(label) == n
                         and label.rpartition(".")[2] in CHUNK_ENTRIES] for n in range(max(self._counts))]
        options = [[space.choices[i].options for i in places] for places in self._places]
        self._like = [options.index(x) for x in options]  # the first chunk that has the same options
        self._picks = [operator.itemgetter(*places) for places in self._places]
        sizes = {n: [i for label, i in self._columns.items() if self.space.chunk_of(label) < n
                     and label.rpartition(".")[2] in (*NUMBERS, *WIDTHS)] for n in self._counts}
        self._sizes = [sizes[n] for n in self._counts]
        self._one = dataclasses.replace(space, entries=tuple(Choice(e, (None,)) for e in CHUNK_ENTRIES))
        self._network: NetworkSpec | None = None
        self._forget()

    def _forget(self):
        self._numbers: dict[tuple[int, ...], int | None] = {}  # of chunks by their options, none for what is no chip
        self._alone: dict[AcceleratorConfig, int] = {}
        self._chips: list[AcceleratorConfig] = []  # of one chunk, by number
        self._areas_mm2: dict[int, float] = {}
        self._turn_to(self._network)

    def _turn_to(self, network):
        self._network, self._shapes, self._costs, self._idle_pj = network, {}, {}, {None: 0.0}

    def __call__(self, index: Tensor, network: NetworkSpec) -> Tensor:
        """float64 [n], finite: ln EDP of the network on samples int64 [n, choices]. What is no chip, is too large, or
        seems unable to run a layer is beyond all others, by as much as in `DesignPricer.log_costs`.
        """
        if network != self._network:
            self._turn_to(network)
        if len(self._numbers) > KEPT:
            self._forget()
        samples = [self._chunks(row) for row in index.tolist()]
        expected = [self._excess(chunks) for chunks in samples]
        able = [i for i, excess in enumerate(expected) if not excess]
        expected = [REFUSED + excess for excess in expected]
        for i, cost in zip(able, self._ln_costs([samples[i] for i in able]) if able else (), strict=True):
            expected[i] = cost
        return torch.tensor(expected, dtype=torch.float64)

    def _keys(self, row):
        """Of a sample's chunks: the port, the first chunk with the same options, the options."""
        port = row[self._columns["port_bytes"]]
        return [(port, self._like[n], *self._picks[n](row)) for n in range(self._counts[row[self._columns["chunks"]]])]

    def _chunks(self, row):
        """Numbers of a sample's chunks."""
        keys = self._keys(row)
        for key in keys:
            if key not in self._numbers:
                self._numbers[key] = self._number(*key)
        return tuple(self._numbers[key] for key in keys)

    def _number(self, port, chunk, *options):
        choices, ports = self.space.choices, self.space.choices[self._columns["port_bytes"]].options
        values = [choices[i].options[option] for i, option in zip(self._places[chunk], options, strict=True)]
        try:
            alone = self._one.build({"chunks": 1, "port_bytes": ports[port], **dict(zip(CHUNK_ENTRIES, values))})
        except InfeasibleDesign:
            return None
        if alone not in self._alone:
            self._alone[alone] = len(self._chips)
            self._chips.append(alone)
        return self._alone[alone]

    def _area(self, chunks):
        """mm2; 0 where it is not limited."""
        if math.isinf(self.designs.targets.max_area_mm2):
            return 0.0
        for i in chunks:
            if i not in self._areas_mm2:
                self._areas_mm2[i] = sum(area_um2(self._chips[i], self.designs.layers.technology).values()) * 1e-6
        return sum(self._areas_mm2[i] for i in chunks)

    def _excess(self, chunks):
        """0 for what is a chip, within the area."""
        if None in chunks:
            return NO_CHIP
        if math.isinf(self.designs.targets.max_area_mm2):
            return 0.0
        return self.designs.area_excess(self._area(chunks))

    def _ln_costs(self, samples):
        """Each layer on the chunk that suits it; all chunks are paid."""
        self._estimate({i for chunks in samples for i in chunks})
        most = max(map(len, samples))
        padded = [i for chunks in samples for i in [*chunks, *[None] * (most - len(chunks))]]
        idle = torch.tensor([self._idle_pj[i] for i in padded], dtype=torch.float64).view(-1, most)
        own = _on_best(torch.stack([self._costs[i] for i in padded]).unflatten(0, (-1, most)), idle)
        refused = own[:, :, 1].isinf().double().mean(dim=1).tolist()
        return [REFUSED + share if share else self.designs.ln_cost(self._chips[chunks[0]], *each.sum(dim=0).tolist())
                for chunks, each, share in zip(samples, own, refused, strict=True)]

    def shrunk(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Samples [n, choices] with some sizes lowered, drawn one by one, until they are within the area: what a large
        change costs in area is made up for elsewhere.
        """
        limit, rows = self.designs.targets.max_area_mm2, index.tolist()
        if math.isinf(limit):
            return index
        for row in rows:
            sizes, chunks = self._sizes[row[self._columns["chunks"]]], self._chunks(row)
            for i in torch.randint(len(sizes), (SHRINKS,), generator=generator).tolist():
                if None in chunks or self._area(chunks) <= limit:
                    break
                row[sizes[i]] -= 1
                less = self._chunks(row) if row[sizes[i]] >= 0 else chunks
                if None not in less and self._area(less) < self._area(chunks):
                    chunks = less
                else:
                    row[sizes[i]] += 1
        return torch.tensor(rows, dtype=torch.int64).reshape(index.shape)

    def exchanged(self, index: Tensor, elites: Tensor, network: NetworkSpec) -> Tensor:
        """Each of `elites` [m, choices] with the chunk of samples `index` [n, choices] that suits it best: as one more,
        and in the place of each of its own; within the area. Samples [any, choices].
        """
        self(elites, network)
        known: dict[tuple, dict[int, tuple]] = {}  # chunks by port and by the places where they may be
        for row in index.tolist() if max(self._counts) > 1 else ():
            for key, chunk in zip(self._keys(row), self._chunks(row), strict=True):
                known.setdefault(key[:2], {}).setdefault(chunk, key)
        rests = {}
        for row in elites.tolist():
            keys = self._keys(row)
            for at in range(min(len(keys) + 1, max(self._counts))):
                before, after = keys[:at], keys[at + 1:]
                if len(before + after) + 1 in self._counts and before + after:
                    chunks = tuple(self._numbers[key] for key in before + after)
                    rests.setdefault((self._like[at], chunks), (row, before, after))
        made = []
        for (like, chunks), (row, before, after) in rests.items():
            others = known.get(((before + after)[0][0], like), {})
            made += [self._row(row, [*before, others[i], *after]) for i in self._partners(chunks, list(others))]
        return torch.tensor(made, dtype=torch.int64).reshape(-1, index.shape[1])

    def _partners(self, chunks, others):
        """Of `others` the few that go best with `chunks`, by EDP alone."""
        if None in chunks:
            return []
        left = self.designs.targets.max_area_mm2 - self._area(chunks)
        others = [i for i in others if i is not None and self._area((i,)) <= left]
        if not others:
            return []
        self._estimate({*chunks, *others})
        costs = [torch.stack([self._costs[i] for i in others]),
                 *(self._costs[i].expand(len(others), -1, -1) for i in chunks)]
        idle = [torch.tensor([self._idle_pj[i] for i in others], dtype=torch.float64),
                *(torch.full((len(others),), self._idle_pj[i], dtype=torch.float64) for i in chunks)]
        edp = _on_best(torch.stack(costs, dim=1), torch.stack(idle, dim=1)).sum(dim=1).prod(dim=1)
        return [others[i] for i in edp.argsort(stable=True)[:EXCHANGED].tolist() if edp[i].isfinite()]

    def _row(self, row, keys):
        """A sample like `row` with the chunks of `keys`."""
        row = list(row)
        row[self._columns["chunks"]] = self._counts.index(len(keys))
        for places, (_, _, *options) in zip(self._places, keys):
            for i, option in zip(places, options, strict=True):
                row[i] = option
        return row

    def _estimate(self, chunks):
        chips = {i: self._chips[i] for i in sorted(chunks - self._costs.keys())}
        if not chips:
            return
        for port in dict.fromkeys(chip.port_bytes for chip in chips.values()):
            if port not in self._shapes:
                self._shapes[port] = [shape for _, shape in hardware_shapes(self._network, port)]
        prices = Prices.of(list(chips.values()), self.designs.layers.technology)
        costs = estimated_by_port(list(chips.values()), self._shapes, prices)
        self._costs |= zip(chips, costs, strict=True)
        self._costs.setdefault(None, torch.full_like(costs[0], torch.inf))
        self._idle_pj |= zip(chips, prices.idle_pj.tolist(), strict=True)


def _on_best(costs, idle_pj):
    """[n, layers, 2]: energy and cycles of each layer on the chunk that suits it, at what all others waste meanwhile.

    costs: [n, chunks, layers, 2]; idle_pj: [n, chunks], per cycle.
    """
    others = functools.reduce(torch.add, idle_pj.unbind(dim=1))[:, None] - idle_pj
    best = least = None
    for one, wasted in zip(costs.unbind(dim=1), others.unbind(dim=1), strict=True):
        energy, cycles = one.unbind(dim=2)
        energy = energy + torch.where(cycles.isfinite(), cycles * wasted[:, None], 0.0)
        one, edp = torch.stack([energy, cycles], dim=2), energy * cycles
        best = one if best is None else torch.where((edp < least)[:, :, None], one, best)
        least = edp if least is None else least.minimum(edp)
    return best
