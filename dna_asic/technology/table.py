"""A technology file: strict loading, and the few formulas over its coefficients."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dna_asic.errors import SpecError
from dna_asic.spec.record import from_plain, load_yaml
from dna_asic.technology.scaling import FACTORS

FOLDER = Path(__file__).parent
MARKS = ("[T]", "[C]", "[D]", "[M]")  # read in a published text, in public code or data, derived, from memory
UNCONFIRMED = "[M]"
CALIBRATED = {  # what `make silicon` fits, and the factor that carries it to another node
    name: "area" if "_area_um2" in name else "energy" for name in (
        "mac_pj", "accumulation_pj", "postprocess_pj", "rf_base_pj_per_bit", "rf_slope_pj_per_bit_byte",
        "noc_pj_per_bit", "control_pj", "ff_write_pj", "ff_area_um2", "mux_area_um2", "mac_area_um2",
        "accumulator_area_um2", "adder_area_um2", "rf_area_um2", "psum_area_um2", "fill_area_um2",
        "coordinate_area_um2", "window_area_um2", "sequencer_area_um2", "dma_area_um2", "postprocess_area_um2",
        "lane_area_um2", "pool_area_um2", "control_area_um2")}
CALIBRATION = re.compile(r"calibrated: make silicon, seed \d+, \d+ points, .+ \[D\]")
SCALED_TOLERANCE = 1e-3  # of a value against its original times the factor: values are rounded
UNITS = {  # every coefficient a file must give, and its unit
    "supply_v": "V",
    "clk_period_ns": "ns",
    "mac_pj": "pJ",
    "accumulation_pj": "pJ per psum and MAC",
    "postprocess_pj": "pJ per 32-bit word",
    "rf_base_pj_per_bit": "pJ/bit",
    "rf_slope_pj_per_bit_byte": "pJ/bit per byte of one PE's file",
    "sram_base_pj_per_bit": "pJ/bit",
    "sram_slope_pj_per_bit_sqrt_kb": "pJ/bit per square root of KB",
    "sram_write_factor": "write energy / read energy",
    "noc_pj_per_bit_mm": "pJ/bit per mm of wire",
    "dram_pj_per_bit": "pJ/bit",
    "noc_pj_per_bit": "pJ/bit filled or drained, logic alone",
    "control_pj": "pJ per cycle of a chunk's sequencers, DMA and control",
    "ff_write_pj": "pJ per clocked bit",
    "ff_area_um2": "um2 per flip-flop",
    "mux_area_um2": "um2 per bit chosen from two",
    "mac_area_um2": "um2 per PE, register files apart",
    "accumulator_area_um2": "um2 per accumulator",
    "adder_area_um2": "um2 per bit of an adder between PEs",
    "rf_area_um2": "um2 per bit of a register file",
    "psum_area_um2": "um2 per lane of the drain, at the O buffer",
    "fill_area_um2": "um2 per chunk, fills and drain",
    "coordinate_area_um2": "um2 per mask bit",
    "window_area_um2": "um2 per row or column of PEs with a window of the input",
    "sequencer_area_um2": "um2 per chunk, sequencers of array and tiles",
    "dma_area_um2": "um2 per chunk, DMA",
    "postprocess_area_um2": "um2 per chunk, post-processing",
    "lane_area_um2": "um2 per lane of post-processing",
    "pool_area_um2": "um2 per byte of a beat that is pooled",
    "control_area_um2": "um2 per chunk, control",
    "sram_area_um2_per_bit": "um2/bit",
    "sram_overhead_um2": "um2 per macro",
    "sram_access_base_ns": "ns",
    "sram_access_slope_ns": "ns per square root of bits",
    "leakage_mw_per_mm2": "mW/mm2",
    "cell_site_um2": "um2 per placement site",
    "cell_input_ff": "fF per input of the unit inverter",
    "cell_tau_ps": "ps per unit of logical effort",
}


@dataclass(frozen=True, kw_only=True)
class Original:
    """What was read, and where it stood: `value` at `node_nm`; `by`: the factor of `FACTORS` that scaled it."""

    value: float
    node_nm: int
    by: str


@dataclass(frozen=True, kw_only=True)
class Value:
    """One coefficient. source: paper, table or code it was read in, with its mark; scaled: None for one of this node.

    Factors are Stillmaker and Baas's (`scaling.yaml`), apart from "voltage_squared", which is ours.
    """

    value: float
    unit: str
    source: str
    scaled: Original | None = None

    @property
    def confirmed(self) -> bool:
        """False for a figure from memory that no source at hand confirms."""
        return UNCONFIRMED not in self.source


@dataclass(frozen=True, kw_only=True)
class Technology:
    """A process node: every coefficient of UNITS. Raises SpecError with every fault of the file."""

    name: str
    node_nm: int
    values: dict[str, Value]

    def __post_init__(self):
        faults = [f"unknown value '{n}'." for n in self.values if n not in UNITS]
        for name, unit in UNITS.items():
            if name in self.values:
                faults += [f"{name} {fault}" for fault in _faults(self.values[name], unit, self.node_nm)]
            else:
                faults.append(f"missing value '{name}' in {unit}; add it with its source.")
        if faults:
            raise SpecError("\n".join(f"Technology '{self.name}': {fault}" for fault in faults))

    @property
    def unconfirmed(self) -> tuple[str, ...]:
        """Names of the coefficients that are from memory."""
        return tuple(name for name, value in self.values.items() if not value.confirmed)

    def __getitem__(self, name: str) -> float:
        """Value of a coefficient in its unit of UNITS."""
        return self.values[name].value

    @property
    def clk_period_ns(self) -> float:
        """Default clock of the node."""
        return self["clk_period_ns"]

    def rf_pj_per_bit(self, file_bytes: float) -> float:
        """Energy of one bit read or written in a register file of `file_bytes` (both halves, one operand, one PE)."""
        return self["rf_base_pj_per_bit"] + self["rf_slope_pj_per_bit_byte"] * max(file_bytes - 1, 0)

    def sram_read_pj(self, words: int, bits: int) -> float:
        """Energy of one read of a `words` x `bits` memory, all bits."""
        kilobytes = words * bits / 8192
        return bits * (self["sram_base_pj_per_bit"] + self["sram_slope_pj_per_bit_sqrt_kb"] * math.sqrt(kilobytes))

    def sram_write_pj(self, words: int, bits: int) -> float:
        """Energy of one write, all bits."""
        return self.sram_read_pj(words, bits) * self["sram_write_factor"]

    def sram_area_um2(self, words: int, bits: int) -> float:
        """Area of one `words` x `bits` memory macro with a write and a read port."""
        return self["sram_overhead_um2"] + self["sram_area_um2_per_bit"] * words * bits

    def sram_access_ns(self, words: int, bits: int) -> float:
        """Clock to data."""
        return self["sram_access_base_ns"] + self["sram_access_slope_ns"] * math.sqrt(words * bits)

    def leakage_mw(self, area_um2: float) -> float:
        """Leakage power of an area."""
        return self["leakage_mw_per_mm2"] * area_um2 * 1e-6


def _faults(entry: Value, unit: str, node_nm: int) -> Iterator[str]:
    """What is wrong with one coefficient."""
    if entry.unit != unit:
        yield f"must be in {unit}, not {entry.unit} (its unit)."
    if not re.sub("|".join(map(re.escape, MARKS)), "", entry.source).strip():
        yield "has no source; say where it was read."
    elif not any(mark in entry.source for mark in MARKS):
        yield f"has a source without a mark: '{entry.source}'; add one of {', '.join(MARKS)}."
    elif entry.source.startswith("calibrated") and not CALIBRATION.fullmatch(entry.source):
        yield f"must name seed, points and library of its calibration, not '{entry.source}'."
    if not (math.isfinite(entry.value) and entry.value >= 0):
        yield f"has a value that must not be negative, not {entry.value}."
    elif entry.scaled:
        yield from _scaling_faults(entry.value, entry.scaled, node_nm)


def _scaling_faults(value, original, node_nm):
    if original.by not in FACTORS:
        yield f"is scaled by '{original.by}'; use one of {', '.join(FACTORS)}."
        return
    expected = original.value * FACTORS[original.by](original.node_nm, node_nm)
    if not math.isclose(value, expected, rel_tol=SCALED_TOLERANCE):
        yield (f"must be {expected:.4g}, which is {original.value:g} scaled from {original.node_nm} nm by "
               f"{original.by}, not {value:g}.")


def targets() -> tuple[str, ...]:
    """Names of the technology files at hand."""
    return tuple(sorted(path.stem for path in FOLDER.glob("asic-*.yaml")))


def load_technology(target: str) -> Technology:
    """Load a node by name, for example "asic-28nm"; raises SpecError for an unknown one."""
    if target not in targets():
        raise SpecError(f"Target must be one of {', '.join(targets())}, not '{target}'.")
    return from_plain(Technology, load_yaml(FOLDER / f"{target}.yaml"), f"technology '{target}'")
