"""`python -m dna_asic.synth`: synthesise a run's Verilog; area, slack, power and energy beside the cost model's."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from dna_asic.command import add_output_options, going_on, progress, run_command
from dna_asic.cost import LOGIC_LEVELS
from dna_asic.errors import SpecError
from dna_asic.origin import write_origin
from dna_asic.report.files import write_json_atomically, write_text_atomically
from dna_asic.report.tables import format_table
from dna_asic.runs import RunFolder
from dna_asic.silicon.nodes import at_every_node
from dna_asic.spec.design import Design, design_from_yaml
from dna_asic.spec.record import from_plain, to_plain
from dna_asic.spec.report import CostReport
from dna_asic.technology import Technology, load_technology
from flows.openroad.flow import SynthRecord, run_flow
from flows.openroad.platforms import NAMES

MAPPED = ".mapped"  # beside the runs: modules that synthesis has mapped, for all of them
NODE_KEYS = ("target", "clk_period_ns", "area_mm2", "model_area_mm2", "power_mw", "energy_uj", "model_energy_uj",
             "edp_js", "model_edp_js")
NODE_HEADERS = ("target", "clock ns", "area mm2", "cost model", "power mW", "energy uJ", "cost model", "EDP J s",
                "cost model")
WAVES = "sim/activity.vcd.gz"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Energy:
    """Energy of one inference in J, part by part; `latency_cycles` is what turned power into energy.

    logic: power of the synthesised cells (leakage included) x latency. sram: accesses x energy of the technology file.
    sram_leakage: leakage of the macros x latency. dram: bytes x energy of the technology file. simulated: the cycles
    are those of the Verilog, else the model's.
    """

    latency_cycles: float
    simulated: bool
    latency_s: float
    logic_j: float
    sram_j: float
    sram_leakage_j: float
    dram_j: float

    @property
    def total_j(self) -> float:
        """Sum of the parts."""
        return self.logic_j + self.sram_j + self.sram_leakage_j + self.dram_j

    @property
    def edp_js(self) -> float:
        """Energy-delay product."""
        return self.total_j * self.latency_s


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m dna_asic.synth", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples: python -m dna_asic.synth\n"
               "          python -m dna_asic.synth --run runs/digits --platform nangate45 --clk-period-ns 2")
    p.add_argument("--run", default="runs/latest", help="run folder (default: %(default)s)")
    p.add_argument("--platform", choices=NAMES, help="cell library (default: the kit of the target's node if it is "
                   "there, else the predictive one)")
    p.add_argument("--clk-period-ns", type=float, help="clock (default: the design's)")
    p.add_argument("--no-clock-gates", action="store_true", help="let every clock run, to see what the gates save")
    p.add_argument("--pnr", action="store_true", help="place and route with OpenROAD if it is there, and write "
                   "configurations for OpenROAD-flow-scripts")
    p.add_argument("--nodes", action="store_true", help="only a table: the design at 7, 28, 45 and 130 nm, each by the "
                   "predictive library of its node at the clock that it reaches, and by the cost model")
    add_output_options(p)
    return p


def main(argv=None, prog=None) -> int:
    """Run the flow; exit status 0, or 2 after one clear error."""
    return run_command(synth, parser(), argv, prog)


def synth(args: argparse.Namespace) -> dict:
    """The whole job; see the module. Returns the record."""
    run = RunFolder.open(args.run)
    design = design_from_yaml(run.require("design.yaml", "make search"))
    rtl = run.require("rtl/chip.v", "make rtl")
    report = load_report(run.require("report.json", "make search"))
    clk_period_ns = design.accelerator.clk_period_ns if args.clk_period_ns is None else args.clk_period_ns
    if clk_period_ns <= 0:
        raise SpecError(f"--clk-period-ns must be positive, not {clk_period_ns}.")
    technology = load_technology(design.target)
    waves = run.path / WAVES if (run.path / WAVES).is_file() else None
    simulated = simulated_cycles(run)
    cycles = None if simulated is None else round(simulated)  # of one image: the waves go on with all together
    with going_on(f"{args.command_line} (finished steps are not run again)"), run.working("synth") as folder:
        if args.nodes:
            return node_table(args, run, design, at_every_node(
                design, rtl=rtl, folder=folder / "nodes", clk_period_ns=clk_period_ns, waves=waves, waves_cycles=cycles,
                cache=run.path.parent / MAPPED, progress=lambda line: progress(args, line)))
        record = run_flow(
            rtl=rtl, out=folder, clk_period_ns=clk_period_ns, technology=technology, waves=waves, waves_cycles=cycles,
            platform=args.platform, place_and_route=args.pnr, cache=run.path.parent / MAPPED,
            clock_gates=not args.no_clock_gates,
            progress=lambda line: progress(args, line))
        energy = inference_energy(record, report, technology, simulated)
        text, plain = summary_text(record, energy, report), synth_record(record, energy)
        write_text_atomically(folder / "synth.txt", text + "\n")
        write_json_atomically(folder / "synth.json", plain)
        write_origin(folder, args, design.seed, ("pyosys",), ("sta", "openroad"))
    print(text)
    print(last_line(record, energy))
    return {"run": str(run.path)} | plain


def node_table(args: argparse.Namespace, run: RunFolder, design: Design, found: dict) -> dict:
    """Print and keep the table of `at_every_node`; returns its rows."""
    rows = []
    for target, (record, report) in found.items():
        energy = inference_energy(record, report, load_technology(target), simulated_cycles(run))
        rows.append((target, record.clk_period_ns, record.area_mm2, report.area_mm2, record.power_mw,
                     energy.total_j * 1e6, report.energy_j * 1e6, energy.edp_js, report.edp_js))
    text = format_table(NODE_HEADERS, rows)
    write_text_atomically(run.path / "synth" / "nodes.txt", text + "\n")
    print(text)
    print("Predictive libraries: a model's cells, no foundry's; before placement. Power is that of the cells.")
    return {"run": str(run.path), "nodes": [dict(zip(NODE_KEYS, row)) for row in rows]}


def load_report(path: Path) -> CostReport:
    """Read the cost model's report of a run; raises SpecError."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SpecError(f"Report '{path}' is not JSON ({error}); make it again with `make search`.") from error
    return from_plain(CostReport, plain, f"report '{path}'")


def simulated_cycles(run: RunFolder) -> float | None:
    """Cycles of one image in the simulated Verilog; None before `make sim`."""
    path = run.path / "sim" / "report.json"
    return json.loads(path.read_text(encoding="utf-8"))["cycles_rtl"] if path.is_file() else None


def inference_energy(record: SynthRecord, report: CostReport, technology: Technology,
                     simulated: float | None = None) -> Energy:
    """Energy of one inference of the synthesised chip; accesses, and cycles if not simulated, are the cost model's."""
    cycles = report.latency_cycles if simulated is None else simulated
    latency_s = cycles * record.clk_period_ns * 1e-9
    return Energy(
        latency_cycles=cycles, simulated=simulated is not None, latency_s=latency_s,
        logic_j=record.power_mw * 1e-3 * latency_s,
        sram_j=report.energy_pj_by_level["gb"] * 1e-12,
        sram_leakage_j=technology.leakage_mw(record.area_um2_by_block["sram"]) * 1e-3 * latency_s,
        dram_j=report.energy_pj_by_level["dram"] * 1e-12)


def synth_record(record: SynthRecord, energy: Energy) -> dict:
    """Plain data of synth.json: the flow's record, its totals, and the energy with what each part is."""
    return {
        **to_plain(record), "area_mm2": record.area_mm2, "power_mw": record.power_mw,
        "energy": {**to_plain(energy), "energy_j": energy.total_j, "edp_js": energy.edp_js,
                   "origin": {"logic_j": "synthesis", "sram_j": "model", "sram_leakage_j": "model", "dram_j": "model",
                              "latency_cycles": "simulation" if energy.simulated else "model"}},
    }


def summary_text(record: SynthRecord, energy: Energy, report: CostReport) -> str:
    """What was used, the findings, and the two tables."""
    area = sorted(record.area_um2_by_block.items(), key=lambda item: -item[1])
    blocks = [(name, um2 * 1e-6, record.power_mw_by_block.get(name), record.clock_mw_by_block.get(name))
              for name, um2 in _joined(area)]
    lines = [f"library   {record.library} ({record.library_nm} nm)",
             f"scaling   {record.scaling_note}",
             f"clock     {record.clk_period_ns:g} ns, worst slack {record.slack_ps:.0f} ps at the library's node",
             f"path      {', '.join(f'{block} {ns:.2f}' for block, ns in record.path_blocks)} ns",
             f"activity  {record.activity} (mean {record.mean_activity:.3f})",
             f"power     {record.power_mw:.4g} mW, of which {sum(record.clock_mw_by_block.values()):.4g} mW of clocks "
             f"and {record.leakage_mw:.3g} mW of leakage",
             "          cells and pin loads; no wires, no clock tree, no glitches before placement",
             *(f"note      {finding}" for finding in record.findings), *_placed_lines(record)]
    return "\n\n".join([
        "\n".join(lines), format_table(("block", "area mm2", "power mW", "of it clocks"), blocks),
        format_table(("module (its own cells)", "instances", "um2 each", "mm2 all"), _largest(record)),
        format_table(("quantity", "unit", "synthesis", "from", "cost model", "ratio"),
                     comparison(record, energy, report))])


def _placed_lines(record: SynthRecord) -> list[str]:
    placed = record.place_route
    return [] if placed is None else [
        f"routed    {placed['area_um2'] * 1e-6:.4g} mm2 at {placed['utilisation_pct']:.0f} %, "
        f"{placed['wire_length_um'] * 1e-3:.4g} mm of wire, {placed['drc_violations']} DRC violations, slack "
        f"{1e3 * placed['worst_slack_ns']:.0f} ps, {placed['power_mw']:.4g} mW; at {record.library_nm} nm, memories' "
        f"accesses apart"]


def _largest(record: SynthRecord, shown: int = 8) -> list[tuple]:
    rows = [(name, count, um2, count * um2 * 1e-6) for name, (count, um2) in record.modules.items()]
    return sorted(rows, key=lambda row: -row[3])[:shown]


def _joined(area: list[tuple[str, float]], shown: int = 12) -> list[tuple[str, float]]:
    rest = sum(um2 for _, um2 in area[shown:])
    return area[:shown] + ([(f"{len(area) - shown} others", rest)] if rest else [])


def comparison(record: SynthRecord, energy: Energy, report: CostReport) -> list[tuple]:
    """Rows (quantity, unit, synthesis, origin, cost model, ratio)."""
    by_level = report.energy_pj_by_level
    logic_pj = sum(by_level.get(level, 0.0) for level in LOGIC_LEVELS)
    leakage_uj = energy.sram_leakage_j * 1e6
    rows = [
        ("area", "mm2", record.area_mm2, "synthesis + macro table", report.area_mm2),
        ("of which memories", "mm2", record.area_um2_by_block["sram"] * 1e-6, "macro table",
         (report.area_um2_by_block["gb"] + report.area_um2_by_block["parameters"]) * 1e-6),
        ("latency", "ms", energy.latency_s * 1e3, f"{'simulated' if energy.simulated else 'model'} cycles x clock",
         report.latency_s * 1e3),
        ("energy of logic", "uJ", energy.logic_j * 1e6, "synthesis", logic_pj * 1e-6),
        ("energy of SRAM accesses", "uJ", energy.sram_j * 1e6, "model", by_level["gb"] * 1e-6),
        ("leakage (synthesis: SRAM only)", "uJ", leakage_uj, "model", by_level.get("leakage", 0.0) * 1e-6),
        ("energy of DRAM", "uJ", energy.dram_j * 1e6, "model", by_level["dram"] * 1e-6),
        ("energy", "uJ", energy.total_j * 1e6, "sum", report.energy_j * 1e6),
        ("EDP", "J s", energy.edp_js, "energy x latency", report.edp_js),
    ]
    return [(*row, row[2] / row[4] if row[4] else None) for row in rows]


def last_line(record: SynthRecord, energy: Energy) -> str:
    """One line that scripts read; power is that of the cells, macros and DRAM apart."""
    return (f"synth: library={record.library} cells={record.cells} area_mm2={record.area_mm2:.4g} "
            f"slack_ps={record.slack_ps:.0f} power_mw={record.power_mw:.4g} energy_j={energy.total_j:.4g} "
            f"edp_js={energy.edp_js:.4g}")


if __name__ == "__main__":
    sys.exit(main())
