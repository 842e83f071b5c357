"""Verilog of cells from Liberty functions."""

import re
import subprocess

import pytest

from dna_asic.errors import SpecError, ToolError
from dna_asic.technology import load_technology
from flows.openroad.cell_models import cell_models
from flows.openroad.platforms import find_library
from flows.openroad.predictive.cells import CLOCK_GATES, COMBINATIONAL, REGISTERS, TIES
from sim.runner import find_tool

BENCH = """
module bench;
  reg a, b, s, d, e, ck = 0;
  wire nand_, mux, sum, q, gated;
  NAND2_X1 u0 (.A1(a), .A2(b), .ZN(nand_));
  MUX2_X1 u1 (.A(a), .B(b), .S(s), .Z(mux));
  FA_X1 u2 (.A(a), .B(b), .CI(s), .S(sum));
  DFFE_X1 u3 (.D(d), .E(e), .CK(ck), .Q(q));
  CLKGATE_X1 u4 (.E(d), .CK(ck), .GCK(gated));
  integer i;
  initial begin
    for (i = 0; i < 8; i = i + 1) begin
      {a, b, s} = i; #1;
      if (nand_ !== !(a && b) || mux !== (s ? b : a) || sum !== (a ^ b ^ s)) $display("WRONG %0d", i);
    end
    if (q === 1'bx) $display("WRONG start");
    {d, e} = 2'b11; #1 ck = 1; #1 if (q !== 1) $display("WRONG load");
    ck = 0; {d, e} = 2'b00; #1 ck = 1; #1 if (q !== 1) $display("WRONG hold");
    d = 1; ck = 0; #1 if (gated !== 0) $display("WRONG low");
    ck = 1; #1 if (gated !== 1) $display("WRONG open");
    d = 0; #1 if (gated !== 1) $display("WRONG late end");
    ck = 0; #1 ck = 1; #1 if (gated !== 0) $display("WRONG shut");
    d = 1; #1 if (gated !== 0) $display("WRONG late begin");
    $display("DONE");
  end
endmodule
"""


@pytest.fixture(scope="module")
def liberty(tmp_path_factory):
    """Text of the predictive library."""
    folder = tmp_path_factory.mktemp("library")
    return find_library(load_technology("asic-28nm"), folder, "predictive").liberty.read_text()


def test_models_of_every_cell(liberty):
    names = set(re.findall(r"^module (\w+) ", cell_models(liberty, "x.lib"), re.MULTILINE))
    assert {f"{c.name}_X{d}" for c in (*COMBINATIONAL, *REGISTERS, *CLOCK_GATES, *TIES) for d in c.drives} == names


@pytest.mark.simulator
def test_models_compute_their_functions(liberty, tmp_path):
    (tmp_path / "t.v").write_text(cell_models(liberty, "x.lib") + BENCH)
    subprocess.run([find_tool("icarus"), "-g2005", "-s", "bench", "-o", tmp_path / "t", tmp_path / "t.v"], check=True)
    printed = subprocess.run(["vvp", tmp_path / "t"], check=True, capture_output=True, text=True).stdout
    assert printed.split() == ["DONE"]


def test_models_for_a_proof_have_no_start_and_no_latch(liberty):
    text = cell_models(liberty, "x.lib", proof=True)
    assert "assign GCK = CK & E;" in text
    assert not re.search(r"initial|enabled", text)


@pytest.mark.pdk
@pytest.mark.parametrize("kit,gate,follows", [
    ("nangate45", "CLKGATETST_X1", "if (!CK) enabled = (E | SE);"),
    ("nangate45", "CLKGATE_X1", "if (!CK) enabled = E;"),
    ("sky130hd", "sky130_fd_sc_hd__dlclkp_1", "if (!CLK) enabled = GATE;")])
def test_models_of_the_clock_gates_of_kits(kit, gate, follows, tmp_path):
    try:
        library = find_library(load_technology("asic-28nm"), tmp_path, kit)
    except ToolError as error:
        pytest.skip(str(error))
    text = cell_models(library.liberty.read_text(), kit)
    assert follows in re.search(rf"^module {gate} .*?^endmodule", text, re.DOTALL | re.MULTILINE)[0]


def test_models_wrong_function(liberty):
    with pytest.raises(SpecError, match=r"Cell 'INV_X1' has function 'A \? B'"):
        cell_models(liberty.replace('function : "!A"', 'function : "A ? B"', 1), "x.lib")
    with pytest.raises(SpecError, match="no cell with a function"):
        cell_models("library (x) { cell (FILL) { area : 1; } }", "x.lib")
