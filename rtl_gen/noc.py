"""The network on chip: fills of W and I from the global buffers, the drain of O into its buffer."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dna_asic.spec.accelerator import POSITIONED, ChunkConfig, Reduction
from dna_asic.spec.dims import Operand
from dna_asic.spec.instruction import I_FILL_LOOPS, O_DRAIN_LOOPS
from dna_asic.spec.latency import FILL_CYCLES, fill_latency
from rtl_gen.buffer import address_bits
from rtl_gen.fields import WIDTHS, connect_nest, layout_of, nest_names
from rtl_gen.nest import Nest
from rtl_gen.pe_array import delivery_ports
from rtl_gen.pe_line import HEIGHT, WIDTH, Lines, compute_stages, delay

_LANE, _OTHER, _COLUMN, _ROW = range(4)  # inner loops of the I fill
_KINDS = {"h": HEIGHT, "w": WIDTH}
_KINDS_INDEX = {"h": "row", "w": "column"}
_DRAIN_LANE, _DRAIN_OTHER, _DRAIN_WORD = range(3)  # loops of the O drain; words from the third on
_W_FIELDS = ["wf_lane_last", "wf_other_last", "wf_word_last"]
_I_FIELDS = [*nest_names("if", "a", I_FILL_LOOPS), "box_h", "box_w", "window_h", "window_w"]
_O_FIELDS = nest_names("od", "a", O_DRAIN_LOOPS)


def run_nest(m, nest, start):
    """Active from the cycle after `start` until `nest` has passed its last iteration."""
    active = Signal()
    m.d.comb += [nest.load.eq(start), nest.step.eq(active)]
    m.d.sync += active.eq(start | (active & ~nest.last))
    return active


def hop(m, signals: dict, count: int, hops: bool, name: str) -> list[dict]:
    """The signals as `count` coordinates along an axis see them: each a cycle after the one before if words hop."""
    seen = [signals]
    for n in range(1, count):
        if hops:
            signals = {key: delay(m, value, 1, f"{name}_{key}_{n}") for key, value in signals.items()}
        seen.append(signals)
    return seen


class Fill(wiring.Component):
    """What the fills of W and I share. Outputs to the array: `delivery_ports`.

    `start` in cycle t - 1 flips at t: the buffer is read from t, and the last word may be read in the last PE at
    t + beats + fill_latency; `idle` rises one cycle earlier.
    """

    def __init__(self, chunk: ChunkConfig, operand: Operand, fields, tile_bits: int, read_bits: int):
        self.chunk, self.operand, self.lines = chunk, operand, Lines.of(chunk)
        super().__init__({
            "instruction": In(layout_of(fields)), "row_used": In(chunk.pe_rows), "col_used": In(chunk.pe_cols),
            "start": In(1), "tile": In(tile_bits), "idle": Out(1),
            "read_en": Out(1), "read_address": Out(read_bits), "read_data": In(8 * chunk.widths[operand]),
        } | {name: Out(bits) for name, bits in delivery_ports(chunk, operand).items()})

    def _reading(self, m, nest):
        """Whether the buffer is read in this cycle; drives `idle`, which waits for the last hop."""
        active = run_nest(m, nest, self.start)
        moving = [active]
        for n in range(fill_latency(self.chunk, self.operand) - FILL_CYCLES + 1):
            moving.append(delay(m, moving[-1], 1, f"moving_{n}"))
        m.d.comb += [self.read_en.eq(active), self.idle.eq(~Cat(moving).any())]
        return active

    def _seen(self, m, signals, axis):
        """`hop` along an axis of the array."""
        return hop(m, signals, self.chunk.axes[axis][1], self.lines.hops(self.operand, axis), axis)

    def _used(self, axis):
        return {"row": self.row_used, "col": self.col_used}[axis]

    def _mask(self, m, axis, takes):
        """Register of the coordinates along an axis that take the beat and are in use."""
        name = "lines" if axis == self.lines.across else "places"
        m.d.sync += getattr(self, f"{self.operand.name.lower()}_{name}").eq(Cat(takes) & self._used(axis))

    def _takes(self, axis, n, seen):
        """Whether coordinate n is in the lane group of the beat, or is the other axis's; all where they share words."""
        chunk = self.chunk
        if axis == chunk.lane_axis(self.operand):
            return seen["lane"] == n // chunk.widths[self.operand]
        return seen["other"] == n if chunk.axes[axis][0] in POSITIONED[self.operand] else 1

    def _words(self, m, name, values):
        """Registers of the words, one an entry of the port."""
        bits = len(getattr(self, name)) // len(values)
        for n, value in enumerate(values):
            m.d.sync += getattr(self, name)[n * bits:(n + 1) * bits].eq(value)

    def _deliver(self, m, beats, data):
        """Data register of the first line; where they hop, one of every line."""
        port, bits = getattr(self, f"{self.operand.name.lower()}_data"), len(self.read_data)
        for n in range(len(port) // bits):
            with m.If(beats[n]["valid"]):
                m.d.sync += port[n * bits:(n + 1) * bits].eq(data if n == 0 else port[(n - 1) * bits:n * bits])


class WeightFill(Fill):
    """Fill of W: one beat of n_w words per cycle, linear in the buffer from `tile`."""

    def __init__(self, chunk: ChunkConfig):
        address = address_bits(chunk.gb_w_bytes // 2 // chunk.n_w)
        super().__init__(chunk, Operand.W, _W_FIELDS, address, address)

    def elaborate(self, platform):
        m = Module()
        m.submodules.nest = nest = Nest(3, WIDTHS["wf_word_last"], {})
        names = ("lane", "other", "word")
        m.d.comb += [nest.last_index[i].eq(self.instruction[f"wf_{name}_last"]) for i, name in enumerate(names)]
        active = self._reading(m, nest)
        m.d.sync += self.read_address.eq(Mux(self.start, self.tile, self.read_address + 1))
        beat = {name: delay(m, nest.index[i], 1, f"beat_{name}") for i, name in enumerate(names)}
        beat["valid"] = delay(m, active, 1, "valid")
        for axis in self.chunk.axes:
            seen = self._seen(m, beat, axis)
            takes = [self._takes(axis, n, s) for n, s in enumerate(seen)]
            if axis == self.lines.across:
                takes = [s["valid"] & take for s, take in zip(seen, takes)]
                self._deliver(m, seen, self.read_data)
                heads = len(self.w_word) // address_bits(self.chunk.rf_w_words)
                self._words(m, "w_word", [s["word"] for s in seen[:heads]])
            self._mask(m, axis, takes)
        return m


class InputFill(Fill):
    """Fill of I: the array box, one beat per cycle.

    An axis that carries a channel dim takes its lane group, or its coordinate one at a time; PE n on a P, Q or R axis
    takes the window that begins at n * window_h (window_w) of the array box. A word's place in the PE's own box is the
    sum of the words of its line and of its place. Where R and P cross, a PE takes one row: that which its tag says.
    """

    def __init__(self, chunk: ChunkConfig):
        tile = address_bits(chunk.gb_i_bytes // 2)
        self.lane_bits = (chunk.n_i - 1).bit_length()
        self.word_bits = address_bits(chunk.rf_i_words)
        super().__init__(chunk, Operand.I, _I_FIELDS, tile, tile - self.lane_bits)

    def elaborate(self, platform):
        m = Module()
        m.submodules.nest = nest = Nest(I_FILL_LOOPS, WIDTHS["if_last_0"], {"a": (len(self.tile),) * 2})
        connect_nest(m, nest, self.instruction, "if")
        m.d.comb += nest.a_start.eq(self.tile)
        active = self._reading(m, nest)
        m.d.comb += self.read_address.eq(nest.a[self.lane_bits:])
        row_end = nest.class_ > (_ROW if self.chunk.crossed else _COLUMN)  # the next beat begins a row of a PE's box
        beat = {"start": self.start, "valid": active, "lane": nest.index[_LANE], "other": nest.index[_OTHER],
                "column": nest.index[_COLUMN], "row": nest.index[_ROW], "row_end": row_end}
        beat = {name: delay(m, value, 1, f"beat_{name}") for name, value in beat.items()}
        lines, places = (self._seen(m, beat, axis) for axis in (self.lines.across, self.lines.along))
        self._line_side(m, lines)
        self._place_side(m, places)
        data = self.read_data  # lane 0 comes from any byte, the others (of aligned addresses) from their own
        if self.lane_bits:
            byte = delay(m, nest.a[:self.lane_bits], 1, "byte")
            data = Cat(data.word_select(byte, 8), data[8:])
        self._deliver(m, lines, data)
        return m

    def _line_side(self, m, seen):
        """Masks and tags of the lines; words, with what neither axis moves."""
        axis, moved = self.lines.across, self._moved(self.lines.across)
        still = [kind for kind in _KINDS if kind not in (*moved, *self._moved(self.lines.along))]
        takes, words = self._coordinates(m, axis, moved, seen)
        once = {}  # one counter for all lines that see the beat in one cycle
        for n in range(len(self.i_line_word) // self.word_bits):
            if id(seen[n]) not in once:
                once[id(seen[n])] = sum(self._offset(m, kind, None, seen[n])[1] for kind in still)
            words[n] += once[id(seen[n])]
        self._words(m, "i_line_word", words[:len(self.i_line_word) // self.word_bits])
        self._mask(m, axis, [s["valid"] & take for s, take in zip(seen, takes)])

    def _place_side(self, m, seen):
        """Masks, tags and words of the places in a line."""
        axis, moved = self.lines.along, self._moved(self.lines.along)
        takes, words = self._coordinates(m, axis, moved, seen)
        if moved:
            self._words(m, "i_place_words", words)
        self._mask(m, axis, takes)

    def _moved(self, axis):
        """What an axis moves a PE's window along: "h", "w", or nothing."""
        dim = self.chunk.axes[axis][0]
        return [kind for kind, dims in _KINDS.items() if dim in dims and not self.chunk.crossed]

    def _coordinates(self, m, axis, moved, seen):
        """For every coordinate of an axis, whether it takes the beat, and its part of the word; drives the tags."""
        takes, words, tags = [], [], []
        for n, s in enumerate(seen):
            take, word = self._takes(axis, n, s), 0
            for kind in moved:
                take, word = self._offset(m, kind, n, s)
            if axis == self.lines.tag_axis:
                distance = self._distance(m, "h", n, s["row"])
                take = (distance >= 0) & (distance < (1 << self.lines.tag_bits))
                tags.append(distance[:self.lines.tag_bits])
            takes.append(take)
            words.append(word)
        if tags:
            self._words(m, "i_tag" if axis == self.lines.across else "i_tags", tags)
        return takes, words

    def _offset(self, m, kind, n, seen):
        """(whether the beat lies in window n of a kind, its part of the word there); n None: the window is the box."""
        inside, offset = 1, seen[_KINDS_INDEX[kind]]
        if n is not None:
            offset = self._distance(m, kind, n, offset)
            inside = (offset >= 0) & (offset < self.instruction[f"box_{kind}"])
        if kind == "w":
            return inside, offset[:self.word_bits]
        base = Signal(self.word_bits, name=f"base_{n or 0}")
        with m.If(seen["start"]):
            m.d.sync += base.eq(0)
        with m.Elif(seen["valid"] & seen["row_end"] & inside):
            m.d.sync += base.eq(base + self.instruction.box_w)
        return inside, base

    def _distance(self, m, kind, n, index):
        """How far `index` lies from the beginning of window n, signed."""
        pitch = self.instruction[f"window_{kind}"]
        begin = Signal(len(pitch) + n.bit_length(), name=f"begin_{kind}_{n}")
        m.d.sync += begin.eq(pitch * n)
        distance = Signal(signed(max(len(index), len(begin)) + 1), name=f"distance_{kind}_{n}")
        m.d.comb += distance.eq(index - begin)
        return distance


def drain_stages(chunk: ChunkConfig) -> int:
    """Cycles from reading a psum's first register file to the drained word: along the chain, or one."""
    chained = chunk.reduction_axes if chunk.reduction is Reduction.DRAIN else ()
    return 1 + sum(chunk.axes[axis][1] - 1 for axis in chained)


class OutputDrain(wiring.Component):
    """Drain of O: n_o words per cycle from the array, through its chain if there is one, into the buffer.

    `start` in cycle t - 1 flips at t; the pipeline has run empty `compute_stages` cycles later, then one beat
    per cycle is read from the register files. `idle` rises one cycle before t + beats + drain_latency, when the
    last word may be read in the buffer. The array's lanes are written as they come: n_o words, or lane 0 alone when
    one PE is in use along the lane axis.
    """

    def __init__(self, chunk: ChunkConfig):
        self.chunk = chunk
        self.address_bits = address_bits(chunk.gb_o_bytes // 8)
        index = WIDTHS["od_last_0"]
        super().__init__({
            "instruction": In(layout_of(_O_FIELDS)),
            "start": In(1), "tile": In(self.address_bits), "tile_first": In(1), "idle": Out(1),
            "read_en": Out(1), "read_address": Out(self.address_bits), "first": Out(1),
            "write_en": Out(1), "write_address": Out(self.address_bits),
            "drain_word": Out(address_bits(chunk.rf_o_words)), "drain_group": Out(index), "drain_other": Out(index),
        })

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
        with m.If(nest.load):
            m.d.sync += self.drain_word.eq(0)
        with m.Elif(active & (nest.class_ >= _DRAIN_WORD)):  # counts the loops from the words outward
            m.d.sync += self.drain_word.eq(self.drain_word + 1)
        valid, address = [active], [nest.a]
        for n in range(stages):
            valid.append(delay(m, valid[-1], 1, f"valid_{n}"))
            address.append(delay(m, address[-1], 1, f"address_{n}"))
        m.d.comb += [self.idle.eq(~Cat(*pending[1:], *valid).any()), self.first.eq(first),
                     self.read_en.eq(valid[-2] & ~first), self.read_address.eq(address[-2]),
                     self.write_en.eq(valid[-1]), self.write_address.eq(address[-1]),
                     self.drain_group.eq(nest.index[_DRAIN_LANE]), self.drain_other.eq(nest.index[_DRAIN_OTHER])]
        return m
