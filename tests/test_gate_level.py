"""A 4 x 4 chip as cells runs a small layer of each kind, as golden and cost model say; a wrong cell is found."""

import json
import re

import pytest
from test_simulate import make_run

from dna_asic import simulate
from dna_asic.spec.accelerator import AcceleratorConfig, ChunkConfig, Reduction
from dna_asic.spec.dims import Dim
from dna_asic.technology import load_technology
from flows.openroad.netlist import module_bodies
from flows.openroad.platforms import find_library
from flows.openroad.steps import require_module, run_step
from flows.openroad.synthesis import synthesis_step
from rtl_gen import emit

CHIP = AcceleratorConfig(
    name="gates", port_bytes=8, memory_latency_cycles=8, clk_period_ns=1.0,
    chunks=(ChunkConfig(
        pe_rows=4, pe_cols=4, row_dim=Dim.K, col_dim=Dim.C, reduction=Reduction.TREE, n_w=4, n_i=4, n_o=4, n_pp=1,
        rf_w_words=1, rf_i_words=1, rf_o_words=1, gb_w_bytes=8192, gb_i_bytes=2048, gb_o_bytes=2048),))


def command(run, *options):
    return simulate.main(["--run", str(run.path), "--gates", *options])


@pytest.fixture
def run(tmp_path):
    """A run with its Verilog."""
    made = make_run(tmp_path, CHIP, {})
    assert emit.main(["--run", str(made.path)]) == 0
    return made


@pytest.mark.sta
@pytest.mark.simulator
@pytest.mark.slow
def test_gates_equal_golden_and_model_and_a_wrong_cell_is_found(run, tmp_path, capsys):
    require_module("pyosys.libyosys", "pip install pyosys")
    library = find_library(load_technology("asic-28nm"), run.path / "library", "predictive")
    netlist = run_step(synthesis_step(
        rtl=run.path / "rtl" / "chip.v", top=emit.TOP, liberty=library.liberty, platform=library.platform,
        clk_period_ns=1.0, cache=tmp_path / "mapped"), run.stage("synth")).folder / "netlist.v"
    assert command(run) == 0
    *_, verdict, last = capsys.readouterr().out.splitlines()
    found = re.fullmatch(r"sim: images=2 layers=10 bytes=408 mismatches=0 cycles_model=(\d+) cycles_rtl=(\d+) "
                         r"mean_error_pct=0", verdict)
    assert found and found[1] == found[2]
    assert last == "gates: networks=1 layers=10 bytes=408 mismatches=0"
    record = json.loads((run.path / "sim" / "gates.json").read_text())
    assert record["networks"]["gate-kinds"]["cycles_rtl"] == int(found[1])

    pe = module_bodies(netlist.read_text())["pe"]
    netlist.write_text(netlist.read_text().replace(pe, re.sub("  XNOR2_X1 ", "  XOR2_X1 ", pe, count=1)))
    assert command(run) == 1
    assert re.search(r"layer 'dense' has \d+ wrong bytes of 32; the first at channel", capsys.readouterr().err)
    assert not (run.path / "sim" / "gates.json").exists()


def test_gates_wrong_no_netlist(run, capsys):
    assert command(run) == 2
    assert "has no synth/synthesis/netlist.v; make it with `make synth`" in capsys.readouterr().err


def test_gates_wrong_netlist_of_another_verilog(run, capsys):
    folder = run.stage("synth") / "synthesis"
    folder.mkdir()
    (folder / "netlist.v").write_text("")
    assert command(run) == 2
    assert re.search(r"netlist.v' was made from another Verilog .* again with `make synth`", capsys.readouterr().err)
