"""Lint of Verilog with a module that stands many times."""

import pytest

from dna_asic.errors import ToolError, VerificationError
from sim.runner import find_tool, lint

LEAF = """module leaf(clk, rst, d, q);
  input clk, rst;
  wire clk;
  wire rst;
  input d;
  wire d;
  output q;
  reg q;
  always @(posedge clk) if (rst) q <= 1'h0; else q <= d;
endmodule
"""
INSTANCES = "".join(f"  leaf leaf_{n} (\n    .clk(clk), .rst(rst), .d(d), .q(q[{n}])\n  );\n" for n in range(16))
TOP = f"""module top(clk, rst, d, q);
  input clk, rst;
  wire clk;
  wire rst;
  input d;
  wire d;
  output [15:0] q;
  wire [15:0] q;
{INSTANCES}endmodule
"""


@pytest.fixture
def check(tmp_path):
    try:
        find_tool("verilator")
    except ToolError as missing:
        pytest.skip(str(missing))

    def run(text):
        path = tmp_path / "top.v"
        path.write_text(text)
        lint(path, "top")

    return run


@pytest.mark.simulator
def test_lint_passes(check):
    check(TOP + LEAF)


@pytest.mark.simulator
@pytest.mark.parametrize("right,wrong,rule", [
    ("reg q;", "reg q;\n  wire lost;\n  assign lost = absent;\n  wire absent;", "UNDRIVEN"),  # in the repeated module
    (".q(q[7])", ".q()", "PINCONNECTEMPTY"), (".d(d), .q(q[3])", ".q(q[3])", "PINMISSING"),  # around it
])
def test_lint_wrong(check, right, wrong, rule):
    with pytest.raises(VerificationError, match=rule):
        check((TOP + LEAF).replace(right, wrong))
