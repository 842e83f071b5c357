"""Static timing of a netlist, with OpenSTA (written for the version that Debian ships, 2.0.17)."""

import re
from dataclasses import dataclass
from pathlib import Path

from dna_asic.errors import ToolError
from flows.openroad.constraints import constraints
from flows.openroad.macros import Macro, write_stubs
from flows.openroad.platforms import Platform
from flows.openroad.steps import Step, require_program, run_tool

SCRIPT = """\
{libraries}
read_verilog {netlist}
link_design {top}
{constraints}report_checks -path_delay max -fields {{slew cap}} -digits 4
puts "METRIC worst_slack_ns [worst_slack -max]"
puts "METRIC total_negative_slack_ns [total_negative_slack -max]"
puts "METRIC done 1"
exit
"""


@dataclass(frozen=True, kw_only=True)
class Timing(Step):
    """Metrics: worst_slack_ns, total_negative_slack_ns, critical_path (text), path_blocks ([[instance path, ns]])."""

    netlist: Path
    top: str
    liberty: Path
    platform: Platform
    macros: tuple[Macro, ...]
    clk_period_ns: float

    def run(self, folder: Path) -> dict:
        sta = require_program("sta", "apt-get install opensta")
        stubs = write_stubs(self.macros, self.platform.supply_v, self.platform.setup_ns, folder)
        (folder / "sta.tcl").write_text(SCRIPT.format(
            libraries="\n".join(f"read_liberty {path}" for path in (self.liberty, *stubs)), netlist=self.netlist,
            top=self.top, constraints=constraints(self.clk_period_ns, self.platform.driver)))
        return timing_metrics(run_tool([sta, "-no_splash", "-exit", "sta.tcl"], folder / "sta.log"))


def timing_step(*, netlist: Path, top: str, liberty: Path, platform: Platform, macros: tuple[Macro, ...],
                clk_period_ns: float) -> Timing:
    """The step with its inputs and outputs declared."""
    return Timing(name="timing", inputs=(netlist, liberty), outputs=("sta.log",), netlist=netlist, top=top,
                  liberty=liberty, platform=platform, macros=macros, clk_period_ns=clk_period_ns,
                  config={"top": top, "clk_period_ns": clk_period_ns, "macros": [repr(m) for m in macros]})


def timing_metrics(log: str) -> dict:
    """Read the log of the script; ToolError if it did not come to its end."""
    errors = re.findall(r"^Error: .*$", log, re.MULTILINE)
    metrics = dict(re.findall(r"^METRIC (\w+) (\S+)$", log, re.MULTILINE))
    if errors or "done" not in metrics:
        raise ToolError("sta did not finish: " + "; ".join(errors[:3] or ["no error printed; look into sta.log"]))
    path = re.search(r"^Startpoint:.*?slack \((?:MET|VIOLATED)\)", log, re.DOTALL | re.MULTILINE)
    return {"worst_slack_ns": float(metrics["worst_slack_ns"]),
            "total_negative_slack_ns": float(metrics["total_negative_slack_ns"]),
            "critical_path": path[0] if path else "", "path_blocks": path_blocks(path[0]) if path else []}


def path_blocks(path: str) -> list[list]:
    """[[instance path, ns spent in its own cells], ...] along a path as OpenSTA prints it."""
    found = []
    for delay, pin in re.findall(r"([\d.]+)\s+\S+\s+[v^]\s+(\S+/\S+) \(", path.partition("data arrival time")[0]):
        block = "/".join(pin.split("/")[:-2])
        if not found or found[-1][0] != block:
            found.append([block, 0.0])
        found[-1][1] += float(delay)
    return found
