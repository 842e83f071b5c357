"""Modules of a chip against their netlists, by proof; a wrong cell is found in each."""

import functools
import re

import pytest
from chips import make_chip

from dna_asic.errors import ToolError, VerificationError
from dna_asic.technology import load_technology
from flows.openroad import steps
from flows.openroad.netlist import module_bodies
from flows.openroad.platforms import find_library
from flows.openroad.proof import prove
from flows.openroad.steps import run_step
from flows.openroad.synthesis import synthesis_step
from rtl_gen.emit import chip_verilog

SWAPS = {"NAND2_X1": "NOR2_X1", "NOR2_X1": "NAND2_X1", "XNOR2_X1": "XOR2_X1"}
# Of a requantiser's multiplier of 33 x 26 bits no proof is known but against one that is built alike.
MODULES = [("accumulator_1x18", False), ("pe", True), ("requantiser", True), ("chip.chunk_0.core.sequencer", False),
           ("chip.chunk_0.core.sequencer.rf", False), ("chip.chunk_0.post", False)]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The predictive library at 28 nm."""
    steps.require_module("pyosys.libyosys", "pip install pyosys")
    return find_library(load_technology("asic-28nm"), tmp_path_factory.mktemp("library"), "predictive")


@functools.cache
def verilog():
    return chip_verilog(make_chip("kc-tree-2x3"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Mapped modules, for all tests."""
    return tmp_path_factory.mktemp("mapped")


def mapped(top, library, folder, cache):
    """Netlist of a module and those below it."""
    (folder / "chip.v").write_text(verilog())
    step = synthesis_step(rtl=folder / "chip.v", top=top, liberty=library.liberty, platform=library.platform,
                          clk_period_ns=1.0, cache=cache)
    return (run_step(step, folder).folder / "netlist.v").read_text()


@pytest.mark.sta
@pytest.mark.parametrize("top,alike", MODULES)
def test_netlist_is_proven_and_a_wrong_cell_found(top, alike, library, tmp_path, cache):
    netlist = mapped(top, library, tmp_path, cache)
    proof = prove(verilog(), netlist, top, library.liberty, tmp_path / "proof", alike)
    assert proof.registers > 10 and proof.outputs >= proof.registers // 2
    module = module_bodies(netlist)[top]
    old = next(cell for cell in SWAPS if f"  {cell} " in module)
    wrong = netlist.replace(module, module.replace(f"  {old} ", f"  {SWAPS[old]} ", 1))
    with pytest.raises(VerificationError, match=f"'{re.escape(top)}' differs .* can be [01] where the Verilog has"):
        prove(verilog(), wrong, top, library.liberty, tmp_path / "wrong", alike)


@pytest.mark.sta
@pytest.mark.slow
def test_booths_product_is_proven_against_another_multiplier(library, tmp_path, cache):
    netlist = mapped("pe", library, tmp_path, cache)
    assert prove(verilog(), netlist, "pe", library.liberty, tmp_path / "proof").registers == 16


GATED = """module m(clk, d, en, q);
  input clk, d, en; output q;
  CLKGATE_X1 gate (
    .CK(clk),
    .E(en),
    .GCK(gated)
  );
  DFF_X1 r (
    .CK(gated),
    .D(d),
    .Q(q)
  );
endmodule
"""


@pytest.mark.sta
def test_clock_gate_is_an_enable(library, tmp_path):
    wanted = "module m(input clk, d, en, output reg q);\n always @(posedge clk) if (en) q <= d;\nendmodule\n"
    assert prove(wanted, GATED, "m", library.liberty, tmp_path / "right").registers == 1
    with pytest.raises(VerificationError, match=r"'m' differs from its Verilog: q\.d can be"):
        prove(wanted, GATED.replace(".E(en)", ".E(d)"), "m", library.liberty, tmp_path / "wrong")
    with pytest.raises(ToolError, match="2 registers or ports that the Verilog does not have, such as p;"):
        prove(wanted, GATED.replace("q", "p"), "m", library.liberty, tmp_path / "other")
