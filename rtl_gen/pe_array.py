"""The PE array: lines of PEs in lockstep, what joins their psums, and the lanes of the drain."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dna_asic.spec.accelerator import ChunkConfig, Reduction
from dna_asic.spec.dims import Operand
from rtl_gen.buffer import address_bits
from rtl_gen.pe import PSUM_BITS, Accumulator
from rtl_gen.pe_line import (
    LINE_CONTROL,
    ROOT_CONTROL,
    AdderTree,
    Feed,
    Lines,
    PELine,
    compute_stages,
    delay,
    pick,
    tree_bits,
)

_ISSUED = {"enable": "issue", "half": "o_half", "address": "o_address"}  # ports of the accumulators' control


def delivery_ports(chunk: ChunkConfig, operand: Operand) -> dict[str, int]:
    """Bits of each port by which a fill reaches the array: one entry for all lines, or one a line, or one a place.

    Masks of lines and of places (one bit where they share register files); data of all lanes; words. Where words hop
    from line to line, the entries of a line come a cycle after those of the line before; along the line likewise from
    place to place.
    """
    lines, x = Lines.of(chunk), operand.name.lower()
    word = address_bits(chunk.rf_w_words if operand is Operand.W else chunk.rf_i_words)
    heads = lines.count if lines.hops(operand, lines.across) else 1
    ports = {f"{x}_lines": lines.files(operand, lines.across), f"{x}_places": lines.files(operand, lines.along),
             f"{x}_data": 8 * chunk.widths[operand] * heads}
    if operand is Operand.W:
        return ports | {"w_word": word * heads}
    ports["i_line_word"] = word * (lines.count if lines.moves_window(lines.across) else heads)
    if lines.moves_window(lines.along):
        ports["i_place_words"] = word * lines.length
    if lines.tag_axis:
        name, count = ("i_tag", lines.count) if lines.tag_axis == lines.across else ("i_tags", lines.length)
        ports[name] = lines.tag_bits * count
    return ports


class PEArray(wiring.Component):
    """`pe_rows` x `pe_cols` PEs under one control.

    row_used, col_used: masks of the PEs in use (static). Fills: `delivery_ports`, see PELine; w_captured, i_captured:
    words captured in all PEs, two cycles later. MAC control: as issued (`issue` and its companions belong to one
    cycle); the array delays them to the stage where they act. Drain: `lane_n` is word `drain_word` of lane n of lane
    group `drain_group`, and of coordinate `drain_other` on the other axis, `drain_stages` cycles later: summed along
    the chain, line after line.
    """

    def __init__(self, chunk: ChunkConfig):
        self.chunk, self.lines = chunk, Lines.of(chunk)
        w, i, o = (address_bits(n) for n in (chunk.rf_w_words, chunk.rf_i_words, chunk.rf_o_words))
        ports = {
            "row_used": In(chunk.pe_rows), "col_used": In(chunk.pe_cols), "op_max": In(1),
            "issue": In(1), "w_load": In(1), "i_load": In(1), "w_address": In(w), "i_address": In(i),
            "o_address": In(o), "visit_start": In(1), "visit_first": In(1), "visit_end": In(1),
            "w_half": In(1), "i_half": In(1), "o_half": In(1),
            "drain_word": In(o), "drain_group": In(6), "drain_other": In(6),
        }
        for x in (Operand.W, Operand.I):
            ports |= {name: In(bits) for name, bits in delivery_ports(chunk, x).items()}
            ports[f"{x.name.lower()}_captured"] = Out(range(chunk.pes + 1))
        super().__init__(ports | {f"lane_{n}": Out(signed(PSUM_BITS)) for n in range(chunk.n_o)})

    def elaborate(self, platform):
        m = Module()
        lines, used = [], {"row": self.row_used, "col": self.col_used}
        control = self._root_control(m)
        shared = {x: self._shared_feed(m, x, used) for x in (Operand.W, Operand.I)
                  if self.lines.shares(x, self.lines.across)}
        for n in range(self.lines.count):
            line = PELine(self.chunk, last=n == self.lines.count - 1)
            m.submodules[f"line_{n}"] = line
            if hasattr(line, "number"):
                m.d.comb += line.number.eq(n)
            m.d.comb += [line.used.eq(used[self.lines.across][n]),
                         line.places_used.eq(used[self.lines.along])]
            self._control(m, line)
            for feed in shared.values():
                m.d.comb += getattr(line, f"{feed.x}_operands").eq(getattr(feed, f"{feed.x}_operands"))
            self._fill(m, n, line, lines[-1] if lines else None)
            lines.append(line)
        for operand, x in ((Operand.W, "w"), (Operand.I, "i")):
            total = Signal.like(getattr(self, f"{x}_captured"), name=f"{x}_captured_register")
            feeds = [shared[operand]] if operand in shared else lines
            m.d.sync += total.eq(sum(getattr(feed, f"{x}_captures") for feed in feeds))
            m.d.comb += getattr(self, f"{x}_captured").eq(total)
        if self.lines.across in self.chunk.tree_axes:
            self._single_root(m, lines, control)
        else:
            for line in lines:
                m.d.comb += [getattr(line, f"root_{name}").eq(value) for name, value in control.items()]
            self._join(m, lines, used[self.lines.across])
        return m

    def _root_control(self, m):
        """Control of the accumulators, at the stage where they act."""
        return {name: delay(m, getattr(self, _ISSUED.get(name, name)), compute_stages(self.chunk), f"root_{name}")
                for name in ROOT_CONTROL}

    def _control(self, m, part):
        """MAC control of a line or feed, as far as it has ports for it."""
        m.d.comb += [getattr(part, name).eq(getattr(self, name)) for name in LINE_CONTROL
                     if name in part.signature.members]

    def _shared_feed(self, m, operand, used):
        """The feed of an operand that all lines share."""
        feed = Feed(self.chunk, operand)
        m.submodules[f"feed_{feed.x}"] = feed
        m.d.comb += feed.active.eq(Mux(used[self.lines.across][0], used[self.lines.along], 0))
        self._control(m, feed)
        self._fill(m, 0, feed, None)
        return feed

    def _fill(self, m, n, line, before):
        """Entries of line n, or of a feed; what belongs to the places comes from the line before where it hops."""
        for x in (Operand.W, Operand.I):
            if f"{x.name.lower()}_line" not in line.signature.members:
                continue
            for name in delivery_ports(self.chunk, x):
                source = getattr(self, name)
                if name.endswith("_lines"):
                    m.d.comb += getattr(line, f"{name[0]}_line").eq(source[n])
                elif name.endswith("_data"):
                    lanes = self._entry(source, n, 8 * self.chunk.widths[x])
                    width = self.lines.lanes_along(x)
                    m.d.comb += getattr(line, name).eq(
                        lanes if width > 1 else lanes.word_select(n % self.chunk.widths[x], 8))
                elif before is not None and name in line.hopping:
                    m.d.comb += getattr(line, name).eq(getattr(before, f"{name}_on"))
                else:
                    m.d.comb += getattr(line, name).eq(self._entry(source, n, len(getattr(line, name))))

    @staticmethod
    def _entry(source, n, bits):
        """Entry n of those in `source`, or the only one."""
        return source.word_select(n % (len(source) // bits), bits)

    def _single_root(self, m, lines, control):
        """One accumulator for all lines, whose totals a tree adds."""
        tree = AdderTree(len(lines), len(lines[0].total))
        root = Accumulator(self.chunk.rf_o_words, tree_bits(len(lines), len(lines[0].total)))
        m.submodules.tree, m.submodules.root = tree, root
        m.d.comb += [getattr(tree, f"term_{n}").eq(line.total) for n, line in enumerate(lines)]
        m.d.comb += [root.term.eq(tree.total), root.op_max.eq(self.op_max), root.drain_address.eq(self.drain_word),
                     *(getattr(root, name).eq(value) for name, value in control.items())]
        m.d.sync += self.lane_0.eq(root.drain_data)

    def _join(self, m, lines, used):
        """Lanes of the lines: selected, or summed from line to line."""
        width, lane_axis = self.chunk.n_o, self.chunk.lane_axis(Operand.O) or "col"
        index = {axis: self.drain_group if axis == lane_axis else self.drain_other for axis in self.chunk.axes}
        chained = self.chunk.reduction is Reduction.DRAIN and self.lines.across in self.chunk.reduction_axes
        word, select, sums = self.drain_word, index[self.lines.along], [0] * width
        for n, line in enumerate(lines):
            m.d.comb += [line.drain_word.eq(word), line.drain_select.eq(select)]
            if chained:
                terms = Mux(used[n], line.drained, 0)
                joined = [Signal(PSUM_BITS, name=f"chain_{n}_{lane}") for lane in range(width)]
                m.d.sync += [joined[lane].eq(sums[lane] + terms.word_select(lane, PSUM_BITS)) for lane in range(width)]
                sums, word, select = joined, delay(m, word, 1, f"word_{n}"), delay(m, select, 1, f"select_{n}")
        if chained:
            m.d.comb += [getattr(self, f"lane_{n}").eq(sums[n]) for n in range(width)]
            return
        across = width // self.lines.lanes_along(Operand.O)
        chosen = Cat(pick([line.drained for line in lines], index[self.lines.across], across))
        m.d.sync += [getattr(self, f"lane_{n}").eq(chosen.word_select(n, PSUM_BITS)) for n in range(width)]


def mask(m, used, count: int, name: str):
    """Registered mask of `count` bits: bit n is set when n < `used`."""
    result = Signal(count, name=name)
    m.d.sync += result.eq(Cat(used > n for n in range(count)))
    return result
