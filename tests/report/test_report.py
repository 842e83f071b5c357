"""Tables and files."""

import json

import pytest

from dna_asic.report.files import write_atomically, write_json_atomically, write_text_atomically
from dna_asic.report.plots import bar_chart
from dna_asic.report.tables import cost_table, format_table, markdown_table
from dna_asic.spec.dims import Operand
from dna_asic.spec.report import CostReport, Counts, LayerCost


def make_report():
    """One layer, round figures."""
    words = dict.fromkeys(Operand, 1)
    counts = Counts(macs=1000, rf_reads=words, rf_writes=words, noc=words, gb_reads=words, gb_writes=words,
                    dram_reads=words, dram_writes=words)
    energy = {"mac": 250.0, "dram": 750.0}
    layer = LayerCost(name="conv", cycles=2000, counts=counts, energy_pj=energy)
    return CostReport(technology="asic-28nm", clk_period_ns=2.0, layers=(layer,), latency_cycles=2000,
                      period_cycles=1998, idle_fetches=0,
                      energy_pj_by_level=energy, area_um2_by_block={"pe": 1e6})


def test_format_table_aligns():
    text = format_table(("name", "cycles"), [("a", 12345), ("long name", 7)])
    assert text.splitlines() == ["name       cycles", "---------  ------", "a          12,345", "long name       7"]


def test_format_table_wrong_row():
    with pytest.raises(ValueError, match="2 cells, not 1"):
        format_table(("a", "b"), [(1,)])


def test_markdown_table_shape():
    assert markdown_table(("a", "b"), [(1, None)]).splitlines() == ["| a | b |", "| --- | --- |", "| 1 | - |"]


def test_cost_table_shares():
    text = cost_table(make_report())
    assert "dram" in text and "75" in text and "clock 2 ns" in text
    assert "4e-15" in text  # 1 nJ x 4 us


def test_write_json_atomically_whole(tmp_path):
    path = tmp_path / "deep" / "record.json"
    write_json_atomically(path, {"a": 1})
    assert json.loads(path.read_text()) == {"a": 1}


def test_write_wrong_leaves_the_old(tmp_path):
    path = tmp_path / "record.txt"
    write_text_atomically(path, "old")

    def fail(scratch):
        scratch.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["record.txt"]


def test_bar_chart_is_a_png_and_repeats(tmp_path):
    panels = [("cycles", [("a", 10.0), ("b", 5000.0)]), ("mm2", [("a", 1.0), ("b", 2.0)])]
    bar_chart(tmp_path / "x.png", panels, "title")
    bar_chart(tmp_path / "y.png", panels, "title")
    data = (tmp_path / "x.png").read_bytes()
    assert data.startswith(b"\x89PNG") and data == (tmp_path / "y.png").read_bytes()
