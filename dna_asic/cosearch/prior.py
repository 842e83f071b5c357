"""What the search expects of samples that were not priced, by the estimate of `cosearch.estimate`; no evaluation.

No chip is built: samples have chunks in common, and each chunk is made, and each layer on it estimated, once.
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
from dna_asic.gads.space import CHUNK_ENTRIES
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.space import Choice
from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.layer import NetworkSpec

KEPT = 2**14  # chunks, and areas of chips, that are remembered until all are forgotten
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
        self._one = dataclasses.replace(space, entries=tuple(Choice(e, (None,)) for e in CHUNK_ENTRIES))
        self._network: NetworkSpec | None = None
        self._forget()

    def _forget(self):
        self._numbers: dict[tuple[int, ...], int | None] = {}  # of chunks by their options, none for what is no chip
        self._alone: dict[AcceleratorConfig, int] = {}
        self._areas_mm2: dict[tuple[int, ...], float] = {}
        self._turn_to(self._network)

    def _turn_to(self, network):
        self._network, self._shapes, self._costs, self._idle_pj = network, {}, {}, {None: 0.0}

    def __call__(self, index: Tensor, network: NetworkSpec) -> Tensor:
        """float64 [n], finite: ln EDP of the network on samples int64 [n, choices]. What is no chip, is too large, or
        seems unable to run a layer is beyond all others, by as much as in `DesignPricer.log_costs`.
        """
        if network != self._network:
            self._turn_to(network)
        if max(len(self._numbers), len(self._areas_mm2)) > KEPT:
            self._forget()
        samples = [self._chunks(row) for row in index.tolist()]
        self._chips = list(self._alone)
        expected = [self._excess(chunks) for chunks in samples]
        able = [i for i, excess in enumerate(expected) if not excess]
        expected = [REFUSED + excess for excess in expected]
        for i, cost in zip(able, self._ln_costs([samples[i] for i in able]) if able else (), strict=True):
            expected[i] = cost
        return torch.tensor(expected, dtype=torch.float64)

    def _chunks(self, row):
        """Numbers of a sample's chunks."""
        port = row[self._columns["port_bytes"]]
        keys = [(port, self._like[n], *self._picks[n](row)) for n in range(self._counts[row[self._columns["chunks"]]])]
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
        return self._alone.setdefault(alone, len(self._alone))

    def _excess(self, chunks):
        """0 for what is a chip, within the area."""
        if None in chunks:
            return NO_CHIP
        if math.isinf(self.designs.targets.max_area_mm2):
            return 0.0
        if chunks not in self._areas_mm2:
            alone = [self._chips[i] for i in chunks]
            chip = dataclasses.replace(alone[0], chunks=tuple(one.chunk for one in alone))
            self._areas_mm2[chunks] = sum(area_um2(chip, self.designs.layers.technology).values()) * 1e-6
        return self.designs.area_excess(self._areas_mm2[chunks])

    def _ln_costs(self, samples):
        """Each layer on the chunk that suits it; all chunks are paid."""
        self._estimate({i: self._chips[i] for chunks in samples for i in chunks if i not in self._costs})
        most = max(map(len, samples))
        padded = [i for chunks in samples for i in [*chunks, *[None] * (most - len(chunks))]]
        energy, cycles = torch.stack([self._costs[i] for i in padded]).unflatten(0, (-1, most)).unbind(dim=3)
        idle = torch.tensor([self._idle_pj[i] for i in padded], dtype=torch.float64).view(-1, most)
        others = functools.reduce(torch.add, idle.unbind(dim=1))[:, None] - idle
        energy = energy + torch.where(cycles.isfinite(), cycles * others[:, :, None], 0.0)
        best = (energy * cycles).argmin(dim=1)[:, None, :, None].expand(-1, -1, -1, 2)
        costs = torch.stack([energy, cycles], dim=3).gather(1, best)[:, 0]
        refused = costs[:, :, 1].isinf().double().mean(dim=1).tolist()
        return [REFUSED + share if share else self.designs.ln_cost(self._chips[chunks[0]], *own.sum(dim=0).tolist())
                for chunks, own, share in zip(samples, costs, refused, strict=True)]

    def _estimate(self, chips):
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
