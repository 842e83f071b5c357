"""The flow from Verilog to area, slack and power: library, macros, synthesis, timing and power, checks.

    library    the cell library and the factors to the target node         (platforms)
    macros     sram_<words>x<bits> modules priced by the technology         (macros)
    synthesis  Verilog -> netlist of cells, area                            (synthesis)
    timing     netlist -> slack and critical path                           (timing)
    power      of every cell, at what the simulation did with it            (cell_power, pin_activity, power)
    checks     what a reader should know before believing the figures       (checkers)
    place and route, on demand: OpenROAD on the netlist                     (place_route, orfs)
"""

import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dna_asic.errors import SpecError
from dna_asic.technology import Technology
from flows.openroad.cell_power import cell_power_step
from flows.openroad.checkers import check_all, check_clock, check_library
from flows.openroad.floorplan import module_instances
from flows.openroad.layout import layout_of
from flows.openroad.macros import at_node, macro_of, macro_shapes
from flows.openroad.orfs import write_orfs
from flows.openroad.place_route import ABSENT, PROGRAM, place_route_step
from flows.openroad.platforms import find_library, scaling_of
from flows.openroad.power import ASSUMED_ACTIVITY, power_of, power_step
from flows.openroad.steps import run_step
from flows.openroad.synthesis import synthesis_step
from flows.openroad.timing import timing_step

_CHUNK = re.compile(r"chunk_\d+")


@dataclass(frozen=True, kw_only=True)
class SynthRecord:
    """What the flow says of one design. `library_*`: at the library's node; the rest at the target's node.

    area_um2_by_block: cells of each block, and "sram" for all macros. A block is a direct child of the top, or of a
    chunk in it ("chunk_0/core"); "top" and "chunk_0" are their own cells.
    power_mw_by_block likewise without "sram": macros are charged per access, by whoever knows the accesses.
    clock_mw_by_block: the part of it that clocks take. path_blocks: (block, ns) along the critical path.
    modules: of each module its instances, and the area of the cells in one of them, modules below it apart.
    macros: instances of each. activity: where it is from. findings: lines of the checkers. place_route: the metrics of
    `PlaceRoute` at the library's node, with the library's memories; None where it was not asked for or not possible.
    """

    library: str
    library_nm: int
    target_nm: int
    library_note: str
    scaling_note: str
    scaled: bool
    clk_period_ns: float
    cells: int
    library_logic_area_um2: float
    library_power_mw: float
    slack_ps: float
    total_negative_slack_ps: float
    critical_path: str
    area_um2_by_block: dict[str, float]
    power_mw_by_block: dict[str, float]
    clock_mw_by_block: dict[str, float]
    path_blocks: tuple[tuple[str, float], ...]
    leakage_mw: float
    modules: dict[str, tuple[int, float]]
    macros: dict[str, int]
    activity: str
    mean_activity: float
    findings: tuple[str, ...]
    cached: bool
    place_route: dict[str, float] | None = None

    @property
    def area_mm2(self) -> float:
        """Cells and macros."""
        return sum(self.area_um2_by_block.values()) * 1e-6

    @property
    def power_mw(self) -> float:
        """Cells, leakage included, macros not."""
        return sum(self.power_mw_by_block.values())


def top_module(verilog: str) -> str:
    """The first module of a file: rtl_gen writes the top first."""
    match = re.search(r"^\s*module\s+\\?([\w$]+)", verilog, re.MULTILINE)
    if match is None:
        raise SpecError("The Verilog file holds no module; write it again with `make rtl`.")
    return match[1]


def run_flow(*, rtl: Path, out: Path, clk_period_ns: float, technology: Technology,
             waves: Path | None = None, waves_cycles: int | None = None, platform: str | None = None,
             place_and_route: bool = False, cache: Path | None = None, clock_gates: bool = True,
             progress: Callable[[str], None] = lambda line: None) -> SynthRecord:
    """Run all steps on `rtl` with working files under `out`; results of unchanged inputs are taken from there.

    Memories are priced by `technology`, the target node's; their access time is taken to the library's node by the
    published factor of delay. waves: a VCD (.gz too) of the simulation, of which the first waves_cycles count (None:
    all). cache: mapped modules, which designs share (default: under `out`). clock_gates: False lets every clock run.
    Raises SpecError, ToolError.
    """
    rtl, out = rtl.resolve(), out.resolve()  # each tool runs in a folder of its own
    text = rtl.read_text()
    top = top_module(text)
    target_nm = technology.node_nm
    library = find_library(technology, out / "library", platform)
    if not clock_gates:
        library = replace(library, platform=replace(library.platform, clock_gate=()))
    check_library(library)
    check_clock(clk_period_ns, technology, library.platform.node_nm)
    factors = scaling_of(library.platform, target_nm)
    progress(f"[1/5] library {library.platform.name}" + (f" ({library.note})" if library.note else ""))
    common = {"top": top, "platform": library.platform, "clk_period_ns": clk_period_ns, "liberty": library.liberty}
    macros = {name: macro_of(technology, words, bits) for name, words, bits in macro_shapes(text)}
    stubs = tuple(at_node(m, target_nm, library.platform.node_nm) for m in macros.values())
    mapped = _timed(progress, "[2/5] synthesis (Yosys, ABC)", synthesis_step(
        rtl=rtl, cache=(cache or out / "mapped").resolve(), progress=progress, **common), out)
    netlist = mapped.folder / "netlist.v"
    timed = _timed(progress, "[3/5] timing (OpenSTA)", timing_step(netlist=netlist, macros=stubs, **common), out)
    charged = _timed(progress, "[4/5] power of cells (OpenSTA)", cell_power_step(
        netlist=netlist, liberty=library.liberty, platform=library.platform, clk_period_ns=clk_period_ns,
        cache=(cache or out / "mapped").resolve(), progress=progress), out)
    moved = _timed(progress, "[5/5] activity of every net", power_step(
        netlist=netlist, top=top, liberty=library.liberty, records=charged.folder / "power.json", waves=waves,
        waves_cycles=waves_cycles, progress=progress), out)
    power = power_of(moved.metrics)
    placed = None
    if place_and_route:
        nickname = re.sub(r"\W", "_", out.parent.name)
        configs = write_orfs(verilog=text, top=top, nickname=nickname, clk_period_ns=clk_period_ns, out=out / "orfs")
        progress(f"OpenROAD-flow-scripts: {', '.join(map(str, configs))}")
        placed = _place_route(progress, out, place_route_step(
            netlist=netlist, top=top, library=library, macros=stubs, clk_period_ns=clk_period_ns,
            layout=layout_of(library.platform.name, technology), cell_area_um2=mapped.metrics["logic_area_um2"],
            activity=power.mean_activity))
    used = mapped.metrics["macros"]
    modules = mapped.metrics["modules"]
    area = _area_by_block(netlist.read_text(), modules, top, factors.area)
    area["sram"] = sum(count * macros[name].area_um2 for name, count in used.items())
    return SynthRecord(
        library=library.platform.name, library_nm=library.platform.node_nm, target_nm=target_nm,
        library_note=library.note, scaling_note=factors.note, scaled=factors.scaled, clk_period_ns=clk_period_ns,
        cells=mapped.metrics["cells"], library_logic_area_um2=mapped.metrics["logic_area_um2"],
        library_power_mw=sum(power.total_mw().values()), slack_ps=1e3 * timed.metrics["worst_slack_ns"],
        total_negative_slack_ps=1e3 * timed.metrics["total_negative_slack_ns"],
        critical_path=timed.metrics["critical_path"], area_um2_by_block=area,
        power_mw_by_block=_by_block(power.total_mw(), factors.energy),
        clock_mw_by_block=_by_block(power.clock_mw, factors.energy),
        path_blocks=tuple((_block(path), ns) for path, ns in timed.metrics["path_blocks"]),
        modules={name: (m["instances"], m["own_area_um2"] * factors.area) for name, m in modules.items()},
        leakage_mw=sum(power.leakage_mw.values()) * factors.energy, macros=used,
        activity=_origin(waves, moved.metrics["cycles"], power),
        mean_activity=power.mean_activity,
        findings=(*check_all(mapped.metrics, timed.metrics, library, factors, technology),
                  *((ABSENT + ".",) if place_and_route and placed is None else ())),
        cached=mapped.cached and timed.cached and moved.cached, place_route=placed)


def _timed(progress, title, step, out):
    progress(title + " ...")
    start = time.monotonic()
    result = run_step(step, out)
    spent = "unchanged, taken from the last run" if result.cached else f"{time.monotonic() - start:.1f} s"
    progress(f"{title}: {spent}")
    return result


def _place_route(progress, out, step):
    """Metrics, or None without the program: then what it would read is written and checked all the same."""
    if shutil.which(PROGRAM):
        return _timed(progress, "place and route (OpenROAD)", step, out).metrics
    folder = out / step.name
    folder.mkdir(parents=True, exist_ok=True)
    step.prepare(folder)
    progress(ABSENT)
    return None


def _origin(waves, cycles, power):
    if cycles is None:
        return f"assumed: {ASSUMED_ACTIVITY} toggles per pin and cycle, every clock running"
    lacking = f"; {power.unknown} cells depend on registers that they lack" if power.unknown else ""
    return f"simulated: {waves.name}, every net in each of {cycles} cycles{lacking}"


def _block(path):
    """The block of an instance path."""
    names = path.split("/")
    return "/".join(names[:2 if _CHUNK.fullmatch(names[0]) else 1]) or "top"


def _by_block(figures, factor):
    """Sum over instance paths by their block, times a factor."""
    sums = {}
    for path, value in figures.items():
        sums[_block(path)] = sums.get(_block(path), 0.0) + value * factor
    return dict(sorted(sums.items()))


def _area_by_block(netlist, modules, top, factor):
    """Cell area of every block, times a factor."""
    return _by_block({path: modules[kind]["own_area_um2"] for path, kind in module_instances(netlist, top).items()
                      if kind in modules}, factor)
