"""Samples with other samples' chunks. An estimate is a sum over layers of what the best chunk takes, and the area one
over chunks: so it is quickly told which of all known chunks suits a sample best.
"""

import math

import torch
from torch import Tensor

from dna_asic.cosearch.chunks import NO_CHUNK, Chunks, Key

EXCHANGED = 2  # samples that one kind of exchange proposes


class Exchange:
    """The samples from call to call for the network of `chunks`; those with more than `max_area_mm2` are not made.

    What was tried is remembered; samples alone decide what is made.
    """

    def __init__(self, chunks: Chunks, max_area_mm2: float):
        self._chunks, self._limit_mm2 = chunks, max_area_mm2
        self._met: set[tuple[int, ...]] = set()
        self._known: dict[tuple[int, ...], dict[int, Key]] = {}  # chunks by port and by the places where they may be
        self._best: dict[tuple, tuple[int, list]] = {}  # (of `_known` tried, the (EDP, chunk) found)

    def __call__(self, index: Tensor, elites: Tensor) -> Tensor:
        """Each of `elites` [m, choices] with the few chunks of samples `index` [n, choices], and of those of earlier
        calls, that suit it best: as one more, and in the place of each of its own. Samples [any, choices].
        """
        counts, like, made = self._chunks.counts, self._chunks.like, {}
        if max(counts) == 1:
            return index[:0]
        self._meet(index)
        for row in elites.tolist():
            keys = self._chunks.keys(row)
            for at in range(min(len(keys) + 1, max(counts))):
                before, after = keys[:at], keys[at + 1:]
                if len(before + after) + 1 in counts and before + after:
                    rest = tuple(map(self._chunks.number, before + after))
                    made.setdefault((like[at], rest), (row, before, after))
        rows = [self._chunks.joined(row, [*before, key, *after]) for (like, rest), (row, before, after) in made.items()
                for key in self._partners(rest, (before + after)[0][0], like)]
        return torch.tensor(rows, dtype=torch.int64).reshape(-1, index.shape[1])

    def _meet(self, index):
        for row in map(tuple, index.tolist()):
            if row not in self._met:
                self._met.add(row)
                for key in self._chunks.keys(row):
                    chunk = self._chunks.number(key)
                    if chunk != NO_CHUNK:
                        self._known.setdefault(key[:2], {}).setdefault(chunk, key)

    def _partners(self, rest, port, like):
        """Keys of the chunks that go best with those of `rest`, by EDP alone."""
        known = self._known.get((port, like), {})
        tried, best = self._best.get((like, rest), (0, []))
        new = list(known)[tried:]
        if not math.isinf(self._limit_mm2):
            left = self._limit_mm2 - self._chunks.area_mm2(rest)
            new = [i for i in new if self._chunks.area_mm2((i,)) <= left]
        if new and NO_CHUNK not in rest:
            chunks = torch.tensor(new)[:, None]
            energy, cycles = self._chunks.on_best(torch.cat([chunks, torch.tensor([rest] * len(new))], dim=1))
            edp = (energy.sum(dim=1) * cycles.sum(dim=1)).tolist()
            best = sorted([*best, *((e, i) for e, i in zip(edp, new) if math.isfinite(e))],
                          key=lambda x: x[0])[:EXCHANGED]
        self._best[like, rest] = len(known), best
        return [known[i] for _, i in best]
