"""Power of a whole design: what each cell takes (`cell_power`) at what the simulation did with it (`pin_activity`)."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from flows.openroad.cell_power import module_power
from flows.openroad.floorplan import module_instances
from flows.openroad.netlist import Netlist, module_bodies
from flows.openroad.pin_activity import assumed_activity, cell_logic, module_activity, scope_of
from flows.openroad.steps import Step
from flows.openroad.waves import Waves, read_waves

SOURCES = tuple(Path(__file__).with_name(f"{name}.py") for name in (
    "cell_models", "cell_power", "floorplan", "netlist", "pin_activity", "waves"))  # that the step depends on
ASSUMED_ACTIVITY = 0.1  # toggles per pin and cycle where no simulation was recorded: OpenSTA's own default


@dataclass(frozen=True, kw_only=True)
class DesignPower:
    """mW of every module instance's own cells, by path. clock: of clock pins, flip-flops and gates; idle: the part of
    it that no gate stops; moving: of signals.

    mean_activity: toggles per cycle, weighted by what a toggle takes. unknown: see `CellActivity`.
    """

    clock_mw: dict[str, float]
    idle_mw: dict[str, float]
    moving_mw: dict[str, float]
    leakage_mw: dict[str, float]
    mean_activity: float
    unknown: int

    def total_mw(self) -> dict[str, float]:
        """Sum of the three."""
        return {path: mw + self.moving_mw[path] + self.leakage_mw[path] for path, mw in self.clock_mw.items()}


def design_power(netlist: str, top: str, liberty: str, records: dict[str, dict], waves: Waves | None,
                 progress: Callable[[str], None] = lambda line: None) -> DesignPower:
    """Power from the records of `CellPower`; without waves at ASSUMED_ACTIVITY, every clock running.

    Raises SpecError where the waves are of another design.
    """
    logic, places = cell_logic(liberty), {}
    bodies = module_bodies(netlist)
    for path, kind in module_instances(netlist, top).items():
        if kind in bodies:
            places.setdefault(kind, []).append(path)
    root = scope_of(waves, [path for paths in places.values() for path in paths]) if waves else ""
    clock, idle, moving, leakage, busy, unknown = {}, {}, {}, {}, 0.0, 0
    for n, (kind, paths) in enumerate(places.items(), 1):
        progress(f"  activity {n}/{len(places)} {kind}")
        module = Netlist.of(bodies[kind])
        active = (module_activity(module, logic, waves, [f"{root}/{path}".rstrip("/") for path in paths]) if waves
                  else assumed_activity(module, logic, ASSUMED_ACTIVITY))
        of_clock, of_idle, of_signals, leaking = module_power(records[kind], active)
        for k, path in enumerate(paths):
            clock[path], moving[path] = (float(figures[k if waves else 0]) for figures in (of_clock, of_signals))
            idle[path], leakage[path] = of_idle, leaking
        busy += len(paths) * (sum(c[2] for c in records[kind]["cells"].values()) + sum(records[kind]["ports"].values()))
        unknown += active.unknown
    return DesignPower(clock_mw=clock, idle_mw=idle, moving_mw=moving, leakage_mw=leakage, unknown=unknown,
                       mean_activity=sum(moving.values()) / busy if busy else 0.0)


@dataclass(frozen=True, kw_only=True)
class Power(Step):
    """Metrics: those of `DesignPower` (`power_of` reads them), and the cycles of the waves, none without."""

    netlist: Path
    top: str
    liberty: Path
    records: Path
    waves: Path | None
    waves_cycles: int | None
    progress: Callable[[str], None] = field(compare=False)

    def run(self, folder: Path) -> dict:
        seen = read_waves(self.waves, self.waves_cycles) if self.waves is not None else None
        found = design_power(self.netlist.read_text(), self.top, self.liberty.read_text(),
                             json.loads(self.records.read_text()), seen, self.progress)
        return {"power": asdict(found), "cycles": seen and seen.cycles}


def power_step(*, netlist: Path, top: str, liberty: Path, records: Path, waves: Path | None, waves_cycles: int | None,
               progress: Callable[[str], None]) -> Power:
    """The step with its inputs and outputs declared. records: power.json of `CellPower`."""
    given = (netlist, liberty, records) if waves is None else (netlist, liberty, records, waves)
    return Power(name="power", inputs=(*given, *SOURCES), outputs=(), netlist=netlist, top=top, liberty=liberty,
                 records=records, waves=waves, waves_cycles=waves_cycles, progress=progress,
                 config={"top": top, "waves": waves is not None, "waves_cycles": waves_cycles})


def power_of(metrics: dict) -> DesignPower:
    """What the step found."""
    return DesignPower(**metrics["power"])
