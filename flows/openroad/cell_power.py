"""What every cell of a design takes: of its clock, of each toggle, and leaking. OpenSTA says it, module by module.

No chip is too large for it, and modules that chips share are measured once. A module is loaded with what its own cells
put on its nets; the pins that it puts on the nets of its ports are charged to it too, so the sum over all instances has
every pin once, as a run on the whole chip has. What differs are slews at the borders of modules. Nets have the
capacitance of the pins they join; wires and clock tree come with placement and are not in it.

OpenSTA before 2.1 adds the internal energies of rise and fall for every transition, where later versions take their
mean; what it reports is halved here.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dna_asic.errors import ToolError
from flows.openroad.netlist import Netlist, module_bodies
from flows.openroad.pin_activity import CellActivity
from flows.openroad.platforms import Platform
from flows.openroad.steps import Step, keep_record, require_program, run_tool

SCRIPT = """\
read_liberty {liberty}
read_verilog wrapped.v
link_design wrapped
create_clock -name clk -period {period} [get_ports clk]
set energies_added [expr [package vcompare [sta::version] 2.1] < 0 ? 2 : 1]
foreach rate {{0 1}} {{
  set_power_activity -global -activity $rate -duty 0.5
  foreach cell [sta::network_leaf_instances] {{
    lassign [sta::instance_power $cell [sta::cmd_corner]] internal switching leakage
    puts "POWER $rate {{[get_full_name $cell]}} [expr {{$internal / $energies_added}}] $switching $leakage"
  }}
}}
puts "METRIC done 1"
exit
"""
_ROW = re.compile(r"^POWER (\d) \{?(.*?)\}? (\S+) (\S+) (\S+)$", re.MULTILINE)
_HEAD = re.compile(r"module (?:\\\S+|\w+)\s*")


@dataclass(frozen=True, kw_only=True)
class CellPower(Step):
    """Power of one instance of every module of `netlist`, children apart: in `power.json` a record of each.

    A record in mW: clock (of the clock's pins, gates' included), ports ({port bit: of a toggle per cycle}), cells
    ({name: [inside of its clock, of the clock net that it drives, of a toggle per cycle, leakage]}). cache: folder of
    records, for all runs.
    """

    netlist: Path
    liberty: Path
    platform: Platform
    clk_period_ns: float
    cache: Path
    progress: Callable[[str], None] = field(compare=False)

    def run(self, folder: Path) -> dict:
        sta = require_program("sta", "apt-get install opensta")
        script = SCRIPT.format(liberty=self.liberty, period=self.clk_period_ns)
        common = hashlib.sha256(script.replace(str(self.liberty), "").encode() + self.liberty.read_bytes()).hexdigest()
        texts = module_bodies(self.netlist.read_text())
        paths = {name: self.cache / f"power-{hashlib.sha256((common + text).encode()).hexdigest()}.json"
                 for name, text in texts.items()}
        new = [name for name, path in paths.items() if not path.is_file()]
        self.progress(f"  {len(paths) - len(new)} of {len(paths)} modules were measured before")
        if new:
            modules = [Netlist.of(texts[name]) for name in new]
            (folder / "wrapped.v").write_text(wrapped(modules, self.platform))
            (folder / "sta.tcl").write_text(script)
            records = power_records(run_tool([sta, "-no_splash", "-exit", "sta.tcl"], folder / "sta.log"), modules)
            for name, record in zip(new, records):
                keep_record(paths[name], record)
        (folder / "power.json").write_text(json.dumps({name: json.loads(p.read_text()) for name, p in paths.items()}))
        return {"modules": len(paths)}


def cell_power_step(*, netlist: Path, liberty: Path, platform: Platform, clk_period_ns: float, cache: Path,
                    progress: Callable[[str], None] = lambda line: None) -> CellPower:
    """The step with its inputs and outputs declared."""
    return CellPower(name="cell_power", inputs=(netlist, liberty), outputs=("power.json",), netlist=netlist,
                     liberty=liberty, platform=platform, clk_period_ns=clk_period_ns, cache=cache, progress=progress,
                     config={"clk_period_ns": clk_period_ns})


def wrapped(modules: list[Netlist], platform: Platform) -> str:
    """Module `wrapped` with `w0`, `w1`, ...: in each, as `u`, one of the modules with a driver at every input. Modules
    inside them are left out: tools take them for black boxes.
    """
    texts = [_wrapper(n, module, platform) + _HEAD.sub(f"module m{n} ", module.text, count=1)
             for n, module in enumerate(modules)]
    inside = [f"  w{n} w{n} (.clk(clk));" for n in range(len(modules))]
    return "\n".join(["module wrapped (clk);", "  input clk;", *inside, "endmodule", *texts])


def _wrapper(n, module, platform):
    _, output, pin = platform.buffer
    lines, joins = [], []
    for k, (name, way) in enumerate(module.ports.items()):
        bits = len(module.port_bits(name))
        lines.append(f"  wire [{bits - 1}:0] n{k};")
        if way == "input":
            source = f", .{pin}(clk)" if name == "clk" else ""
            lines += [f"  {platform.driver} d{k}_{i} (.{output}(n{k}[{i}]){source});" for i in range(bits)]
        joins.append(f".{name} (n{k})")
    head = [f"module w{n} (clk);", "  input clk;"]
    return "\n".join([*head, *lines, f"  m{n} u ({', '.join(joins)});", "endmodule", ""])


def power_records(log: str, modules: list[Netlist]) -> list[dict]:
    """Records of the modules from what SCRIPT printed for `wrapped`; ToolError where it did not come to its end."""
    errors = re.findall(r"^Error: .*$", log, re.MULTILINE)
    if errors or not re.search(r"^METRIC done 1$", log, re.MULTILINE):
        raise ToolError("sta did not finish: " + "; ".join(errors[:3] or ["no error printed; look into sta.log"]))
    found = {"0": {}, "1": {}}
    for rate, path, *figures in _ROW.findall(log):
        found[rate][path.replace("\\", "")] = [1e3 * float(f) for f in figures]
    records = []
    for n, module in enumerate(modules):
        cells = {}
        for instance in module.instances:
            path = f"w{n}/u/{instance.name}"
            if path in found["1"]:
                (inside, driven, _), (internal, switching, leakage) = found["0"][path], found["1"][path]
                cells[instance.name] = [inside, driven, internal - inside + switching - driven, leakage]
        ports = {bit: found["1"][f"w{n}/d{k}_{i}"][1] for k, (name, way) in enumerate(module.ports.items())
                 if way == "input" for i, bit in enumerate(reversed(module.port_bits(name)))}
        records.append({"clock": ports.pop("clk ", 0.0), "ports": ports, "cells": cells})
    return records


def module_power(record: dict, active: CellActivity) -> tuple[np.ndarray, float, np.ndarray, float]:
    """mW of a module's own cells at their activity: ([instances] of the clock; of one instance the part of it that no
    gate stops; [instances] of signals; leakage of one).

    A flip-flop's clock counts where its gate lets it through, and so does the net behind a gate.
    """
    inside, driven, toggle, leakage = np.array([record["cells"][cell.name] for cell in active.cells] or
                                               np.zeros((0, 4))).T
    ports = np.array([record["ports"].get(bit, 0.0) for bit in active.ports])
    share = np.where(active.gate[:, None], 1.0, active.clocked)
    clock = record["clock"] + inside @ share + driven @ active.clocked
    idle = record["clock"] + float(inside @ (active.gate | active.ungated))
    return clock, idle, toggle @ active.toggles + ports @ active.port_toggles, float(leakage.sum())
