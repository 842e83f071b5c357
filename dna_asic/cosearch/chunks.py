"""The chunks that samples of a space have in common: each is made, measured, and each layer on it estimated, once."""

import dataclasses
import functools
import operator
from collections.abc import Sequence

import torch
from torch import Tensor

from dna_asic.cosearch.estimate import estimated_by_port
from dna_asic.cost import Prices, area_um2
from dna_asic.errors import InfeasibleDesign
from dna_asic.gads import GadsSpace
from dna_asic.gads.space import CHUNK_ENTRIES, NUMBERS, WIDTHS
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.space import Choice
from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.layer import NetworkSpec
from dna_asic.technology import Technology

NO_CHUNK = 0  # number of what is no chunk, or none
Row = Sequence[int]  # the options of a sample
Key = tuple[int, ...]  # of a chunk: its port's option, the first chunk with the same options, its own options


class Chunks:
    """Chunks of samples by number, as they were met.

    counts: how many a sample may have. like: per place the first one whose chunk has the same options. chips: of each
    chunk alone.
    """

    def __init__(self, space: GadsSpace, technology: Technology):
        self.space, self.technology = space, technology
        self._columns = {c.label: i for i, c in enumerate(space.choices)}
        self.counts = space.choices[self._columns["chunks"]].options
        self._places = [[i for label, i in self._columns.items() if space.chunk_of(label) == n
                        and label.rpartition(".")[2] in CHUNK_ENTRIES] for n in range(max(self.counts))]
        options = [[space.choices[i].options for i in places] for places in self._places]
        self.like = [options.index(x) for x in options]
        self._picks = [operator.itemgetter(*places) for places in self._places]
        sizes = {n: [i for label, i in self._columns.items() if space.chunk_of(label) < n
                     and label.rpartition(".")[2] in (*NUMBERS, *WIDTHS)] for n in self.counts}
        self._sizes = [sizes[n] for n in self.counts]
        self._one = dataclasses.replace(space, entries=tuple(Choice(e, (None,)) for e in CHUNK_ENTRIES))
        self._numbers: dict[Key, int] = {}
        self._alone: dict[AcceleratorConfig | None, int] = {None: NO_CHUNK}
        self.chips: list[AcceleratorConfig | None] = [None]
        self._blocks: dict[int, dict[str, float]] = {}
        self._areas_mm2: dict[int, float] = {NO_CHUNK: 0.0}
        self._network: NetworkSpec | None = None

    def __len__(self) -> int:
        return len(self._numbers)

    def keys(self, row: Row) -> list[Key]:
        """Of each chunk of a sample."""
        port = row[self._columns["port_bytes"]]
        return [(port, self.like[n], *self._picks[n](row)) for n in range(self.counts[row[self._columns["chunks"]]])]

    def of(self, row: Row) -> tuple[int, ...]:
        """Numbers of a sample's chunks."""
        return tuple(map(self.number, self.keys(row)))

    def number(self, key: Key) -> int:
        """The chunk's; equal chunks have one."""
        if key not in self._numbers:
            chip = self._build(*key)
            if self._alone.setdefault(chip, len(self.chips)) == len(self.chips):
                self.chips.append(chip)
            self._numbers[key] = self._alone[chip]
        return self._numbers[key]

    def _build(self, port, chunk, *options):
        choices, ports = self.space.choices, self.space.choices[self._columns["port_bytes"]].options
        values = [choices[i].options[option] for i, option in zip(self._places[chunk], options, strict=True)]
        try:
            return self._one.build({"chunks": 1, "port_bytes": ports[port], **dict(zip(CHUNK_ENTRIES, values))})
        except InfeasibleDesign:
            return None

    def sizes(self, row: Row) -> list[int]:
        """Places of the numbers of a sample's chunks, of which less takes less area."""
        return self._sizes[row[self._columns["chunks"]]]

    def joined(self, row: Row, keys: Sequence[Key]) -> list[int]:
        """A sample like `row` with the chunks of `keys`."""
        row = list(row)
        row[self._columns["chunks"]] = self.counts.index(len(keys))
        for places, (_, _, *options) in zip(self._places, keys):
            for i, option in zip(places, options, strict=True):
                row[i] = option
        return row

    def area_mm2(self, numbers: Sequence[int]) -> float:
        """Of these chunks in all."""
        for i in numbers:
            if i not in self._areas_mm2:
                self._areas_mm2[i] = sum(self._area_um2(i).values()) * 1e-6
        return sum([self._areas_mm2[i] for i in numbers])

    def _area_um2(self, number):
        """Per block."""
        if number not in self._blocks:
            self._blocks[number] = area_um2(self.chips[number], self.technology)
        return self._blocks[number]

    def turn_to(self, network: NetworkSpec) -> None:
        """The network of `on_best` from now on."""
        if network != self._network:
            self._network, self._shapes, self._estimated = network, {}, {NO_CHUNK}
            self._costs = torch.full((1, len(network.layers), 2), torch.inf, dtype=torch.float64)
            self._idle_pj = torch.zeros(1, dtype=torch.float64)

    def on_best(self, chunks: Tensor) -> tuple[Tensor, Tensor]:
        """(energy in pJ, cycles) float64 [n, layers] of each layer on the chunk that suits it, at what all others waste
        meanwhile; infinite where it runs on none. chunks: numbers int64 [n, any], NO_CHUNK where there are fewer.
        """
        self._estimate(set(chunks.unique().tolist()))
        costs, idle_pj = self._costs[chunks], self._idle_pj[chunks]
        others = functools.reduce(torch.add, idle_pj.unbind(dim=1))[:, None] - idle_pj
        best = least = None
        for one, wasted in zip(costs.unbind(dim=1), others.unbind(dim=1), strict=True):
            energy, cycles = one.unbind(dim=2)
            energy = energy + torch.where(cycles.isfinite(), cycles * wasted[:, None], 0.0)
            edp = energy * cycles
            if best is None:
                best, least = (energy, cycles), edp
            else:
                best = tuple(torch.where(edp < least, new, old) for new, old in zip((energy, cycles), best))
                least = edp.minimum(least)
        return best

    def _estimate(self, numbers):
        new = sorted(numbers - self._estimated)
        if not new:
            return
        self._estimated.update(new)
        chips = [self.chips[i] for i in new]
        for port in dict.fromkeys(chip.port_bytes for chip in chips):
            if port not in self._shapes:
                self._shapes[port] = [shape for _, shape in hardware_shapes(self._network, port)]
        if (more := len(self.chips) - len(self._idle_pj)) > 0:
            more += len(self.chips)  # so that it is seldom
            self._costs = torch.cat([self._costs, self._costs[:1].expand(more, -1, -1)])
            self._idle_pj = torch.cat([self._idle_pj, self._idle_pj[:1].expand(more)])
        prices = Prices.of(chips, self.technology, list(map(self._area_um2, new)))
        self._costs[new] = estimated_by_port(chips, self._shapes, prices)
        self._idle_pj[new] = prices.idle_pj
