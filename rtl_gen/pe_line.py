"""A line of PEs: the piece of the array that is written once and instantiated, with its trees and accumulators."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib.wiring import In, Out

from dna_asic.spec.accelerator import ChunkConfig
from dna_asic.spec.dims import Dim, Operand
from dna_asic.spec.latency import hop_axes, tree_depth
from rtl_gen.buffer import address_bits
from rtl_gen.pe import PRODUCT_BITS, PSUM_BITS, Accumulator, OperandFile, Pe, only
from rtl_gen.unit import Unit

W, I, O = Operand  # noqa: E741
HEIGHT, WIDTH = (Dim.P, Dim.R), (Dim.Q,)  # dims that move a PE's input window down, and to the right
LINE_CONTROL = ("issue", "w_load", "i_load", "w_address", "i_address", "w_half", "i_half", "op_max")
ROOT_CONTROL = ("enable", "visit_start", "visit_first", "visit_end", "half", "address")


def delay(m, value, cycles: int, name: str):
    """`value` that many cycles later."""
    for i in range(cycles):
        later = Signal.like(value, name=f"{name}_{i + 1}")
        m.d.sync += later.eq(value)
        value = later
    return value


def tree_bits(terms: int, term_bits: int = PRODUCT_BITS) -> int:
    """Bits of a sum of `terms` terms."""
    return term_bits + (terms - 1).bit_length()


def pick(words: list, index, width: int) -> list:
    """The `width` words of group `index` of `words`."""
    if len(words) == width:
        return words
    chosen = [0] * width
    for n, word in enumerate(words):
        chosen[n % width] |= Mux(index == n // width, word, 0)
    return chosen


@dataclass(frozen=True)
class Lines:
    """How an array is cut into lines of PEs. along, across: "row" or "col", the axis along which the PEs of a line lie
    (ChunkConfig.line_axis) and that from line to line; length, count: PEs in a line, lines.
    """

    chunk: ChunkConfig
    along: str
    across: str

    @classmethod
    def of(cls, chunk: ChunkConfig) -> "Lines":
        """The lines of a chunk's array."""
        return cls(chunk, chunk.line_axis, "col" if chunk.line_axis == "row" else "row")

    @property
    def length(self) -> int:
        """PEs of a line."""
        return self.chunk.axes[self.along][1]

    @property
    def count(self) -> int:
        """Lines."""
        return self.chunk.axes[self.across][1]

    def lanes_along(self, operand: Operand) -> int:
        """Lanes of an operand that reach one line: all where they lie along it, else one."""
        return self.chunk.widths[operand] if self.chunk.lane_axis(operand) == self.along else 1

    def shares(self, operand: Operand, axis: str) -> bool:
        """Whether the PEs along the axis share the operand's register file."""
        return axis in self.chunk.shared_axes(operand)

    def files(self, operand: Operand, axis: str) -> int:
        """Register files of the operand along the axis."""
        return 1 if self.shares(operand, axis) else self.chunk.axes[axis][1]

    def hops(self, operand: Operand, axis: str) -> bool:
        """Whether words of the operand hop along the axis."""
        return axis in hop_axes(self.chunk, operand)

    def moves_window(self, axis: str) -> bool:
        """Whether a PE's word for an input depends on its coordinate on the axis."""
        return not self.chunk.crossed and self.chunk.axes[axis][0] in (*HEIGHT, *WIDTH)

    @property
    def tag_axis(self) -> str | None:
        """Where R and P cross: the axis of P, whose coordinates say how far a row lies in their window."""
        return next((a for a, (d, _) in self.chunk.axes.items() if d is Dim.P), None) if self.chunk.crossed else None

    @property
    def tag_bits(self) -> int:
        """Bits of a coordinate along R."""
        return max(1, (max(self.length, self.count) - 1).bit_length())


class AdderTree(Unit):
    """Sum of `terms` signed terms, `tree_depth(terms)` cycles later: a register after every two levels of adders."""

    def __init__(self, terms: int, term_bits: int = PRODUCT_BITS):
        self.terms = terms
        self.module_name = f"adder_tree_{terms}x{term_bits}"
        ports = {f"term_{i}": In(signed(term_bits)) for i in range(terms)}
        super().__init__(ports | {"total": Out(signed(tree_bits(terms, term_bits)))})

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


def feed_ports(chunk: ChunkConfig, operand: Operand) -> dict:
    """Ports of a `Feed`."""
    lines, x = Lines.of(chunk), operand.name.lower()
    files, word = lines.files(operand, lines.along), address_bits(_words(chunk, operand))
    ports = {"active": In(files), "issue": In(1), f"{x}_line": In(1), f"{x}_places": In(files), f"{x}_half": In(1),
             f"{x}_load": In(1), f"{x}_data": In(8 * lines.lanes_along(operand)), f"{x}_address": In(word),
             f"{x}_captures": Out(range(files + 1)), f"{x}_operands": Out(8 * files)}
    if operand is W:
        return ports | {"w_word": In(word)}
    ports["i_line_word"] = In(word)
    if lines.moves_window(lines.along):
        ports["i_place_words"] = In(word * files)
    if lines.tag_axis == lines.across:
        ports["i_tag"] = In(lines.tag_bits)
    elif lines.tag_axis:
        ports |= {"i_tags": In(lines.tag_bits * files), "number": In(lines.tag_bits)}
    return ports


def _words(chunk, operand):
    return {W: chunk.rf_w_words, I: chunk.rf_i_words}[operand]


class Feed(Unit):
    """Register files of W or I of one line, one a place or one for all, and how words reach them.

    active: static mask of the files in use. Capture: files with `x_line` and their bit of `x_places` take their lane of
    `x_data`: of W at `w_word`, of I at `i_line_word` plus their own of `i_place_words`; where R and P cross, only those
    whose coordinate along R equals the tag (`number` is the line's own). With systolic delivery what belongs to the
    line reaches place n n cycles later. x_captures: words captured, one cycle later. Compute: `x_load` of an issued MAC
    reads the word at `x_address`, and a cycle later it is in `x_operands`.
    """

    def __init__(self, chunk: ChunkConfig, operand: Operand):
        self.chunk, self.lines, self.operand, self.x = chunk, Lines.of(chunk), operand, operand.name.lower()
        self.words, self.files = _words(chunk, operand), self.lines.files(operand, self.lines.along)
        ports = feed_ports(chunk, operand)
        self.windows = "i_place_words" in ports
        self.module_name = f"feed_{self.x}_{self.words}x{self.files}_from_{self.lines.lanes_along(operand)}" + (
            "_hop" * self.lines.hops(operand, self.lines.along) + "_windows" * self.windows
            + "_tag" * ("i_tag" in ports) + "_tags" * ("i_tags" in ports))
        super().__init__(ports)

    def body(self):
        m = Module()
        x, load = self.x, Signal(name="load_issued")
        m.d.comb += load.eq(self.issue & getattr(self, f"{x}_load"))
        here = {"line": getattr(self, f"{x}_line"), "data": getattr(self, f"{x}_data"),
                "word": self.w_word if self.operand is W else self.i_line_word}
        if hasattr(self, "i_tag"):
            here["tag"] = self.i_tag
        captures, operands = [], []
        for n in range(self.files):
            if n and self.lines.hops(self.operand, self.lines.along):
                here = {name: delay(m, value, 1, f"{name}_{n}") for name, value in here.items()}
            capture = Signal(name=f"capture_{n}")
            m.d.comb += capture.eq(here["line"] & getattr(self, f"{x}_places")[n] & self._tagged(n, here.get("tag")))
            m.submodules[f"file_{n}"] = file = OperandFile(self.words)
            m.d.comb += [file.capture.eq(capture), file.word.eq(self._word(n, here)),
                         file.data.eq(here["data"].word_select(n % self.lines.lanes_along(self.operand), 8)),
                         file.half.eq(getattr(self, f"{x}_half")), file.load.eq(load & self.active[n]),
                         file.address.eq(only(self.active[n], getattr(self, f"{x}_address")))]
            captures.append(capture)
            operands.append(file.operand)
        counted = Signal.like(getattr(self, f"{x}_captures"), name="captures_register")
        m.d.sync += counted.eq(ones(Cat(captures)))
        m.d.comb += [getattr(self, f"{x}_captures").eq(counted), getattr(self, f"{x}_operands").eq(Cat(operands))]
        return m

    def _word(self, n, here):
        return here["word"] + self.i_place_words.word_select(n, len(here["word"])) if self.windows else here["word"]

    def _tagged(self, n, tag):
        """Whether a row of the input is that of place n, where R and P cross."""
        if self.operand is W or not self.chunk.crossed:
            return 1
        return tag == n if tag is not None else self.i_tags.word_select(n, self.lines.tag_bits) == self.number


class PELine(Unit):
    """The PEs of one line, their adder tree if it lies along the line, and their accumulators.

    Place n is the PE's coordinate along the line. used, places_used: static masks of PEs in use. The line has the feed
    of an operand (ports as `Feed`), or takes its `x_operands` where all lines share one. Where words hop from line to
    line, `*_on` is what belongs to the places, a cycle later, for the next line; the last line has none.

    MAC control acts at once, that of the accumulators (`root_*`) when the line's products reach them. Drain: `drained`
    is the word `drain_word` of each root that `drain_select` names, or their sum along the line, its last term in the
    same cycle. Where trees join lines, `total` leaves instead.
    """

    def __init__(self, chunk: ChunkConfig, last: bool = False):
        self.chunk, self.lines = chunk, Lines.of(chunk)
        lines = self.lines
        self.module_name = (
            f"pe_line_{chunk.row_dim.name}{chunk.col_dim.name}_{chunk.reduction.value}_{chunk.delivery.value}_"
            f"{chunk.pe_rows}x{chunk.pe_cols}_rf{chunk.rf_w_words}_{chunk.rf_i_words}_{chunk.rf_o_words}_"
            f"n{chunk.n_w}_{chunk.n_i}_{chunk.n_o}").lower()
        self.tree, self.rooted = lines.along in chunk.tree_axes, lines.across not in chunk.tree_axes
        self.fed = [x for x in (W, I) if not lines.shares(x, lines.across)]  # here, and not for all lines
        ports = {"used": In(1), "places_used": In(lines.length), **self._fill_ports(), **self._compute_ports()}
        self.hopping = [name for name in ("w_places", "i_places", "i_place_words", "i_tags") if name in ports
                        and lines.hops(Operand[name[0].upper()], lines.across)]
        self.passed = [] if last else self.hopping
        self.module_name += "_last" if last and self.hopping else ""
        super().__init__(ports | {f"{name}_on": Out(ports[name].shape) for name in self.passed})

    def _fill_ports(self):
        ports = {}
        for operand in (W, I):
            operands = f"{operand.name.lower()}_operands"
            if operand in self.fed:
                members = feed_ports(self.chunk, operand)
                ports |= {name: member for name, member in members.items() if name not in ("active", operands)}
            else:
                ports[operands] = In(8 * self.lines.files(operand, self.lines.along))
        return ports

    def _compute_ports(self):
        ports, word = {"issue": In(1), "op_max": In(1)}, address_bits(self.chunk.rf_o_words)
        if not self.rooted:
            return ports | {"total": Out(signed(tree_bits(self.lines.length)))}
        ports |= {f"root_{name}": In(word if name == "address" else 1) for name in ROOT_CONTROL}
        return ports | {"drain_word": In(word), "drain_select": In(range(max(2, self.lines.length))),
                        "drained": Out(PSUM_BITS * self.lines.lanes_along(O))}

    def body(self):
        m = Module()
        for name in self.passed:
            m.d.comb += getattr(self, f"{name}_on").eq(delay(m, getattr(self, name), 1, name))
        operands = {x: self._operands(m, x) for x in (W, I)}
        multiply = delay(m, self.issue, 1, "multiply")
        products = [self._pe(m, n, multiply, operands) for n in range(self.lines.length)]
        terms = [self._sum(m, products)] if self.tree else products
        if self.rooted:
            self._drain(m, [self._root(m, n, term) for n, term in enumerate(terms)])
        else:
            m.d.comb += self.total.eq(terms[0])
        return m

    def _operands(self, m, operand):
        """Word of the operand at each place."""
        x, source = operand.name.lower(), self
        if operand in self.fed:
            m.submodules[f"feed_{x}"] = source = feed = Feed(self.chunk, operand)
            m.d.comb += feed.active.eq(Mux(self.used, self.places_used, 0))
            for name, member in feed.signature.members.items():
                if name in self.signature.members:
                    inner, outer = getattr(feed, name), getattr(self, name)
                    m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        words = getattr(source, f"{x}_operands")
        return [words.word_select(n % (len(words) // 8), 8).as_signed() for n in range(self.lines.length)]

    def _pe(self, m, n, multiply, operands):
        m.submodules[f"pe_{n}"] = pe = Pe()
        m.d.comb += [pe.w.eq(operands[W][n]), pe.i.eq(operands[I][n]), pe.op_max.eq(self.op_max),
                     pe.multiply.eq(multiply & self.used & self.places_used[n])]
        return pe.product

    def _sum(self, m, products):
        """Sum over the PEs in use."""
        terms = [Mux(self.used & self.places_used[n], product, 0) for n, product in enumerate(products)]
        if len(terms) == 1:
            return terms[0]
        m.submodules.tree = tree = AdderTree(len(terms))
        m.d.comb += [getattr(tree, f"term_{n}").eq(term) for n, term in enumerate(terms)]
        return tree.total

    def _root(self, m, n, term):
        root = Accumulator(self.chunk.rf_o_words, tree_bits(self.lines.length if self.tree else 1))
        m.submodules[f"root_{n}"] = root
        in_use = self.used if self.tree else self.used & self.places_used[n]
        m.d.comb += [root.term.eq(term), root.op_max.eq(self.op_max), root.half.eq(self.root_half)]
        m.d.comb += [getattr(root, name).eq(only(in_use, getattr(self, f"root_{name}")))
                     for name in ROOT_CONTROL if name != "half"]  # a root out of use may still be drained
        return root

    def _drain(self, m, roots):
        """One root's word, lanes of several, or the sum along a chain."""
        chained = self.lines.along in self.chunk.reduction_axes and not self.tree
        word, total = self.drain_word, 0
        for n, root in enumerate(roots):
            if chained and n:
                word, total = delay(m, word, 1, f"drain_word_{n}"), delay(m, total, 1, f"chain_{n}")
            m.d.comb += root.drain_address.eq(word)
            if chained:
                total = (total + Mux(self.places_used[n], root.drain_data, 0))[:PSUM_BITS]
        words = [root.drain_data for root in roots]
        drained = [total] if chained else pick(words, self.drain_select, self.lines.lanes_along(O))
        m.d.comb += self.drained.eq(Cat(word[:PSUM_BITS] for word in drained))


def ones(bits):
    """Number of ones, by halves."""
    return bits if len(bits) == 1 else ones(bits[:len(bits) // 2]) + ones(bits[len(bits) // 2:])


def compute_stages(chunk: ChunkConfig) -> int:
    """Cycles from a MAC's issue to its accumulation: operand register, product register, trees."""
    return 2 + sum(tree_depth(chunk.axes[axis][1]) for axis in chunk.tree_axes)
