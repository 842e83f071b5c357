"""Verilog of cells from Liberty functions."""

import re
import subprocess

import pytest

from dna_asic.errors import SpecError
from dna_asic.technology import load_technology
from flows.openroad.cell_models import cell_models
from flows.openroad.platforms import find_library
from flows.openroad.predictive.cells import COMBINATIONAL, REGISTERS
from sim.runner import find_tool

BENCH = """
module bench;
  reg a, b, s, d, e, ck = 0;
  wire nand_, mux, sum, q;
  NAND2_X1 u0 (.A1(a), .A2(b), .ZN(nand_));
  MUX2_X1 u1 (.A(a), .B(b), .S(s), .Z(mux));
  FA_X1 u2 (.A(a), .B(b), .CI(s), .S(sum));
  DFFE_X1 u3 (.D(d), .E(e), .CK(ck), .Q(q));
  integer i;
  initial begin
    for (i = 0; i < 8; i = i + 1) begin
      {a, b, s} = i; #1;
      if (nand_ !== !(a && b) || mux !== (s ? b : a) || sum !== (a ^ b ^ s)) $display("WRONG %0d", i);
    end
    if (q !== 1'bx) $display("WRONG start");
    {d, e} = 2'b11; #1 ck = 1; #1 if (q !== 1) $display("WRONG load");
    ck = 0; {d, e} = 2'b00; #1 ck = 1; #1 if (q !== 1) $display("WRONG hold");
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
    assert {f"{c.name}_X{d}" for c in (*COMBINATIONAL, *REGISTERS) for d in c.drives} <= names
    assert "CLKGATE_X1" not in names and {"TIEHI_X1", "TIELO_X1"} <= names


@pytest.mark.simulator
def test_models_compute_their_functions(liberty, tmp_path):
    (tmp_path / "t.v").write_text(cell_models(liberty, "x.lib") + BENCH)
    subprocess.run([find_tool("icarus"), "-g2005", "-s", "bench", "-o", tmp_path / "t", tmp_path / "t.v"], check=True)
    printed = subprocess.run(["vvp", tmp_path / "t"], check=True, capture_output=True, text=True).stdout
    assert printed.split() == ["DONE"]


def test_models_start_random(liberty):
    assert "initial IQ = $random;" in cell_models(liberty, "x.lib", started=True)
    assert "initial" not in cell_models(liberty, "x.lib")


def test_models_wrong_function(liberty):
    with pytest.raises(SpecError, match=r"Cell 'INV_X1' has function 'A \? B'"):
        cell_models(liberty.replace('function : "!A"', 'function : "A ? B"', 1), "x.lib")
    with pytest.raises(SpecError, match="no cell with a function"):
        cell_models("library (x) { cell (FILL) { area : 1; } }", "x.lib")
