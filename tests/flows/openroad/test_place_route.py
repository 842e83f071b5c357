"""Place and route without OpenROAD: what it would read is whole, and what it prints is understood."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from dna_asic.errors import SpecError, ToolError
from dna_asic.technology import load_technology
from flows.openroad.abstracts import lef_cells
from flows.openroad.floorplan import UTILISATION, floorplan, macro_instances
from flows.openroad.flow import run_flow
from flows.openroad.layout import LAYOUTS, layout_of
from flows.openroad.macros import macro_of, macro_size_um
from flows.openroad.orfs import without_memories, write_orfs
from flows.openroad.place_route import SCRIPT, place_route_step, route_metrics
from flows.openroad.platforms import find_library
from flows.openroad.steps import require_program

AT_28 = load_technology("asic-28nm")
COMMANDS = {  # of OpenROAD and OpenSTA, that the flow uses
    "add_global_connection", "add_pdn_connect", "add_pdn_stripe", "all_clocks", "all_inputs", "all_outputs",
    "check_placement", "clock_tree_synthesis", "create_clock", "define_pdn_grid", "define_process_corner",
    "detailed_placement", "detailed_route", "estimate_parasitics", "extract_parasitics", "filler_placement",
    "get_full_name", "get_ports", "global_connect", "global_placement", "global_route", "initialize_floorplan",
    "link_design", "make_tracks", "pdngen", "place_macro", "place_pins", "read_lef", "read_liberty", "read_sdc",
    "read_spef", "read_verilog", "repair_clock_inverters", "repair_clock_nets", "repair_design", "repair_tie_fanout",
    "repair_timing", "report_checks", "report_design_area", "report_power", "set_dont_use", "set_driving_cell",
    "set_input_delay", "set_output_delay", "set_power_activity", "set_propagated_clock", "set_routing_layers",
    "set_voltage_domain", "set_wire_rc", "tapcell", "total_negative_slack", "worst_slack", "write_db", "write_def",
    "write_spef", "write_verilog"}
LOG = """[INFO DPL-0009] Utilization: 59.2%
Design area 12001 um^2 58% utilization.
[INFO DRT-0199]   Number of violations = 292.
Total wire length = 13033 um.
Total wire length on LAYER metal2 = 7065 um.
[INFO DRT-0199]   Number of violations = 2.
[INFO DRT-0198] Complete detail routing.
Total wire length = 12704 um.
Total wire length on LAYER metal2 = 7000 um.
METRIC worst_slack_ns -0.0123
METRIC worst_hold_slack_ns 0.031
METRIC total_negative_slack_ns -1.5e-02
Group                  Internal  Switching    Leakage      Total
                          Power      Power      Power      Power (Watts)
----------------------------------------------------------------
Sequential             4.26e-04   2.81e-05   3.41e-06   4.57e-04  55.4%
Combinational          1.87e-04   1.77e-04   3.79e-06   3.68e-04  44.6%
----------------------------------------------------------------
Total                  6.13e-04   2.05e-04   7.20e-06   8.25e-04 100.0%
                          74.3%      24.8%       0.9%
PLACE_ROUTE done
"""
DRC = """violation type: Short
	srcs: net:clk net:a
	bbox = (1.0, 2.0) - (1.1, 2.1) on Layer metal2
  violation type: Metal Spacing
	srcs: net:b
	bbox = (3.0, 2.0) - (3.1, 2.1) on Layer metal3
"""


def test_metrics_of_a_log():
    assert route_metrics(LOG, DRC) == {
        "area_um2": 12001.0, "utilisation_pct": 58.0, "wire_length_um": 12704.0, "worst_slack_ns": -0.0123,
        "worst_hold_slack_ns": 0.031, "total_negative_slack_ns": -0.015, "drc_violations": 2,
        "power_mw": pytest.approx(0.825), "leakage_mw": pytest.approx(0.0072)}
    assert route_metrics(LOG.replace("um^2", "u^2"), "")["drc_violations"] == 0


@pytest.mark.parametrize("change,message", [
    (("PLACE_ROUTE done", ""), "did not finish: no error printed"),
    (("[INFO DPL-0009]", "[ERROR GPL-0305] RePlAce diverged.\n[INFO]"), "did not finish: .ERROR GPL-0305. RePlAce"),
    (("Total wire length =", "Wire"), "has no wire_length_um; this version prints another form"),
    (("Total   ", "Sum   "), "has no power_mw"), (("Design area", "Area"), "has no area_um2, utilisation_pct")])
def test_metrics_wrong_log(change, message):
    with pytest.raises(ToolError, match=message):
        route_metrics(LOG.replace(*change), "")


NETLIST = """module chip(clk, y);
  input clk ;
  \\chip.core  \\core[0]  (
    .clk(clk)
  );
  sram_64x32 mem (
    .clk(clk)
  );
endmodule
module \\chip.core (clk);
  sram_48x8 bank_0 (
    .clk(clk)
  );
  sram_48x8 bank_1 (
    .clk(clk)
  );
endmodule
"""


def test_macro_instances_have_their_paths():
    assert macro_instances(NETLIST, "chip") == {
        "core[0]/bank_0": "sram_48x8", "core[0]/bank_1": "sram_48x8", "mem": "sram_64x32"}


@pytest.mark.parametrize("platform", [*LAYOUTS, "predictive28"])
@pytest.mark.parametrize("count,cells_um2", [(0, 500.0), (1, 0.0), (7, 3000.0), (40, 100.0)])
def test_floorplan_memories_lie_in_the_core_apart(platform, count, cells_um2):
    layout = layout_of(platform, AT_28)
    sizes = {f"sram_{words}x8": macro_size_um(macro_of(load_technology(f"asic-{layout.node_nm}nm"), words, 8), layout)
             for words in (16, 64, 200)}
    instances = {f"m{i}": sorted(sizes)[i % 3] for i in range(count)}
    plan = floorplan(instances, sizes, cells_um2, layout)
    x0, y0, x1, y1 = plan.core
    boxes = [(x, y, x + sizes[instances[p]][0], y + sizes[instances[p]][1]) for p, (x, y) in plan.macros.items()]
    assert len(boxes) == count
    for box in boxes:
        assert x0 <= box[0] and y0 <= box[1] and box[2] <= x1 + 1e-6 and box[3] <= y1 + 1e-6
        for other in boxes:
            assert other is box or box[2] <= other[0] or other[2] <= box[0] or box[3] <= other[1] or other[3] <= box[1]
    taken = sum((b[2] - b[0]) * (b[3] - b[1]) for b in boxes)
    assert (x1 - x0) * (y1 - y0) - taken >= cells_um2 / UTILISATION


def step(rtl, platform=None, technology=AT_28):
    """The step of a mapped design, prepared in its folder."""
    out = rtl.parent / "synth"
    record = run_flow(rtl=rtl, out=out, clk_period_ns=4.0, technology=technology, platform=platform,
                      place_and_route=True)
    return record, out / "place_route"


@pytest.fixture
def alone(monkeypatch):
    """Without OpenROAD on PATH, with OpenSTA."""
    try:
        require_program("sta", "apt-get install opensta")
    except ToolError as error:
        pytest.skip(str(error))
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, *rest: None if name == "openroad" else which(name, *rest))


STUB = """proc unknown {args} { puts "COMMAND $args"; return 0 }
rename exit leave
proc exit {args} { leave 0 }
cd %s
source place_route.tcl
"""


def recorded(folder):
    """The commands that the flow gives, one word list each."""
    tclsh = shutil.which("tclsh")
    if tclsh is None:
        pytest.skip("tclsh is not on PATH; apt-get install tcl")
    run = subprocess.run([tclsh], input=STUB % folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0 and not run.stderr, run.stderr
    assert run.stdout.splitlines()[-1] == "PLACE_ROUTE done"
    return [line.split()[1:] for line in run.stdout.splitlines() if line.startswith("COMMAND ")]


@pytest.mark.sta
def test_script_runs_in_a_stub_and_what_it_names_exists(rtl, alone):
    record, folder = step(rtl)
    commands = recorded(folder)
    assert {c[0] for c in commands} <= COMMANDS
    for command in commands:
        if command[0] in ("read_lef", "read_liberty", "read_verilog"):
            assert Path(command[1]).is_file()
    placed = [c for c in commands if c[0] == "place_macro"]
    assert [c[2] for c in placed] == ["mem"] == list(macro_instances(
        (folder.parent / "synthesis" / "netlist.v").read_text(), "chip"))
    masters = lef_cells("".join(Path(c[1]).read_text() for c in commands if c[0] == "read_lef"), "all")
    used = re.findall(r"^  (\S+) \S+ \($", (folder.parent / "synthesis" / "netlist.v").read_text(), re.MULTILINE)
    assert set(used) - {"pe"} <= masters.keys()
    layout = layout_of("predictive28", AT_28)
    assert {layout.clock_buffer, *layout.fillers} <= masters.keys()
    layers = re.findall(r"^LAYER (\S+)", find_library(AT_28, folder).lef[0].read_text(), re.MULTILINE)
    named = {*layout.signal_layers, *layout.io_layers, *layout.rc_layers, *(s.layer for s in layout.straps)}
    assert named <= set(layers)
    assert record.place_route is None and "not on PATH; the figures are those of synthesis" in record.findings[-1]


@pytest.mark.sta
def test_flow_with_a_program_in_place_of_openroad(rtl, alone, monkeypatch, tmp_path):
    program = tmp_path / "bin" / "openroad"
    program.parent.mkdir()
    (tmp_path / "log").write_text(LOG)
    (tmp_path / "drc").write_text(DRC)
    program.write_text(f"#!/bin/sh\ntest \"$3\" = place_route.tcl || exit 1\ntest -f setup.tcl || exit 1\n"
                       f"cp {tmp_path}/drc drc.rpt\ntouch chip.def\ncat {tmp_path}/log\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.undo()
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    record, _ = step(rtl)
    assert record.place_route["drc_violations"] == 2 and record.place_route["power_mw"] == pytest.approx(0.825)
    assert not any("not on PATH" in finding for finding in record.findings)


@pytest.mark.parametrize("platform", LAYOUTS)
def test_orfs_configuration_names_files_that_exist(platform, rtl):
    configs = write_orfs(verilog=rtl.read_text(), top="chip", nickname="r", clk_period_ns=2.0, out=rtl.parent / "orfs")
    text = next(c for c in configs if c.parent.name == platform).read_text()
    assert "@" not in text
    variables = dict(re.findall(r"^export (\w+) = ((?:.*\\\n)*.*)$", text, re.MULTILINE))
    assert variables["PLATFORM"] == platform and variables["DESIGN_NAME"] == "chip"
    for name in ("VERILOG_FILES", "SDC_FILE", "ADDITIONAL_LEFS", "ADDITIONAL_LIBS"):
        files = variables[name].replace("\\\n", " ").split()
        assert files and all(Path(file).is_file() for file in files)
    assert "module sram_" not in Path(variables["VERILOG_FILES"]).read_text()
    period = re.search(r"-period (\S+)", Path(variables["SDC_FILE"]).read_text())[1]
    assert float(period) == (2000.0 if platform == "asap7" else 2.0)


def test_without_memories_keeps_the_rest():
    text = "module a;\nendmodule\nmodule sram_4x8(x);\n reg y;\nendmodule\nmodule b;\nendmodule\n"
    assert without_memories(text) == "module a;\nendmodule\nmodule b;\nendmodule\n"


def test_prepare_wrong_lef(tmp_path):
    library = find_library(AT_28, tmp_path)
    cells = library.lef[1]
    cells.write_text(cells.read_text().replace("END DFF_X1\n", ""))
    (tmp_path / "netlist.v").write_text("module chip(clk);\nendmodule\n")
    broken = place_route_step(netlist=tmp_path / "netlist.v", top="chip", library=library, macros=(),
                              layout=layout_of("predictive28", AT_28), cell_area_um2=1.0, clk_period_ns=1.0,
                              activity=0.1)
    with pytest.raises(SpecError, match="macro DFF_X1 does not end; the file is damaged"):
        broken.prepare(tmp_path)


def test_layout_wrong_platform():
    with pytest.raises(SpecError, match="'osu018' has no layout data for place and route; use one of nangate45"):
        layout_of("osu018", AT_28)


@pytest.mark.skipif(shutil.which("tclsh") is None, reason="tclsh is not on PATH; apt-get install tcl")
def test_script_is_complete_tcl():
    check = f"puts [info complete [read [open {SCRIPT}]]]"
    assert subprocess.run(["tclsh"], input=check, capture_output=True, text=True, check=True).stdout.strip() == "1"


@pytest.mark.pdk
@pytest.mark.parametrize("platform", ["nangate45", "sky130hd"])
def test_layout_names_what_the_kit_has(platform):
    root = os.environ.get("DNA_ASIC_PDK_ROOT")
    if not root or not (Path(root) / platform / "lef").is_dir():
        pytest.skip(f"no {platform} under DNA_ASIC_PDK_ROOT")
    layout, text = LAYOUTS[platform], "".join(p.read_text() for p in sorted((Path(root) / platform / "lef").iterdir()))
    layers, macros = (set(re.findall(rf"^{kind} (\S+)", text, re.MULTILINE)) for kind in ("LAYER", "MACRO"))
    assert {s.layer for s in layout.straps} | {layout.pin_layer, layout.power_layer, *layout.blocked} <= layers
    assert {layout.clock_buffer, *layout.fillers, *(layout.taps or ())[:1]} <= macros
    site = re.search(rf"^SITE {layout.site}\b.*?SIZE ([\d.]+) BY ([\d.]+)", text, re.DOTALL | re.MULTILINE)
    assert tuple(map(float, site.groups())) == layout.site_um
