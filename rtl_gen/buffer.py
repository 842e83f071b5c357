"""On-chip memories: one SRAM wrapper, and a buffer with sides of different width made of it."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from dna_asic.errors import InfeasibleDesign
from rtl_gen.unit import ModuleSet, Unit

_SRAM_VERILOG = """\
// Memory wrapper: behavioural here, a macro in synthesis. Reading the address being written gives any value.
module {name} (
  input wire clk,
  input wire rst,
  input wire write_en,
  input wire [{top}:0] write_address,
  input wire [{msb}:0] write_data,
  input wire read_en,
  input wire [{top}:0] read_address,
  output reg [{msb}:0] read_data
);
  reg [{msb}:0] words [0:{last}];
  wire unused = rst;
  always @(posedge clk) begin
    if (write_en) words[write_address] <= write_data;
    if (read_en) read_data <= words[read_address];
  end
endmodule
"""


def address_bits(words: int) -> int:
    """Bits of an address port for `words` words; never 0, so that ports exist."""
    return max(1, ceil_log2(words))


class Sram(Unit):
    """`words` x `bits`, one write and one read port; read data one cycle after `read_en`, held until the next.

    Module name `sram_<words>x<bits>`. Contents are unknown after reset. Reading and writing one address in the
    same cycle is not allowed (a macro gives any value).
    """

    def __init__(self, words: int, bits: int):
        if words < 2 or bits < 1:
            raise InfeasibleDesign(f"Sram: words must be at least 2 and bits at least 1, not {words}x{bits}.")
        self.words = words
        self.bits = bits
        self.module_name = f"sram_{words}x{bits}"
        super().__init__({
            "write_en": In(1), "write_address": In(address_bits(words)), "write_data": In(bits),
            "read_en": In(1), "read_address": In(address_bits(words)), "read_data": Out(bits),
        })

    def body(self):
        m = Module()
        m.submodules.words = words = memory.Memory(shape=self.bits, depth=self.words, init=[])
        write, read = words.write_port(), words.read_port()
        m.d.comb += [
            write.en.eq(self.write_en), write.addr.eq(self.write_address), write.data.eq(self.write_data),
            read.en.eq(self.read_en), read.addr.eq(self.read_address), self.read_data.eq(read.data),
        ]
        return m

    def verilog(self, modules: ModuleSet) -> str:
        return _SRAM_VERILOG.format(name=self.module_name, top=address_bits(self.words) - 1, msb=self.bits - 1,
                                    last=self.words - 1)


class BankedBuffer(wiring.Component):
    """`rows` rows of `write_bytes` bytes, read `read_bytes` bytes at a time; both powers of two.

    Written by row, read by address in units of read_bytes (byte address // read_bytes). Banks are as wide as the
    narrower side; an access of the narrow side enables one bank, of the wide side all. Read data comes one cycle
    after `read_en` and stays until the next read. One write and one read per cycle, not of the same bytes.
    """

    def __init__(self, write_bytes: int, read_bytes: int, rows: int):
        for name, value in (("write_bytes", write_bytes), ("read_bytes", read_bytes), ("rows", rows)):
            if value < 1 or value & (value - 1):
                raise InfeasibleDesign(f"BankedBuffer: {name} must be a power of two, not {value}.")
        self.write_bytes = write_bytes
        self.read_bytes = read_bytes
        self.rows = rows
        self.bank_bytes = min(write_bytes, read_bytes)
        self.banks = max(write_bytes, read_bytes) // self.bank_bytes
        self.bank_rows = rows * write_bytes // (self.banks * self.bank_bytes)
        super().__init__({
            "write_en": In(1), "write_row": In(address_bits(rows)), "write_data": In(8 * write_bytes),
            "read_en": In(1), "read_address": In(address_bits(rows * write_bytes // read_bytes)),
            "read_data": Out(8 * read_bytes),
        })

    def elaborate(self, platform):
        m = Module()
        select_bits, bits = ceil_log2(self.banks), 8 * self.bank_bytes
        narrow_read, narrow_write = self.read_bytes < self.write_bytes, self.read_bytes > self.write_bytes
        read_bank = self.read_address[:select_bits] if narrow_read else None
        write_bank = self.write_row[:select_bits] if narrow_write else None
        outputs = []
        for b in range(self.banks):
            bank = Sram(self.bank_rows, bits)
            m.submodules[f"bank_{b}"] = bank
            outputs.append(bank.read_data)
            m.d.comb += [
                bank.write_en.eq(self.write_en & (write_bank == b if narrow_write else 1)),
                bank.write_address.eq(self.write_row[select_bits:] if narrow_write else self.write_row),
                bank.write_data.eq(self.write_data if narrow_write else self.write_data[b * bits:(b + 1) * bits]),
                bank.read_en.eq(self.read_en & (read_bank == b if narrow_read else 1)),
                bank.read_address.eq(self.read_address[select_bits:] if narrow_read else self.read_address),
            ]
        if narrow_read:
            last_bank = Signal(select_bits)
            with m.If(self.read_en):
                m.d.sync += last_bank.eq(read_bank)
            m.d.comb += self.read_data.eq(Cat(outputs).word_select(last_bank, bits))
        else:
            m.d.comb += self.read_data.eq(Cat(outputs))
        return m


class PsumBuffer(wiring.Component):
    """The O buffer: two halves of max(n_o, n_pp) banks of 32-bit words, read-modify-write on the drain's side.

    Drain: `drain_read_en` in cycle t (address in words), `lane_n` and `write_en` in t + 1: the sum (with `first`,
    the lane itself; with `op_max`, the maximum) is in the memory for reads from t + 3. With `single` only lane 0
    counts, and goes to any word; otherwise addresses are multiples of n_o. Post-processing: n_pp words at
    `read_address` (units of n_pp words) of `read_half`, one cycle later. The two sides never share a half.
    """

    def __init__(self, n_o: int, n_pp: int, gb_o_bytes: int):
        self.n_o, self.n_pp = n_o, n_pp
        self.banks = max(n_o, n_pp)
        self.words = gb_o_bytes // 8
        self.rows = self.words // self.banks
        address = address_bits(self.words)
        ports = {"drain_half": In(1), "drain_read_en": In(1), "drain_read_address": In(address), "first": In(1),
                 "single": In(1), "op_max": In(1), "write_en": In(1), "write_address": In(address),
                 "read_en": In(1), "read_half": In(1), "read_address": In(address_bits(self.words // n_pp)),
                 "read_data": Out(32 * n_pp)}
        super().__init__(ports | {f"lane_{n}": In(signed(32)) for n in range(n_o)})

    def elaborate(self, platform):
        m = Module()
        bank_bits = ceil_log2(self.banks)
        halves = [[Sram(self.rows, 32) for _ in range(self.banks)] for _ in range(2)]
        for h, banks in enumerate(halves):
            for b, bank in enumerate(banks):
                m.submodules[f"half_{h}_bank_{b}"] = bank
        results = self._modify(m, halves, bank_bits)
        write = Signal()
        write_address = Signal.like(self.write_address)
        m.d.sync += [write.eq(self.write_en), write_address.eq(self.write_address)]
        row, read_row = self.drain_read_address[bank_bits:], self.read_address[bank_bits - ceil_log2(self.n_pp):]
        for h, banks in enumerate(halves):
            for b, bank in enumerate(banks):
                drains = self.drain_read_en & (self.drain_half == h) & self._hit(self.drain_read_address, b)
                serves = self.read_en & (self.read_half == h) & self._served(b)
                lane = b % self.n_o
                m.d.comb += [
                    bank.read_en.eq(drains | serves), bank.read_address.eq(Mux(drains, row, read_row)),
                    bank.write_en.eq(write & (self.drain_half == h) & self._hit(write_address, b)),
                    bank.write_address.eq(write_address[bank_bits:]),
                    bank.write_data.eq(results[lane] if lane == 0 else Mux(self.single, results[0], results[lane])),
                ]
        self._serve(m, halves, bank_bits)
        return m

    def _hit(self, address, bank):
        """Whether the drain's access at `address` touches `bank`."""
        lane_bits, bank_bits = ceil_log2(self.n_o), ceil_log2(self.banks)
        group = address[lane_bits:bank_bits] == bank >> lane_bits
        return group & (~self.single | (address[:lane_bits] == bank % self.n_o))

    def _served(self, bank):
        """Whether post-processing's access touches `bank`."""
        select_bits = ceil_log2(self.banks // self.n_pp)
        return self.read_address[:select_bits] == bank // self.n_pp

    def _modify(self, m, halves, bank_bits):
        """Registered results of the lanes."""
        old_words = Mux(self.drain_half, *(Cat(b.read_data for b in halves[h]) for h in (1, 0)))
        place = self.write_address[:bank_bits]
        results = []
        for n in range(self.n_o):
            term, old = getattr(self, f"lane_{n}"), Signal(signed(32), name=f"old_{n}")
            at = place if n == 0 else Cat(Const(n, ceil_log2(self.n_o)), place[ceil_log2(self.n_o):])
            m.d.comb += old.eq(old_words.word_select(at, 32) if bank_bits else old_words)
            result = Signal(signed(32), name=f"result_{n}")
            with m.If(self.write_en):
                with m.If(self.first):
                    m.d.sync += result.eq(term)
                with m.Elif(self.op_max):
                    m.d.sync += result.eq(Mux(term > old, term, old))
                with m.Else():
                    m.d.sync += result.eq(old + term)
            results.append(result)
        return results

    def _serve(self, m, halves, bank_bits):
        """Post-processing's read data."""
        select_bits = bank_bits - ceil_log2(self.n_pp)
        half, select = Signal(name="served_half"), Signal(max(1, select_bits), name="served_group")
        with m.If(self.read_en):
            m.d.sync += [half.eq(self.read_half), select.eq(self.read_address[:select_bits])]
        words = Mux(half, *(Cat(b.read_data for b in halves[h]) for h in (1, 0)))
        m.d.comb += self.read_data.eq(words.word_select(select, 32 * self.n_pp) if select_bits else words)
