"""The K x C preset at NVDLA's sizes: area and TOPS/W by the model beside NVDLA's own table."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import dna_asic.report
from dna_asic.cost import area_um2, evaluate_design
from dna_asic.gads.presets import preset
from dna_asic.mapping.optimise import Mapper
from dna_asic.networks.known import known_network
from dna_asic.report.tables import format_table
from dna_asic.silicon.fit import MEMORIES
from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.record import from_plain, load_yaml
from dna_asic.technology import Technology, load_technology, scaling

FILE = Path(dna_asic.report.__file__).with_name("nvdla_published.yaml")
HEADERS = ("int8 MACs", "buffer KB", "NVDLA mm2, published", "model mm2", "ratio", "of it memories", "PEs and RF",
           "other logic")
POWER_HEADERS = ("int8 MACs", "NVDLA TOPS/W, at peak power", "model TOPS/W", "ratio", "MACs busy",
                 "of its energy MACs", "clock", "buffers", "other")
CLK_PERIOD_NS = 1.0  # of NVDLA's estimates
LAYER = ("resnet18", "stage0_block0_conv0")  # dense 3 x 3, 64 to 64 channels on 56 x 56: near NVDLA's peak
DIFFERENCES = """\
In NVDLA and not in this chip (nvdla.org, Hardware Architectural Specification [T]): lookup tables for activations
(SDP), engines of their own for pooling (PDP), response normalisation (CDP), reshaping (Rubik) and copying (bridge DMA),
a second memory interface, Winograd and weight decompression, a second set of registers in every block. What each takes
is not published, nor which of them the published sizes have: where the model is below 1 / 1.5 of the published area,
this list is the only reason that can be shown. Ratio of TOPS/W above 1: NVDLA's power is its peak, with wires, clock
tree and all units; the model has cells and memories before placement, without glitches. Peak power of NVDLA is taken
with every MAC busy [D]; DRAM is in neither."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One size of the published table."""

    macs: int
    buffer_kb: int
    area_28nm_mm2: float
    area_16nm_mm2: float
    peak_power_16nm_mw: float


@dataclass(frozen=True, kw_only=True)
class Published:
    """The table and where it was read."""

    source: str
    rows: tuple[Row, ...]


def published() -> Published:
    """The table; raises SpecError."""
    return from_plain(Published, load_yaml(FILE), f"published table '{FILE.name}'")


def sized(macs: int, buffer_kb: int) -> AcceleratorConfig:
    """The preset with so many PEs, and half of the buffer each for weights and inputs. The O buffer, which NVDLA counts
    apart, stays as it is.
    """
    entry = preset("nvdla_like")
    rows = 1 << (macs.bit_length() - 1) // 2
    cols, width = macs // rows, min(16, rows)
    chunk = dataclasses.replace(
        entry.chunk, pe_rows=rows, pe_cols=cols, n_w=width, n_i=width, n_o=width, n_pp=width,
        gb_w_bytes=buffer_kb * 512, gb_i_bytes=buffer_kb * 512)
    port = min(64, max(8, 4 * width))
    return AcceleratorConfig(name=f"nvdla_{macs}", chunks=(chunk,), port_bytes=port, clk_period_ns=CLK_PERIOD_NS,
                             memory_latency_cycles=entry.memory_latency_cycles)


def row_of(row: Row, technology: Technology) -> tuple:
    """A row of the table."""
    area = {block: um2 * 1e-6 for block, um2 in area_um2(sized(row.macs, row.buffer_kb), technology).items()}
    whole, memories = sum(area.values()), sum(area[block] for block in MEMORIES)
    pes = area["pe_array"] + area["rf"]
    return (row.macs, row.buffer_kb, row.area_28nm_mm2, whole, whole / row.area_28nm_mm2, memories, pes,
            whole - memories - pes)


def power_row(row: Row, technology: Technology) -> tuple:
    """A row of the second table: a layer that keeps the array busy, its energy by the published factor at 16 nm."""
    chip = sized(row.macs, row.buffer_kb)
    shape = {layer.name: layer.shape for layer in known_network(LAYER[0]).layers}[LAYER[1]]
    mapping = Mapper(chip, technology, "edp").layer(shape)
    report = evaluate_design([(LAYER[1], shape)], chip, {LAYER[1]: mapping}, technology)
    to_16nm = scaling.energy_factor(technology.node_nm, 16)
    energy = {level: pj * to_16nm for level, pj in report.energy_pj_by_level.items() if level != "dram"}
    whole, macs = sum(energy.values()), shape.g * shape.k * shape.c * shape.p * shape.q * shape.r * shape.s
    published, model = 2 * row.macs / CLK_PERIOD_NS / row.peak_power_16nm_mw, 2 * macs / whole
    shares = [energy[level] / whole for level in ("mac", "clock", "gb")]
    return (row.macs, published, model, model / published, macs / report.latency_cycles / row.macs, *shares,
            1 - sum(shares))


def nvdla_table() -> str:
    """The comparison of areas at 28 nm, of TOPS/W at 16 nm, and what the two chips differ in."""
    technology, found = load_technology("asic-28nm"), published()
    return "\n".join([format_table(HEADERS, [row_of(row, technology) for row in found.rows]), "",
                      format_table(POWER_HEADERS, [power_row(row, technology) for row in found.rows]), "",
                      DIFFERENCES, found.source])
