"""The cells of the small design in a simulator, beside its Verilog."""

import re
import subprocess

import pytest

from dna_asic.technology import load_technology
from flows.openroad import steps
from flows.openroad.cell_models import flip_flops
from flows.openroad.gates import banked, gates_step
from flows.openroad.platforms import find_library
from flows.openroad.synthesis import synthesis_step
from sim.runner import find_tool

BENCH = """
`timescale 1ns / 1ps
module bench;
  reg clk = 0, rst = 1, en = 0;
  reg [5:0] a = 0;
  wire [31:0] y;
  chip chip(.clk(clk), .rst(rst), .en(en), .a(a), .y(y));
  always #1 clk = ~clk;
  integer n, seed = 1;
  initial for (n = 0; n < 64; n = n + 1) chip.WORDS[n] = n * 32'h01357b9d;
  always @(posedge clk) begin
    {en, a} <= $random(seed);
    rst <= $time < 8 || $time % 64 < 2;
    if ($time > 16) $display("%h", y);
    if ($time > 400) $finish;
  end
endmodule
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The predictive library at 28 nm."""
    steps.require_module("pyosys.libyosys", "pip install pyosys")
    return find_library(load_technology("asic-28nm"), tmp_path_factory.mktemp("library"), "predictive")


def gates_of(netlist, rtl, library):
    """The netlist as Verilog to simulate."""
    step = gates_step(netlist=netlist, rtl=rtl, liberty=library.liberty, top="chip")
    return steps.run_step(step, netlist.parent).folder / "gates.v"


def printed(verilog, words, folder):
    """What the bench prints."""
    (folder / "bench.v").write_text(BENCH.replace("WORDS", words))
    subprocess.run([find_tool("icarus"), "-g2005", "-s", "bench", "-o", folder / "b", verilog, folder / "bench.v"],
                   check=True)
    return subprocess.run(["vvp", folder / "b"], check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.sta
@pytest.mark.simulator
def test_gates_do_what_the_verilog_does(library, rtl, tmp_path):
    step = synthesis_step(rtl=rtl, top="chip", liberty=library.liberty, platform=library.platform, clk_period_ns=4.0,
                          cache=tmp_path / "mapped")
    netlist = steps.run_step(step, tmp_path).folder / "netlist.v"
    wanted = printed(rtl, "mem.words", tmp_path)
    assert len(set(wanted)) > 50
    gates = gates_of(netlist, rtl, library)
    assert "flip_flops_0[31]" in gates.read_text()
    assert printed(gates, r"\mem .words", tmp_path) == wanted
    netlist.write_text(re.sub(r"  XNOR2_X1 ", "  XOR2_X1 ", netlist.read_text(), count=1))
    assert printed(gates_of(netlist, rtl, library), r"\mem .words", tmp_path) != wanted


def test_banked_keeps_clocks_apart(library):
    flat = "module chip(clk, a, y);\n" + "".join(
        f"  DFFE_X1 \\u{n}.r  (\n    .CK({clock}),\n    .D(\\a[{n}] ),\n    .E(e),\n    .Q(\\q[{n}] )\n  );\n"
        for n, clock in enumerate(["clk"] * 33 + ["gated"])) + "  BUF_X1 b (\n    .A(a),\n    .Z(y)\n  );\nendmodule\n"
    text, count = banked(flat, flip_flops(library.liberty.read_text(), "x.lib"))
    assert count == 34 and "DFFE" not in text and "  BUF_X1 b (" in text
    assert re.findall(r"reg \[(\d+):0\]", text) == ["31", "0", "0"] and "posedge (gated)" in text
    assert "((\\a[32] ) & (e)) | ((flip_flops_1[0]) & ~(e))" in text
