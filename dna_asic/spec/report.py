"""What a cost model or a measurement says of a design."""

from dataclasses import dataclass

from dna_asic.spec.dims import Level, Operand

LEVELS = ("mac", "rf", "noc", "gb", "dram", "postprocess", "control", "clock", "leakage")  # of energy


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Events of one layer (or a sum of layers). Words: 8-bit W and I, 32-bit O, unless said otherwise.

    macs: multiply-accumulates issued by PEs in use, padding included. rf_reads/rf_writes per operand summed over
    PEs (O: over psum sets). noc: words delivered over the RF ports per operand. gb_reads/gb_writes per operand,
    words (W and I at the fill side 8-bit words; DMA writes port_bytes words a beat). dram_reads/dram_writes:
    bytes on the memory port that were really moved per operand (W includes parameters and instructions; O writes;
    residual reads count under O reads). postprocess: 32-bit words that went through post-processing.
    """

    macs: int
    rf_reads: dict[Operand, int]
    rf_writes: dict[Operand, int]
    noc: dict[Operand, int]
    gb_reads: dict[Operand, int]
    gb_writes: dict[Operand, int]
    dram_reads: dict[Operand, int]
    dram_writes: dict[Operand, int]
    postprocess: int = 0


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """One layer: cycles, events and energy per level (each event count times its table entry; clock and leakage of
    its own chunk).
    """

    name: str
    cycles: int
    counts: Counts
    energy_pj: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class CostReport:
    """A whole design. latency_cycles: one image alone, from the start bit to the interrupt. period_cycles: from one
    image to the next where many follow each other: the slowest chunk's pass. idle_fetches: instructions fetched for no
    image, in the run of one.

    Energy is of one image alone; its clock and leakage are those of all chunks over the whole latency.
    energy_pj_by_level: mac, rf, noc, gb, dram, postprocess, control, clock, leakage. area_um2_by_block likewise. EDP is
    energy of one inference times latency of one inference, in J s.
    """

    technology: str
    clk_period_ns: float
    layers: tuple[LayerCost, ...]
    latency_cycles: int
    period_cycles: int
    idle_fetches: int
    energy_pj_by_level: dict[str, float]
    area_um2_by_block: dict[str, float]

    @property
    def latency_s(self) -> float:
        """Latency of one inference."""
        return self.latency_cycles * self.clk_period_ns * 1e-9

    @property
    def energy_j(self) -> float:
        """Energy of one inference."""
        return sum(self.energy_pj_by_level.values()) * 1e-12

    @property
    def area_mm2(self) -> float:
        """Silicon area."""
        return sum(self.area_um2_by_block.values()) * 1e-6

    @property
    def edp_js(self) -> float:
        """Energy-delay product."""
        return self.energy_j * self.latency_s


LEVEL_NAMES = {Level.RF: "rf", Level.NOC: "noc", Level.GB: "gb", Level.DRAM: "dram"}
