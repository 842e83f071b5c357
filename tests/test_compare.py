"""The compare command on a run folder written by hand."""

import functools
import json

import pytest

from dna_asic import compare
from dna_asic.baselines.nasaic import Grid, nasaic_accelerators
from dna_asic.cost import evaluate_design
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.mapper import trivial_mapping
from dna_asic.mapping.tilings import Effort
from dna_asic.report.files import write_json_atomically
from dna_asic.runs import RunFolder
from dna_asic.spec.accelerator import AcceleratorConfig, ChunkConfig, Reduction
from dna_asic.spec.design import Design, design_to_yaml
from dna_asic.spec.dims import Dim
from dna_asic.technology import load_technology
from sim.four_layers import four_layers

GRID = Grid(pes=(0.75, 1.0), gb_w=(1.0,), gb_i=(1.0,), gb_o=(1.0,), width=(2,))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run of four layers, and a sizing of seconds; `run.cycles`: the model's cycles."""
    monkeypatch.setattr(compare, "nasaic_accelerators", functools.partial(
        nasaic_accelerators, grid=GRID, finalists=1, effort=Effort(width=32, rounds=2, keep=8)))
    chunk = ChunkConfig(
        pe_rows=4, pe_cols=4, row_dim=Dim.K, col_dim=Dim.C, reduction=Reduction.TREE, n_w=4, n_i=4, n_o=4, n_pp=8,
        rf_w_words=16, rf_i_words=16, rf_o_words=32, gb_w_bytes=16384, gb_i_bytes=8192, gb_o_bytes=8192)
    accelerator = AcceleratorConfig(name="own", chunks=(chunk,), port_bytes=8, memory_latency_cycles=20,
                                    clk_period_ns=2.0)
    network = four_layers().network
    mappings = {name: trivial_mapping(shape, accelerator, chunk) for name, shape in hardware_shapes(network, 8)}
    folder = RunFolder.create("small", tmp_path)
    (folder.path / "design.yaml").write_text(design_to_yaml(Design(
        target="asic-28nm", seed=0, choices=(), network=network, accelerator=accelerator, mappings=mappings)))
    folder.finish()
    return folder


@pytest.fixture
def report(run):
    """The cost model's report of the run's design."""
    design = compare.design_from_yaml(run.path / "design.yaml")
    return evaluate_design(hardware_shapes(design.network, 8), design.accelerator, design.mappings,
                           load_technology("asic-28nm"))


def compared(run):
    """Rows of the record by name, after a run of the command."""
    assert compare.main(["--run", str(run.path), "--quiet"]) == 0
    record = json.loads((run.path / "compare" / "compare.json").read_text())
    return record, {row["name"]: row for row in record["rows"]}


def test_compare_prints_and_writes(run, report, capsys):
    record, rows = compared(run)
    out = capsys.readouterr().out
    assert list(rows) == ["this design", "NASAIC template dla", "NASAIC template shi", "NASAIC template rs"]
    assert {row["origin"] for row in rows.values()} == {"modelled"}
    assert rows["this design"]["edp_js"] == pytest.approx(report.edp_js)
    assert all(row["area_mm2"] <= report.area_mm2 for row in rows.values())
    assert all(t["evaluations"] > 0 for t in record["templates"].values())
    assert len(record["published"]["rows"]) == 6
    assert out.count("  published  ") == 6
    assert out.splitlines()[-1].startswith(f"compare: out={run.path / 'compare'} rows=4 not_shown=0 edp_js=")
    assert (run.path / "compare" / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert "| NASAIC template rs | modelled |" in (run.path / "compare" / "compare.md").read_text()


@pytest.mark.parametrize("summed", [False, True])
def test_compare_shows_what_was_measured(run, report, summed):
    """Cycles of one image, whether the record adds up its images or not."""
    times = 16 if summed else 1
    write_json_atomically(run.stage("sim") / "report.json", {
        "images": 16, "mismatches": 0, "cycles_model": report.latency_cycles * times,
        "cycles_rtl": (report.latency_cycles + 10) * times})
    write_json_atomically(run.stage("synth") / "synth.json", {
        "clk_period_ns": 4.0, "area_mm2": 0.5, "energy": {"energy_j": 2e-6}})
    row = compared(run)[1]["this design, simulated and synthesised"]
    assert row["origin"] == "cycles measured; area and energy: logic measured, memories modelled; rest modelled"
    assert row["cycles"] == report.latency_cycles + 10 and row["area_mm2"] == 0.5
    assert row["edp_js"] == pytest.approx(2e-6 * (report.latency_cycles + 10) * 4e-9)


def test_compare_wrong_bytes_are_not_shown_as_measured(run, report):
    write_json_atomically(run.stage("sim") / "report.json", {
        "images": 1, "mismatches": 3, "cycles_model": report.latency_cycles, "cycles_rtl": report.latency_cycles})
    record, rows = compared(run)
    assert len(rows) == 4
    assert record["failures"] == [f"Run '{run.path}': its Verilog computed 3 wrong bytes; see `make sim`."]


@pytest.mark.parametrize(("text", "message"), [
    ("{", "is not JSON"),
    ('{"images": 2, "mismatches": 0, "cycles_model": 7, "cycles_rtl": 7}', "cycles_model must be the design's"),
])
def test_compare_wrong_sim_record(run, capsys, text, message):
    (run.stage("sim") / "report.json").write_text(text)
    assert compare.main(["--run", str(run.path), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert message in error and "make it again with `make sim`" in error
    assert not (run.path / "compare").exists()


def test_compare_wrong_run(capsys, tmp_path):
    assert compare.main(["--run", str(tmp_path / "latest")]) == 2
    assert "make search" in capsys.readouterr().err
