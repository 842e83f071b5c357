"""Logic synthesis: Verilog to a netlist of library cells, module by module, with Yosys and its ABC (pyosys)."""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from dna_asic.errors import ToolError
from flows.openroad.macros import macro_shapes
from flows.openroad.platforms import Platform
from flows.openroad.steps import Step, require_module, run_tool

SCRIPT = """\
read_verilog -sv {rtl}
{blackbox}
hierarchy -check -top {top}
synth -top {top} -booth
dfflibmap -liberty {liberty}{dont_use}
abc -liberty {liberty} -D {delay_ps} -constr abc.constr -script abc.script{dont_use}
read_liberty -lib {liberty}
setattr -set iopad_external_pin 1 */w:clk
{input_buffers}
setundef -zero
{ties}
splitnets
opt_clean -purge
check -mapped
tee -q -o stat.json stat -json -liberty {liberty}
write_verilog -noattr -noexpr -nohex -nodec raw.v
"""
# Against ABC's own script for Liberty (dch, nf) this gives 5 % (45 nm) to 50 % (130 nm) shorter paths in a MAC for
# 0.5 % to 6 % more area.
ABC_SCRIPT = """\
strash
&get -n
&fraig -x
&put
scorr
dc2
strash
dch -f
map -B 0.9 -D {delay_ps}
topo
buffer -c -N 16
upsize -D {delay_ps}
dnsize -D {delay_ps}
"""
# A net to every PE has hundreds of loads, which ABC cannot see across modules. A buffer at each input of a module that
# stands this often is the first level of the tree that placement would build; 8 x 8 PEs at 45 nm: 0.8 % more area,
# worst slack at 1 ns from -3.4 to -1.6 ns.
BUFFERED_FROM = 8
_RUNNER = "import sys; from pyosys import libyosys as y; y.run_pass('script ' + sys.argv[1], y.Design())"


@dataclass(frozen=True, kw_only=True)
class Synthesis(Step):
    """Map `rtl` (module `top`) to `liberty`; hierarchy is kept, so a module is mapped once however often it stands.

    Modules sram_<words>x<bits> stay black boxes. Metrics: cells (all instances, macros apart), logic_area_um2,
    sequential_area_um2, modules (per module: instances, cells and area of one), macros (instances of each),
    cell_types. The delay target of ABC is the clock period.
    """

    rtl: Path
    top: str
    liberty: Path
    platform: Platform
    clk_period_ns: float

    def run(self, folder: Path) -> dict:
        require_module("pyosys.libyosys", "pip install pyosys")
        text = self.rtl.read_text()
        (folder / "abc.constr").write_text(f"set_driving_cell {self.platform.driver}\nset_load 10\n")
        delay_ps = round(1000 * self.clk_period_ns)
        (folder / "abc.script").write_text(ABC_SCRIPT.format(delay_ps=delay_ps))
        (folder / "synth.ys").write_text(SCRIPT.format(
            rtl=self.rtl, top=self.top, liberty=self.liberty, delay_ps=delay_ps,
            input_buffers=_input_buffers(text, self.platform), ties=_ties(self.platform),
            blackbox="blackbox " + " ".join(n for n, _, _ in macro_shapes(text)) if macro_shapes(text) else "",
            dont_use="".join(f" -dont_use {p}" for p in self.platform.dont_use)))
        run_tool([sys.executable, "-c", _RUNNER, "synth.ys"], folder / "yosys.log")
        raw = folder / "raw.v"
        (folder / "netlist.v").write_text(plain_netlist(raw.read_text()))
        raw.unlink()
        return area_metrics(json.loads((folder / "stat.json").read_text())["modules"], self.top)


def synthesis_step(*, rtl: Path, top: str, liberty: Path, platform: Platform, clk_period_ns: float) -> Synthesis:
    """The step with its inputs and outputs declared."""
    return Synthesis(name="synthesis", inputs=(rtl, liberty), outputs=("netlist.v", "stat.json"), rtl=rtl, top=top,
                     liberty=liberty, platform=platform, clk_period_ns=clk_period_ns,
                     config={"top": top, "clk_period_ns": clk_period_ns, "dont_use": platform.dont_use})


def _input_buffers(verilog, platform):
    """The command that buffers the inputs of modules that stand often, or nothing."""
    names = sorted(n for n in set(re.findall(r"^module (\w+)", verilog, re.MULTILINE)) if not n.startswith("sram_")
                   and len(re.findall(rf"^\s*{n}\s+\\?\S+ ?\(", verilog, re.MULTILINE)) >= BUFFERED_FROM)
    cell, output, pin = platform.buffer
    return f"iopadmap -bits -inpad {cell} {output}:{pin} {' '.join(names)}" if names else ""


def _ties(platform):
    """The command that gives constants a cell, one a module, where the library has such cells."""
    if not platform.ties:
        return ""
    (high, high_pin), (low, low_pin) = platform.ties
    return f"hilomap -singleton -hicell {high} {high_pin} -locell {low} {low_pin}"


_DECLARATION = re.compile(r"^\s*(input|output|inout|wire) (?:signed )?(?:\[(\d+):(\d+)\] )?(.+?)\s*;$")
_TERM = re.compile(r"(\d+)'b([01xz]+)|(\\\S+|[A-Za-z_][\w$]*)\s*(?:\[(\d+)(?::(\d+))?\])?")


def plain_netlist(netlist: str) -> str:
    """The same netlist without what OpenSTA does not read: `signed`, and assignments of more than one bit."""
    lines, ranges = [], {}
    for line in netlist.splitlines():
        if line.startswith("module "):
            ranges = {}
        elif declared := _DECLARATION.match(line):
            kind, high, low, name = declared.groups()
            ranges[name] = (int(high), int(low)) if high else None
            line = f"  {kind} " + (f"[{high}:{low}] " if high else "") + f"{name} ;"
        elif line.startswith("  assign "):
            target, _, value = line.removeprefix("  assign ").removesuffix(";").partition(" = ")
            pairs = zip(_bits(target, ranges), _bits(value, ranges), strict=True)
            lines += [f"  assign {bit} = {source};" for bit, source in pairs]
            continue
        lines.append(line)
    return "\n".join(lines) + "\n"


def _bits(expression, ranges):
    """The single bits of a name, a slice, a constant or a concatenation, most significant first."""
    found = []
    for size, digits, name, high, low in _TERM.findall(expression):
        if size:
            found += [f"1'b{digit}" for digit in digits.rjust(int(size), digits[0] if digits[0] in "xz" else "0")]
        elif not high and ranges.get(name) is None:
            found.append(f"{name} ")
        else:
            first, last = (int(high), int(low or high)) if high else ranges[name]
            step = -1 if first >= last else 1
            found += [f"{name} [{i}]" for i in range(first, last + step, step)]
    return found


def area_metrics(modules: dict, top: str) -> dict:
    """Metrics from the `modules` of Yosys' `stat -json`: areas there are totals of a module with all below it."""
    modules = {name.removeprefix("\\"): record for name, record in modules.items()}
    if top not in modules:
        raise ToolError(f"Synthesis of '{top}' left no such module; look into yosys.log.")
    instances, macros, cell_types = {}, {}, {}

    def visit(name, count):
        instances[name] = instances.get(name, 0) + count
        for kind, number in modules[name]["num_cells_by_type"].items():
            kind = kind.removeprefix("\\")
            if kind in modules:
                visit(kind, count * number)
            else:
                table = macros if kind.startswith("sram_") else cell_types
                table[kind] = table.get(kind, 0) + count * number

    visit(top, 1)
    own = {name: _own_area(modules, name) for name in instances}
    return {
        "cells": sum(cell_types.values()),
        "logic_area_um2": modules[top]["area"],
        "sequential_area_um2": modules[top]["sequential_area"],
        "modules": {name: {"instances": instances[name], "area_um2": modules[name]["area"], "own_area_um2": own[name]}
                    for name in sorted(instances)},
        "macros": dict(sorted(macros.items())),
        "cell_types": dict(sorted(cell_types.items())),
    }


def _own_area(modules, name):
    below = sum(number * modules[kind.removeprefix("\\")]["area"]
                for kind, number in modules[name]["num_cells_by_type"].items() if kind.removeprefix("\\") in modules)
    return modules[name]["area"] - below
