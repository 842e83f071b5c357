"""NASAIC's space (Yang et al., arXiv 2002.04116): a ResNet9 and two sub-accelerators, as networks and chips of this
project.

NASAIC's are: stem filters, then <filters, skip layers> for each of three blocks; two sub-accelerators, each <dataflow,
PEs, bandwidth>, PEs in multiples of 32 and bandwidth in multiples of 8 GB/s, together at most 4096 PEs and 64 GB/s. The
options of filters and skip layers are from memory, not confirmed: [M].

This project's assumptions:

- Images with sides below 32 get filters divided by as much (8 x 8: by 4), at least 1.
- A sub-accelerator is a chunk of its template (`baselines.nasaic`), its array the squarest of exactly its PEs with
  sides up to 64; numbers of PEs without one are left out. Of the two sides that with more factors of two is the
  columns', along which words of W and I lie. rs has as few rows as its columns leave, at least 3: those beyond a
  kernel's idle.
- Bandwidth is, as in the paper's estimator MAESTRO, that between global buffer and PEs: b bytes a cycle at the chip's
  clock are b words of W and of I, and b / 4 psums and post-processing lanes, rounded down to what the array allows. The
  memory port, which all chunks of a chip have alike, is the widest of 8 to 64 bytes a cycle that both have within the
  sum of their bandwidths, and no narrower than 8.
- Register files are the template's largest. Global buffers hold 256 bytes a PE, as NVDLA's of 1024 and 2048 PEs do
  (its primer), a quarter for W, a quarter for I and half for psums, each the nearest power of two and at least 4 KiB;
  that of W as much as the least tile of a 3 x 3 layer takes, whose channels are a port's bytes.
- Layers go to the sub-accelerators by this project's own assignment, their tilings are its mapper's, and a layer's loop
  orders the template's.
"""

import functools
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dna_asic.baselines.nasaic import MAX_PES, PORTS, TEMPLATES, Template, template_chunk
from dna_asic.cosearch.journal import JournalledPricer
from dna_asic.cosearch.pricing import Pair, dataflow
from dna_asic.errors import SpecError
from dna_asic.gads.space import widest
from dna_asic.mapping.candidates import ROWS
from dna_asic.mapping.tilings import mapping_of
from dna_asic.networks.resnet9 import nasaic_resnet9
from dna_asic.space import Choice
from dna_asic.spec.accelerator import AcceleratorConfig, ChunkConfig, LoopOrders, Mapping
from dna_asic.spec.dims import DIMS, Dim, Level, Operand
from dna_asic.spec.layer import LayerShape, NetworkSpec
from dna_asic.technology import Technology

MAX_GB_PER_S, PES_STEP, GB_PER_S_STEP, MAX_SIDE = 64, 32, 8, 64
BUFFER_BYTES_PER_PE, LEAST_BUFFER_BYTES, MOST_BUFFER_BYTES = 256, 4096, 512 * 1024
STEM, FILTERS, SKIPS, BLOCKS = (8, 16, 32, 64), (32, 64, 128, 256), (0, 1, 2), 3  # [M]
IMAGE_SIDE = 32  # of CIFAR-10, which the filters are for
FILLS, FINEST = (32, 16, 8, 4), 1 << 20  # PEs of a side, for candidates; as many DRAM tiles of a dim as there are
BY_NAME = {template.name: template for template in TEMPLATES}
BY_DIMS = {(template.row_dim, template.col_dim): template for template in TEMPLATES}

Values = tuple[int, ...]  # of a network: stem filters, then filters and skip layers of each block


@dataclass(frozen=True, kw_only=True)
class SubAccelerator:
    """<dataflow, PEs, bandwidth in GB/s>. Raises SpecError for an unknown dataflow or PEs that make no array."""

    dataflow: str
    pes: int
    gb_per_s: int

    def __post_init__(self):
        if self.dataflow not in BY_NAME:
            raise SpecError(f"Sub-accelerator {self}: dataflow must be one of {', '.join(BY_NAME)}.")
        if not _arrays(self.pes):
            raise SpecError(f"Sub-accelerator {self}: PEs must make an array with sides of at most {MAX_SIDE}.")

    def __str__(self) -> str:
        return f"<{self.dataflow},{self.pes},{self.gb_per_s}>"

    @property
    def array(self) -> tuple[int, int]:
        """PE rows and columns; see the module."""
        arrays, template = _arrays(self.pes), BY_NAME[self.dataflow]
        if template.rows is not None:
            return min(array for array in arrays if array[0] >= min(template.rows))
        return min(arrays, key=lambda array: (max(array) - min(array), -(array[1] & -array[1])))


Hardware = tuple[SubAccelerator, ...]


def parse_hardware(text: str) -> Hardware:
    """Inverse of `str`, sub-accelerators separated by blanks; raises SpecError."""
    parts = re.findall(r"<(\w+),(\d+),(\d+)>", text)
    if not parts or re.sub(r"\s+", "", text) != "".join(f"<{','.join(part)}>" for part in parts):
        raise SpecError(f"Sub-accelerators must be written as <dataflow,PEs,GB/s> each, not '{text}'.")
    return tuple(SubAccelerator(dataflow=name, pes=int(pes), gb_per_s=int(speed)) for name, pes, speed in parts)


@functools.cache
def _arrays(pes: int) -> tuple[tuple[int, int], ...]:
    """Rows and columns of all arrays of exactly so many PEs."""
    return tuple((rows, pes // rows) for rows in range(1, MAX_SIDE + 1) if pes % rows == 0 and pes // rows <= MAX_SIDE)


@dataclass(frozen=True, kw_only=True)
class Silicon:
    """What all chips of a comparison share."""

    technology: Technology
    clk_period_ns: float
    memory_latency_cycles: int

    def __str__(self) -> str:
        return f"{self.technology.name}, clock {self.clk_period_ns:g} ns"

    def chip(self, hardware: Hardware, port_bytes: int | None = None) -> AcceleratorConfig:
        """The sub-accelerators as the chunks of one chip; see the module. port_bytes: another than their own."""
        port = port_bytes or self.port_bytes(hardware)
        return AcceleratorConfig(
            name=" ".join(map(str, hardware)), chunks=tuple(self._chunk(sub, port) for sub in hardware),
            port_bytes=port, memory_latency_cycles=self.memory_latency_cycles, clk_period_ns=self.clk_period_ns)

    def port_bytes(self, hardware: Hardware) -> int:
        """Bytes a cycle of each memory port."""
        return self.widest_port(sum(sub.gb_per_s for sub in hardware) / len(hardware))

    def widest_port(self, gb_per_s: float) -> int:
        """Bytes a cycle, within a bandwidth; GB/s are bytes a ns."""
        return max([port for port in PORTS if port <= gb_per_s * self.clk_period_ns], default=PORTS[0])

    def _chunk(self, sub: SubAccelerator, port: int) -> ChunkConfig:
        fill, template = sub.gb_per_s * self.clk_period_ns, BY_NAME[sub.dataflow]
        sizes = [_buffer_bytes(sub.pes * share) for share in (0.25, 0.25, 0.5)]
        sizes[Operand.W] = max(sizes[Operand.W], 1 << (2 * 9 * port**2 - 1).bit_length())
        return template_chunk(template, sub.array, rf_words=max(template.rf_words), gb_bytes=tuple(sizes), fill=fill,
                              drain=fill / 4, lanes=widest(fill / 4, port))


def _buffer_bytes(pes: float) -> int:
    size = 1 << round(math.log2(pes * BUFFER_BYTES_PER_PE))
    return min(max(size, LEAST_BUFFER_BYTES), MOST_BUFFER_BYTES)


class TemplatePricer(JournalledPricer):
    """Layers on chunks of NASAIC's templates, each with the loop orders of its own.

    Sides that are no powers of two leave few legal tilings where channels are split at DRAM, so that random candidates
    may all miss them: searches begin with arrays filled up to a power of two too, and the mapper with what they found.
    """

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._best: dict[Pair, Tensor] = {}  # candidates [1, 5, 7]

    def _tilings(self, pairs, layers, chips, prices):
        tilings = super()._tilings(pairs, layers, chips, prices)
        self._best |= zip(pairs, tilings.survivors[:, :1], strict=True)
        return tilings

    def _outcome(self, pairs, genes):
        return super()._outcome(pairs, genes) | {"best": torch.stack([self._best[pair] for pair in pairs])}

    def _take(self, state, pairs, genes):
        super()._take(state, pairs, genes)
        self._best |= zip(pairs, state["best"], strict=True)

    def _start(self, key):
        """Also: each of FILLS with nothing split at DRAM, with the finest tiles of channels, and the finest of all."""
        filled = torch.ones((len(FILLS), 3, ROWS, len(DIMS)), dtype=torch.int64)
        filled[:, :, Level.NOC] = torch.tensor(FILLS)[:, None, None]
        filled[:, 1:, Level.DRAM, [Dim.K, Dim.C]] = FINEST
        filled[:, 2, Level.DRAM] = FINEST
        return torch.cat([super()._start(key), filled.flatten(0, 1)])

    def known(self, alone: AcceleratorConfig, shapes: Sequence[LayerShape]) -> dict[LayerShape, list[Mapping]]:
        """What was found on this chunk, and the best tilings of its template's last chips."""
        orders, flow = self.orders_of(alone), dataflow(alone)
        rows = {shape: [*self._best.get((alone, shape), ()), *self._genes.get((shape, flow), ())] for shape in shapes}
        return {shape: [mapping_of(row, orders) for row in found] for shape, found in rows.items() if found}

    def price(self, pairs):
        """As LayerPricer's."""
        for template in TEMPLATES:
            self.orders = template.orders
            super().price([pair for pair in pairs if _template(pair[0]) is template])
        return super().price(pairs)

    def orders_of(self, alone: AcceleratorConfig) -> LoopOrders:
        """Those of the chunk's template."""
        return _template(alone).orders


def _template(alone: AcceleratorConfig) -> Template:
    return BY_DIMS[alone.chunk.row_dim, alone.chunk.col_dim]


@dataclass(frozen=True, kw_only=True)
class NasaicSpace:
    """Choices of networks for images of `input_shape` (channels, height, width), and of hardware."""

    input_shape: tuple[int, int, int]
    classes: int

    @functools.cached_property
    def network_choices(self) -> tuple[Choice, ...]:
        """Stem filters, then filters and skip layers of each block."""
        divisor = max(1, IMAGE_SIDE // max(self.input_shape[1:]))
        stem, filters = ([max(1, n // divisor) for n in options] for options in (STEM, FILTERS))
        blocks = [(Choice(f"block{i}.filters", filters), Choice(f"block{i}.skips", SKIPS)) for i in range(BLOCKS)]
        return (Choice("stem", stem), *(choice for block in blocks for choice in block))

    @functools.cached_property
    def hardware_choices(self) -> tuple[Choice, ...]:
        """Dataflow, PEs and bandwidth of the one and of the other; `allowed` says what the first leaves the second."""
        pes = [n for n in range(PES_STEP, MAX_PES, PES_STEP) if _arrays(n)]
        speeds = range(GB_PER_S_STEP, MAX_GB_PER_S, GB_PER_S_STEP)
        return tuple(choice for i in range(2) for choice in (
            Choice(f"sub{i}.dataflow", list(BY_NAME)), Choice(f"sub{i}.pes", pes), Choice(f"sub{i}.gb_per_s", speeds)))

    @functools.cached_property
    def choices(self) -> tuple[Choice, ...]:
        """All that the controller names, in its order."""
        return self.network_choices + self.hardware_choices

    def allowed(self, place: int, chosen: Sequence[Tensor]) -> Tensor | None:
        """bool [samples, options] of choice `place`, by the options [samples] of those before it; None for all.

        The second sub-accelerator has no more PEs and bandwidth than the first leaves it.
        """
        first = len(self.network_choices)
        limits = {first + 4: MAX_PES, first + 5: MAX_GB_PER_S}
        if place not in limits:
            return None
        options = torch.tensor(self.hardware_choices[place - first].options)
        return options[chosen[place - 3]][:, None] + options <= limits[place]

    def network(self, values: Values) -> NetworkSpec:
        """Values of the network's choices as a network."""
        return nasaic_resnet9(values[0], list(zip(values[1::2], values[2::2], strict=True)),
                              input_shape=self.input_shape, classes=self.classes)

    def split(self, row: Sequence[int]) -> tuple[Values, Hardware]:
        """Network and hardware of a row of options, one of each choice (hardware: none of it, if there are no more)."""
        values = [choice.options[i] for choice, i in zip(self.choices, row, strict=False)]
        first = len(self.network_choices)
        parts = [values[i:i + 3] for i in range(first, len(values), 3)]
        return tuple(values[:first]), tuple(SubAccelerator(dataflow=d, pes=n, gb_per_s=b) for d, n, b in parts)

    @functools.cached_property
    def sub_accelerators(self) -> tuple[SubAccelerator, ...]:
        """All that one of the two may be."""
        options = (choice.options for choice in self.hardware_choices[:3])
        return tuple(SubAccelerator(dataflow=d, pes=n, gb_per_s=b) for d, n, b in itertools.product(*options))

    def sample(self, count: int, generator: torch.Generator) -> list[tuple[Values, Hardware]]:
        """Networks and hardware, every choice uniform over what is allowed."""
        chosen = []
        for place, choice in enumerate(self.choices):
            allowed = self.allowed(place, chosen)
            weights = torch.ones(count, len(choice.options)) if allowed is None else allowed.float()
            chosen.append(torch.multinomial(weights, 1, generator=generator)[:, 0])
        return [self.split(row) for row in torch.stack(chosen, dim=1).tolist()]
