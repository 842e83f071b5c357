"""One chunk of the chip: run controller, DRAM sequencer, DMA, post-processing and core behind one AXI4 port."""

from amaranth.hdl import Array, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.latency import WRITE_RESPONSE_CYCLES
from rtl_gen.bus import CHANNELS, ReadBus, WriteBus
from rtl_gen.chunk import COUNT_BITS, ChunkCore
from rtl_gen.control import Control, link_ports
from rtl_gen.dma import JOBS, ReadEngine, StoreEngine
from rtl_gen.dram_sequencer import DramSequencer
from rtl_gen.fields import connect_fields, decode
from rtl_gen.postprocess import PostProcess

_BEATS = {"instruction": "dram_p_beats", "residual": "dram_r_beats", "i": "dram_i_beats", "w": "dram_w_beats"}


def connect(m, outer, inner, names, prefix=""):
    """Join ports of these names of a component (there with `prefix`) and of one inside it: they have one direction."""
    for name in names:
        pair = (getattr(outer, prefix + name), getattr(inner, name))
        m.d.comb += pair[0].eq(pair[1]) if inner.signature.members[name].flow is Out else pair[1].eq(pair[0])


class ChunkUnit(wiring.Component):
    """Chunk `number` of `chunks`; `config` is the accelerator with this chunk alone.

    Ports: `control.link_ports`, the memory port (`bus.CHANNELS`), and base: address of the program region, the same for
    all chunks; quiet: nothing is owed on the bus; layer_done: high in the cycle in which a layer ends.
    """

    def __init__(self, config: AcceleratorConfig, number: int, chunks: int):
        self.config, self.number, self.chunks = config, number, chunks
        self.read_bus, self.write_bus = ReadBus(config.port_bytes), WriteBus(config.port_bytes)
        members = dict(self.read_bus.signature.members) | dict(self.write_bus.signature.members)
        super().__init__(link_ports(number, chunks) | {name: members[name] for name in CHANNELS}
                         | {"base": In(32), "quiet": Out(1), "layer_done": Out(1)})

    def elaborate(self, platform):
        m = Module()
        config = self.config
        increments = COUNT_BITS | dict.fromkeys((*_BEATS.values(), "dram_o_beats"), 1)
        m.submodules.control = control = Control(self.number, self.chunks, increments)
        m.submodules.read_bus, m.submodules.write_bus = read_bus, write_bus = self.read_bus, self.write_bus
        parts = {"core": ChunkCore(config, config.chunk), "reader": ReadEngine(config),
                 "writer": StoreEngine(config), "post": PostProcess(config), "tiles": DramSequencer()}
        for name, part in parts.items():
            m.submodules[name] = ResetInserter(self.abort)(part)
        core, reader, writer, post, tiles = parts.values()
        instruction = decode(reader.instruction)
        m.d.comb += core.instruction.eq(reader.instruction)
        for part in (control, reader, writer, post, tiles):
            connect_fields(m, part.fields, instruction)
        connect(m, self, control, link_ports(self.number, self.chunks))
        self._bus(m, control, read_bus, write_bus, reader, writer)
        self._schedule(m, control, core, reader, writer, post, tiles, instruction)
        self._places(m, control, reader, writer, tiles, instruction)
        self._stores(m, core, reader, writer, post, tiles, write_bus)
        for name in COUNT_BITS:
            m.d.comb += getattr(control, f"add_{name}").eq(getattr(core, f"count_{name}"))
        m.d.comb += [getattr(control, f"add_{_BEATS[job]}").eq(getattr(reader, f"count_{job}")) for job in JOBS]
        m.d.comb += control.add_dram_o_beats.eq(writer.count)
        return m

    def _schedule(self, m, control, core, reader, writer, post, tiles, instruction):
        """Who starts whom, and with what."""
        m.d.comb += [
            control.read_idle.eq(reader.idle), control.layer_done.eq(tiles.done), self.layer_done.eq(tiles.done),
            tiles.start.eq(control.start_layer), tiles.read_idle.eq(reader.idle), tiles.core_done.eq(core.done),
            tiles.read_over.eq(~reader.busy), core.start.eq(tiles.core_start),
            core.first_reduction.eq(tiles.first_reduction),
            *(getattr(core, f"{x}_half").eq(getattr(tiles, f"{x}_half")) for x in "wio"),
            reader.start_instruction.eq(control.fetch), reader.instruction_address.eq(control.fetch_address),
            reader.start_i.eq(tiles.start_i), reader.start_w.eq(tiles.start_w),
            reader.start_residual.eq(tiles.start_residual), reader.i_half.eq(~tiles.i_half),
            reader.w_half.eq(~tiles.w_half), reader.w_bank.eq(tiles.w_fill_bank),
        ]
        for x in "wi":
            m.d.comb += [getattr(core, f"gb_{x}_write_{n}").eq(getattr(reader, f"{x}_write_{n}"))
                         for n in ("en", "half", "row")]
            m.d.comb += getattr(core, f"gb_{x}_write_data").eq(reader.write_data)
        m.d.comb += [post.param_write_en.eq(reader.param_write_en), post.param_write_row.eq(reader.param_write_row),
                     post.param_write_data.eq(reader.write_data)]

    def _places(self, m, control, reader, writer, tiles, instruction):
        """Where each job's data lies: base, copy of the image, tile. Registers settle while a layer is set up, and rest
        while it runs.
        """
        bases = Array([self.base, control.input_at, control.output_at, 0])
        base = {x: Signal(32, name=f"{x}_base") for x in "wiro"}
        running = Signal()
        m.d.sync += running.eq((tiles.start | running) & ~tiles.done & ~self.abort)
        with m.If(~running):
            m.d.sync += base["w"].eq(self.base + instruction.w_addr)
        for x in "iro":
            copy = Signal(3, name=f"{x}_copy")
            offset = Signal(32, name=f"{x}_copy_offset")
            m.d.comb += copy.eq(control.image[:3] & ((1 << instruction[f"{x}_copies_log2"]) - 1))
            with m.If(~running):
                m.d.sync += [offset.eq(copy * instruction[f"{x}_pitch"]),
                             base[x].eq(bases[instruction[f"{x}_base_select"]] + instruction[f"{x}_addr"] + offset)]
        pad = instruction.pad
        m.d.comb += [
            reader.w_address.eq(base["w"] + tiles.fetch_w), reader.i_address.eq(base["i"] + tiles.fetch_i),
            reader.i_row_0.eq(tiles.fetch_p * instruction.stride - pad),
            reader.i_column_0.eq(tiles.fetch_q * instruction.stride - pad),
            reader.i_block_0.eq(tiles.fetch_ib), reader.residual_column_0.eq(tiles.store_q),
            reader.residual_row_0.eq(tiles.store_p), reader.residual_block_0.eq(tiles.store_ob),
            reader.residual_address.eq(base["r"] + tiles.store_o), writer.tile_address.eq(base["o"] + tiles.store_o),
            writer.column_0.eq(tiles.store_q >> instruction.pool_log2),
            writer.row_0.eq(tiles.store_p >> instruction.pool_log2), writer.block_0.eq(tiles.store_ob),
        ]

    def _stores(self, m, core, reader, writer, post, tiles, write_bus):
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
        with m.If(self.abort):
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
        discard = Signal()
        m.d.sync += discard.eq(self.abort)
        m.d.comb += [getattr(read_bus, name).eq(getattr(reader, name)) for name in ("address", "beats_last", "take")]
        m.d.comb += [
            read_bus.ask.eq(reader.ask & ~self.abort),
            reader.ready.eq(read_bus.ready), reader.valid.eq(read_bus.valid), reader.data.eq(read_bus.data),
            read_bus.discard.eq(discard), write_bus.discard.eq(discard), write_bus.put.eq(writer.put),
            write_bus.first.eq(writer.first), write_bus.address.eq(writer.address),
            write_bus.beats_last.eq(writer.beats_last), write_bus.data.eq(writer.put_data),
            writer.put_ready.eq(write_bus.ready), self.quiet.eq(read_bus.quiet & write_bus.quiet),
            control.waiting.eq((read_bus.waiting | write_bus.waiting) & ~read_bus.moving & ~write_bus.moving),
            control.read_error.eq(read_bus.error), control.write_error.eq(write_bus.error),
        ]
        for bus in (read_bus, write_bus):
            connect(m, self, bus, [name for name in CHANNELS if name in bus.signature.members])
