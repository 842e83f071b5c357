"""Cutting Verilog into modules, and the cache of mapped ones; the tool is a stand-in."""

import json
import re

import pytest

from dna_asic.errors import SpecError, ToolError
from dna_asic.technology import load_technology
from flows.openroad import synthesis
from flows.openroad.modules import units
from flows.openroad.platforms import find_library
from flows.openroad.steps import run_step

LEAF = """
// Generated.
module \\{prefix}.leaf (clk, \\input , \\data${number} , y);
  input clk;
  input \\input ;
  input [3:0] \\data${number} ; /* a comment; with input x; */
  output [3:0] y;
  reg [3:0] \\kept${number} ;
  always @(posedge clk) \\kept${number} <= \\data${number} ^ {{4{{\\input }}}};
  assign y = \\kept${number} ;
endmodule
"""
TOP = """
module {prefix}(input clk, input a, input [3:0] d, output [3:0] y);
  wire [3:0] mid;
  \\{prefix}.leaf one (.clk(clk), .\\input (a), .\\data${number} (d), .y(mid));
  \\{prefix}.leaf two (.clk(clk), .\\input (a), .\\data${number} (mid), .y(y));
endmodule
"""


def design(prefix="chip", number=7, change=""):
    """Two modules; names differ with `prefix` and `number`, the hardware does not."""
    return (TOP + LEAF + change).format(prefix=prefix, number=number)


def test_units_of_one_hardware_have_one_text():
    one, other = units(design(), "chip"), units(design("chip_b", 1234), "chip_b")
    assert list(one) == ["chip", "chip.leaf"] and list(other) == ["chip_b", "chip_b.leaf"]
    assert [u.text for u in one.values()] == [u.text for u in other.values()]
    assert one["chip"].children == {"chip.leaf": 2} and one["chip.leaf"].children == {}
    assert "$" not in one["chip.leaf"].text and "comment" not in one["chip.leaf"].text
    box = re.search(r"\(\* blackbox \*\)\nmodule dna_m1_ .*", one["chip"].text, re.DOTALL)[0]
    assert "input \\input ;" in box and "output [3:0] y;" in box and "always" not in box


def test_units_restore_names():
    leaf, top = units(design(), "chip")["chip.leaf"], units(design(), "chip")["chip"]
    assert leaf.restored("module dna_m0_ (\\dna_n0_[2] , dna_n1_);") == "module \\chip.leaf  (\\data$7[2] , \\kept$7 );"
    assert top.restored("module dna_m0_ ; \\dna_m1_ one (") == "module chip ; \\chip.leaf one ("


def test_units_wrong_parameters():
    with pytest.raises(SpecError, match=r"'chip' uses parameters .*make rtl"):
        units("module chip #(parameter N = 4) (input [N-1:0] a); endmodule", "chip")


def fake_tool(monkeypatch, broken=()):
    """A stand-in for Yosys: one INV of the text's length for each module; returns the texts that it saw."""
    seen = []

    def run_yosys(script, folder):
        text = (folder / "module.v").read_text()
        if any(name in text for name in broken):
            raise ToolError("it broke")
        seen.append(text)
        cells = {"INV_X1": 1} | {f"\\{m}": 2 for m in re.findall(r"module (dna_m[1-9]\d*_)", text)}
        stat = {"area": float(len(text)), "sequential_area": 1.0, "num_cells_by_type": cells}
        (folder / "stat.json").write_text(json.dumps({"modules": {"\\dna_m0_": stat}}))
        (folder / "raw.v").write_text("module dna_m0_ (a);\n  input a;\nendmodule\n")

    monkeypatch.setattr(synthesis, "run_yosys", run_yosys)
    return seen


def synthesise(tmp_path, name, verilog, top="chip", lines=None, clk_period_ns=1.0):
    """The step on a text, with a cache for all texts."""
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    rtl = folder / "chip.v"
    rtl.write_text(verilog)
    library = find_library(load_technology("asic-28nm"), tmp_path / "library", "predictive")
    return run_step(synthesis.synthesis_step(
        rtl=rtl, top=top, liberty=library.liberty, platform=library.platform, clk_period_ns=clk_period_ns,
        cache=tmp_path / "mapped", progress=(lines if lines is not None else []).append), folder)


def test_synthesis_maps_what_is_new(tmp_path, monkeypatch):
    seen, lines = fake_tool(monkeypatch), []
    first = synthesise(tmp_path, "a", design(), lines=lines)
    assert len(seen) == 2 and re.search(r"2/2 chip(\.leaf)?, \d+ s", lines[-1])
    assert first.metrics["modules"]["chip.leaf"]["instances"] == 2 and first.metrics["cells"] == 3
    leaf, top = (first.metrics["modules"][n]["own_area_um2"] for n in ("chip.leaf", "chip"))
    assert first.metrics["logic_area_um2"] == top + 2 * leaf
    second = synthesise(tmp_path, "b", design("chip_b", 99), top="chip_b", lines=lines)
    assert len(seen) == 2 and not second.cached and "2 of 2 modules" in lines[-1]
    assert second.metrics["logic_area_um2"] == first.metrics["logic_area_um2"]
    assert "module \\chip_b.leaf " in (second.folder / "netlist.v").read_text()
    assert synthesise(tmp_path, "b", design("chip_b", 99), top="chip_b").cached
    assert "dna_m0_" in seen[0]
    synthesise(tmp_path, "c", design().replace("^", "|"))
    assert len(seen) == 3  # the leaf's text is new, the ports that the top sees are not
    synthesise(tmp_path, "c", design(), clk_period_ns=2.0)
    assert len(seen) == 5


def test_synthesis_goes_on_after_a_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(synthesis, "PROCESSES", 1)
    fake_tool(monkeypatch, broken=("always",))
    with pytest.raises(ToolError, match="Module 'chip.leaf': it broke"):
        synthesise(tmp_path, "a", design())
    seen = fake_tool(monkeypatch)
    synthesise(tmp_path, "a", design())
    assert len(seen) == 1 and "always" in seen[0]
    for kept in (tmp_path / "mapped").iterdir():
        kept.write_text("half a rec")
    synthesise(tmp_path, "b", design())
    assert len(seen) == 3
