"""The chip: control, DRAM sequencer, DMA, post-processing and the chunk's core behind one AXI4 port."""

from amaranth.hdl import Array, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.latency import WRITE_RESPONSE_CYCLES
from rtl_gen.bus import ReadBus, WriteBus, burst_constants
from rtl_gen.chunk import COUNT_BITS, ChunkCore
from rtl_gen.control import ADDRESS_BITS, Control
from rtl_gen.dma import JOBS, ReadEngine, StoreEngine
from rtl_gen.dram_sequencer import DramSequencer
from rtl_gen.fields import connect_fields, decode
from rtl_gen.postprocess import PostProcess

_BEATS = {"instruction": "dram_p_beats", "residual": "dram_r_beats", "i": "dram_i_beats", "w": "dram_w_beats"}


def axi_ports(port_bytes: int) -> dict:
    """AXI4 master and AXI4-Lite slave signals, flat."""
    ports = {}
    for x in ("aw", "ar"):
        ports |= {f"m_axi_{x}{n}": Out(bits) for n, bits in (
            ("id", 1), ("addr", 32), ("len", 8), ("size", 3), ("burst", 2), ("lock", 1), ("cache", 4), ("prot", 3),
            ("qos", 4), ("region", 4), ("valid", 1))} | {f"m_axi_{x}ready": In(1)}
    ports |= {"m_axi_wdata": Out(8 * port_bytes), "m_axi_wstrb": Out(port_bytes), "m_axi_wlast": Out(1),
              "m_axi_wvalid": Out(1), "m_axi_wready": In(1), "m_axi_bid": In(1), "m_axi_bresp": In(2),
              "m_axi_bvalid": In(1), "m_axi_bready": Out(1), "m_axi_rid": In(1), "m_axi_rdata": In(8 * port_bytes),
              "m_axi_rresp": In(2), "m_axi_rlast": In(1), "m_axi_rvalid": In(1), "m_axi_rready": Out(1)}
    for x in ("aw", "ar"):
        ports |= {f"s_axil_{x}addr": In(ADDRESS_BITS), f"s_axil_{x}prot": In(3), f"s_axil_{x}valid": In(1),
                  f"s_axil_{x}ready": Out(1)}
    return ports | {"s_axil_wdata": In(32), "s_axil_wstrb": In(4), "s_axil_wvalid": In(1), "s_axil_wready": Out(1),
                    "s_axil_bresp": Out(2), "s_axil_bvalid": Out(1), "s_axil_bready": In(1), "s_axil_rdata": Out(32),
                    "s_axil_rresp": Out(2), "s_axil_rvalid": Out(1), "s_axil_rready": In(1)}


class Chip(wiring.Component):
    """One chunk of `config` with its memory port; ports: `axi_ports`, `irq`, and `layer_done` for observers."""

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__(axi_ports(config.port_bytes) | {"irq": Out(1), "layer_done": Out(1)})

    def elaborate(self, platform):
        m = Module()
        config, port = self.config, self.config.port_bytes
        m.submodules.control = control = Control(COUNT_BITS | dict.fromkeys((*_BEATS.values(), "dram_o_beats"), 1))
        m.submodules.read_bus = read_bus = ReadBus(port)
        m.submodules.write_bus = write_bus = WriteBus(port)
        parts = {"core": ChunkCore(config, config.chunks[0]), "reader": ReadEngine(config),
                 "writer": StoreEngine(config), "post": PostProcess(config), "tiles": DramSequencer()}
        for name, part in parts.items():
            m.submodules[name] = ResetInserter(control.abort)(part)
        core, reader, writer, post, tiles = parts.values()
        instruction = decode(reader.instruction)
        m.d.comb += core.instruction.eq(reader.instruction)
        for part in (reader, writer, post, tiles):
            connect_fields(m, part.fields, instruction)
        self._bus(m, control, read_bus, write_bus, reader, writer)
        self._schedule(m, control, core, reader, writer, post, tiles, instruction)
        self._stores(m, control, core, reader, writer, post, tiles, write_bus)
        self._lite(m, control)
        for name in COUNT_BITS:
            m.d.comb += getattr(control, f"add_{name}").eq(getattr(core, f"count_{name}"))
        m.d.comb += [getattr(control, f"add_{_BEATS[job]}").eq(getattr(reader, f"count_{job}")) for job in JOBS]
        m.d.comb += control.add_dram_o_beats.eq(writer.count)
        return m

    def _schedule(self, m, control, core, reader, writer, post, tiles, instruction):
        """Who starts whom, and where each job's data lies."""
        bases = Array([control.bases[32 * n:32 * n + 32] for n in range(3)] + [0])
        pad = instruction.pad
        m.d.comb += [
            control.read_idle.eq(reader.idle), control.opcode.eq(instruction.opcode),
            control.is_last.eq(instruction.is_last), control.layer_done.eq(tiles.done), self.layer_done.eq(tiles.done),
            tiles.start.eq(control.start_layer), tiles.read_idle.eq(reader.idle), tiles.core_done.eq(core.done),
            core.start.eq(tiles.core_start), core.w_half.eq(tiles.w_half), core.i_half.eq(tiles.i_half),
            core.o_half.eq(tiles.o_half), core.first_reduction.eq(tiles.first_reduction),
            reader.start_instruction.eq(control.fetch), reader.instruction_address.eq(control.fetch_address),
            reader.start_i.eq(tiles.start_i), reader.start_w.eq(tiles.start_w),
            reader.start_residual.eq(tiles.start_residual), reader.i_half.eq(~tiles.i_half),
            reader.w_half.eq(~tiles.w_half), reader.w_bank.eq(tiles.w_fill_bank),
            reader.i_row_0.eq(tiles.fetch_p * instruction.stride - pad),
            reader.i_column_0.eq(tiles.fetch_q * instruction.stride - pad),
            reader.i_block_0.eq(tiles.fetch_ib), reader.residual_column_0.eq(tiles.store_q),
            reader.residual_row_0.eq(tiles.store_p), reader.residual_block_0.eq(tiles.store_ob),
        ]
        base = {x: Signal(32, name=f"{x}_base") for x in "wiro"}
        m.d.sync += [base["w"].eq(bases[0] + instruction.w_addr),
                     *(base[x].eq(bases[instruction[f"{x}_base_select"]] + instruction[f"{x}_addr"]) for x in "iro")]
        m.d.comb += [reader.w_address.eq(base["w"] + tiles.fetch_w), reader.i_address.eq(base["i"] + tiles.fetch_i),
                     reader.residual_address.eq(base["r"] + tiles.store_o),
                     writer.tile_address.eq(base["o"] + tiles.store_o),
                     writer.column_0.eq(tiles.store_q >> instruction.pool_log2),
                     writer.row_0.eq(tiles.store_p >> instruction.pool_log2), writer.block_0.eq(tiles.store_ob)]
        for x in "wi":
            m.d.comb += [getattr(core, f"gb_{x}_write_{n}").eq(getattr(reader, f"{x}_write_{n}"))
                         for n in ("en", "half", "row")]
            m.d.comb += getattr(core, f"gb_{x}_write_data").eq(reader.write_data)
        m.d.comb += [post.param_write_en.eq(reader.param_write_en), post.param_write_row.eq(reader.param_write_row),
                     post.param_write_data.eq(reader.write_data)]

    def _stores(self, m, control, core, reader, writer, post, tiles, write_bus):
        """A store: post-processing into the write engine; over WRITE_RESPONSE_CYCLES after its last beat, or later."""
        storing, response = Signal(), Signal(range(WRITE_RESPONSE_CYCLES + 1))
        place_ready = Signal()  # the walk of the write engine loads a cycle after the store's start
        m.d.sync += place_ready.eq(tiles.start_store)
        m.d.comb += [
            post.start.eq(tiles.start_store), post.half.eq(~tiles.o_half), post.bank.eq(tiles.store_bank),
            writer.start.eq(place_ready), core.gb_o_read_en.eq(post.psum_read_en),
            core.gb_o_read_half.eq(post.psum_read_half), core.gb_o_read_address.eq(post.psum_read_address),
            post.psum_read_data.eq(core.gb_o_read_data), post.residual_valid.eq(reader.residual_valid),
            post.residual_data.eq(reader.residual_data), reader.residual_take.eq(post.residual_take),
            writer.beat.eq(post.beat), writer.data.eq(post.data), post.ready.eq(writer.ready),
            tiles.write_idle.eq((~storing | (response == 1)) & write_bus.quiet),
        ]
        with m.If(control.abort):
            m.d.sync += [storing.eq(0), response.eq(0)]
        with m.Elif(tiles.start_store):
            m.d.sync += [storing.eq(1), response.eq(0)]
        with m.Elif(writer.done):
            m.d.sync += response.eq(WRITE_RESPONSE_CYCLES)
        with m.Elif((response > 1) | ((response == 1) & write_bus.quiet)):
            m.d.sync += response.eq(response - 1)
            with m.If(response == 1):
                m.d.sync += storing.eq(0)

    def _bus(self, m, control, read_bus, write_bus, reader, writer):
        m.d.comb += [getattr(read_bus, name).eq(getattr(reader, name)) for name in ("address", "beats_last", "take")]
        m.d.comb += [
            read_bus.ask.eq(reader.ask & ~control.abort),
            reader.ready.eq(read_bus.ready), reader.valid.eq(read_bus.valid), reader.data.eq(read_bus.data),
            read_bus.discard.eq(control.abort), write_bus.discard.eq(control.abort), write_bus.put.eq(writer.put),
            write_bus.first.eq(writer.first), write_bus.address.eq(writer.address),
            write_bus.beats_last.eq(writer.beats_last), write_bus.data.eq(writer.put_data),
            writer.put_ready.eq(write_bus.ready), control.quiet.eq(read_bus.quiet & write_bus.quiet),
            control.waiting.eq((read_bus.waiting | write_bus.waiting) & ~read_bus.moving & ~write_bus.moving),
            control.read_error.eq(read_bus.error), control.write_error.eq(write_bus.error),
        ]
        constants = burst_constants(self.config.port_bytes)
        for x in ("ar", "aw"):
            m.d.comb += [getattr(self, f"m_axi_{x}{n}").eq(value) for n, value in constants.items()]
        for bus in (read_bus, write_bus):
            for name, member in bus.signature.members.items():
                mine = f"m_axi_{name}"
                if mine in self.signature.members:
                    pair = (getattr(self, mine), getattr(bus, name))
                    m.d.comb += pair[0].eq(pair[1]) if member.flow is Out else pair[1].eq(pair[0])

    def _lite(self, m, control):
        for name, member in control.signature.members.items():
            mine = f"s_axil_{name}"
            if mine in self.signature.members:
                pair = (getattr(self, mine), getattr(control, name))
                m.d.comb += pair[0].eq(pair[1]) if member.flow is Out else pair[1].eq(pair[0])
        m.d.comb += self.irq.eq(control.irq)
