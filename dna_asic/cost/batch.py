"""Chips and mappings as tensors: one row a candidate."""

import dataclasses
from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dna_asic.errors import SpecError
from dna_asic.spec.accelerator import ORDERS, AcceleratorConfig, ChunkConfig, Mapping, Reduction
from dna_asic.spec.dims import DIMS, RELEVANT, Dim, Level, Operand
from dna_asic.spec.latency import drain_latency, fill_latency
from dna_asic.spec.layer import LayerShape

CHUNK_FIELDS = ("pe_rows", "pe_cols", "n_w", "n_i", "n_o", "n_pp", "rf_w_words", "rf_i_words", "rf_o_words",
                "gb_w_bytes", "gb_i_bytes", "gb_o_bytes")
PORT_FIELDS = ("port_bytes", "memory_latency_cycles")
LAYER_FIELDS = ("stride", "pad", "h", "w", "k_segments", "pool_window", "has_residual", "maximum")


def layer_kind(layer: LayerShape) -> tuple[bool, bool]:
    """What all layers of one batch have in common: (depthwise, grouped)."""
    return layer.depthwise, layer.grouped


def chip_family(accelerator: AcceleratorConfig) -> tuple[Dim, Dim, Reduction]:
    """What all chips of one batch have in common: spatial pair and reduction; of an accelerator with one chunk."""
    chunk = accelerator.chunk
    return chunk.row_dim, chunk.col_dim, chunk.reduction


@dataclass(frozen=True, kw_only=True)
class ChipBatch:
    """One-chunk accelerators of one family; the fields of ChunkConfig and AcceleratorConfig as int64 [N].

    fill_latency, drain_latency: cycles, [N]. Its names are those that `spec.geometry` reads of a chunk.
    """

    row_dim: Dim
    col_dim: Dim
    reduction: Reduction
    pe_rows: Tensor
    pe_cols: Tensor
    n_w: Tensor
    n_i: Tensor
    n_o: Tensor
    n_pp: Tensor
    rf_w_words: Tensor
    rf_i_words: Tensor
    rf_o_words: Tensor
    gb_w_bytes: Tensor
    gb_i_bytes: Tensor
    gb_o_bytes: Tensor
    port_bytes: Tensor
    memory_latency_cycles: Tensor
    clk_period_ns: Tensor
    fill_latency: Tensor
    drain_latency: Tensor

    @classmethod
    def from_configs(cls, accelerators: Sequence[AcceleratorConfig]) -> "ChipBatch":
        """One row per accelerator of one chunk; raises SpecError for others, and for more than one family."""
        families = {chip_family(a) for a in accelerators}
        if len(families) != 1:
            raise SpecError(f"A batch of chips must have one spatial pair and reduction, not {len(families)}; "
                            f"group them.")
        row_dim, col_dim, reduction = families.pop()
        chunks = [a.chunk for a in accelerators]
        fields = {n: torch.tensor([getattr(c, n) for c in chunks]) for n in CHUNK_FIELDS}
        fields |= {n: torch.tensor([getattr(a, n) for a in accelerators]) for n in PORT_FIELDS}
        return cls(row_dim=row_dim, col_dim=col_dim, reduction=reduction, **fields,
                   clk_period_ns=torch.tensor([a.clk_period_ns for a in accelerators], dtype=torch.float64),
                   fill_latency=torch.tensor([fill_latency(c) for c in chunks]),
                   drain_latency=torch.tensor([drain_latency(c) for c in chunks]))

    def __len__(self) -> int:
        return len(self.pe_rows)

    def take(self, index: Tensor) -> "ChipBatch":
        """Rows `index`, int64 [M]."""
        tensors = {f.name: getattr(self, f.name)[index] for f in dataclasses.fields(self)
                   if isinstance(getattr(self, f.name), Tensor)}
        return dataclasses.replace(self, **tensors)

    lane_axis = ChunkConfig.lane_axis
    reduction_axes = ChunkConfig.reduction_axes
    widths = ChunkConfig.widths

    @property
    def o_unit(self) -> Tensor:
        """As ChunkConfig.o_unit."""
        return self.n_o.maximum(self.n_pp)


@dataclass(frozen=True, kw_only=True)
class LayerBatch:
    """Layers of one kind as tensors [N]; its names are those that `spec.geometry` reads of a LayerShape.

    depthwise, grouped: what all rows have in common.
    """

    depthwise: bool
    grouped: bool
    bounds: tuple[Tensor, ...]
    stride: Tensor
    pad: Tensor
    h: Tensor
    w: Tensor
    k_segments: Tensor
    pool_window: Tensor
    has_residual: Tensor
    maximum: Tensor

    @classmethod
    def from_shapes(cls, shapes: Sequence[LayerShape]) -> "LayerBatch":
        """One row per layer; raises SpecError when they are of more than one kind."""
        kinds = {layer_kind(s) for s in shapes}
        if len(kinds) != 1:
            raise SpecError(f"A batch of layers must be of one kind (depthwise, grouped, dense), not {len(kinds)}; "
                            f"group them.")
        depthwise, grouped = kinds.pop()
        return cls(depthwise=depthwise, grouped=grouped, bounds=tuple(torch.tensor([s.bounds for s in shapes]).T),
                   **{n: torch.tensor([getattr(s, n) for s in shapes]) for n in LAYER_FIELDS})

    def __len__(self) -> int:
        return len(self.stride)

    def take(self, index: Tensor) -> "LayerBatch":
        """Rows `index`, int64 [M]."""
        return dataclasses.replace(self, bounds=tuple(b[index] for b in self.bounds),
                                   **{n: getattr(self, n)[index] for n in LAYER_FIELDS})

    def bound(self, dim: Dim) -> Tensor:
        """Loop bound of `dim`, [N]."""
        return self.bounds[dim]


@dataclass(frozen=True, kw_only=True)
class MappingBatch:
    """Tilings: at each level one int64 [N] per dim, in the order of `Dim`. Read like a Mapping.

    *_order: int64 [N, loops], the dim at each loop, innermost first.
    """

    rf: tuple[Tensor, ...]
    noc: tuple[Tensor, ...]
    gb: tuple[Tensor, ...]
    dram: tuple[Tensor, ...]
    rf_order: Tensor
    gb_order: Tensor
    dram_order: Tensor

    @classmethod
    def from_tensor(cls, factors: Tensor, orders: Table[str, Tensor]) -> "MappingBatch":
        """factors: int64 [N, 4, 7], levels in the order of `Level`; orders: by name, [N, loops]."""
        columns = factors.permute(1, 2, 0).contiguous()
        return cls(**{level.name.lower(): tuple(columns[level]) for level in Level}, **orders)

    @classmethod
    def from_mappings(cls, mappings: Sequence[Mapping]) -> "MappingBatch":
        """One row per mapping."""
        return cls.from_tensor(torch.tensor([[m.factors(level) for level in Level] for m in mappings]),
                               {n: torch.tensor([getattr(m, n) for m in mappings]) for n in ORDERS})


def mapping_at(factors: Tensor, orders: Table[str, tuple[Dim, ...]]) -> Mapping:
    """The record of one row [4, 7] with these loop orders."""
    return Mapping(**{level.name.lower(): tuple(factors[level].tolist()) for level in Level}, **orders)


@dataclass(frozen=True, kw_only=True)
class Nest:
    """Loops of one level in their order: bounds [N, loops], and per operand the lowest relevant loop [N]."""

    bounds: Tensor
    lowest: dict[Operand, Tensor]

    @classmethod
    def of(cls, order: Tensor, factors: tuple[Tensor, ...]) -> "Nest":
        """order: [N, loops] of dims; factors: per dim [N]."""
        bounds = torch.stack(factors, dim=1).gather(1, order)
        moves, loops = bounds > 1, order.shape[1]
        lowest = {}
        for x in Operand:
            hit = RELEVANCE[x][order] & moves
            lowest[x] = torch.where(hit.any(1), hit.to(torch.uint8).argmax(1), loops)
        return cls(bounds=bounds, lowest=lowest)

    def tiles(self, operand: Operand) -> Tensor:
        """[N]: tiles of the operand that the nest visits = product of the bounds from its lowest loop outward."""
        loop = torch.arange(self.bounds.shape[1])
        inside = loop < self.lowest[operand][:, None]
        return self.bounds.masked_fill(inside, 1).prod(dim=1)


RELEVANCE = {x: torch.tensor([d in RELEVANT[x] for d in DIMS]) for x in Operand}
