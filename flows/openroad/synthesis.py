"""Logic synthesis: Verilog to a netlist of library cells with Yosys and its ABC (pyosys), each module on its own.

A mapped module is kept under a digest of all that it follows from: its text, the ports of the modules in it, library,
clock and scripts (`flows.openroad.modules`). A chip costs what no chip before it had, in two processes; an interrupted
run goes on from what is kept.
"""

import concurrent.futures
import functools
import hashlib
import importlib.metadata
import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from dna_asic.errors import ToolError
from flows.openroad.abstracts import cell_area, liberty_inputs, liberty_strengths
from flows.openroad.buffers import with_buffers
from flows.openroad.macros import MODULE, macro_ports
from flows.openroad.modules import Unit, units
from flows.openroad.netlist import Netlist, children_first, plain_netlist
from flows.openroad.platforms import Platform
from flows.openroad.steps import Step, keep_record, require_module, run_yosys

TOP = "dna_m0_"
PROCESSES = 2
SCRIPT = """\
read_verilog -sv module.v
hierarchy -check -top {top}
proc
opt_expr
opt_clean
opt_dff -nosdff
synth -top {top} -booth -noabc
{clock_gates}
dfflibmap -liberty {liberty}{dont_use}
abc -liberty {liberty} -D {delay_ps} -constr abc.constr -script abc.script{dont_use}
setundef -zero
{ties}
splitnets
opt_clean -purge
check -mapped
tee -q -o stat.json stat -json -liberty {liberty}
write_verilog -noattr -noexpr -nohex -nodec raw.v
"""
# Against ABC's own script for Liberty (dch, nf) this gives 5 % (45 nm) to 50 % (130 nm) shorter paths in a MAC for
# 0.5 % to 6 % more area. Without its limit of conflicts &fraig takes minutes to prove multipliers of addresses unequal;
# without -l dc2 makes ripple carries of all adders (49 bits: 1.19 ns at 45 nm, with it 0.65 ns for 12 % more area).
# A reset must not hide an enable from the clock gates, hence opt_dff without it first.
ABC_SCRIPT = """\
strash
&get -n
&fraig -x -C 50
&put
scorr
dc2 -l
strash
dch -f
map -B 0.9 -D {delay_ps}
topo
upsize -D {delay_ps}
dnsize -D {delay_ps}
"""
MODULE_SHARE = 0.7  # of the clock period that the logic of a module may take: the rest is for what comes before it
GATED_FROM = 4  # flip-flops of one enable that get a clock gate: its clock pin takes as much as those of two of them
MAP_DIGEST = hashlib.sha256((SCRIPT + ABC_SCRIPT).encode()).hexdigest()
_FLIP_FLOP = re.compile(r"dff|df.tp", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Synthesis(Step):
    """Map `rtl` (module `top`) to `liberty`; hierarchy is kept, so a module is mapped once however often it stands.

    Modules sram_<words>x<bits> stay black boxes. Metrics: cells (all instances, macros apart), logic_area_um2,
    sequential_area_um2, modules (per module: instances; of one: area, area and flip-flops of its own cells), macros
    (instances of each), cell_types. The delay target of ABC is MODULE_SHARE of the clock period. cache: folder of
    mapped modules, for all runs.
    """

    rtl: Path
    top: str
    liberty: Path
    platform: Platform
    clk_period_ns: float
    cache: Path
    progress: Callable[[str], None] = field(compare=False)

    def run(self, folder: Path) -> dict:
        require_module("pyosys.libyosys", "pip install pyosys")
        everything = units(self.rtl.read_text(), self.top)
        design = {name: unit for name, unit in everything.items() if not MODULE.match(f"module {name}")}
        jobs = {name: self._job(unit) for name, unit in design.items()}
        mapped = {name: found for name, job in jobs.items() if (found := job.kept()) is not None}
        self.progress(f"  {len(mapped)} of {len(jobs)} modules were mapped before")
        mapped |= self._map({name: job for name, job in jobs.items() if name not in mapped}, folder)
        records = {name: _restored(unit, mapped[name]) for name, unit in design.items()}
        texts = self._buffered(records, everything.keys() - design.keys())
        (folder / "netlist.v").write_text("".join(texts[name] for name in design))
        return area_metrics(records, self.top)

    def _buffered(self, records, macros) -> dict[str, str]:
        """The netlist of each module with its buffer trees, which are added to the records."""
        liberty = self.liberty.read_text()
        inputs, strengths = liberty_inputs(liberty), liberty_strengths(liberty)
        load, um2 = inputs[self.platform.driver][self.platform.buffer[2], 0], cell_area(liberty, self.platform.driver)
        for name in macros:
            words, bits = map(int, MODULE.match(f"module {name}").groups()[1:])
            inputs[name] = {(pin, k): replace(load, clock=pin == "clk") for pin, way, width in macro_ports(words, bits)
                            for k in range(max(1, width)) if way == "input"}
        modules = {name: Netlist.of(record["netlist"]) for name, record in records.items()}
        texts = {}
        for name in children_first(modules):
            done, record = with_buffers(modules[name], inputs, strengths, self.platform), records[name]
            texts[name], inputs[name] = done.text, done.inputs
            record["area_um2"] += done.buffers * um2
            record["cells"][self.platform.driver] = record["cells"].get(self.platform.driver, 0) + done.buffers
        return texts

    def _job(self, unit):
        delay_ps = round(1000 * MODULE_SHARE * self.clk_period_ns)
        files = {
            "module.v": unit.text, "abc.script": ABC_SCRIPT.format(delay_ps=delay_ps),
            "abc.constr": f"set_driving_cell {self.platform.driver}\nset_load 10\n",
            "synth.ys": SCRIPT.format(
                top=TOP, liberty=self.liberty, delay_ps=delay_ps, ties=_ties(self.platform),
                clock_gates=_clock_gates(self.platform),
                dont_use="".join(f" -dont_use {p}" for p in self.platform.dont_use))}
        return Job(files=files, liberty=self.liberty, cache=self.cache)

    def _map(self, jobs, folder) -> dict[str, dict]:
        """What each job leaves; modules of one text are mapped once, the longest first, with a line of progress each.

        Raises ToolError for the first bad one.
        """
        distinct = {job.path: name for name, job in jobs.items()}
        order = sorted(distinct.values(), key=lambda name: (-len(jobs[name].files["module.v"]), name))
        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(PROCESSES) as pool:
            running = {pool.submit(jobs[name].run, folder / f"module_{n}"): name for n, name in enumerate(order)}
            try:
                for n, done in enumerate(concurrent.futures.as_completed(running), 1):
                    done.result()
                    self.progress(f"  {n}/{len(order)} {running[done]}, {time.monotonic() - start:.0f} s")
            except ToolError as error:
                pool.shutdown(cancel_futures=True)
                raise ToolError(f"Module '{running[done]}': {error}") from error
        return {name: job.kept() for name, job in jobs.items()}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One module to be mapped: the files that the tool reads, `synth.ys` being its script.

    The result is a record: netlist (text), area_um2 and sequential_area_um2 of its own cells, cells (number of each
    type; instances of modules too).
    """

    files: dict[str, str]
    liberty: Path
    cache: Path

    @functools.cached_property
    def path(self) -> Path:
        """Where the result is kept."""
        digest = hashlib.sha256(importlib.metadata.version("pyosys").encode())
        for name, text in sorted(self.files.items()):
            digest.update(f"{name}\0{text.replace(str(self.liberty), 'liberty')}\0".encode())
        digest.update(self.liberty.read_bytes())
        return self.cache / f"{digest.hexdigest()}.json"

    def kept(self) -> dict | None:
        """The result, or None where there is none or a damaged one."""
        try:
            return json.loads(self.path.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def run(self, folder: Path) -> None:
        """Map in `folder`, keep the result, remove the folder. Raises ToolError."""
        folder.mkdir()
        for name, text in self.files.items():
            (folder / name).write_text(text)
        run_yosys(self.files["synth.ys"], folder)
        stat = json.loads((folder / "stat.json").read_text())["modules"][f"\\{TOP}"]
        record = {"netlist": plain_netlist((folder / "raw.v").read_text()), "area_um2": stat.get("area", 0.0),
                  "sequential_area_um2": stat.get("sequential_area", 0.0),
                  "cells": {kind.removeprefix("\\"): n for kind, n in stat["num_cells_by_type"].items()}}
        keep_record(self.path, record)
        shutil.rmtree(folder)


def synthesis_step(*, rtl: Path, top: str, liberty: Path, platform: Platform, clk_period_ns: float, cache: Path,
                   progress: Callable[[str], None] = lambda line: None) -> Synthesis:
    """The step with its inputs and outputs declared."""
    return Synthesis(name="synthesis", inputs=(rtl, liberty), outputs=("netlist.v",), rtl=rtl, top=top,
                     liberty=liberty, platform=platform, clk_period_ns=clk_period_ns, cache=cache, progress=progress,
                     config={"top": top, "clk_period_ns": clk_period_ns, "dont_use": platform.dont_use,
                             "clock_gate": platform.clock_gate})


def _restored(unit: Unit, record: dict) -> dict:
    """The record under the names of the design."""
    return {**record, "netlist": unit.restored(record["netlist"]), "cells": {
        unit.restored(kind).removeprefix("\\").strip(): n for kind, n in record["cells"].items()}}


def _clock_gates(platform):
    """The command that gives flip-flops of one enable a gated clock."""
    if not platform.clock_gate:
        return ""
    cell, enable, clock, output = platform.clock_gate
    return f"clockgate -pos {cell} {enable}:{clock}:{output} -min_net_size {GATED_FROM}"


def _ties(platform):
    """The command that gives constants a cell, one a module, where the library has such cells."""
    if not platform.ties:
        return ""
    (high, high_pin), (low, low_pin) = platform.ties
    return f"hilomap -singleton -hicell {high} {high_pin} -locell {low} {low_pin}"


def area_metrics(modules: dict, top: str) -> dict:
    """Metrics from the records of `Job` by module name: areas there are of the cells of one module, none below it."""
    instances, macros, cell_types = {}, {}, {}

    def visit(name, count):
        instances[name] = instances.get(name, 0) + count
        for kind, number in modules[name]["cells"].items():
            if kind in modules:
                visit(kind, count * number)
            else:
                table = macros if kind.startswith("sram_") else cell_types
                table[kind] = table.get(kind, 0) + count * number

    @functools.cache
    def total(name, figure):
        below = sum(number * total(kind, figure) for kind, number in modules[name]["cells"].items() if kind in modules)
        return modules[name][figure] + below

    if top not in modules:
        raise ToolError(f"Synthesis of '{top}' left no such module; look into yosys.log.")
    visit(top, 1)
    return {
        "cells": sum(cell_types.values()),
        "logic_area_um2": total(top, "area_um2"),
        "sequential_area_um2": total(top, "sequential_area_um2"),
        "modules": {name: {"instances": instances[name], "area_um2": total(name, "area_um2"),
                           "own_area_um2": modules[name]["area_um2"],
                           "flip_flops": sum(n for kind, n in modules[name]["cells"].items()
                                             if kind not in modules and _FLIP_FLOP.search(kind))}
                    for name in sorted(instances)},
        "macros": dict(sorted(macros.items())),
        "cell_types": dict(sorted(cell_types.items())),
    }
