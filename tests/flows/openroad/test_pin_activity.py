"""Toggles of every cell from waves of the RTL, against a simulation of the cells; waves as files."""

import gzip
import re
import shutil
import subprocess

import numpy as np
import pytest

from dna_asic.errors import SpecError
from dna_asic.technology import load_technology
from flows.openroad import steps
from flows.openroad.cell_models import cell_models
from flows.openroad.netlist import Netlist, module_bodies
from flows.openroad.pin_activity import cell_logic, module_activity, scope_of
from flows.openroad.platforms import find_library
from flows.openroad.synthesis import synthesis_step
from flows.openroad.waves import parse_waves, read_waves

VCD = """\
$scope module tb $end
$var wire 1 ! clk $end
$scope module dut $end
$var wire 4 " bus [5:2] $end
$var wire 1 # \\one[3] $end
$upscope $end
$upscope $end
$enddefinitions $end
#0
0!
b0 "
x#
#5
1!
b101 "
#10
0!
1#
#15
b1111 "
1!
#20
0!
#25
1!
0#
#30
0!
"""
BENCH = """
`timescale 1ns/1ps
module tb;
  reg clk = 0, rst = 1, en = 0;
  reg [5:0] a = 0;
  integer i, seed = 7;
  chip dut(.clk(clk), .rst(rst), .en(en), .a(a));
  always #5 clk = ~clk;
  initial begin
    for (i = 0; i < 64; i = i + 1) dut.mem.words[i] = i * 32'h01357b9d;
    repeat (6) @(posedge clk);
    $dumpfile("OUT");
    $dumpvars(0, tb);
    for (i = 0; i < 77; i = i + 1) begin @(posedge clk); #1 {en, a} = $random(seed); rst = i % 16 == 9; end
    $finish;
  end
endmodule
"""


def lines(text=VCD):
    return iter(text.splitlines(keepends=True))


def bits(packed, cycles):
    return np.unpackbits(packed, count=cycles).tolist()


def test_waves_hold_the_end_of_each_cycle():
    waves = parse_waves(lines(), "x.vcd")
    assert waves.cycles == 3
    assert bits(waves.bit("tb/dut", "bus[2]"), 3) == [1, 1, 1] and bits(waves.bit("tb/dut", "bus[3]"), 3) == [0, 1, 1]
    assert bits(waves.bit("tb/dut", "bus[5]"), 3) == [0, 1, 1]
    assert bits(waves.bit("tb/dut", "one[3]"), 3) == [1, 1, 0]
    assert waves.bit("tb/dut", "bus[6]") is None and waves.bit("tb", "bus[2]") is None
    assert parse_waves(lines(), "x.vcd", cycles=2).cycles == 2
    assert scope_of(waves, ["", "dut"]) == "tb"


def test_wrong_waves(tmp_path):
    with pytest.raises(SpecError, match="no signal named clk"):
        parse_waves(lines(VCD.replace("clk", "tick")), "x.vcd")
    with pytest.raises(SpecError, match="no cycle"):
        parse_waves(lines(VCD.partition("#5")[0]), "x.vcd")
    with pytest.raises(SpecError, match="not of this design"):
        scope_of(parse_waves(lines(), "x.vcd"), ["", "core"])
    whole = gzip.compress(VCD.encode())
    (tmp_path / "cut.vcd.gz").write_bytes(whole[:len(whole) // 2])
    with pytest.raises(SpecError, match="damaged"):
        read_waves(tmp_path / "cut.vcd.gz")
    (tmp_path / "whole.vcd.gz").write_bytes(whole)
    assert read_waves(tmp_path / "whole.vcd.gz").cycles == 3


@pytest.fixture
def small(rtl, tmp_path):
    """(netlist text, Liberty text, function that simulates a file and returns its waves) of the small design."""
    steps.require_module("pyosys.libyosys", "pip install pyosys")
    if shutil.which("iverilog") is None:
        pytest.skip("iverilog is not on PATH; apt-get install iverilog")
    library = find_library(load_technology("asic-28nm"), tmp_path / "library", "predictive")
    netlist = steps.run_step(synthesis_step(
        rtl=rtl, top="chip", liberty=library.liberty, platform=library.platform, clk_period_ns=4.0,
        cache=tmp_path / "mapped"), tmp_path).folder / "netlist.v"

    def simulated(*verilog):
        (tmp_path / "tb.v").write_text(BENCH.replace("OUT", f"{verilog[0].stem}.vcd"))
        subprocess.run(["iverilog", "-g2005", "-s", "tb", "-o", "tb.vvp", "tb.v", *verilog], cwd=tmp_path, check=True)
        subprocess.run(["vvp", "-n", "tb.vvp"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
        return read_waves(tmp_path / f"{verilog[0].stem}.vcd")

    liberty = library.liberty.read_text()
    sram = re.search(r"module sram_64x32.*?endmodule", rtl.read_text(), re.DOTALL)[0]
    (tmp_path / "cells.v").write_text(cell_models(liberty, "x.lib") + "\n" + sram)
    return netlist.read_text(), liberty, simulated(rtl), simulated(netlist, tmp_path / "cells.v")


@pytest.mark.simulator
def test_every_cell_toggles_as_in_a_simulation_of_the_cells(small):
    netlist, liberty, rtl, gates = small
    logic, compared, clock_shares = cell_logic(liberty), 0, set()
    for name, scopes in (("pe", [f"tb/dut/pe_{n}" for n in range(4)]), ("chip", ["tb/dut"])):
        found = module_activity(Netlist.of(module_bodies(netlist)[name]), logic, rtl, scopes)
        assert found.unknown == 0 and rtl.cycles == gates.cycles == 78
        for n, cell in enumerate(found.cells):
            net = cell.pins[next(iter(logic[cell.kind].functions), "")] if logic[cell.kind].functions else None
            for k, scope in enumerate(scopes if net else []):
                values = bits(gates.bit(scope, net[0].replace(" ", "").removeprefix("\\")), 78)
                assert round(78 * found.toggles[n, k]) == sum(a != b for a, b in zip(values, values[1:])), (scope, cell)
                compared += 1
        clock_shares |= set(found.clocked[found.clocked > 0].round(3))
    assert compared > 2000 and 1.0 in clock_shares and any(0.3 < share < 0.8 for share in clock_shares)


@pytest.mark.simulator
def test_registers_that_the_waves_lack_follow_from_the_others(small):
    netlist, liberty, rtl, _ = small
    module, scopes = Netlist.of(module_bodies(netlist)["pe"]), ["tb/dut/pe_1"]
    whole = module_activity(module, cell_logic(liberty), rtl, scopes)
    del rtl.scopes["tb/dut/pe_1"]["p"]  # a pipeline register: what it holds is a function of ports
    part = module_activity(module, cell_logic(liberty), rtl, scopes)
    assert part.unknown == 0 and np.abs(part.toggles - whole.toggles).max() < 1.5 / 78  # its first value is not known
    del rtl.scopes["tb/dut/pe_1"]["acc"]  # an accumulator: a function of itself
    assert module_activity(module, cell_logic(liberty), rtl, scopes).unknown > 0
