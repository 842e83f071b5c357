"""The PE array: PEs in lockstep, adder trees, and one accumulator per root."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dna_asic.spec.accelerator import ChunkConfig, Reduction
from dna_asic.spec.dims import Operand
from dna_asic.spec.latency import tree_depth
from rtl_gen.buffer import address_bits
from rtl_gen.pe import PRODUCT_BITS, PSUM_BITS, Accumulator, Pe
from rtl_gen.unit import Unit


def tree_axes(chunk: ChunkConfig) -> tuple[str, ...]:
    """Axes that an adder tree collapses."""
    return chunk.reduction_axes if chunk.reduction is Reduction.TREE else ()


def root_grid(chunk: ChunkConfig) -> tuple[int, int]:
    """Rows and columns of accumulators."""
    return (1 if "row" in tree_axes(chunk) else chunk.pe_rows, 1 if "col" in tree_axes(chunk) else chunk.pe_cols)


def tree_extent(chunk: ChunkConfig) -> int:
    """Products joined by one adder tree; 1 without trees."""
    rows, cols = root_grid(chunk)
    return chunk.pes // (rows * cols)


def compute_stages(chunk: ChunkConfig) -> int:
    """Cycles from a MAC's issue to its accumulation: operand register, product register, tree."""
    return 2 + tree_depth(tree_extent(chunk))


def delay(m, value, cycles: int, name: str):
    """`value` that many cycles later."""
    for i in range(cycles):
        later = Signal.like(value, name=f"{name}_{i + 1}")
        m.d.sync += later.eq(value)
        value = later
    return value


class AdderTree(Unit):
    """Sum of `terms` products, `tree_depth(terms)` cycles later: a register after every two levels of adders."""

    def __init__(self, terms: int):
        self.terms = terms
        self.module_name = f"adder_tree_{terms}"
        ports = {f"term_{i}": In(signed(PRODUCT_BITS)) for i in range(terms)}
        super().__init__(ports | {"total": Out(signed(tree_bits(terms)))})

    def body(self):
        m = Module()
        level = [getattr(self, f"term_{i}") for i in range(self.terms)]
        stage = 0
        while len(level) > 1:
            for _ in range(2):
                level = [sum(level[i + 1:i + 2], level[i]) for i in range(0, len(level), 2)]
            stage += 1
            for i, value in enumerate(level):
                level[i] = Signal.like(value, name=f"stage_{stage}_{i}", reset_less=True)
                m.d.sync += level[i].eq(value)
        m.d.comb += self.total.eq(level[0])
        return m


def tree_bits(terms: int) -> int:
    """Bits of a sum of `terms` products."""
    return PRODUCT_BITS + (terms - 1).bit_length()


class PEArray(wiring.Component):
    """`pe_rows` x `pe_cols` PEs under one control.

    row_used, col_used: masks of the PEs in use (static). W capture: PEs with `w_row` and `w_col` take the lane of
    `w_data` of their coordinate at `w_word`. I likewise, at word `i_base_r` + `i_offset_c` of their own box.
    MAC control: as issued (`issue` and its companions belong to one cycle); the array delays them to the stage
    where they act. `drain_data_r_c` follows `drain_address_c` in the same cycle (columns apart, for the chain).
    """

    def __init__(self, chunk: ChunkConfig):
        self.chunk = chunk
        rows, cols = chunk.pe_rows, chunk.pe_cols
        self.roots = root_grid(chunk)
        w, i, o = (address_bits(n) for n in (chunk.rf_w_words, chunk.rf_i_words, chunk.rf_o_words))
        ports = {
            "row_used": In(rows), "col_used": In(cols), "op_max": In(1),
            "w_row": In(rows), "w_col": In(cols), "w_data": In(8 * chunk.n_w), "w_word": In(w),
            "i_row": In(rows), "i_col": In(cols), "i_data": In(8 * chunk.n_i),
            "issue": In(1), "w_load": In(1), "i_load": In(1), "w_address": In(w), "i_address": In(i),
            "o_address": In(o), "visit_start": In(1), "visit_first": In(1), "visit_end": In(1),
            "w_half": In(1), "i_half": In(1), "o_half": In(1),
        }
        ports |= {f"i_base_{n}": In(i) for n in range(rows)} | {f"i_offset_{n}": In(i) for n in range(cols)}
        ports |= {f"drain_address_{c}": In(o) for c in range(self.roots[1])}
        ports |= {f"drain_data_{r}_{c}": Out(signed(PSUM_BITS)) for r in range(self.roots[0])
                  for c in range(self.roots[1])}
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        multiply = delay(m, self.issue, 1, "multiply")
        products = {(r, c): self._pe(m, r, c, multiply) for r in range(self.chunk.pe_rows)
                    for c in range(self.chunk.pe_cols)}
        self._accumulators(m, products)
        return m

    def _pe(self, m, r, c, multiply):
        pe = Pe(self.chunk.rf_w_words, self.chunk.rf_i_words)
        m.submodules[f"pe_{r}_{c}"] = pe
        place = {"row": r, "col": c, None: 0}
        w_lane = place[self.chunk.lane_axis(Operand.W)] % self.chunk.n_w
        i_lane = place[self.chunk.lane_axis(Operand.I)] % self.chunk.n_i
        m.d.comb += [
            pe.active.eq(self.row_used[r] & self.col_used[c]), pe.op_max.eq(self.op_max), pe.multiply.eq(multiply),
            pe.w_capture.eq(self.w_row[r] & self.w_col[c]), pe.i_capture.eq(self.i_row[r] & self.i_col[c]),
            pe.w_data.eq(self.w_data.word_select(w_lane, 8)), pe.i_data.eq(self.i_data.word_select(i_lane, 8)),
            pe.w_word.eq(self.w_word),
            pe.i_word.eq(getattr(self, f"i_base_{r}") + getattr(self, f"i_offset_{c}")),
            pe.w_half.eq(self.w_half), pe.i_half.eq(self.i_half),
            pe.w_load.eq(self.issue & self.w_load), pe.i_load.eq(self.issue & self.i_load),
            pe.w_address.eq(self.w_address), pe.i_address.eq(self.i_address),
        ]
        return pe.product

    def _accumulators(self, m, products):
        rows, cols = self.roots
        stages = compute_stages(self.chunk)
        control = {n: delay(m, getattr(self, n), stages, n)
                   for n in ("issue", "visit_start", "visit_first", "visit_end", "o_address", "o_half")}
        terms = tree_bits(tree_extent(self.chunk))
        for r in range(rows):
            for c in range(cols):
                root = Accumulator(self.chunk.rf_o_words, terms)
                m.submodules[f"root_{r}_{c}"] = root
                in_use = (1 if rows == 1 else self.row_used[r]) & (1 if cols == 1 else self.col_used[c])
                m.d.comb += [
                    root.term.eq(self._join(m, products, r, c)), root.op_max.eq(self.op_max),
                    root.enable.eq(control["issue"] & in_use), root.half.eq(control["o_half"]),
                    root.visit_start.eq(control["visit_start"]), root.visit_first.eq(control["visit_first"]),
                    root.visit_end.eq(control["visit_end"]), root.address.eq(control["o_address"]),
                    root.drain_address.eq(getattr(self, f"drain_address_{c}")),
                    getattr(self, f"drain_data_{r}_{c}").eq(root.drain_data),
                ]

    def _join(self, m, products, r, c):
        """Product of root (r, c): its PE's, or the sum over the PEs in use along the tree's axes."""
        rows = range(self.chunk.pe_rows) if "row" in tree_axes(self.chunk) else [r]
        cols = range(self.chunk.pe_cols) if "col" in tree_axes(self.chunk) else [c]
        members = [(y, x) for y in rows for x in cols]
        if len(members) == 1:
            return products[members[0]]
        m.submodules[f"tree_{r}_{c}"] = tree = AdderTree(len(members))
        for n, (y, x) in enumerate(members):
            m.d.comb += getattr(tree, f"term_{n}").eq(
                Mux(self.row_used[y] & self.col_used[x], products[y, x], 0))
        return tree.total


def mask(m, used, count: int, name: str):
    """Registered mask of `count` bits: bit n is set when n < `used`."""
    result = Signal(count, name=name)
    m.d.sync += result.eq(Cat(used > n for n in range(count)))
    return result
