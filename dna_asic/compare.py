"""`python -m dna_asic.compare`: a run's design beside NASAIC's templates in one model, and its published rows."""

import argparse
import json
import sys
from dataclasses import dataclass

import torch
from tqdm import tqdm

from dna_asic.baselines.nasaic import SizedTemplate, nasaic_accelerators
from dna_asic.command import add_output_options, run_command
from dna_asic.cost import evaluate_design
from dna_asic.errors import InfeasibleDesign, SpecError
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.origin import write_origin
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

HEADERS = ("design", "figures are", "PEs", "cycles", "latency ms", "energy uJ", "area mm2", "EDP J s", "EDP ratio")
SIZE_HEADERS = ("template", "spatial dims", "rows x cols", "RF words W/I/O", "GB KiB W/I/O", "widths W/I/O/pp",
                "port bytes", "sizes priced", "tilings priced")
PUBLISHED_HEADERS = ("workload", "flow", "figures are", "accelerators <flow,PEs,GB/s>", "CIFAR-10 %", "second task %",
                     "cycles", "energy (their unit)", "area (their unit)", "cycles ratio", "energy ratio",
                     "area ratio", "energy x cycles ratio")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One design on the run's network: one image, one clock and node for all rows. origin: measured (simulated
    Verilog, synthesised cells) or modelled, figure by figure where they differ.
    """

    name: str
    origin: str
    pes: int
    cycles: float
    latency_s: float
    energy_j: float
    area_mm2: float
    edp_js: float


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m dna_asic.compare", description=__doc__,
                                epilog="example: python -m dna_asic.compare --run runs/digits")
    p.add_argument("--run", default="runs/latest", help="run folder (default: %(default)s)")
    add_output_options(p)
    return p


def main(argv=None, prog=None) -> int:
    """Compare; exit status 0, or 2 after one clear error."""
    return run_command(compare, parser(), argv, prog)


def compare(args: argparse.Namespace) -> dict:
    """The whole job; see the module. Returns the record."""
    torch.set_num_threads(1)  # the mapper's batches are small: a second thread costs more than it brings
    run = RunFolder.open(args.run)
    design = design_from_yaml(run.require("design.yaml", "make search"))
    technology = load_technology(design.target)
    model = modelled_row("this design", design.accelerator, design_report(design, technology))
    measured, failures = measured_rows(run, design, model)
    sized = size_templates(design, technology, args.quiet)
    templates = [modelled_row(f"NASAIC template {name}", template.accelerator, template.report)
                 for name, template in sized.items() if isinstance(template, SizedTemplate)]
    failures += [str(error) for error in sized.values() if isinstance(error, InfeasibleDesign)]
    comparison = Comparison(design=design, rows=(model, *measured, *templates), failures=tuple(failures), templates={
        name: template for name, template in sized.items() if isinstance(template, SizedTemplate)},
        published=load_published())
    with run.working("compare") as folder:
        write_text_atomically(folder / "compare.md", comparison.text(markdown_table) + "\n")
        write_json_atomically(folder / "compare.json", comparison.record())
        draw(folder / "compare.png", comparison)
        write_origin(folder, args, design.seed, ("torch", "matplotlib"))
    print(comparison.text(format_table))
    print(comparison.last_line(folder))
    return {"run": str(run.path)} | comparison.record()


def design_report(design: Design, technology: Technology) -> CostReport:
    """The cost model's report of the run's own design."""
    shapes = hardware_shapes(design.network, design.accelerator.port_bytes)
    return evaluate_design(shapes, design.accelerator, design.mappings, technology, design.pipeline)


def modelled_row(name: str, accelerator: AcceleratorConfig, report: CostReport) -> Row:
    """A row of which all is the cost model's."""
    return Row(name=name, origin="modelled", pes=accelerator.pes, cycles=report.latency_cycles,
               latency_s=report.latency_s, energy_j=report.energy_j, area_mm2=report.area_mm2, edp_js=report.edp_js)


def measured_rows(run: RunFolder, design: Design, model: Row) -> tuple[list[Row], list[str]]:
    """The same design as simulated and synthesised, so far as the run has those stages; and what speaks against it."""
    simulated, synthesised = (_stage_record(run, name) for name in ("sim/report.json", "synth/synth.json"))
    if simulated and simulated["mismatches"]:
        return [], [f"Run '{run.path}': its Verilog computed {simulated['mismatches']} wrong bytes; see `make sim`."]
    if not (simulated or synthesised):
        return [], []
    cycles, clk_period_ns = model.cycles, design.accelerator.clk_period_ns
    area_mm2, energy_j, name, origin = model.area_mm2, model.energy_j, [], []
    if simulated:
        cycles = _cycles_per_image(run, simulated, int(model.cycles))
        name, origin = ["simulated"], ["cycles measured"]
    if synthesised:
        clk_period_ns, area_mm2 = synthesised["clk_period_ns"], synthesised["area_mm2"]
        energy_j = synthesised["energy"]["energy_j"]
        name.append("synthesised")
        origin.append("area and energy: logic measured, memories modelled")
    latency_s = cycles * clk_period_ns * 1e-9
    return [Row(name="this design, " + " and ".join(name), origin="; ".join([*origin, "rest modelled"]), pes=model.pes,
                cycles=cycles, latency_s=latency_s, energy_j=energy_j, area_mm2=area_mm2,
                edp_js=energy_j * latency_s)], []


def _cycles_per_image(run, simulated, latency_cycles):
    """Simulated cycles of one image; the record may add up those of all its images."""
    images, odd = divmod(simulated["cycles_model"], latency_cycles)
    if odd or images not in (1, simulated["images"]):
        raise SpecError(f"Record '{run.path / 'sim/report.json'}': cycles_model must be the design's {latency_cycles}, "
                        f"not {simulated['cycles_model']}; make it again with `make sim`.")
    return simulated["cycles_rtl"] / images


def _stage_record(run, relative):
    path = run.path / relative
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        stage = relative.partition("/")[0]
        raise SpecError(f"Record '{path}' is not JSON ({error}); make it again with `make {stage}`.") from error


def size_templates(design: Design, technology: Technology, quiet: bool) -> dict[str, SizedTemplate | InfeasibleDesign]:
    """`nasaic_accelerators` behind a progress bar."""
    with tqdm(desc="templates", unit="chip", disable=quiet, file=sys.stderr) as bar:
        def progress(now: int, total: int) -> None:
            bar.total = total
            bar.update(now)
        return nasaic_accelerators(design, technology, progress=progress)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that is shown. failures: one error text per row that could not be made."""

    design: Design
    rows: tuple[Row, ...]
    failures: tuple[str, ...]
    templates: dict[str, SizedTemplate]
    published: Published

    def text(self, table) -> str:
        """The tables, by `table` (headings, rows), with what each of them is."""
        design, published = self.design, self.published
        return "\n\n".join([
            f"One network ({design.network.name}), one cost model and mapper: {design.target}, clock "
            f"{design.accelerator.clk_period_ns:g} ns, one image.",
            table(HEADERS, [self._row(r) for r in self.rows]), *(f"not shown: {failure}" for failure in self.failures),
            f"NASAIC's templates as sized here for the least EDP within this design's {self.rows[0].area_mm2:.4g} mm2:",
            table(SIZE_HEADERS, [_size_row(name, t) for name, t in self.templates.items()]),
            f"As published by {published.source}; {published.mark} = {published.mark_meaning}. Other networks, another "
            f"model and other units than above: compare these rows with each other only (ratios to its own flow). Its "
            f"abstract, {published.abstract}.",
            table(PUBLISHED_HEADERS, [_published_row(r, published) for r in published.rows])])

    def _row(self, r):
        return (r.name, r.origin, r.pes, round(r.cycles), r.latency_s * 1e3, r.energy_j * 1e6, r.area_mm2, r.edp_js,
                r.edp_js / self.rows[0].edp_js)

    def record(self) -> dict:
        """Plain data of compare.json."""
        return {"network": self.design.network.name, "target": self.design.target,
                "clk_period_ns": self.design.accelerator.clk_period_ns, "rows": to_plain(self.rows),
                "failures": list(self.failures), "published": to_plain(self.published),
                "templates": {name: to_plain(template) for name, template in self.templates.items()}}

    def last_line(self, folder) -> str:
        """One line that scripts read."""
        line = (f"compare: out={folder} rows={len(self.rows)} not_shown={len(self.failures)} "
                f"edp_js={self.rows[0].edp_js:.4g} "
                f"evaluations={sum(template.evaluations for template in self.templates.values())}")
        if not self.templates:
            return line
        name, best = min(self.templates.items(), key=lambda item: item[1].report.edp_js)
        return f"{line} best_template={name} best_template_edp_js={best.report.edp_js:.4g}"


def _size_row(name, template):
    chunk = template.accelerator.chunk
    slashed = lambda *values: "/".join(format_number(v) for v in values)  # noqa: E731
    return (name, f"{chunk.row_dim.name},{chunk.col_dim.name}", f"{chunk.pe_rows} x {chunk.pe_cols}",
            slashed(chunk.rf_w_words, chunk.rf_i_words, chunk.rf_o_words),
            slashed(*(size / 1024 for size in (chunk.gb_w_bytes, chunk.gb_i_bytes, chunk.gb_o_bytes))),
            slashed(chunk.n_w, chunk.n_i, chunk.n_o, chunk.n_pp), template.accelerator.port_bytes,
            template.points, template.evaluations)


def _published_row(row, published):
    marked = lambda value: f"{format_number(value)} {published.mark}"  # noqa: E731
    return (row.workload, row.flow, "published", f"{row.accelerators} {published.mark}", marked(row.cifar10_pct),
            marked(row.second_pct), marked(row.cycles), marked(row.energy), marked(row.area),
            *row.ratios(published.base(row)))


def draw(path, comparison: Comparison) -> None:
    """Bars of cycles, energy, area and EDP of the rows that one model judges."""
    panels = [(label, [(f"{r.name} ({r.origin})", value(r)) for r in comparison.rows]) for label, value in (
        ("latency, thousand cycles", lambda r: r.cycles * 1e-3), ("energy, uJ", lambda r: r.energy_j * 1e6),
        ("area, mm2", lambda r: r.area_mm2), ("EDP, nJ s", lambda r: r.edp_js * 1e9))]
    bar_chart(path, panels, f"{comparison.design.network.name} on {comparison.design.target}, one image")


if __name__ == "__main__":
    sys.exit(main())
