"""`python -m dna_asic.compare`: a run's design beside NASAIC's templates in one model, and its published rows."""

import argparse
import json
import sys
from dataclasses import dataclass

from tqdm import tqdm

from dna_asic.baselines.nasaic import nasaic_accelerators
from dna_asic.command import run_command
from dna_asic.cost import evaluate_design
from dna_asic.errors import InfeasibleDesign, SpecError
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.optimise import Mapper
from dna_asic.report.files import write_json_atomically, write_text_atomically
from dna_asic.report.plots import bar_chart
from dna_asic.report.published import Published, load_published
from dna_asic.report.tables import format_number, format_table, markdown_table
from dna_asic.runs import RunFolder
from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.design import Design, design_from_yaml
from dna_asic.spec.record import to_plain
from dna_asic.spec.report import CostReport
from dna_asic.technology import Technology, load_technology

HEADERS = ("design", "PEs", "cycles", "latency ms", "energy uJ", "area mm2", "EDP J s", "EDP ratio")
PUBLISHED_HEADERS = ("workload", "flow", "accelerators <flow,PEs,GB/s>", "CIFAR-10 %", "second task %", "cycles",
                     "energy (their unit)", "area (their unit)", "cycles ratio", "energy ratio", "area ratio",
                     "energy x cycles ratio")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A value and where it is from: measured (simulated Verilog, synthesised cells), modelled, or both."""

    value: float
    origin: str

    def __str__(self) -> str:
        return f"{format_number(self.value)} {self.origin}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One design on the run's network: one image, one clock and node for all rows."""

    name: str
    pes: int
    cycles: Figure
    latency_s: Figure
    energy_j: Figure
    area_mm2: Figure
    edp_js: Figure


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m dna_asic.compare", description=__doc__)
    p.add_argument("--run", default="runs/latest", help="run folder (default: %(default)s)")
    p.add_argument("--quiet", action="store_true", help="no progress bar")
    return p


def main(argv=None) -> int:
    """Compare; exit status 0, or 2 after one clear error."""
    return run_command(compare, parser(), argv)


def compare(args: argparse.Namespace) -> None:
    """The whole job; see the module."""
    run = RunFolder.open(args.run)
    design = design_from_yaml(run.require("design.yaml", "make search"))
    technology = load_technology(design.target)
    report = design_report(design, technology)
    rows = [modelled_row("this design, cost model", design.accelerator, report)]
    rows += measured_rows(run, design, rows[0])
    templates, failures = template_rows(design, technology, args.quiet)
    published = load_published()
    text = comparison_text(rows + templates, failures, published, design, table=format_table)
    folder = run.stage("compare")
    write_text_atomically(folder / "compare.md", comparison_text(
        rows + templates, failures, published, design, table=markdown_table) + "\n")
    draw(folder / "compare.png", rows + templates, design)
    write_json_atomically(folder / "compare.json", {
        "network": design.network.name, "target": design.target, "clk_period_ns": design.accelerator.clk_period_ns,
        "rows": to_plain(rows + templates), "failures": failures, "published": to_plain(published)})
    print(text)
    best = min(templates, key=lambda row: row.edp_js.value, default=None)
    print(f"compare: rows={len(rows + templates)} failures={len(failures)} edp_js={rows[0].edp_js.value:.4g}"
          + (f" best_template={best.name} best_template_edp_js={best.edp_js.value:.4g}" if best else ""))


def design_report(design: Design, technology: Technology) -> CostReport:
    """The cost model's report of the run's own design."""
    shapes = hardware_shapes(design.network, design.accelerator.port_bytes)
    return evaluate_design(shapes, design.accelerator, design.mappings, technology)


def modelled_row(name: str, accelerator: AcceleratorConfig, report: CostReport) -> Row:
    """A row of which all is the cost model's."""
    modelled = lambda value: Figure(value=value, origin="modelled")  # noqa: E731
    return Row(name=name, pes=sum(chunk.pes for chunk in accelerator.chunks), cycles=modelled(report.latency_cycles),
               latency_s=modelled(report.latency_s), energy_j=modelled(report.energy_j),
               area_mm2=modelled(report.area_mm2), edp_js=modelled(report.edp_js))


def measured_rows(run: RunFolder, design: Design, model: Row) -> list[Row]:
    """The same design as simulated and synthesised, so far as the run has those stages; else no row."""
    simulated, synthesised = (_stage_record(run, name) for name in ("sim/sim.json", "synth/synth.json"))
    if simulated is None and synthesised is None:
        return []
    cycles = model.cycles if simulated is None else Figure(value=simulated["cycles_rtl"], origin="measured")
    if synthesised is None:
        clk_period_ns, area = design.accelerator.clk_period_ns, model.area_mm2
        energy = model.energy_j
    else:
        clk_period_ns = synthesised["clk_period_ns"]
        origin = "logic measured, memories modelled" + ("" if synthesised["scaled"] else ", unscaled node")
        area = Figure(value=synthesised["area_mm2"], origin=origin)
        energy = Figure(value=synthesised["energy"]["energy_j"], origin=origin)
    latency = Figure(value=cycles.value * clk_period_ns * 1e-9, origin=cycles.origin)
    edp = Figure(value=energy.value * latency.value, origin="of these")
    return [Row(name="this design, simulated and synthesised", pes=model.pes, cycles=cycles, latency_s=latency,
                energy_j=energy, area_mm2=area, edp_js=edp)]


def _stage_record(run, relative):
    path = run.path / relative
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        stage = relative.partition("/")[0]
        raise SpecError(f"Record '{path}' is not JSON ({error}); make it again with `make {stage}`.") from error


def template_rows(design: Design, technology: Technology, quiet: bool) -> tuple[list[Row], list[str]]:
    """NASAIC's templates on the run's network, by this project's mapper and model; what cannot run it is named."""
    rows, failures = [], []
    templates = nasaic_accelerators(design.accelerator)
    for name, accelerator in tqdm(templates.items(), desc="templates", disable=quiet, file=sys.stderr):
        shapes = hardware_shapes(design.network, accelerator.port_bytes)
        try:
            mapped = Mapper(accelerator, technology, seed=design.seed).network([shape for _, shape in shapes])
        except InfeasibleDesign as error:
            failures.append(f"{name}: {error}")
            continue
        mappings = dict(zip((layer for layer, _ in shapes), mapped.mappings, strict=True))
        rows.append(modelled_row(name, accelerator, evaluate_design(shapes, accelerator, mappings, technology)))
    return rows, failures


def comparison_text(rows: list[Row], failures: list[str], published: Published, design: Design, table) -> str:
    """Both tables with their headings."""
    own = [(r.name, r.pes, str(r.cycles), _scaled(r.latency_s, 1e3), _scaled(r.energy_j, 1e6), str(r.area_mm2),
            str(r.edp_js), r.edp_js.value / rows[0].edp_js.value) for r in rows]
    theirs = [(r.workload, r.flow, r.accelerators, f"{r.cifar10_pct} {published.mark}",
               f"{r.second_pct} {published.mark}", *(f"{format_number(v)} {published.mark}" for v in
               (r.cycles, r.energy, r.area)), *r.ratios(published.base(r))) for r in published.rows]
    return "\n\n".join([
        f"One network ({design.network.name}), one model: {design.target}, clock {design.accelerator.clk_period_ns:g} "
        f"ns, one image. Each figure says where it is from.",
        table(HEADERS, own), *(f"not run: {failure}" for failure in failures),
        f"As published by {published.source}; {published.mark} = {published.mark_meaning}. Other networks, another "
        f"model and other units than above: compare these rows with each other only (ratios to its own flow). Its "
        f"abstract, {published.abstract}.",
        table(PUBLISHED_HEADERS, theirs)])


def _scaled(figure, factor):
    return str(Figure(value=figure.value * factor, origin=figure.origin))


def draw(path, rows: list[Row], design: Design) -> None:
    """Bars of cycles, energy, area and EDP of the rows that one model judges."""
    panels = [(label, [(r.name, value(r)) for r in rows]) for label, value in (
        ("latency, cycles", lambda r: r.cycles.value), ("energy, uJ", lambda r: r.energy_j.value * 1e6),
        ("area, mm2", lambda r: r.area_mm2.value), ("EDP, J s", lambda r: r.edp_js.value))]
    bar_chart(path, panels, f"{design.network.name} on {design.target}, one image")


if __name__ == "__main__":
    sys.exit(main())
