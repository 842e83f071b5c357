"""The synth command on a run folder written by hand, with a small chip in place of the generated one."""

import dataclasses
import json
import runpy
from pathlib import Path

import pytest

from dna_asic import synth
from dna_asic.cost import evaluate_design
from dna_asic.errors import ToolError
from dna_asic.report.files import write_json_atomically
from dna_asic.runs import RunFolder
from dna_asic.silicon.nodes import at_clock
from dna_asic.spec.accelerator import AcceleratorConfig, ChunkConfig, Mapping, Reduction
from dna_asic.spec.design import Design, design_to_yaml
from dna_asic.spec.dims import Dim
from dna_asic.spec.layer import LayerShape, LayerSpec, NetworkSpec
from dna_asic.spec.record import to_plain
from dna_asic.technology import load_technology
from flows.openroad.flow import SynthRecord
from flows.openroad.steps import require_program

SMALL = runpy.run_path(str(Path(__file__).parent / "flows" / "openroad" / "conftest.py"))


@pytest.fixture
def run(tmp_path):
    """A finished run with a one-layer design, its cost report, and Verilog."""
    chunk = ChunkConfig(
        pe_rows=2, pe_cols=2, row_dim=Dim.K, col_dim=Dim.C, reduction=Reduction.TREE, n_w=1, n_i=1, n_o=1, n_pp=1,
        rf_w_words=1, rf_i_words=1, rf_o_words=1, gb_w_bytes=1024, gb_i_bytes=1024, gb_o_bytes=1024)
    accelerator = AcceleratorConfig(name="tiny", chunks=(chunk,), port_bytes=8, memory_latency_cycles=8,
                                    clk_period_ns=4.0)
    shape = LayerShape(k=8, c=8, p=4, q=4, h=4, w=4)
    mapping = Mapping(rf=(1,) * 7, noc=(1, 2, 2, 1, 1, 1, 1), gb=(1, 4, 4, 4, 4, 1, 1), dram=(1,) * 7)
    network = NetworkSpec(name="one", input_shape=(8, 4, 4), layers=(LayerSpec(name="a", shape=shape, source="input"),))
    report = evaluate_design([("a", shape)], accelerator, {"a": mapping}, load_technology("asic-28nm"))
    folder = RunFolder.create("tiny", tmp_path)
    design = Design(target="asic-28nm", seed=0, choices=(), network=network, accelerator=accelerator,
                    mappings={"a": mapping})
    (folder.path / "design.yaml").write_text(design_to_yaml(design))
    write_json_atomically(folder.path / "report.json", to_plain(report))
    (folder.stage("rtl") / "chip.v").write_text(SMALL["CHIP"] + SMALL["PE"] + SMALL["SRAM"])
    folder.finish()
    return folder


@pytest.mark.sta
def test_synth_prints_and_writes(run, capsys):
    try:
        require_program("sta", "apt-get install opensta")
    except ToolError as error:
        pytest.skip(str(error))
    assert synth.main(["--run", str(run.path.parent / "latest")]) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    record = json.loads((run.path / "synth" / "synth.json").read_text())
    assert last.startswith(f"synth: library={record['library']} cells={record['cells']} area_mm2=")
    energy = record["energy"]
    parts = ("logic_j", "sram_j", "sram_leakage_j", "dram_j")
    assert energy["energy_j"] == pytest.approx(sum(energy[p] for p in parts))
    assert energy["edp_js"] == pytest.approx(energy["energy_j"] * energy["latency_cycles"] * 4e-9)
    assert energy["logic_j"] == pytest.approx(record["power_mw"] * 1e-3 * energy["latency_s"])
    assert not record["cached"]
    assert synth.main(["--run", str(run.path)]) == 0
    assert json.loads((run.path / "synth" / "synth.json").read_text())["cached"]


@pytest.mark.sta
def test_synth_nodes_change_every_figure(run, capsys):
    try:
        require_program("sta", "apt-get install opensta")
    except ToolError as error:
        pytest.skip(str(error))
    assert synth.main(["--run", str(run.path), "--nodes", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["nodes"]
    assert [row["target"] for row in rows] == ["asic-7nm", "asic-28nm", "asic-45nm", "asic-130nm"]
    for name in set(synth.NODE_KEYS) - {"target", "power_mw"}:
        values = [row[name] for row in rows]
        assert values == sorted(values) and len(set(values)) == 4, name
    assert len({row["power_mw"] for row in rows}) == 4
    assert len((run.path / "synth" / "nodes.txt").read_text().splitlines()) == 2 + 4
    assert not (run.path / "synth" / "synth.json").exists()


def test_record_at_another_clock_keeps_the_energy_of_a_cycle():
    record = SynthRecord(**dict.fromkeys([f.name for f in dataclasses.fields(SynthRecord)]) | {
        "clk_period_ns": 1.0, "slack_ps": -1000.0, "power_mw_by_block": {"a": 4.0, "b": 1.0}, "leakage_mw": 1.0,
        "clock_mw_by_block": {"a": 2.0}})
    slower = at_clock(record)
    assert slower.clk_period_ns == 2.0 and slower.power_mw == pytest.approx(3.0)
    assert slower.clock_mw_by_block == {"a": 1.0}


def test_synth_wrong_no_rtl(run, capsys):
    (run.path / "rtl" / "chip.v").unlink()
    assert synth.main(["--run", str(run.path)]) == 2
    assert "has no rtl/chip.v; make it with `make rtl`" in capsys.readouterr().err
    assert not (run.path / "synth").exists()


def test_synth_wrong_report(run, capsys):
    (run.path / "report.json").write_text("{")
    assert synth.main(["--run", str(run.path)]) == 2
    assert "is not JSON" in capsys.readouterr().err


def test_synth_wrong_clock(run, capsys):
    assert synth.main(["--run", str(run.path), "--clk-period-ns", "0"]) == 2
    assert "--clk-period-ns must be positive, not 0.0" in capsys.readouterr().err


def test_synth_wrong_run(capsys, tmp_path):
    assert synth.main(["--run", str(tmp_path / "latest")]) == 2
    assert "make search" in capsys.readouterr().err
