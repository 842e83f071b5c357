"""Static timing and power of a netlist, with OpenSTA (written for the version that Debian ships, 2.0.17).

Power is linear in the activity that is put on all pins. The step therefore stores, for every module instance, the
power of its own cells with all pins still and with every pin toggling once per cycle (the clock toggles in both);
`block_power` then gives the power at any activity per instance without another run. Nets have the capacitance of the
pins they join; wires and clock tree come with placement and are not in it. Glitches are not in it either.

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
set energies_added [expr [package vcompare [sta::version] 2.1] < 0 ? 2 : 1]
foreach rate {{0.0 1.0}} {{
  set_power_activity -global -activity $rate -duty 0.5
  array unset sums
  foreach cell [sta::network_leaf_instances] {{
    set path [get_full_name $cell]
    set cut [string last "/" $path]
    set block [string range $path 0 [expr $cut - 1]]
    lassign [sta::instance_power $cell [sta::cmd_corner]] internal switching leakage
    set internal [expr $internal / $energies_added]
    if {{![info exists sums($block)]}} {{ set sums($block) {{0.0 0.0 0.0}} }}
    lassign $sums($block) a b c
    set sums($block) [list [expr $a + $internal] [expr $b + $switching] [expr $c + $leakage]]
  }}
  foreach block [lsort [array names sums]] {{ puts "POWER $rate {{$block}} $sums($block)" }}
}}
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
    metrics = dict(re.findall(r"^METRIC (\w+) (\S+)$", log, re.MULTILINE))
    errors = re.findall(r"^Error: .*$", log, re.MULTILINE)
    if errors or "done" not in metrics:
        raise ToolError("sta did not finish: " + "; ".join(errors[:3] or ["no error printed; look into sta.log"]))
    rows = re.findall(r"^POWER (\S+) \{?(.*?)\}? (\S+) (\S+) (\S+)$", log, re.MULTILINE)
    still, busy = ({block: tuple(map(float, figures)) for at, block, *figures in rows if at == rate}
                   for rate in ("0.0", "1.0"))
    blocks = {block: [1e3 * sum(still[block]), 1e3 * (sum(busy[block]) - sum(still[block])), 1e3 * still[block][2]]
              for block in still}
    path = re.search(r"^Startpoint:.*?slack \((?:MET|VIOLATED)\)", log, re.DOTALL | re.MULTILINE)
    return {"worst_slack_ns": float(metrics["worst_slack_ns"]),
            "total_negative_slack_ns": float(metrics["total_negative_slack_ns"]),
            "critical_path": path[0] if path else "", "blocks": blocks}


def block_power(blocks: dict[str, list[float]], rates: dict[str, float]) -> dict[str, float]:
    """mW of each module instance's own cells at its activity (toggles per pin and cycle)."""
    return {block: still + rates[block] * per_toggle for block, (still, per_toggle, _) in blocks.items()}
