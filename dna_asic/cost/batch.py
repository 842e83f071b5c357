"""Chips and mappings as tensors: one row a candidate."""

import dataclasses
from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dna_asic.cost.nest import OrderBatch
from dna_asic.errors import SpecError
from dna_asic.spec.accelerator import ORDERS, AcceleratorConfig, ChunkConfig, Mapping
from dna_asic.spec.dims import DIMS, Dim, Level, Operand
from dna_asic.spec.latency import drain_latency, fill_latency
from dna_asic.spec.layer import LayerShape

CHUNK_FIELDS = ("row_dim", "col_dim", "crossed", "wide_group_lanes", "pe_rows", "pe_cols", "n_w", "n_i",
                "n_o", "n_pp", "rf_w_words", "rf_i_words", "rf_o_words", "gb_w_bytes", "gb_i_bytes", "gb_o_bytes")
PORT_FIELDS = ("port_bytes", "memory_latency_cycles")
LAYER_FIELDS = ("stride", "pad", "h", "w", "k_segments", "pool_window", "has_residual", "maximum")


def layer_kind(layer: LayerShape) -> tuple[bool, bool]:
    """What all layers of one batch have in common: (depthwise, grouped)."""
    return layer.depthwise, layer.grouped


@dataclass(frozen=True, kw_only=True)
class ChipBatch:
    """One-chunk accelerators; the fields of ChunkConfig and AcceleratorConfig as int64 [N].

    set_dims [N, 3, 2], lane_dims and other_dims [N, 3] (an operand each): dims, as ChunkConfig has them.
    spatial_extents, lane_units: [N, 7], per dim the PEs along its axis and what more than one of them must be a
    multiple of; 1 for a dim that is not spatial. crossed, wide_group_lanes: bool [N]. fill_latencies [N, 2] (W, I),
    drain_latency [N]: cycles. Its names are those that `spec.geometry` reads of a chunk.
    """

    row_dim: Tensor
    col_dim: Tensor
    set_dims: Tensor
    lane_dims: Tensor
    other_dims: Tensor
    spatial_extents: Tensor
    lane_units: Tensor
    crossed: Tensor
    wide_group_lanes: Tensor
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
    fill_latencies: Tensor
    drain_latency: Tensor

    @classmethod
    def from_configs(cls, accelerators: Sequence[AcceleratorConfig]) -> "ChipBatch":
        """One row per accelerator of one chunk; raises SpecError for others."""
        chunks = [a.chunk for a in accelerators]
        fields = {n: torch.tensor([getattr(c, n) for c in chunks]) for n in CHUNK_FIELDS}
        fields |= {n: torch.tensor([getattr(a, n) for a in accelerators]) for n in PORT_FIELDS}
        return cls(**fields, clk_period_ns=torch.tensor([a.clk_period_ns for a in accelerators], dtype=torch.float64),
                   set_dims=torch.tensor([[c.set_dims(x) for x in Operand] for c in chunks]),
                   lane_dims=torch.tensor([[c.lane_dim(x) for x in Operand] for c in chunks]),
                   other_dims=torch.tensor([[c.other_dim(x) for x in Operand] for c in chunks]),
                   spatial_extents=torch.tensor([_by_dim(c, lambda axis, extent: extent) for c in chunks]),
                   lane_units=torch.tensor([_by_dim(c, lambda axis, _: c.lane_unit(axis)) for c in chunks]),  # noqa: B023
                   fill_latencies=torch.tensor([[fill_latency(c, x) for x in (Operand.W, Operand.I)] for c in chunks]),
                   drain_latency=torch.tensor([drain_latency(c) for c in chunks]))

    def __len__(self) -> int:
        return len(self.pe_rows)

    def take(self, index: Tensor) -> "ChipBatch":
        """Rows `index`, int64 [M]."""
        return ChipBatch(**{f.name: getattr(self, f.name)[index] for f in dataclasses.fields(self)})

    widths = ChunkConfig.widths

    def lane_dim(self, operand: Operand) -> Tensor:
        """[N]: as ChunkConfig.lane_dim."""
        return self.lane_dims[:, operand]

    def other_dim(self, operand: Operand) -> Tensor:
        """[N]: as ChunkConfig.other_dim."""
        return self.other_dims[:, operand]

    @property
    def o_unit(self) -> Tensor:
        """As ChunkConfig.o_unit."""
        return self.n_o.maximum(self.n_pp)


def _by_dim(chunk, value):
    """Per dim value(axis, extent) of its axis, 1 for a dim that is not spatial."""
    return [next((value(axis, extent) for axis, (dim, extent) in chunk.axes.items() if dim is d), 1) for d in DIMS]


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


class Factors(tuple):
    """Factors of one level: an int64 [N] per dim, in the order of `Dim`. Indexed by an int64 [N] of dims, it gives each
    row the factor of its own dim.
    """

    def __new__(cls, table: Tensor) -> "Factors":
        """table: int64 [7, N]."""
        factors = super().__new__(cls, table)
        factors.table = table
        return factors

    def __getitem__(self, dim):
        if isinstance(dim, Tensor):
            rows = self.table.shape[1] if len(dim) == 1 else len(dim)
            return self.table.expand(-1, rows).gather(0, dim.expand(1, rows))[0]
        return super().__getitem__(dim)


@dataclass(frozen=True, kw_only=True)
class MappingBatch:
    """Tilings: the factors of each level. Read like a Mapping.

    `*_order`: the loop orders.
    """

    rf: Factors
    noc: Factors
    gb: Factors
    dram: Factors
    rf_order: OrderBatch
    gb_order: OrderBatch
    dram_order: OrderBatch

    @classmethod
    def from_tensor(cls, factors: Tensor, orders: Table[str, OrderBatch]) -> "MappingBatch":
        """factors: int64 [N, 4, 7], levels in the order of `Level`; orders: by name."""
        columns = factors.permute(1, 2, 0).contiguous()
        return cls(**{level.name.lower(): Factors(columns[level]) for level in Level}, **orders)

    @classmethod
    def from_mappings(cls, mappings: Sequence[Mapping]) -> "MappingBatch":
        """One row per mapping."""
        return cls.from_tensor(torch.tensor([[m.factors(level) for level in Level] for m in mappings]),
                               {n: OrderBatch.of([getattr(m, n) for m in mappings]) for n in ORDERS})


def mapping_at(factors: Tensor, orders: Table[str, tuple[Dim, ...]]) -> Mapping:
    """The record of one row [4, 7] with these loop orders."""
    return Mapping(**{level.name.lower(): tuple(factors[level].tolist()) for level in Level}, **orders)
