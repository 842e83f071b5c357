"""The predictive library: its formulas by hand, its files against each other, and its ratios to a kit."""

import dataclasses
import math
import os

import pytest

from dna_asic.errors import ToolError
from dna_asic.technology import load_technology, targets
from flows.openroad.abstracts import require_agreement
from flows.openroad.predictive import check, write_kit
from flows.openroad.predictive.cells import CLOCK_GATES, COMBINATIONAL, REGISTERS
from flows.openroad.predictive.model import DELAY_OF_SLEW, DRAIN, ENERGY_SHARE, SERIES_N, Model, sites
from flows.openroad.steps import require_program, run_tool

AT_28 = load_technology("asic-28nm")
CELLS = {cell.name: cell for cell in (*COMBINATIONAL, *REGISTERS, *CLOCK_GATES)}


def path(name):
    """Stages of the first output of a cell."""
    return next(iter(CELLS[name].outputs.values())).path


def test_delay_of_an_inverter_and_a_nand_by_hand():
    model, tau, unit = Model(AT_28), AT_28["cell_tau_ps"], AT_28["cell_input_ff"]
    assert model.delay_ns(path("INV"), 1, 0.0, 4 * unit) == pytest.approx(1e-3 * tau * (DRAIN + 4))
    assert model.delay_ns(path("INV"), 2, 0.01, 4 * unit) == pytest.approx(
        1e-3 * tau * (DRAIN + 2) + DELAY_OF_SLEW * 0.01)
    r = (2 + 1 + SERIES_N) / 3
    assert model.delay_ns(path("NAND2"), 1, 0.0, unit) == pytest.approx(1e-3 * tau * r * (1.5 * DRAIN + 1))


def test_delay_of_a_buffer_has_two_stages():
    model, tau = Model(AT_28), AT_28["cell_tau_ps"]
    first = (DRAIN / 2 + 1) / 0.5
    assert model.delay_ns(path("BUF"), 4, 0.0, 0.0) == pytest.approx(1e-3 * tau * (first + DRAIN))


def test_energy_of_an_inverter_by_hand():
    pair = ENERGY_SHARE * DRAIN * AT_28["cell_input_ff"] * 0.9**2
    assert 2 * Model(AT_28).energy_fj(path("INV"), 1) == pytest.approx(pair)


@pytest.mark.parametrize("name,drive,width", [
    ("INV", 1, 2), ("INV", 4, 5), ("NAND2", 1, 3), ("NAND2", 4, 9), ("AND2", 2, 5), ("BUF", 4, 7), ("XOR2", 1, 6),
    ("MUX2", 1, 7), ("FA", 1, 16), ("HA", 1, 10), ("DFF", 1, 17), ("CLKGATE", 1, 13)])
def test_width_is_that_of_nangate45_in_sites(name, drive, width):
    assert sites(CELLS[name], drive) == width


def test_fanout_of_four_is_within_the_remembered_range():
    unit, model = AT_28["cell_input_ff"], Model(AT_28)
    slew = model.slew_ns(path("INV"), 1, 0.0, 4 * unit)
    assert 0.012 <= model.delay_ns(path("INV"), 1, slew, 4 * unit) <= 0.015  # FO4 at 28 nm, 12 to 15 ps [M]


@pytest.mark.parametrize("target", targets())
def test_files_are_labelled_and_agree(target, tmp_path):
    kit = write_kit(load_technology(target), tmp_path)
    for file in (kit.liberty, kit.tech_lef, kit.cell_lef):
        assert "PREDICTIVE" in file.read_text().splitlines()[0] and "not a foundry's" in file.read_text()
    cells = require_agreement((kit.cell_lef,), (kit.liberty,))
    width, height = Model(load_technology(target)).site_um
    assert cells["DFFE_X1"].size_um == pytest.approx((22 * width, height), abs=1e-3)
    assert cells["CLKGATE_X1"].pins == {"E": "input", "CK": "input", "GCK": "output"}


def test_files_are_the_same_every_time(tmp_path):
    texts = [write_kit(AT_28, tmp_path / name).liberty.read_text() for name in "ab"]
    assert texts[0] == texts[1]


def test_a_coefficient_changes_the_library(tmp_path):
    value = dataclasses.replace(AT_28.values["cell_tau_ps"], value=4.0, scaled=None)
    slower = dataclasses.replace(AT_28, values=AT_28.values | {"cell_tau_ps": value})
    assert Model(slower).delay_ns(path("INV"), 1, 0, 1) > Model(AT_28).delay_ns(path("INV"), 1, 0, 1)
    assert Model(slower).energy_fj(path("INV"), 1) == Model(AT_28).energy_fj(path("INV"), 1)


ENABLED = """
module top(input clk, input en, input [3:0] d, input [3:0] a, output reg [3:0] q);
  always @(posedge clk) if (en) q <= d ^ a;
endmodule
"""


@pytest.mark.sta
def test_flip_flops_with_enable_are_mapped(tmp_path):
    try:
        require_program("sta", "apt-get install opensta")
    except ToolError as error:
        pytest.skip(str(error))
    (tmp_path / "top.v").write_text(ENABLED)
    record = check.run_flow(rtl=tmp_path / "top.v", out=tmp_path / "synth", clk_period_ns=1.0, technology=AT_28)
    netlist = (tmp_path / "synth" / "synthesis" / "netlist.v").read_text()
    assert netlist.count("  CLKGATE_X1 ") == 1 and netlist.count("  DFF_X1 ") == 4 and "DFFE" not in netlist
    check.run_flow(rtl=tmp_path / "top.v", out=tmp_path / "synth", clk_period_ns=1.0, technology=AT_28,
                   clock_gates=False)
    netlist = (tmp_path / "synth" / "synthesis" / "netlist.v").read_text()
    assert netlist.count("  DFFE_X1 ") == 4 and record.library == "predictive28"
    assert any("a model's, no foundry's" in finding for finding in record.findings)


TWO_FLOPS = """
module top(input clk, input d, output q);
  wire n;
  DFF_X1 a(.D(d), .CK(clk), .Q(n));
  DFF_X1 b(.D(n), .CK(clk), .Q(q));
endmodule
"""
REPORTS = """read_verilog top.v
link_design top
create_clock -name clk -period 1 [get_ports clk]
set_input_delay 0.1 -clock clk d
report_checks
set_power_activity -global -activity 0.1
report_power
exit
"""


@pytest.mark.sta
def test_opensta_reports_checks_and_power(tmp_path):
    try:
        sta = require_program("sta", "apt-get install opensta")
    except ToolError as error:
        pytest.skip(str(error))
    kit = write_kit(AT_28, tmp_path)
    (tmp_path / "top.v").write_text(TWO_FLOPS)
    (tmp_path / "t.tcl").write_text(f"read_liberty {kit.liberty}\n{REPORTS}")
    log = run_tool([sta, "-no_splash", "-exit", "t.tcl"], tmp_path / "log")
    assert "slack (MET)" in log and "Error" not in log and "Warning" not in log
    total = next(line.split() for line in log.splitlines() if line.startswith("Total"))
    assert float(total[1]) > 0 and math.isfinite(float(total[4]))


@pytest.mark.pdk
@pytest.mark.sta
@pytest.mark.slow
def test_ratios_to_nangate45_are_the_published_factors(tmp_path):
    if not os.environ.get("DNA_ASIC_PDK_ROOT"):
        pytest.skip("DNA_ASIC_PDK_ROOT is not set")
    try:
        ratios = check.compare("nangate45", 28, tmp_path)
    except ToolError as error:
        pytest.skip(str(error))
    assert len(ratios) == 12
    print(check.table(ratios, "nangate45", 28))
    assert not [r for r in ratios if abs(r.deviation) > check.TOLERANCE]


def test_table_names_the_worst():
    ratios = [check.Ratio(block="a", quantity="area_um2", kit=2.0, predictive=1.0, published=0.4),
              check.Ratio(block="b", quantity="path_ns", kit=1.0, predictive=0.5, published=0.5)]
    assert check.table(ratios, "nangate45", 28).splitlines()[-1] == (
        "predictive: kit=nangate45 target_nm=28 area_mean_pct=25.0 path_mean_pct=0.0 worst_pct=25.0 worst=a.area_um2")
