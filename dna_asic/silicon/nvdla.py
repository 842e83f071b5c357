"""The K x C preset at NVDLA's sizes: area by the model beside NVDLA's own table."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import dna_asic.report
from dna_asic.cost import area_um2
from dna_asic.gads.presets import preset
from dna_asic.report.tables import format_table
from dna_asic.silicon.fit import MEMORIES
from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.record import from_plain, load_yaml
from dna_asic.technology import Technology, load_technology

FILE = Path(dna_asic.report.__file__).with_name("nvdla_published.yaml")
HEADERS = ("int8 MACs", "buffer KB", "NVDLA mm2, published", "model mm2", "ratio", "of it memories", "PEs and RF",
           "other logic")
CLK_PERIOD_NS = 1.0  # of NVDLA's estimates


@dataclass(frozen=True, kw_only=True)
class Row:
    """One size of the published table."""

    macs: int
    buffer_kb: int
    area_28nm_mm2: float
    area_16nm_mm2: float


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


def nvdla_table() -> str:
    """The comparison at 28 nm."""
    technology, found = load_technology("asic-28nm"), published()
    return "\n".join([format_table(HEADERS, [row_of(row, technology) for row in found.rows]), found.source])
