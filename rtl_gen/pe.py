"""What a processing element is made of: register files of its operands, multiplier, and the accumulator at each root
of a reduction.
"""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from rtl_gen.buffer import address_bits
from rtl_gen.unit import Unit

PSUM_BITS = 32
PRODUCT_BITS = 16


class RegisterFile(wiring.Component):
    """Two halves of `words` x `bits`: one write per cycle, and each half read on its own, without a clock."""

    def __init__(self, words: int, bits: int):
        self.words = words
        self.bits = bits
        ports = {"write_en": In(1), "write_half": In(1), "write_address": In(address_bits(words)),
                 "write_data": In(bits)}
        for h in range(2):
            ports |= {f"read_address_{h}": In(address_bits(words)), f"read_data_{h}": Out(bits)}
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        for h in range(2):
            address, out = getattr(self, f"read_address_{h}"), getattr(self, f"read_data_{h}")
            write = self.write_en & (self.write_half == h)
            if self.words == 1:
                word = Signal(self.bits, name=f"word_{h}", reset_less=True)
                with m.If(write):
                    m.d.sync += word.eq(self.write_data)
                m.d.comb += out.eq(word)
                continue
            m.submodules[f"half_{h}"] = words = memory.Memory(shape=self.bits, depth=self.words, init=[])
            write_port, read_port = words.write_port(), words.read_port(domain="comb")
            m.d.comb += [write_port.en.eq(write), write_port.addr.eq(self.write_address),
                         write_port.data.eq(self.write_data), read_port.addr.eq(address), out.eq(read_port.data)]
        return m


def only(when, value):
    """Isolation: `value` where `when` holds, else 0."""
    return value & when.replicate(len(value))


class OperandFile(Unit):
    """Register file of W or I with its operand register: of one PE, or of all PEs that always hold the same words.

    Fill: `capture` writes `data` to `word` of the half that compute does not read (`half` is the one it reads).
    Compute: `load` in cycle t reads the word at `address`, which is `operand` from t + 1 on.
    """

    def __init__(self, words: int):
        self.words = words
        self.module_name = f"operand_file_{words}"
        super().__init__({"capture": In(1), "word": In(address_bits(words)), "data": In(signed(8)), "half": In(1),
                          "load": In(1), "address": In(address_bits(words)), "operand": Out(signed(8))})

    def body(self):
        m = Module()
        m.submodules.rf = rf = RegisterFile(self.words, 8)
        operand = Signal(signed(8), name="operand_register", reset_less=True)
        # Isolated: most words that pass are another file's, and one half is read at a time.
        m.d.comb += [rf.write_en.eq(self.capture), rf.write_half.eq(~self.half & self.capture),
                     rf.write_address.eq(only(self.capture, self.word)),
                     rf.write_data.eq(only(self.capture, self.data)),
                     rf.read_address_0.eq(only(~self.half, self.address)),
                     rf.read_address_1.eq(only(self.half, self.address)), self.operand.eq(operand)]
        with m.If(self.load):
            m.d.sync += operand.eq(Mux(self.half, rf.read_data_1, rf.read_data_0))
        return m


class Pe(Unit):
    """The multiplier: `multiply` in cycle t makes `product`, of the operands or with `op_max` `i` itself, valid in
    t + 1.
    """

    module_name = "pe"

    def __init__(self):
        super().__init__({"w": In(signed(8)), "i": In(signed(8)), "op_max": In(1), "multiply": In(1),
                          "product": Out(signed(PRODUCT_BITS))})

    def body(self):
        m = Module()
        product = Signal(signed(PRODUCT_BITS), name="product_register", reset_less=True)
        with m.If(self.multiply):
            m.d.sync += product.eq(Mux(self.op_max, self.i, self.w * self.i))
        m.d.comb += self.product.eq(product)
        return m


class Accumulator(Unit):
    """Psum register and O register file of one root.

    In a cycle with `enable`, `term` joins the psum: added, or its maximum with `op_max`. A visit begins with
    `visit_start` (from the word at `address`, or from nothing when `visit_first`) and ends with `visit_end`, which
    writes the word; the written word may be read in the next cycle. `drain_data` is the word at `drain_address` of
    the half that is not `half`, in the same cycle.
    """

    def __init__(self, words: int, term_bits: int):
        self.words = words
        self.module_name = f"accumulator_{words}x{term_bits}"
        super().__init__({
            "term": In(signed(term_bits)), "op_max": In(1), "enable": In(1), "visit_start": In(1),
            "visit_first": In(1), "visit_end": In(1), "half": In(1), "address": In(address_bits(words)),
            "drain_address": In(address_bits(words)), "drain_data": Out(signed(PSUM_BITS)),
        })

    def body(self):
        m = Module()
        m.submodules.rf_o = rf = RegisterFile(self.words, PSUM_BITS)
        psum = Signal(signed(PSUM_BITS), reset_less=True)
        stored, base, joined, term = (Signal(signed(PSUM_BITS), name=n)
                                      for n in ("stored", "base", "joined", "term_extended"))
        m.d.comb += [
            term.eq(self.term),
            rf.read_address_0.eq(Mux(self.half, self.drain_address, self.address)),
            rf.read_address_1.eq(Mux(self.half, self.address, self.drain_address)),
            stored.eq(Mux(self.half, rf.read_data_1, rf.read_data_0)),
            self.drain_data.eq(Mux(self.half, rf.read_data_0, rf.read_data_1)),
            base.eq(Mux(self.visit_start, stored, psum)),
            rf.write_en.eq(self.enable & self.visit_end), rf.write_half.eq(self.half),
            rf.write_address.eq(self.address), rf.write_data.eq(joined),
        ]
        with m.If(self.visit_start & self.visit_first):
            m.d.comb += joined.eq(term)
        with m.Elif(self.op_max):
            m.d.comb += joined.eq(Mux(term > base, term, base))
        with m.Else():
            m.d.comb += joined.eq(base + term)
        with m.If(self.enable):
            m.d.sync += psum.eq(joined)
        return m
