"""The network on chip: fills of W and I from the global buffers, the drain of O into its buffer."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dna_asic.spec.accelerator import ChunkConfig, Reduction
from dna_asic.spec.dims import Dim, Operand
from dna_asic.spec.instruction import I_FILL_LOOPS, O_DRAIN_LOOPS
from dna_asic.spec.latency import reduction_extent
from rtl_gen.buffer import address_bits
from rtl_gen.fields import WIDTHS, connect_nest, layout_of, nest_names
from rtl_gen.nest import Nest
from rtl_gen.pe import PSUM_BITS
from rtl_gen.pe_array import compute_stages, delay, root_grid

_LANE, _COLUMN, _ROW = range(3)  # inner loops of the I fill
_DRAIN_LANE, _DRAIN_OTHER, _DRAIN_WORD = range(3)  # loops of the O drain; words from the third on
_W_FIELDS = ["wf_lane_last", "wf_other_last", "wf_word_last"]
_I_FIELDS = [*nest_names("if", "a", I_FILL_LOOPS), "box_h", "box_w", "window_h", "window_w"]
_O_FIELDS = nest_names("od", "a", O_DRAIN_LOOPS)


def lane_groups(count: int, width: int, group):
    """Mask of `count` PEs along a lane axis: those of lane group `group`, `width` each."""
    return Cat(group == n // width for n in range(count))


def run_nest(m, nest, start):
    """Active from the cycle after `start` until `nest` has passed its last iteration."""
    active = Signal()
    m.d.comb += [nest.load.eq(start), nest.step.eq(active)]
    m.d.sync += active.eq(start | (active & ~nest.last))
    return active


class WeightFill(wiring.Component):
    """Fill of W: one beat of n_w words per cycle, linear in the buffer from `tile`.

    `start` in cycle t - 1 flips at t: the buffer is read from t, and the last word may be read in the PEs at
    t + beats + FILL_CYCLES; `idle` rises one cycle earlier. Outputs to the array: see PEArray.
    """

    def __init__(self, chunk: ChunkConfig):
        self.chunk = chunk
        address = address_bits(chunk.gb_w_bytes // 2 // chunk.n_w)
        super().__init__({
            "instruction": In(layout_of(_W_FIELDS)), "row_used": In(chunk.pe_rows), "col_used": In(chunk.pe_cols),
            "start": In(1), "tile": In(address), "idle": Out(1),
            "read_en": Out(1), "read_address": Out(address), "read_data": In(8 * chunk.n_w),
            "w_row": Out(chunk.pe_rows), "w_col": Out(chunk.pe_cols), "w_data": Out(8 * chunk.n_w),
            "w_word": Out(address_bits(chunk.rf_w_words)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.nest = nest = Nest(3, WIDTHS["wf_word_last"], {})
        for i, name in enumerate(("lane", "other", "word")):
            m.d.comb += nest.last_index[i].eq(self.instruction[f"wf_{name}_last"])
        active = run_nest(m, nest, self.start)
        m.d.sync += self.read_address.eq(Mux(self.start, self.tile, self.read_address + 1))
        lane, other, word = (delay(m, nest.index[i], 1, f"beat_{n}") for i, n in enumerate(("lane", "other", "word")))
        valid = delay(m, active, 1, "valid")
        m.d.comb += [self.read_en.eq(active), self.idle.eq(~(active | valid))]
        row, col = self._takers(lane, other)
        m.d.sync += [self.w_row.eq(Mux(valid, self.row_used & row, 0)), self.w_col.eq(self.col_used & col)]
        with m.If(valid):
            m.d.sync += [self.w_data.eq(self.read_data), self.w_word.eq(word)]
        return m

    def _takers(self, lane, other):
        """Row and column masks of the PEs that take a beat."""
        chunk = self.chunk
        lane_axis = chunk.lane_axis(Operand.W)
        masks = []
        for axis, count, dim in (("row", chunk.pe_rows, chunk.row_dim), ("col", chunk.pe_cols, chunk.col_dim)):
            if axis == lane_axis:
                masks.append(lane_groups(count, chunk.n_w, lane))
            elif dim in (Dim.P, Dim.Q):
                masks.append(Cat([1] * count))
            else:
                masks.append(lane_groups(count, 1, other))
        return masks


class InputFill(wiring.Component):
    """Fill of I: the array box, one beat per cycle; same timing as WeightFill.

    Columns (or rows) that carry a channel dim take their lane group; PE n on a P or Q axis takes the window that
    begins at n * window_h (window_w) of the array box. i_base_r + i_offset_c: word in the PE's own box.
    """

    def __init__(self, chunk: ChunkConfig):
        self.chunk = chunk
        self.address_bits = address_bits(chunk.gb_i_bytes // 2)
        self.lane_bits = (chunk.n_i - 1).bit_length()
        word = address_bits(chunk.rf_i_words)
        ports = {
            "instruction": In(layout_of(_I_FIELDS)), "row_used": In(chunk.pe_rows), "col_used": In(chunk.pe_cols),
            "start": In(1), "tile": In(self.address_bits), "idle": Out(1),
            "read_en": Out(1), "read_address": Out(self.address_bits - self.lane_bits),
            "read_data": In(8 * chunk.n_i),
            "i_row": Out(chunk.pe_rows), "i_col": Out(chunk.pe_cols), "i_data": Out(8 * chunk.n_i),
        }
        ports |= {f"i_base_{n}": Out(word) for n in range(chunk.pe_rows)}
        ports |= {f"i_offset_{n}": Out(word) for n in range(chunk.pe_cols)}
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        m.submodules.nest = nest = Nest(I_FILL_LOOPS, WIDTHS["if_last_0"], {"a": (self.address_bits,) * 2})
        connect_nest(m, nest, self.instruction, "if")
        m.d.comb += nest.a_start.eq(self.tile)
        active = run_nest(m, nest, self.start)
        valid = delay(m, active, 1, "valid")
        m.d.comb += [self.read_en.eq(active), self.read_address.eq(nest.a[self.lane_bits:]),
                     self.idle.eq(~(active | valid))]
        self._deliver(m, nest, valid)
        rows, cols = self._windows(m, nest, valid)
        taken = {"row": rows, "col": cols, None: None}
        lane_axis = self.chunk.lane_axis(Operand.I)
        lane = delay(m, nest.index[_LANE], 1, "beat_lane")
        if lane_axis:
            taken[lane_axis] = lane_groups(self.chunk.lane_extent(Operand.I), self.chunk.n_i, lane)
        m.d.sync += [self.i_row.eq(Mux(valid, self.row_used & taken["row"], 0)),
                     self.i_col.eq(self.col_used & taken["col"])]
        return m

    def _deliver(self, m, nest, valid):
        """Data register; lane 0 comes from any byte, the others (of aligned addresses) from their own."""
        lane_0 = self.read_data[:8]
        if self.lane_bits:
            lane_0 = self.read_data.word_select(delay(m, nest.a[:self.lane_bits], 1, "byte"), 8)
        with m.If(valid):
            m.d.sync += self.i_data.eq(Cat(lane_0, self.read_data[8:]))

    def _windows(self, m, nest, valid):
        """Drive the words' places in the PEs' boxes; returns row and column masks of the windows being met."""
        chunk, instruction = self.chunk, self.instruction
        row_end = delay(m, nest.class_ > _COLUMN, 1, "row_end")
        rows, _ = self._axis(m, "h", nest.index[_ROW], chunk.pe_rows if chunk.row_dim == Dim.P else 1)
        cols, offsets = self._axis(m, "w", nest.index[_COLUMN], chunk.pe_cols if chunk.col_dim == Dim.Q else 1)
        bases = []
        for n, inside in enumerate(rows):
            base = Signal.like(self.i_base_0, name=f"base_{n}")
            with m.If(self.start):
                m.d.sync += base.eq(0)
            with m.Elif(valid & row_end & inside):
                m.d.sync += base.eq(base + instruction.box_w)
            bases.append(delay(m, base, 1, f"base_{n}"))
        offsets = [delay(m, offset[:len(self.i_offset_0)], 1, f"offset_{n}") for n, offset in enumerate(offsets)]
        m.d.comb += [getattr(self, f"i_base_{r}").eq(bases[r % len(bases)]) for r in range(chunk.pe_rows)]
        m.d.comb += [getattr(self, f"i_offset_{c}").eq(offsets[c % len(offsets)]) for c in range(chunk.pe_cols)]
        spread = chunk.pe_rows // len(rows), chunk.pe_cols // len(cols)
        return Cat(rows * spread[0]), Cat(cols * spread[1])

    def _axis(self, m, name, index, windows):
        """For each window along an axis, one cycle later: whether `index` lies in it, and how far."""
        box, pitch = self.instruction[f"box_{name}"], self.instruction[f"window_{name}"]
        inside, offsets = [], []
        for n in range(windows):
            begin = Signal(len(pitch) + windows.bit_length(), name=f"begin_{name}_{n}")
            m.d.sync += begin.eq(pitch * n)
            offset = Signal(signed(max(len(index), len(begin)) + 1), name=f"offset_{name}_{n}")
            m.d.comb += offset.eq(index - begin)
            inside.append(delay(m, (offset >= 0) & (offset < box), 1, f"inside_{name}_{n}"))
            offsets.append(delay(m, offset, 1, f"offset_{name}_{n}"))
        return inside, offsets


def drain_stages(chunk: ChunkConfig) -> int:
    """Cycles from reading a psum's first register file to the drained word: along the chain, or one."""
    return reduction_extent(chunk) if chunk.reduction is Reduction.DRAIN else 1


class OutputDrain(wiring.Component):
    """Drain of O: n_o words per cycle from the accumulators, through the chain if there is one, into the buffer.

    `start` in cycle t - 1 flips at t; the pipeline has run empty `compute_stages` cycles later, then one beat
    per cycle is read from the register files. `idle` rises one cycle before t + beats + drain_latency, when the
    last word may be read in the buffer. lanes: n_o words, or lane 0 alone when one PE is in use along the lane axis.
    """

    def __init__(self, chunk: ChunkConfig):
        self.chunk = chunk
        self.roots = root_grid(chunk)
        self.address_bits = address_bits(chunk.gb_o_bytes // 8)
        word = address_bits(chunk.rf_o_words)
        ports = {
            "instruction": In(layout_of(_O_FIELDS)), "col_used": In(chunk.pe_cols),
            "start": In(1), "tile": In(self.address_bits), "tile_first": In(1), "idle": Out(1),
            "read_en": Out(1), "read_address": Out(self.address_bits), "first": Out(1),
            "write_en": Out(1), "write_address": Out(self.address_bits),
        }
        ports |= {f"drain_address_{c}": Out(word) for c in range(self.roots[1])}
        ports |= {f"drain_data_{r}_{c}": In(signed(PSUM_BITS)) for r in range(self.roots[0])
                  for c in range(self.roots[1])}
        ports |= {f"lane_{n}": Out(signed(PSUM_BITS)) for n in range(chunk.n_o)}
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        stages = drain_stages(self.chunk)
        m.submodules.nest = nest = Nest(O_DRAIN_LOOPS, WIDTHS["od_last_0"], {"a": (self.address_bits,) * 2})
        connect_nest(m, nest, self.instruction, "od")
        tile, first = Signal(self.address_bits, name="tile_held"), Signal(name="first_held")
        with m.If(self.start):
            m.d.sync += [tile.eq(self.tile), first.eq(self.tile_first)]
        m.d.comb += nest.a_start.eq(tile)
        pending = [self.start]
        for n in range(compute_stages(self.chunk)):
            pending.append(delay(m, pending[-1], 1, f"emptying_{n}"))
        active = run_nest(m, nest, pending[-1])
        word = self._word_counter(m, nest, active)
        valid, address = [active], [nest.a]
        for n in range(stages):
            valid.append(delay(m, valid[-1], 1, f"valid_{n}"))
            address.append(delay(m, address[-1], 1, f"address_{n}"))
        m.d.comb += [self.idle.eq(~Cat(*pending[1:], *valid).any()), self.first.eq(first),
                     self.read_en.eq(valid[-2] & ~first), self.read_address.eq(address[-2]),
                     self.write_en.eq(valid[-1]), self.write_address.eq(address[-1])]
        self._join(m, nest, word)
        return m

    def _word_counter(self, m, nest, active):
        """Register-file word of the beat: counts the loops from the words outward."""
        word = Signal.like(self.drain_address_0)
        with m.If(nest.load):
            m.d.sync += word.eq(0)
        with m.Elif(active & (nest.class_ >= _DRAIN_WORD)):
            m.d.sync += word.eq(word + 1)
        return word

    def _join(self, m, nest, word):
        """Select the lanes' roots; along a chain, column after column, each adding its psum."""
        group, other = nest.index[_DRAIN_LANE], nest.index[_DRAIN_OTHER]
        lane_is_row = self.chunk.lane_axis(Operand.O) == "row"
        row_group, col_group = (group, other) if lane_is_row else (other, group)
        width = self.chunk.n_o
        if self.chunk.reduction is not Reduction.DRAIN:
            for c in range(self.roots[1]):
                m.d.comb += getattr(self, f"drain_address_{c}").eq(word)
            for n in range(width):
                m.d.sync += getattr(self, f"lane_{n}").eq(self._pick(n, row_group, col_group, range(self.roots[1])))
            return
        sums = [0] * width
        for c in range(self.roots[1]):
            m.d.comb += getattr(self, f"drain_address_{c}").eq(word)
            terms = [Mux(self.col_used[c], self._pick(n, row_group, None, [c]), 0) for n in range(width)]
            joined = [Signal(signed(PSUM_BITS), name=f"chain_{c}_{n}") for n in range(width)]
            m.d.sync += [joined[n].eq(sums[n] + terms[n]) for n in range(width)]
            sums = joined
            word, row_group = delay(m, word, 1, f"word_{c}"), delay(m, row_group, 1, f"row_group_{c}")
        m.d.comb += [getattr(self, f"lane_{n}").eq(sums[n]) for n in range(width)]

    def _pick(self, lane, row_group, col_group, cols):
        """Psum of `lane`: rows in groups of n_o when they are the lanes, columns one at a time."""
        width = self.chunk.n_o
        chosen = 0
        for r in range(lane, self.roots[0], width):
            for c in cols:
                hit = (row_group == r // width) if self.roots[0] > 1 else 1
                if col_group is not None and self.roots[1] > 1:
                    hit &= col_group == c
                chosen |= Mux(hit, getattr(self, f"drain_data_{r}_{c}"), 0)
        return chosen
