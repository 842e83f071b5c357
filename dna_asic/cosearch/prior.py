"""What the search expects of samples that were not priced, by the estimate of `cosearch.estimate`; no evaluation.

No chip is built: samples have their chunks in common (`cosearch.chunks`). So it is quickly told, too, what makes a
sample that is too large fit.
"""

import math

import torch
from torch import Tensor

from dna_asic.cosearch.chunks import NO_CHUNK, Chunks
from dna_asic.cosearch.designs import REFUSED, DesignPricer
from dna_asic.cosearch.exchange import Exchange
from dna_asic.gads import GadsSpace
from dna_asic.spec.layer import NetworkSpec

KEPT = 2**15  # chunks that are remembered until all are forgotten
NO_CHIP = 2.0  # beyond REFUSED
FAR = 3.0  # times the area allowed


class EstimatedPrior:
    """Prior of samples of `space`, by the prices and targets of `designs`; a function of the sample alone."""

    def __init__(self, space: GadsSpace, designs: DesignPricer):
        self.space, self.designs = space, designs
        self._chunks = Chunks(space, designs.layers.technology)
        self._asked = self._fitting = None

    def _turn_to(self, network):
        if len(self._chunks) > KEPT:
            self._chunks = Chunks(self.space, self.designs.layers.technology)
        self._chunks.turn_to(network)

    def __call__(self, index: Tensor, network: NetworkSpec) -> Tensor:
        """float64 [n], finite: ln EDP of the network on samples int64 [n, choices]. What is no chip, is too large, or
        seems unable to run a layer is beyond all others, by as much as in `DesignPricer.log_costs`.
        """
        self._turn_to(network)
        samples = list(map(self._chunks.of, index.tolist()))
        expected = [self._excess(chunks) for chunks in samples]
        able = [i for i, excess in enumerate(expected) if not excess]
        expected = [REFUSED + excess for excess in expected]
        for i, cost in zip(able, self._ln_costs([samples[i] for i in able]) if able else (), strict=True):
            expected[i] = cost
        return torch.tensor(expected, dtype=torch.float64)

    def _excess(self, chunks):
        """0 for what is a chip, within the area."""
        if NO_CHUNK in chunks:
            return NO_CHIP
        if math.isinf(self.designs.targets.max_area_mm2):
            return 0.0
        return self.designs.area_excess(self._chunks.area_mm2(chunks))

    def _ln_costs(self, samples):
        """Each layer on the chunk that suits it; all chunks are paid."""
        most = max(map(len, samples))
        padded = torch.tensor([[*chunks, *[NO_CHUNK] * (most - len(chunks))] for chunks in samples])
        energy, cycles = self._chunks.on_best(padded)
        refused = cycles.isinf().double().mean(dim=1).tolist()
        sums = zip(energy.sum(dim=1).tolist(), cycles.sum(dim=1).tolist(), strict=True)
        return [REFUSED + share if share else self.designs.ln_cost(self._chunks.chips[chunks[0]], *each)
                for chunks, each, share in zip(samples, sums, refused, strict=True)]

    def shrunk(self, index: Tensor, network: NetworkSpec, generator: torch.Generator | None = None) -> Tensor:
        """Samples [n, choices] with sizes lowered until they are within the area: what a large change takes is made up
        for elsewhere. Those go first that cost least for the area that they save, or as `generator` draws them, which
        takes hardly any time.
        """
        if math.isinf(self.designs.targets.max_area_mm2):
            return index
        self._turn_to(network)
        if generator:
            return self._shrunk(index, generator)
        asked = index.tolist(), network, self.designs.targets
        if asked != self._asked:  # until the best sample changes, the same is asked again
            self._asked, self._fitting = asked, self._shrunk(index, None)
        return self._fitting

    def _shrunk(self, index, generator):
        limit, rows = self.designs.targets.max_area_mm2, index.tolist()
        chunks = list(map(self._chunks.of, rows))
        large = [n for n, of in enumerate(chunks) if NO_CHUNK not in of and self._chunks.area_mm2(of) > limit]
        while large:
            tried = [(n, *less) for n in large for less in self._smaller(rows[n], chunks[n], generator)]
            costs, least = [0.0] * len(tried) if generator else self._per_area(tried, chunks), {}
            for cost, (n, *less) in zip(costs, tried, strict=True):
                least[n] = min(least.get(n, (math.inf,)), (cost, *less))
            for n, (_, row, less) in least.items():
                rows[n], chunks[n] = row, less
            large = [n for n in least if self._chunks.area_mm2(chunks[n]) > limit]
        return torch.tensor(rows, dtype=torch.int64).reshape(index.shape)

    def _smaller(self, row, chunks, generator):
        """(sample, its chunks) with one size lowered: for all sizes that save area, or one drawn of them, by half of
        its options while far too much area is left to save.
        """
        sizes, area = self._chunks.sizes(row), self._chunks.area_mm2(chunks)
        far = generator and area > FAR * self.designs.targets.max_area_mm2
        for i in torch.randperm(len(sizes), generator=generator).tolist() if generator else range(len(sizes)):
            less = list(row)
            less[sizes[i]] = row[sizes[i]] // 2 if far else row[sizes[i]] - 1
            if less[sizes[i]] < 0 or NO_CHUNK in (smaller := self._chunks.of(less)):
                continue
            if self._chunks.area_mm2(smaller) < area:
                yield less, smaller
                if generator:
                    return

    def _per_area(self, tried, chunks):
        """What each of (place in `chunks`, sample, its chunks) costs for what it saves of the area above the limit."""
        if not tried:
            return []
        costs = zip(self._ln_costs([less for *_, less in tried]), self._ln_costs([chunks[n] for n, *_ in tried]))
        limit, area = self.designs.targets.max_area_mm2, self._chunks.area_mm2
        return [(cost - before) / (area(chunks[n]) - max(limit, area(less)))
                for (cost, before), (n, _, less) in zip(costs, tried, strict=True)]

    def exchange(self, network: NetworkSpec) -> Exchange:
        """Samples that get others' chunks, within the area."""
        self._turn_to(network)
        return Exchange(self._chunks, self.designs.targets.max_area_mm2)
