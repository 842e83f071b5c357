"""Post-processing: from psums in the O buffer to int8 beats on their way to memory."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.geometry import param_channels
from dna_asic.spec.instruction import STORE_LOOPS
from dna_asic.spec.quant import MULTIPLIER_BITS, PARAM_BYTES, SHIFT_BITS
from rtl_gen.buffer import BankedBuffer, address_bits
from rtl_gen.dma import PARAM_BANKS
from rtl_gen.fields import WIDTHS, connect_nest, layout_of, nest_names
from rtl_gen.nest import Nest
from rtl_gen.unit import Unit

SUM_BITS = 16  # terms are saturated to this width before they are added
POOL_BITS = 14  # sum of up to 64 int8 values
PARAM_BITS = 8 * PARAM_BYTES
_FIELDS = (*nest_names("st", ("a",), STORE_LOOPS), "st_group_last", "st_group_last_of_last_block", "has_residual",
           "pool_average", "pool_log2", "clamp_lo", "clamp_hi", "res_multiplier", "res_shift")


def divided(value, shift):
    """(quotient, increment): their sum is value / 2**shift rounded half away from zero, for a signed value.

    The quotient is the floor; it goes up by 1 where the next bit is set, unless the value is negative and halfway.
    """
    shifted = Cat(Const(0, 1), value).as_signed() >> shift
    most = min(len(value), (1 << len(shift)) - 2)  # bits that a shift can leave below the next one
    below = Cat(value[k] & (shift > k + 1) for k in range(most))
    return shifted[1:].as_signed(), shifted[0] & ((value >= 0) | below.any())


def saturate(m, quotient, increment, bits, name):
    """The sum limited to `bits` bits, signed: beyond the limits the increment changes nothing."""
    out, high, low = Signal(signed(bits), name=name), (1 << bits - 1) - 1, -(1 << bits - 1)
    m.d.comb += out.eq(Mux(quotient >= high, high, Mux(quotient < low, low, quotient[:bits] + increment)))
    return out


class BiasAdder(Unit):
    """acc + bias, a cycle after `en`. A module of its own, or synthesis would make it only as fast as the multiplier
    beside it; but psums and biases come late, from memories.
    """

    module_name = "bias_adder"

    def __init__(self):
        super().__init__({"en": In(1), "acc": In(signed(32)), "bias": In(signed(32)), "total": Out(signed(33))})

    def body(self):
        m = Module()
        total = Signal(signed(33), name="total_register", reset_less=True)
        with m.If(self.en):
            m.d.sync += total.eq(self.acc + self.bias)
        m.d.comb += self.total.eq(total)
        return m


class Requantiser(Unit):
    """One lane: clamp(sat16(rshift((acc + bias) * multiplier, shift)) + sat16(rshift(res * res_multiplier,
    res_shift)), lo, hi), rshift rounding half away from zero; spec.quant.

    Pipeline of LATENCY cycles, one value per cycle in which `en` is high; nothing moves while it is low.
    """

    LATENCY = 5
    module_name = "requantiser"

    def __init__(self):
        super().__init__({
            "en": In(1), "acc": In(signed(32)), "bias": In(signed(32)), "multiplier": In(MULTIPLIER_BITS),
            "shift": In(SHIFT_BITS), "residual": In(signed(8)), "res_multiplier": In(MULTIPLIER_BITS),
            "res_shift": In(SHIFT_BITS), "clamp_lo": In(signed(8)), "clamp_hi": In(signed(8)), "out": Out(signed(8)),
        })

    def body(self):
        m = Module()
        m.submodules.adder = adder = BiasAdder()
        m.d.comb += [adder.en.eq(self.en), adder.acc.eq(self.acc), adder.bias.eq(self.bias)]
        with m.If(self.en):
            multiplier = self._register(m, MULTIPLIER_BITS, self.multiplier, "multiplier_1")
            shift = self._register(m, SHIFT_BITS, self.shift, "shift_1")
            residual = self._register(m, signed(8), self.residual, "residual_1")
            res_multiplier = self._register(m, MULTIPLIER_BITS, self.res_multiplier, "res_multiplier_1")
            product = self._register(m, signed(33 + MULTIPLIER_BITS), adder.total * multiplier, "product")
            shift = self._register(m, SHIFT_BITS, shift, "shift_2")
            residual = self._register(m, signed(8 + MULTIPLIER_BITS), residual * res_multiplier, "residual_2")
            res_shift = self._register(m, SHIFT_BITS, self.res_shift, "res_shift_2")
            main = self._scaled(m, product, shift, "main")
            extra = self._scaled(m, residual, res_shift, "extra")
            both = main + extra
            clamped = Mux(both < self.clamp_lo, self.clamp_lo, Mux(both > self.clamp_hi, self.clamp_hi, both))
            m.d.sync += self.out.eq(clamped)
        return m

    def _scaled(self, m, value, shift, name):
        """`value` / 2**shift within SUM_BITS bits, two cycles later."""
        quotient, increment = divided(value, shift)
        quotient = self._register(m, value.shape(), quotient, f"{name}_quotient")
        increment = self._register(m, 1, increment, f"{name}_increment")
        limited = saturate(m, quotient, increment, SUM_BITS, f"{name}_limited")
        return self._register(m, signed(SUM_BITS), limited, name)

    @staticmethod
    def _register(m, shape, value, name):
        register = Signal(shape, name=name, reset_less=True)
        m.d.sync += register.eq(value)
        return register


class PostProcess(wiring.Component):
    """Walks an O tile, n_pp words a cycle, through requantisation and pooling into beats of port_bytes bytes.

    `start` in cycle t begins the walk at t + 1 with the O half and parameter bank given (held until the walk's
    end). With a residual, a word group moves when its residual beat is there; `residual_take` with the last group.
    Beats leave by `beat`, `data`, `ready`; a beat that is not taken stalls everything before it.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config, chunk, port = config, config.chunk, config.port_bytes
        self.port, self.n_pp = port, chunk.n_pp
        self.groups = port // chunk.n_pp
        self.channels = param_channels(chunk)
        rows = PARAM_BANKS * self.channels * PARAM_BYTES // port
        super().__init__({
            "fields": In(layout_of(_FIELDS)), "start": In(1), "half": In(1), "bank": In(range(PARAM_BANKS)),
            "psum_read_en": Out(1), "psum_read_half": Out(1), "psum_read_data": In(32 * chunk.n_pp),
            "psum_read_address": Out(address_bits(chunk.gb_o_bytes // 8 // chunk.n_pp)),
            "param_write_en": In(1), "param_write_row": In(address_bits(rows)), "param_write_data": In(8 * port),
            "residual_valid": In(1), "residual_data": In(8 * port), "residual_take": Out(1),
            "beat": Out(1), "data": Out(8 * port), "ready": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        flow = Signal()
        m.d.comb += flow.eq(~self.beat | self.ready)
        step, group, flags = self._walk(m, flow)
        self._fetch(m, step, group)
        lanes = self._lanes(m, flow, step, group, flags)
        self._pack(m, flow, lanes, flags)
        return m

    def _walk(self, m, flow):
        """Step through word groups; returns step, group and what a group is within its window and beat."""
        f = self.fields
        address = len(self.psum_read_address)
        m.submodules.nest = nest = Nest(STORE_LOOPS, WIDTHS["st_last_0"], {"a": (address, address)})
        connect_nest(m, nest, f, "st")
        active, group, step, group_end = Signal(), Signal(range(max(2, self.groups))), Signal(), Signal()
        last_block = nest.index[STORE_LOOPS - 1] == f[f"st_last_{STORE_LOOPS - 1}"]
        m.d.comb += [
            group_end.eq(group == Mux(last_block, f.st_group_last_of_last_block, f.st_group_last)),
            step.eq(active & flow & (~f.has_residual | self.residual_valid)), nest.load.eq(self.start),
            nest.step.eq(step & group_end), self.residual_take.eq(step & group_end & f.has_residual),
            self.psum_read_address.eq(nest.a + group), self.psum_read_half.eq(self.half), self.psum_read_en.eq(step),
        ]
        with m.If(self.start):
            m.d.sync += [active.eq(1), group.eq(0)]
        with m.Elif(step):
            m.d.sync += group.eq(Mux(group_end, 0, group + 1))
            with m.If(group_end & nest.last):
                m.d.sync += active.eq(0)
        self.block = nest.index[STORE_LOOPS - 1]
        window_first = (nest.index[0] == 0) & (nest.index[1] == 0)
        window_last = (nest.index[0] == f.st_last_0) & (nest.index[1] == f.st_last_1)
        return step, group, {"valid": step, "first": window_first, "last": window_last & group_end,
                             "fresh": window_first & (group == 0)}

    def _fetch(self, m, step, group):
        """Parameters of the group's channels, read with the psums."""
        rows = PARAM_BANKS * self.channels * PARAM_BYTES // self.port
        m.submodules.params = self.params = params = BankedBuffer(self.port, PARAM_BYTES * self.n_pp, rows)
        units = self.channels // self.n_pp
        m.d.comb += [params.write_en.eq(self.param_write_en), params.write_row.eq(self.param_write_row),
                     params.write_data.eq(self.param_write_data), params.read_en.eq(step),
                     params.read_address.eq(self.bank * units + self.block * self.groups + group)]

    def _lanes(self, m, flow, step, group, flags):
        """n_pp requantisers; `flags` and the group's number travel along."""
        f, residual = self.fields, Signal(8 * self.n_pp, reset_less=True)
        flags["group"] = group
        stages, moving = Signal(1 + Requantiser.LATENCY, name="valid_stages"), Signal()  # empty lanes rest
        m.d.comb += moving.eq(flow & stages.any())
        with m.If(flow):
            m.d.sync += stages.eq(Cat(flags.pop("valid"), stages[:-1]))
        with m.If(step):
            chosen = self.residual_data.word_select(group, 8 * self.n_pp) if self.groups > 1 else self.residual_data
            m.d.sync += residual.eq(Mux(f.has_residual, chosen, 0))
        outputs = []
        for n in range(self.n_pp):
            m.submodules[f"lane_{n}"] = lane = Requantiser()
            params = self.params.read_data.word_select(n, PARAM_BITS)
            m.d.comb += [
                lane.en.eq(moving), lane.acc.eq(self.psum_read_data.word_select(n, 32)), lane.bias.eq(params[:32]),
                lane.multiplier.eq(params[32:32 + MULTIPLIER_BITS]), lane.shift.eq(params[32 + MULTIPLIER_BITS:]),
                lane.residual.eq(residual.word_select(n, 8)), lane.res_multiplier.eq(f.res_multiplier),
                lane.res_shift.eq(f.res_shift), lane.clamp_lo.eq(f.clamp_lo), lane.clamp_hi.eq(f.clamp_hi),
            ]
            outputs.append(lane.out)
        for name, value in flags.items():
            for stage in range(1 + Requantiser.LATENCY):
                register = Signal(len(value), name=f"{name}_{stage}")
                with m.If(moving if stage else step):
                    m.d.sync += register.eq(value)
                value = register
            flags[name] = value
        flags["valid"] = stages[-1]
        return outputs

    def _pack(self, m, flow, lanes, flags):
        """Pool each byte of the beat over the window, then send the beat."""
        f = self.fields
        held = [Signal(signed(POOL_BITS), name=f"byte_{n}") for n in range(self.port)]
        combined = []
        for n, byte in enumerate(held):
            value, mine = lanes[n % self.n_pp], flags["group"] == n // self.n_pp if self.groups > 1 else 1
            pooled = Mux(flags["first"], value, Mux(f.pool_average, byte + value, Mux(byte > value, byte, value)))
            following = Signal(signed(POOL_BITS), name=f"following_{n}")
            m.d.comb += following.eq(Mux(mine, pooled, Mux(flags["fresh"], 0, byte)))
            with m.If(flow & flags["valid"]):
                m.d.sync += byte.eq(following)
            combined.append(following)
        shift = Mux(f.pool_average, f.pool_log2 << 1, 0)
        with m.If(flow):
            m.d.sync += self.beat.eq(flags["valid"] & flags["last"])
            with m.If(flags["valid"] & flags["last"]):
                m.d.sync += self.data.eq(Cat((sum(divided(byte, shift)))[:8] for byte in combined))

