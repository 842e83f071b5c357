"""Toggle counts of a VCD written by hand."""

import io
import json
import shutil
import subprocess

import pytest

from dna_asic.errors import SpecError
from dna_asic.spec.record import to_plain
from flows.openroad.activity import Activity, align, read_activity, read_vcd

VCD = """$timescale 1ps $end
$scope module TOP $end
$var wire 1 ! clk $end
$var wire 1 # rst $end
$scope module chip $end
$var wire 4 $ bus [3:0] $end
$scope module pe_0 $end
$var wire 1 ! clk $end
$var wire 1 % a $end
$var wire 1 & b $end
$upscope $end
$upscope $end
$upscope $end
$enddefinitions $end
#0
0!
1#
b0000 $
0%
0&
#5
1!
b1111 $
1%
#10
0!
#15
1!
b1110 $
0%
1&
#20
0!
#25
1!
1%
#30
0!
#35
1!
"""


def rates(**window):
    """Rates and cycles of the text above."""
    activity = read_vcd(io.StringIO(VCD), "hand.vcd", **window)
    return activity.toggles_per_bit_cycle, activity.cycles


def test_read_vcd_counts_by_hand():
    found, cycles = rates()
    assert cycles == 4
    assert found["TOP/chip"] == (4 + 1) / (4 * 4)
    assert found["TOP/chip/pe_0"] == 4 / (2 * 4)  # a rises, falls, rises; b rises; the clock is not counted
    assert found["TOP"] == 0.0


def test_read_vcd_window():
    found, cycles = rates(first_cycle=1, cycles=1)
    assert cycles == 1
    assert found["TOP/chip"] == 1 / 4
    assert found["TOP/chip/pe_0"] == 2 / 2


def test_read_vcd_wrong_window():
    with pytest.raises(SpecError, match="take another window"):
        rates(first_cycle=100)


def test_read_vcd_wrong_no_clock():
    with pytest.raises(SpecError, match="trace the clock"):
        read_vcd(io.StringIO(VCD.replace("clk", "tick")), "x.vcd")


def test_align_finds_root_and_parents():
    activity = Activity(cycles=1, source="x", toggles_per_bit_cycle={
        "TOP": 0.5, "TOP/dut": 0.4, "TOP/dut/core": 0.3, "TOP/dut/core/pe_0": 0.2})
    found, share = align(activity, ["", "core", "core/pe_0", "core/pe_0/booth"])
    assert found == {"": 0.4, "core": 0.3, "core/pe_0": 0.2, "core/pe_0/booth": 0.2}
    assert share == 0.75


def test_read_activity_json_round_trip(tmp_path):
    activity = Activity(cycles=3, source="x.vcd", toggles_per_bit_cycle={"chip": 0.25})
    path = tmp_path / "activity.json"
    path.write_text(json.dumps(to_plain(activity)))
    assert read_activity(path) == activity


def test_read_activity_wrong_json(tmp_path):
    path = tmp_path / "activity.json"
    path.write_text("{")
    with pytest.raises(SpecError, match="not JSON"):
        read_activity(path)


BENCH = """
`timescale 1ns/1ps
module tb;
  reg clk = 0, rst = 1, en = 0;
  reg [5:0] a = 0;
  integer i;
  chip dut(.clk(clk), .rst(rst), .en(en), .a(a));
  always #5 clk = ~clk;
  initial begin
    $dumpfile("activity.vcd");
    $dumpvars(0, tb);
    for (i = 0; i < 64; i = i + 1) dut.mem.words[i] = i * 32'h00000107;
    repeat (3) @(posedge clk);
    #1 rst = 0;
    en = 1;
    for (i = 0; i < 50; i = i + 1) begin @(posedge clk); #1 a = a + 1; end
    $finish;
  end
endmodule
"""


@pytest.mark.simulator
def test_waves_of_a_simulator(rtl):
    if shutil.which("iverilog") is None:
        pytest.skip("iverilog is not on PATH; apt-get install iverilog")
    (rtl.parent / "tb.v").write_text(BENCH)
    subprocess.run(["iverilog", "-g2012", "-o", "tb.vvp", "tb.v", rtl.name], cwd=rtl.parent, check=True)
    subprocess.run(["vvp", "-n", "tb.vvp"], cwd=rtl.parent, check=True, stdout=subprocess.DEVNULL)
    activity = read_activity(rtl.parent / "activity.vcd")
    rates, share = align(activity, ["", *(f"pe_{i}" for i in range(4))])
    assert activity.cycles == 53 and share == 1.0
    assert rates["pe_0"] > rates["pe_3"] >= 0.0  # the weights of pe_3 are the highest byte: nearly always 0
