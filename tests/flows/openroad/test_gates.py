"""Netlists against what they are made from, by proof."""

import re
import sys

import pytest

from dna_asic.errors import ToolError
from dna_asic.technology import load_technology
from flows.openroad import steps
from flows.openroad.cell_models import cell_models
from flows.openroad.floorplan import module_bodies
from flows.openroad.platforms import find_library
from flows.openroad.steps import run_step, run_tool
from flows.openroad.synthesis import synthesis_step
from rtl_gen.pe import Accumulator
from rtl_gen.unit import ModuleSet

AT_28 = load_technology("asic-28nm")
PROOF = """\
read_verilog -sv gold.v
hierarchy -top {top}
proc
memory
flatten
opt_clean
splitnets -ports
rename {top} gold
design -stash gold
read_verilog -sv cells.v netlist.v
hierarchy -top {top}
proc
flatten
opt_clean
splitnets -ports
rename {top} gate
design -stash gate
design -copy-from gold -as gold gold
design -copy-from gate -as gate gate
equiv_make gold gate equiv
hierarchy -top equiv
opt_clean
equiv_simple -short
equiv_simple
equiv_induct -seq 4
equiv_status -assert
"""
RUNNER = "import sys; from pyosys import libyosys as y; y.run_pass('script ' + sys.argv[1], y.Design())"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The predictive library at 28 nm."""
    steps.require_module("pyosys.libyosys", "pip install pyosys")
    return find_library(AT_28, tmp_path_factory.mktemp("library"), "predictive")


def mapped(verilog, top, library, folder):
    """Netlist of a Verilog text."""
    rtl = folder / "chip.v"
    rtl.write_text(verilog)
    result = run_step(synthesis_step(rtl=rtl, top=top, liberty=library.liberty, platform=library.platform,
                                     clk_period_ns=1.0, cache=folder / "mapped"), folder)
    return (result.folder / "netlist.v").read_text()


def prove(verilog, netlist, top, library, folder):
    """Yosys' proof that both are one machine; ToolError where they are not."""
    (folder / "gold.v").write_text(verilog)
    (folder / "netlist.v").write_text(netlist)
    (folder / "cells.v").write_text(cell_models(library.liberty.read_text(), "x.lib"))
    (folder / "proof.ys").write_text(PROOF.format(top=top))
    run_tool([sys.executable, "-c", RUNNER, "proof.ys"], folder / "proof.log")


def swapped(netlist, module, old, new):
    """The netlist with the first `old` cell of a module made a `new` one."""
    text = module_bodies(netlist)[module]
    assert f"  {old} " in text
    return netlist.replace(text, text.replace(f"  {old} ", f"  {new} ", 1))


def unit_verilog(unit):
    """(text, top) of a unit of the generator with what stands in it."""
    modules = ModuleSet()
    modules.add(unit)
    texts, done = [], set()
    while pending := set(modules.units) - done:
        for name in sorted(pending):
            texts.append(modules.units[name].verilog(modules))
            done.add(name)
    return "\n".join(texts), unit.module_name


@pytest.mark.sta
def test_netlist_of_an_accumulator_is_proven(library, tmp_path):
    verilog, top = unit_verilog(Accumulator(2, 18))
    netlist = mapped(verilog, top, library, tmp_path)
    prove(verilog, netlist, top, library, tmp_path)
    kinds = re.findall(r"^  (NAND2_X1|NOR2_X1) ", module_bodies(netlist)[top], re.MULTILINE)
    other = {"NAND2_X1": "NOR2_X1", "NOR2_X1": "NAND2_X1"}[kinds[0]]
    with pytest.raises(ToolError, match="(?i)unproven"):
        prove(verilog, swapped(netlist, top, kinds[0], other), top, library, tmp_path)
