"""The chip: its registers, and up to four chunks that each have an AXI4 port."""

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dna_asic.spec.accelerator import AcceleratorConfig
from rtl_gen.bus import CHANNELS, burst_constants
from rtl_gen.chunk_unit import ChunkUnit, connect
from rtl_gen.registers import ADDRESS_BITS, STORED, Registers


def port_prefixes(chunks: int) -> list[str]:
    """How the AXI4 signals of each chunk's port begin: `m_axi_`, or with several chunks `m0_axi_`, `m1_axi_`, ..."""
    return ["m_axi_"] if chunks == 1 else [f"m{n}_axi_" for n in range(chunks)]


def axi_ports(port_bytes: int, prefix: str) -> dict:
    """AXI4 master signals, flat."""
    ports = {}
    for x in ("aw", "ar"):
        ports |= {f"{x}{n}": Out(bits) for n, bits in (
            ("id", 1), ("addr", 32), ("len", 8), ("size", 3), ("burst", 2), ("lock", 1), ("cache", 4), ("prot", 3),
            ("qos", 4), ("region", 4), ("valid", 1))} | {f"{x}ready": In(1)}
    ports |= {"wdata": Out(8 * port_bytes), "wstrb": Out(port_bytes), "wlast": Out(1), "wvalid": Out(1),
              "wready": In(1), "bid": In(1), "bresp": In(2), "bvalid": In(1), "bready": Out(1), "rid": In(1),
              "rdata": In(8 * port_bytes), "rresp": In(2), "rlast": In(1), "rvalid": In(1), "rready": Out(1)}
    return {prefix + name: port for name, port in ports.items()}


def lite_ports() -> dict:
    """AXI4-Lite slave signals, flat."""
    ports = {}
    for x in ("aw", "ar"):
        ports |= {f"s_axil_{x}addr": In(ADDRESS_BITS), f"s_axil_{x}prot": In(3), f"s_axil_{x}valid": In(1),
                  f"s_axil_{x}ready": Out(1)}
    return ports | {"s_axil_wdata": In(32), "s_axil_wstrb": In(4), "s_axil_wvalid": In(1), "s_axil_wready": Out(1),
                    "s_axil_bresp": Out(2), "s_axil_bvalid": Out(1), "s_axil_bready": In(1), "s_axil_rdata": Out(32),
                    "s_axil_rresp": Out(2), "s_axil_rvalid": Out(1), "s_axil_rready": In(1)}


class Chip(wiring.Component):
    """All chunks of `config`; ports: `axi_ports` of each chunk, `lite_ports`, `irq`, and `layer_done`, a bit per chunk,
    for observers.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config, self.prefixes = config, port_prefixes(len(config.chunks))
        ports = {}
        for prefix in self.prefixes:
            ports |= axi_ports(config.port_bytes, prefix)
        super().__init__(ports | lite_ports() | {"irq": Out(1), "layer_done": Out(len(config.chunks))})

    def elaborate(self, platform):
        m = Module()
        chunks = len(self.config.chunks)
        m.submodules.registers = registers = Registers(chunks)
        units = [ChunkUnit(alone, n, chunks) for n, alone in enumerate(self.config.alone)]
        for n, (unit, prefix) in enumerate(zip(units, self.prefixes, strict=True)):
            m.submodules[f"chunk_{n}"] = unit
            self._link(m, registers, units, n)
            self._port(m, unit, prefix)
        m.d.comb += [self.irq.eq(registers.irq), self.layer_done.eq(Cat(unit.layer_done for unit in units))]
        lite = [name for name in registers.signature.members if f"s_axil_{name}" in self.signature.members]
        connect(m, self, registers, lite, "s_axil_")
        return m

    def _link(self, m, registers, units, number):
        """A chunk with the registers, and with what the others have come to."""
        unit = units[number]
        m.d.comb += [getattr(unit, n).eq(getattr(registers, n))
                     for n in ("begin", "halt", "abort", "write_word", "read_word", *STORED)]
        m.d.comb += [unit.write.eq(getattr(registers, f"write_{number}")), unit.write_data.eq(self.s_axil_wdata),
                     unit.write_strobes.eq(self.s_axil_wstrb), unit.base.eq(units[0].program)]
        m.d.comb += [getattr(registers, f"{n}_{number}").eq(getattr(unit, n))
                     for n in ("data", "running", "quiet", "fault")]
        m.d.comb += [getattr(unit, f"other_{name}_{n}").eq(getattr(other, name)) for n, other in enumerate(units)
                     if n != number for name in ("running", "iteration", "position")]

    def _port(self, m, unit, prefix):
        """A chunk's memory port."""
        constants = burst_constants(self.config.port_bytes)
        for x in ("ar", "aw"):
            m.d.comb += [getattr(self, f"{prefix}{x}{n}").eq(value) for n, value in constants.items()]
        connect(m, self, unit, CHANNELS, prefix)
