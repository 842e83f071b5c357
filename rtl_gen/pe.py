"""The processing element, and the accumulator at each root of a reduction."""

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


class Pe(Unit):
    """W and I register files, operand registers and the multiplier.

    Fill: `x_capture` writes `x_data` to `x_word` of the half that compute does not read (`x_half` is the one it
    reads). Compute: `x_load` in cycle t reads the word at `x_address` into the operand register; `multiply` in
    cycle t + 1 makes `product` valid in t + 2. With `op_max` the product is the input itself. Nothing moves in a
    PE that is not `active`.
    """

    def __init__(self, w_words: int, i_words: int):
        self.words = {"w": w_words, "i": i_words}
        self.module_name = f"pe_w{w_words}_i{i_words}"
        ports = {"active": In(1), "op_max": In(1), "multiply": In(1), "product": Out(signed(PRODUCT_BITS))}
        for x, words in self.words.items():
            ports |= {f"{x}_capture": In(1), f"{x}_word": In(address_bits(words)), f"{x}_data": In(signed(8)),
                      f"{x}_half": In(1), f"{x}_load": In(1), f"{x}_address": In(address_bits(words))}
        super().__init__(ports)

    def body(self):
        m = Module()
        operands = {}
        for x, words in self.words.items():
            m.submodules[f"rf_{x}"] = rf = RegisterFile(words, 8)
            half, address = getattr(self, f"{x}_half"), getattr(self, f"{x}_address")
            m.d.comb += [
                rf.write_en.eq(getattr(self, f"{x}_capture")), rf.write_half.eq(~half),
                rf.write_address.eq(getattr(self, f"{x}_word")), rf.write_data.eq(getattr(self, f"{x}_data")),
                rf.read_address_0.eq(address), rf.read_address_1.eq(address),
            ]
            operands[x] = operand = Signal(signed(8), name=f"{x}_operand", reset_less=True)
            with m.If(getattr(self, f"{x}_load") & self.active):
                m.d.sync += operand.eq(Mux(half, rf.read_data_1, rf.read_data_0))
        product = Signal(signed(PRODUCT_BITS), name="product_register", reset_less=True)
        with m.If(self.multiply & self.active):
            m.d.sync += product.eq(Mux(self.op_max, operands["i"], operands["w"] * operands["i"]))
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
