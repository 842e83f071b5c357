"""Static timing and power of a netlist, with OpenSTA (written for the version that Debian ships, 2.0.17).

Power is linear in the activity that is put on all pins. The step therefore stores, for every module instance, the
power of its own cells with all pins still and with every pin toggling once per cycle (the clock toggles in both; of
still cells only registers take power, and all leak); `block_power` then gives the power at any activity per instance
without another run. Nets have the capacitance of the pins they join; wires and clock tree come with placement and are
not in it. Glitches are not in it either.

OpenSTA before 2.1 adds the internal energies of rise and fall for every transition, where later versions take their
mean; what it reports is halved here.
"""

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
{power}"""
POWER_SCRIPT = """\
set energies_added [expr [package vcompare [sta::version] 2.1] < 0 ? 2 : 1]
proc power_of {rate cells} {
  global energies_added
  set_power_activity -global -activity $rate -duty 0.5
  foreach cell $cells {
    set path [get_full_name $cell]
    set block [string range $path 0 [expr {[string last "/" $path] - 1}]]
    lassign [sta::instance_power $cell [sta::cmd_corner]] internal switching leakage
    if {![info exists sums($block)]} { set sums($block) {0.0 0.0 0.0} }
    lassign $sums($block) a b c
    set sums($block) [list [expr {$a + $internal / $energies_added}] [expr {$b + $switching}] [expr {$c + $leakage}]]
  }
  foreach block [lsort [array names sums]] { puts "POWER $rate {$block} $sums($block)" }
}
power_of 0.0 [all_registers -cells]
power_of 1.0 [sta::network_leaf_instances]
puts "METRIC done 1"
exit
"""


@dataclass(frozen=True, kw_only=True)
class Timing(Step):
    """Slack at the clock, critical path, and the two power figures per module instance.

    Metrics: worst_slack_ns, total_negative_slack_ns, critical_path (text), blocks: {instance path: [still mW,
    mW per toggle per cycle, of the still part leakage mW]}.
    """

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
            top=self.top, constraints=constraints(self.clk_period_ns, self.platform.driver), power=POWER_SCRIPT))
        return timing_metrics(run_tool([sta, "-no_splash", "-exit", "sta.tcl"], folder / "sta.log"))


def timing_step(*, netlist: Path, top: str, liberty: Path, platform: Platform, macros: tuple[Macro, ...],
                clk_period_ns: float) -> Timing:
    """The step with its inputs and outputs declared."""
    return Timing(name="timing", inputs=(netlist, liberty), outputs=("sta.log",), netlist=netlist, top=top,
                  liberty=liberty, platform=platform, macros=macros, clk_period_ns=clk_period_ns,
                  config={"top": top, "clk_period_ns": clk_period_ns, "macros": [repr(m) for m in macros]})


def timing_metrics(log: str) -> dict:
    """Read the log of the script; ToolError if it did not come to its end."""
    metrics = dict(re.findall(r"^METRIC (\w+) (\S+)$", log, re.MULTILINE))
    blocks = {block: [1e3 * sum(parts) for parts in (still, (busy[0] - still[0], busy[1] - still[1]), busy[2:])]
              for block, (still, busy) in power_rows(log).items()}
    for figures in blocks.values():
        figures[0] += figures[2]
    path = re.search(r"^Startpoint:.*?slack \((?:MET|VIOLATED)\)", log, re.DOTALL | re.MULTILINE)
    return {"worst_slack_ns": float(metrics["worst_slack_ns"]),
            "total_negative_slack_ns": float(metrics["total_negative_slack_ns"]),
            "critical_path": path[0] if path else "", "blocks": blocks}


def power_rows(log: str) -> dict[str, tuple[tuple[float, float], tuple[float, float, float]]]:
    """Of each block in W: (internal, switching) with pins still, (internal, switching, leakage) with pins toggling.

    ToolError where POWER_SCRIPT did not come to its end.
    """
    errors = re.findall(r"^Error: .*$", log, re.MULTILINE)
    if errors or not re.search(r"^METRIC done 1$", log, re.MULTILINE):
        raise ToolError("sta did not finish: " + "; ".join(errors[:3] or ["no error printed; look into sta.log"]))
    rows = re.findall(r"^POWER (\S+) \{?(.*?)\}? (\S+) (\S+) (\S+)$", log, re.MULTILINE)
    still, busy = ({block: tuple(map(float, figures)) for at, block, *figures in rows if at == rate}
                   for rate in ("0.0", "1.0"))
    return {block: (still.get(block, (0.0, 0.0))[:2], figures) for block, figures in busy.items()}


def block_power(blocks: dict[str, list[float]], rates: dict[str, float]) -> dict[str, float]:
    """mW of each module instance's own cells at its activity (toggles per pin and cycle)."""
    return {block: still + rates[block] * per_toggle for block, (still, per_toggle, _) in blocks.items()}
