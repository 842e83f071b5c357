"""One point of the generic accelerator design space (GADS), and one mapping onto it."""

import enum
import functools
import math
from dataclasses import dataclass, replace

from dna_asic.errors import InfeasibleDesign, SpecError
from dna_asic.spec.dims import DIMS, DRAM_DIMS, REDUCTION, RELEVANT, Dim, Level, Operand

SPATIAL_DIMS = (Dim.G, Dim.K, Dim.C, Dim.P, Dim.Q, Dim.R)
NO_DIM = Dim.S  # stands for "none" where a spatial dim is asked for: S is never spatial, its NoC factor is 1
MAX_CHUNKS = 4
# Dims along which PEs hold words of their own by position; I moves along P, Q and R in windows that overlap.
POSITIONED = {Operand.W: RELEVANT[Operand.W], Operand.I: frozenset({Dim.G, Dim.C}), Operand.O: RELEVANT[Operand.O]}
# Dims along which neighbouring PEs may be filled, or drained, in one cycle.
LANE_DIMS = {**POSITIONED, Operand.O: frozenset({Dim.G, Dim.K})}


def loop_order(text: str) -> tuple[Dim, ...]:
    """Dims of an order written as "S R C ...", innermost first; raises KeyError for what names no dim."""
    return tuple(Dim[d] for d in text.split())


_SAME_REUSE = ("S R C Q P K G", "S R C K Q P G", "Q P S R C K G", "Q P K S R C G", "K S R C Q P G", "K Q P S R C G")
ORDERS = {"rf_order": tuple(map(loop_order, _SAME_REUSE)), "gb_order": tuple(map(loop_order, _SAME_REUSE)),
          "dram_order": tuple(map(loop_order, ("C Q P K G", "C K Q P G", "C Q P G K", "C K G Q P")))}


class Reduction(enum.Enum):
    """How psums of PEs along a reduction dim are joined."""

    TREE = "tree"  # adder tree each cycle; one psum set per root
    DRAIN = "drain"  # psums stay in the PE; a neighbour adder chain joins them at drain


class Delivery(enum.Enum):
    """How a filled word reaches the PEs that share it."""

    MULTICAST = "multicast"  # all in one cycle
    SYSTOLIC = "systolic"  # from PE to PE, a register each, along every axis but that of its lanes


def is_power_of_two(value: int) -> bool:
    """1, 2, 4, ..."""
    return value > 0 and value & (value - 1) == 0


@dataclass(frozen=True, kw_only=True)
class ChunkConfig:
    """One chunk: PE array, NoC and buffers.

    pe_rows, pe_cols: PEs. row_dim, col_dim: the loop dim unrolled on rows and on columns.
    n_w, n_i, n_o: fill and drain widths in words (8-bit W and I, 32-bit O) per cycle; n_pp: post-processing
    lanes. rf_*_words: words per half of a register file, of which an operand has one a PE, or one for all PEs along
    its `shared_axes`.
    gb_*_bytes: global-buffer bytes, both halves together (O at 4 bytes a word).

    Raises InfeasibleDesign with every broken rule.
    """

    pe_rows: int
    pe_cols: int
    row_dim: Dim
    col_dim: Dim
    reduction: Reduction
    delivery: Delivery = Delivery.MULTICAST
    n_w: int
    n_i: int
    n_o: int
    n_pp: int
    rf_w_words: int
    rf_i_words: int
    rf_o_words: int
    gb_w_bytes: int
    gb_i_bytes: int
    gb_o_bytes: int

    def __post_init__(self):
        faults = list(self._faults())
        if faults:
            raise InfeasibleDesign("\n".join(faults))

    def _faults(self):
        if self.row_dim == self.col_dim or not {self.row_dim, self.col_dim} <= set(SPATIAL_DIMS):
            yield (f"Chunk: row_dim and col_dim must be two of {_names(SPATIAL_DIMS)}, not {self.row_dim.name} and "
                   f"{self.col_dim.name}.")
        for name in ("pe_rows", "pe_cols"):
            if not 1 <= getattr(self, name) <= 64:
                yield f"Chunk: {name} must be in 1..64, not {getattr(self, name)}."
        for operand, width in self.widths.items():
            if not is_power_of_two(width):
                yield f"Chunk: n_{operand.name.lower()} must be a power of two, not {width}."
            elif self.lane_extent(operand) % width:
                yield (f"Chunk: n_{operand.name.lower()}={width} must divide the {self.lane_extent(operand)} PEs "
                       f"along its lane axis.")
        if not is_power_of_two(self.n_pp):
            yield f"Chunk: n_pp must be a power of two, not {self.n_pp}."
        for name in ("rf_w_words", "rf_i_words", "rf_o_words"):
            if not 1 <= getattr(self, name) <= 64:
                yield f"Chunk: {name} must be in 1..64, not {getattr(self, name)}."
        for name in ("gb_w_bytes", "gb_i_bytes", "gb_o_bytes"):
            value = getattr(self, name)
            if not (is_power_of_two(value) and 1024 <= value <= 512 * 1024):
                yield f"Chunk: {name} must be a power of two in 1024..524288, not {value}."
        if self.reduction is Reduction.DRAIN and not self.reduction_axes:
            yield "Chunk: reduction 'drain' needs a spatial reduction dim; use 'tree'."

    @property
    def pes(self) -> int:
        """Processing elements."""
        return self.pe_rows * self.pe_cols

    @property
    def widths(self) -> dict[Operand, int]:
        """Words per cycle of the three RF ports."""
        return {Operand.W: self.n_w, Operand.I: self.n_i, Operand.O: self.n_o}

    @property
    def o_unit(self) -> int:
        """Words to which channels of the O buffer are padded: the wider of drain and post-processing."""
        return max(self.n_o, self.n_pp)

    @functools.cached_property
    def axes(self) -> dict[str, tuple[Dim, int]]:
        """Dim and PEs of the axes "row" and "col"."""
        return {"row": (self.row_dim, self.pe_rows), "col": (self.col_dim, self.pe_cols)}

    @functools.cached_property
    def reduction_axes(self) -> tuple[str, ...]:
        """Those of "row" and "col" that carry a reduction dim."""
        return tuple(axis for axis, (dim, _) in self.axes.items() if dim in REDUCTION)

    @property
    def tree_axes(self) -> tuple[str, ...]:
        """Axes that adder trees collapse."""
        return self.reduction_axes if self.reduction is Reduction.TREE else ()

    def shared_axes(self, operand: Operand) -> tuple[str, ...]:
        """Axes along which PEs share one register file of an operand.

        O: those that a tree collapses. W and I: those along which all PEs hold the same words, which multicast brings
        in one cycle; where words hop, each PE has its own.
        """
        return self._shared_axes[operand]

    @functools.cached_property
    def _shared_axes(self):
        alike = {x: tuple(axis for axis, (dim, _) in self.axes.items() if dim not in RELEVANT[x])
                 for x in (Operand.W, Operand.I)} if self.delivery is Delivery.MULTICAST else {}
        return {Operand.W: (), Operand.I: (), **alike, Operand.O: self.tree_axes}

    def set_dims(self, operand: Operand) -> tuple[Dim, Dim]:
        """Dims along which register files of an operand lie, rows and columns; NO_DIM where PEs share one."""
        shared = self.shared_axes(operand)
        return tuple(NO_DIM if axis in shared else dim for axis, (dim, _) in self.axes.items())

    def sets(self, operand: Operand) -> int:
        """Register files of an operand."""
        return self._sets[operand]

    @functools.cached_property
    def _sets(self):
        return {x: math.prod(n for axis, (_, n) in self.axes.items() if axis not in self.shared_axes(x))
                for x in Operand}

    @functools.cached_property
    def line_axis(self) -> str:
        """The axis along which PEs are gathered in a line, the unit that hardware repeats: rows, or columns.

        Adder trees lie in a line, chains lead from line to line; where both axes reduce, and where none does, rows.
        """
        across = ("row",) if self.reduction is Reduction.TREE else ("col",)
        return "row" if self.reduction_axes == across else "col"

    @property
    def crossed(self) -> bool:
        """Both axes move the height of a PE's input window (R and P): a PE then captures one row."""
        return {self.row_dim, self.col_dim} == {Dim.R, Dim.P}

    @property
    def wide_group_lanes(self) -> bool:
        """Several lanes of I or O lie along G: groups of one channel only are neighbours in the buffers."""
        return any(self.lane_dim(x) is Dim.G and self.widths[x] > 1 for x in (Operand.I, Operand.O))

    def lane_axis(self, operand: Operand) -> str | None:
        """The axis ("row" or "col") along which neighbouring lanes of a fill or drain lie, or None.

        W: the column axis if its dim is relevant, else the row axis. I and O: only an axis that carries a
        channel dim (consecutive channels are consecutive words in the buffers).
        """
        if self.col_dim in LANE_DIMS[operand]:
            return "col"
        return "row" if self.row_dim in LANE_DIMS[operand] else None

    def lane_extent(self, operand: Operand) -> int:
        """PEs along the lane axis, 1 without one."""
        return {"row": self.pe_rows, "col": self.pe_cols, None: 1}[self.lane_axis(operand)]

    def lane_dim(self, operand: Operand) -> Dim:
        """Dim of the lane axis (the columns without one) if its PEs hold words of their own by position, or NO_DIM."""
        return self._positioned(operand, self.lane_axis(operand) or "col")

    def other_dim(self, operand: Operand) -> Dim:
        """The same of the other axis."""
        return self._positioned(operand, "col" if self.lane_axis(operand) == "row" else "row")

    def _positioned(self, operand, axis):
        dim = self.axes[axis][0]
        return dim if dim in POSITIONED[operand] else NO_DIM

    def lane_unit(self, axis: str) -> int:
        """Spatial factors above 1 on `axis` are multiples of this: the widest port with lanes along it."""
        return max([self.widths[x] for x in Operand if self.lane_axis(x) == axis], default=1)


@dataclass(frozen=True, kw_only=True)
class AcceleratorConfig:
    """A GADS point: 1 to 4 chunks and the memory port that each of them has.

    port_bytes: bytes per cycle of each chunk's memory port (8, 16, 32 or 64).
    memory_latency_cycles: cycles from an accepted read address to its first data (ideal memory).
    clk_period_ns: the clock that turns cycles into seconds.
    """

    name: str
    chunks: tuple[ChunkConfig, ...]
    port_bytes: int
    memory_latency_cycles: int
    clk_period_ns: float

    def __post_init__(self):
        faults = []
        if not 1 <= len(self.chunks) <= MAX_CHUNKS:
            faults.append(f"Accelerator '{self.name}': chunks must be 1 to {MAX_CHUNKS}, not {len(self.chunks)}.")
        if self.port_bytes not in (8, 16, 32, 64):
            faults.append(f"Accelerator '{self.name}': port_bytes must be 8, 16, 32 or 64, not {self.port_bytes}.")
        if not 1 <= self.memory_latency_cycles <= 1000:
            faults.append(f"Accelerator '{self.name}': memory_latency_cycles must be in 1..1000, "
                          f"not {self.memory_latency_cycles}.")
        if self.clk_period_ns <= 0:
            faults.append(f"Accelerator '{self.name}': clk_period_ns must be positive, not {self.clk_period_ns}.")
        for chunk in self.chunks:
            if chunk.n_pp > self.port_bytes:
                faults.append(f"Accelerator '{self.name}': n_pp={chunk.n_pp} exceeds port_bytes={self.port_bytes}.")
        if faults:
            raise InfeasibleDesign("\n".join(faults))

    @property
    def chunk(self) -> ChunkConfig:
        """The chunk of an accelerator that has one; raises SpecError for others (see `alone`)."""
        if len(self.chunks) != 1:
            raise SpecError(f"Accelerator '{self.name}' has {len(self.chunks)} chunks where one is asked for; take it "
                            f"apart by `alone`.")
        return self.chunks[0]

    @property
    def alone(self) -> tuple["AcceleratorConfig", ...]:
        """Each chunk with its memory port as an accelerator of its own: what layers are mapped on and priced for."""
        return tuple(replace(self, chunks=(chunk,)) for chunk in self.chunks) if len(self.chunks) > 1 else (self,)

    @property
    def pes(self) -> int:
        """Processing elements of all chunks."""
        return sum(chunk.pes for chunk in self.chunks)


def _names(dims):
    return " ".join(d.name for d in dims)


def order_faults(name: str, order: tuple[Dim, ...]):
    """Yield what is wrong with a loop order (innermost first) at the level that `name` (rf_order, ...) says."""
    dims = DRAM_DIMS if name == "dram_order" else DIMS
    if sorted(order) != sorted(dims):
        yield f"{name} must be a permutation of {_names(dims)}, not {_names(order)}."
    elif dims is DRAM_DIMS and order[0] is not Dim.C:
        yield "dram_order must begin (innermost) with C, so that psums never leave the chip."


@dataclass(frozen=True, kw_only=True)
class LoopOrders:
    """Loop orders that a mapper may choose from at each level, innermost first.

    The default has one order for every reuse of W, I and O: neighbouring loops that move the same operands commute, so
    C R S go together, and P Q; G moves all and is outermost, but for the DRAM level. Raises InfeasibleDesign.
    """

    rf_order: tuple[tuple[Dim, ...], ...] = ORDERS["rf_order"]
    gb_order: tuple[tuple[Dim, ...], ...] = ORDERS["gb_order"]
    dram_order: tuple[tuple[Dim, ...], ...] = ORDERS["dram_order"]

    def __post_init__(self):
        faults = [f"Loop orders: {fault}" for name in ORDERS for order in getattr(self, name)
                  for fault in order_faults(name, order)]
        if faults:
            raise InfeasibleDesign("\n".join(faults))


ALL_ORDERS = LoopOrders()


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """Tiling and loop orders of one layer on one chunk.

    rf, noc, gb, dram: the factor of every dim at that level, in the order of `Dim`. The product of a dim's four
    factors covers its bound (the last tile may be ragged and is padded). `*_order`: loops innermost first, a
    permutation of all seven dims (DRAM: of G K C P Q, C innermost). Raises InfeasibleDesign for an order that is none.
    """

    rf: tuple[int, ...]
    noc: tuple[int, ...]
    gb: tuple[int, ...]
    dram: tuple[int, ...]
    rf_order: tuple[Dim, ...] = ORDERS["rf_order"][0]
    gb_order: tuple[Dim, ...] = ORDERS["gb_order"][0]
    dram_order: tuple[Dim, ...] = ORDERS["dram_order"][0]

    def __post_init__(self):
        faults = [f"Mapping: {fault}" for name in ORDERS for fault in order_faults(name, getattr(self, name))]
        if faults:
            raise InfeasibleDesign("\n".join(faults))

    def factors(self, level: Level) -> tuple[int, ...]:
        """Factors at one level."""
        return (self.rf, self.noc, self.gb, self.dram)[level]

    def order(self, level: Level) -> tuple[Dim, ...]:
        """Loop order of a level that has one (all but the NoC)."""
        return {Level.RF: self.rf_order, Level.GB: self.gb_order, Level.DRAM: self.dram_order}[level]
