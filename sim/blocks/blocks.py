"""Blocks of the chip that have a bench each: their Verilog, and how a bench runs on it."""

from collections.abc import Callable
from pathlib import Path

from amaranth.hdl import Module, ResetInserter, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dna_asic.errors import SpecError
from dna_asic.spec.accelerator import AcceleratorConfig, ChunkConfig, Reduction
from dna_asic.spec.dims import DIMS
from rtl_gen.buffer import BankedBuffer, PsumBuffer, Sram
from rtl_gen.bus import ReadBus, WriteBus, burst_constants
from rtl_gen.chunk import ChunkCore
from rtl_gen.dma import ReadEngine, StoreEngine
from rtl_gen.pe_array import PEArray
from rtl_gen.postprocess import PostProcess, Requantiser
from rtl_gen.sequencer import ArraySequencer
from rtl_gen.top import axi_ports
from rtl_gen.unit import ModuleSet
from sim.runner import run_bench

G, K, C, P, Q, R, S = DIMS
JOB = "DNA_ASIC_JOB"
# A bus's port and the engine's that it joins.
_TO_BUS = {"read": {name: name for name in ("ask", "address", "beats_last", "take")},
           "store": {name: name for name in ("put", "first", "address", "beats_last")} | {"data": "put_data"}}
_FROM_BUS = {"read": {name: name for name in ("ready", "valid", "data")}, "store": {"ready": "put_ready"}}


def _accelerator(name, *, port, rows, cols, pair, reduction, widths, rf_words,
                 buffers=(2048, 2048, 2048)):
    chunk = ChunkConfig(
        pe_rows=rows, pe_cols=cols, row_dim=pair[0], col_dim=pair[1], reduction=reduction,
        **dict(zip(("n_w", "n_i", "n_o", "n_pp"), widths)),
        **dict(zip(("rf_w_words", "rf_i_words", "rf_o_words"), rf_words)),
        gb_w_bytes=buffers[0], gb_i_bytes=buffers[1], gb_o_bytes=buffers[2])
    return AcceleratorConfig(name=name, chunks=(chunk,), port_bytes=port, memory_latency_cycles=8, clk_period_ns=1.0)


# Two PEs that join and share nothing; each dataflow with each reduction that it has.
PAIR = _accelerator("pair", port=8, rows=2, cols=1, pair=(G, C), reduction=Reduction.TREE, widths=(1, 1, 1, 1),
                    rf_words=(3, 5, 4), buffers=(16384, 8192, 2048))
ARRAYS = {
    "tree": _accelerator("tree", port=8, rows=2, cols=3, pair=(K, C), reduction=Reduction.TREE,
                         widths=(1, 1, 2, 4), rf_words=(8, 16, 8)),
    "drain": _accelerator("drain", port=8, rows=2, cols=4, pair=(K, C), reduction=Reduction.DRAIN,
                          widths=(2, 4, 1, 2), rf_words=(6, 12, 6)),
    "pq": _accelerator("pq", port=8, rows=2, cols=3, pair=(P, Q), reduction=Reduction.TREE, widths=(1, 1, 1, 2),
                       rf_words=(6, 20, 4)),
}


class Bundle(wiring.Component):
    """Parts side by side: port `<part>_<name>` is the part's port `name`."""

    def __init__(self, **parts: wiring.Component):
        self.parts = parts
        super().__init__({f"{part}_{name}": member for part, component in parts.items()
                          for name, member in component.signature.members.items()})

    def elaborate(self, platform):
        m = Module()
        for part, component in self.parts.items():
            m.submodules[part] = component
            for name, member in component.signature.members.items():
                connect(m, member, getattr(component, name), getattr(self, f"{part}_{name}"))
        return m


class Dma(wiring.Component):
    """Both DMA engines on an AXI4 master: ports `read_*`, `store_*` (the engines' own) and `m_axi_*`.

    A bus model samples and drives at the rising edge of `bus_clk`, when the block has settled and before `clk` rises;
    what it drives reaches the block at `clk`. So model and block see a handshake in the same cycle.
    read_error, store_error: strobes of the buses. read_quiet, store_quiet: as the buses'. abort: the engines are in
    reset, the buses discard.
    """

    def __init__(self, config: AcceleratorConfig):
        self.port = config.port_bytes
        self.engines = {"read": ReadEngine(config), "store": StoreEngine(config)}
        ports = {f"{x}_{name}": member for x, engine in self.engines.items()
                 for name, member in engine.signature.members.items() if name not in _FROM_BUS[x].values()}
        ports |= {f"{x}_{name}": Out(1) for x in _FROM_BUS for name in ("quiet", "error")}
        ports |= axi_ports(self.port, "m_axi_")
        super().__init__(ports | {"abort": In(1), "bus_clk": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [getattr(self, f"m_axi_{x}{name}").eq(value) for x in ("ar", "aw")
                     for name, value in burst_constants(self.port).items()]
        for x, bus in (("read", ReadBus(self.port)), ("store", WriteBus(self.port))):
            engine = self.engines[x]
            m.submodules[x], m.submodules[f"{x}_bus"] = ResetInserter(self.abort)(engine), bus
            m.d.comb += [bus.discard.eq(self.abort), *(getattr(bus, b).eq(getattr(engine, e))
                                                         for b, e in _TO_BUS[x].items()),
                         *(getattr(engine, e).eq(getattr(bus, b)) for b, e in _FROM_BUS[x].items()),
                         *(getattr(self, f"{x}_{name}").eq(getattr(bus, name)) for name in ("quiet", "error"))]
            for name, member in engine.signature.members.items():
                if name not in _FROM_BUS[x].values():
                    connect(m, member, getattr(engine, name), getattr(self, f"{x}_{name}"))
            for name in bus.signature.members:
                if f"m_axi_{name}" in self.signature.members:
                    self._axi(m, getattr(bus, name), f"m_axi_{name}")
        return m

    def _axi(self, m, inner, name):
        if self.signature.members[name].flow is Out:
            m.d.comb += getattr(self, name).eq(inner)
        else:
            m.d.sync += inner.eq(getattr(self, name))


def connect(m, member, inner, outer):
    """Join a part's port to that of the module around it."""
    inner, outer = Value.cast(inner), Value.cast(outer)
    m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)


_BLOCKS: dict[str, Callable[[], wiring.Component]] = {
    "pe": lambda: PEArray(PAIR.chunks[0]),
    "array": lambda: Bundle(**{name: ChunkCore(config, config.chunks[0]) for name, config in ARRAYS.items()}),
    "buffers": lambda: Bundle(narrow=BankedBuffer(8, 2, 16), wide=BankedBuffer(2, 8, 16), equal=BankedBuffer(4, 4, 8),
                              sram=Sram(6, 5), lanes=PsumBuffer(4, 2, 512), words=PsumBuffer(1, 4, 512)),
    "sequencer": lambda: ArraySequencer(ARRAYS["tree"].chunks[0]),
    "dma": lambda: Dma(PAIR),
    "postprocess": lambda: Bundle(post=PostProcess(ARRAYS["tree"]), lane=Requantiser()),
}
BLOCKS = tuple(_BLOCKS)


def make_block(block: str) -> wiring.Component:
    """The component that the bench of that name tests; raises SpecError."""
    if block not in _BLOCKS:
        raise SpecError(f"Block must be one of {', '.join(BLOCKS)}, not '{block}'.")
    return _BLOCKS[block]()


def block_verilog(block: str) -> str:
    """Verilog of the block as module `block_<name>`, whose own signals are public to a bench in Verilator."""
    name = f"block_{block}"
    head, module, rest = ModuleSet().render(make_block(block), name).partition(f"module {name}(")
    ports, end, rest = rest.partition(");")
    body, close, others = rest.partition("endmodule")
    public = "\n/* verilator public_flat_rw_on */", "/* verilator public_off */\n"
    return "".join([head, module, ports, end, public[0], body, public[1], close, others])


def run_block(block: str, verilog: str, *, simulator: str, seed: int, build_root: Path, work: Path,
              job: Path | None = None) -> None:
    """Run the bench of `block` on `verilog` (of `block_verilog`). job: file that the bench of "array" reads.

    Raises ToolError, and VerificationError naming each failed test.
    """
    work.mkdir(parents=True, exist_ok=True)
    source = work / f"{block}.v"
    source.write_text(verilog)
    run_bench(module=f"sim.blocks.bench_{block}", top=f"block_{block}", sources=[source], build_root=build_root,
              work=work, simulator=simulator, seed=seed, environment={JOB: str(job)} if job else {})
