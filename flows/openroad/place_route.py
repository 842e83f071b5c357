"""Placement and routing of the mapped netlist by OpenROAD, if it is on PATH; and what its log and reports say.

`place_route.tcl` is the flow; `setup.tcl`, `constraints.sdc` and `macro_placement.tcl` are written for the run.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from dna_asic.errors import ToolError
from flows.openroad.abstracts import require_agreement
from flows.openroad.constraints import constraints
from flows.openroad.floorplan import HALO_ROWS, UTILISATION, floorplan, macro_instances
from flows.openroad.layout import Layout
from flows.openroad.macros import Macro, macro_size_um, write_lefs, write_stubs
from flows.openroad.platforms import Library
from flows.openroad.steps import Step, run_tool

SCRIPT = Path(__file__).with_name("place_route.tcl")
PROGRAM = "openroad"
ABSENT = f"place and route: `{PROGRAM}` is not on PATH; the figures are those of synthesis"


@dataclass(frozen=True, kw_only=True)
class PlaceRoute(Step):
    """Metrics at the library's node: area_um2 (cells and memories, fillers apart), utilisation_pct, wire_length_um,
    drc_violations, worst_slack_ns, worst_hold_slack_ns, total_negative_slack_ns, power_mw, leakage_mw.

    The netlist's cells must all be in the library's LEF. activity: toggles per pin and cycle, on all pins.
    """

    netlist: Path
    top: str
    library: Library
    layout: Layout
    macros: tuple[Macro, ...]
    cell_area_um2: float
    clk_period_ns: float
    activity: float

    def prepare(self, folder: Path) -> None:
        """Write everything that the flow reads into `folder`. Raises SpecError for a damaged or differing LEF."""
        macro_lefs = write_lefs(self.macros, self.layout, folder)
        stubs = write_stubs(self.macros, self.library.platform.supply_v, self.library.platform.setup_ns, folder)
        lefs, liberties = (*self.library.lef, *macro_lefs), (self.library.liberty, *stubs)
        require_agreement(lefs, liberties)
        sizes = {m.name: macro_size_um(m, self.layout) for m in self.macros}
        instances = macro_instances(self.netlist.read_text(), self.top)
        plan = floorplan(instances, sizes, self.cell_area_um2, self.layout)
        (folder / "constraints.sdc").write_text(constraints(self.clk_period_ns, self.library.platform.driver))
        (folder / "macro_placement.tcl").write_text("".join(
            f"place_macro -macro_name {{{path}}} -location {{{x:.4f} {y:.4f}}} -orientation R0\n"
            for path, (x, y) in plan.macros.items()))
        (folder / "setup.tcl").write_text("".join(
            f"set {name} {_tcl(value)}\n" for name, value in self._variables(lefs, liberties, plan).items()))
        shutil.copy(SCRIPT, folder / SCRIPT.name)

    def run(self, folder: Path) -> dict:
        program = shutil.which(PROGRAM)
        if program is None:
            raise ToolError(ABSENT + ".")
        self.prepare(folder)
        log = run_tool([program, "-no_splash", "-exit", SCRIPT.name], folder / "openroad.log")
        return route_metrics(log, (folder / "drc.rpt").read_text(errors="replace"))

    def _variables(self, lefs, liberties, plan):
        layout, platform = self.layout, self.library.platform
        rules = self.library.lef[0].parent.parent / layout.rules if layout.rules else None
        halo = HALO_ROWS * layout.site_um[1]
        return {
            "lefs": lefs, "liberties": liberties, "netlist": self.netlist, "top": self.top, "site": layout.site,
            "die_area": plan.die, "core_area": plan.core, "has_macros": int(bool(plan.macros)),
            "halo": (halo,) * 4, "memory_layer": layout.power_layer, "taps": layout.taps or (),
            "power_pins": layout.power_pins, "ground_pins": layout.ground_pins,
            "straps": tuple((s.layer, s.width, s.pitch) for s in layout.straps),
            "density": min(1.0, UTILISATION + 0.1), "io_layers": layout.io_layers, "rc_layers": layout.rc_layers,
            "signal_layers": layout.signal_layers, "dont_use": platform.dont_use, "ties": platform.ties,
            "clock_buffer": layout.clock_buffer, "fillers": layout.fillers,
            "rules": rules if rules and rules.is_file() else "", "activity": self.activity}


def place_route_step(*, netlist: Path, top: str, library: Library, layout: Layout, macros: tuple[Macro, ...],
                     cell_area_um2: float, clk_period_ns: float, activity: float) -> PlaceRoute:
    """The step with its inputs and outputs declared."""
    return PlaceRoute(
        name="place_route", inputs=(netlist, library.liberty, *library.lef, SCRIPT),
        outputs=("openroad.log", "chip.def"), netlist=netlist, top=top, library=library, layout=layout, macros=macros,
        cell_area_um2=cell_area_um2, clk_period_ns=clk_period_ns, activity=activity,
        config={"top": top, "clk_period_ns": clk_period_ns, "activity": activity, "layout": repr(layout),
                "macros": [repr(m) for m in macros]})


_NUMBER = r"(-?\d[\d.]*(?:[eE][-+]?\d+)?)"
_FIGURES = {  # metric: line of the log; the last that is there counts
    "area_um2": rf"^Design area {_NUMBER} u(?:m)?\^2",
    "utilisation_pct": rf"^Design area \S+ u(?:m)?\^2 {_NUMBER}% utilization",
    "wire_length_um": rf"^Total wire length = {_NUMBER} um",
    **{name: rf"^METRIC {name} {_NUMBER}$"
       for name in ("worst_slack_ns", "worst_hold_slack_ns", "total_negative_slack_ns")},
}


def route_metrics(log: str, drc: str) -> dict:
    """Metrics from OpenROAD's log and its router's DRC report. Raises ToolError naming what is missing."""
    errors = re.findall(r"^\[ERROR .*$|^Error: .*$", log, re.MULTILINE)
    if errors or "PLACE_ROUTE done" not in log:
        said = "; ".join(errors[:3]) or "no error printed; look into openroad.log"
        raise ToolError(f"openroad did not finish: {said}")
    found = {name: re.findall(line, log, re.MULTILINE) for name, line in _FIGURES.items()}
    power = re.findall(rf"^Total\s+{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}\b", log, re.MULTILINE)
    missing = [name for name, figures in {**found, "power_mw": power}.items() if not figures]
    if missing:
        raise ToolError(f"The log of openroad has no {', '.join(missing)}; this version prints another form: look into "
                        f"openroad.log.")
    return {**{name: float(figures[-1]) for name, figures in found.items()},
            "drc_violations": len(re.findall(r"^\s*violation type:", drc, re.MULTILINE)),
            "power_mw": 1e3 * float(power[-1][3]), "leakage_mw": 1e3 * float(power[-1][2])}


def _tcl(value) -> str:
    """A Tcl word: tuples and lists become lists, all else is braced."""
    if isinstance(value, (tuple, list)):
        return "{" + " ".join(map(_tcl, value)) + "}"
    return f"{{{value:g}}}" if isinstance(value, float) else f"{{{value}}}"
