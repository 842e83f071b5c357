"""`python -m dna_asic.nasaic`: NASAIC's three flows in its own space, judged by this project's cost model and mapper.

Space, flows and what is assumed of them: `dna_asic.baselines.nasaic_space`, `nasaic_flows`. The specs follow a searched
run: its area, and some times its latency and energy; or they are given. Each flow ends with a run folder of its own, so
that `make rtl sim synth` take it like any other: trained as a searched network is, int8, mapped with full effort. With
--recost: NASAIC's published points in this cost model. Trained networks, prices and finished flows are kept.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import json
import math
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from dna_asic import learning
from dna_asic.bars import StageBars
from dna_asic.baselines.nasaic_flows import FLOWS, RHO, Bench, Figures, Found
from dna_asic.baselines.nasaic_points import NETWORK, Recosted, recost
from dna_asic.baselines.nasaic_proxy import ProxyAccuracy
from dna_asic.baselines.nasaic_space import NasaicSpace, Silicon, TemplatePricer
from dna_asic.command import add_output_options, going_on, require_ranges, run_command
from dna_asic.compare import design_report
from dna_asic.cosearch.compute import Compute, require_one_process
from dna_asic.cosearch.designs import map_design
from dna_asic.cosearch.training import train_network
from dna_asic.data import DatasetSplits
from dna_asic.errors import InfeasibleDesign
from dna_asic.gads import GadsSpace
from dna_asic.mapping.tilings import QUICK
from dna_asic.networks import make_module
from dna_asic.origin import write_origin
from dna_asic.quantize import quantize_network
from dna_asic.report.files import write_json_atomically, write_text_atomically
from dna_asic.report.published import Published, load_published
from dna_asic.report.tables import format_table, markdown_table
from dna_asic.result import PRICES, write_design
from dna_asic.runs import RunFolder, only_one
from dna_asic.sources import sources_digest
from dna_asic.spec.design import design_from_yaml
from dna_asic.spec.record import from_plain, to_plain
from dna_asic.technology import load_technology

PRICED_BY = ("cost", "mapping", "spec", "technology", "cosearch", "networks/resnet9.py", "baselines")
TRAINED_BY = ("cosearch/training.py", "data", "networks")
TRAINING = "training.pt"
IMAGES = ("dataset", "image_size", "train_images", "test_images")  # arguments that `make sim` needs
RANGES = {name: (1, math.inf) for name in (
    "episodes", "hardware_steps", "train_epochs", "proxy_images", "final_epochs")} | {
    name: (0, math.inf) for name in ("rho", "seed")} | {
    name: (1e-30, math.inf) for name in ("times", "max_latency_cycles", "max_energy_j", "max_area_mm2")}
TIMES = 2.0  # the run's latency and energy: its network has depthwise layers, NASAIC's space has none
HEADERS = ("design", "network", "sub-accelerators <flow,PEs,GB/s>", "int8 test accuracy", "cycles", "energy uJ",
           "area mm2", "EDP J s", "EDP ratio", "meets specs", "episodes", "trained", "mapped")
POINT_HEADERS = ("workload", "flow", "sub-accelerators <flow,PEs,GB/s>", "PEs", "cycles", "energy uJ", "area mm2",
                 "EDP J s", "cycles ratio", "published", "energy ratio", "published", "area ratio", "published",
                 "energy x cycles ratio", "published")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A finished design. accuracy: int8, on test images; meets: whether latency, energy and area are in the specs.

    edp_js: J s. network, hardware: in NASAIC's notation, empty for the run's own design.
    """

    name: str
    network: str
    hardware: str
    accuracy: float | None
    latency_cycles: int
    energy_j: float
    area_mm2: float
    edp_js: float
    meets: bool
    episodes: int | None = None
    trained: int | None = None
    mapped: int | None = None


@dataclass(frozen=True, kw_only=True)
class FlowResult:
    """What is kept of a flow. seconds: of this machine, search and last training."""

    row: Row
    found: Found
    seconds: float


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m dna_asic.nasaic", description=__doc__,
                                epilog="example: python -m dna_asic.nasaic --flow nasaic --episodes 50")
    p.add_argument("--flow", action="append", choices=list(FLOWS), help="may be repeated (default: all)")
    p.add_argument("--recost", action="store_true", help="NASAIC's published points instead of its flows")
    p.add_argument("--episodes", type=int, default=500, help="networks that a controller names (default: %(default)s)")
    p.add_argument("--hardware-steps", type=int, default=10,
                   help="hardware tried in an episode of nasaic; of Monte Carlo: per episode (default: %(default)s)")
    p.add_argument("--rho", type=float, default=RHO, help="weight of the violation (default: %(default)s)")
    learning.add_arguments(p)
    p.add_argument("--train-epochs", type=int, default=5,
                   help="epochs after which a network is judged (default: %(default)s)")
    p.add_argument("--proxy-images", type=int, metavar="N",
                   help="images that it learns from until then, as many of each class (default: all)")
    p.add_argument("--final-epochs", type=int, default=30,
                   help="epochs of the network that a flow ends with (default: %(default)s)")
    p.add_argument("--seed", type=int, default=0, help="everything random follows from it (default: %(default)s)")
    p.add_argument("--run", help="searched run that gives specs, technology and clock (default: runs/latest, where "
                                 "it is needed)")
    p.add_argument("--times", type=float, default=TIMES,
                   help="latency and energy limits, over the run's (default: %(default)s)")
    p.add_argument("--max-latency-cycles", type=float, help="limit of one image (default: by the run)")
    p.add_argument("--max-energy-j", type=float, help="limit of one image (default: by the run)")
    p.add_argument("--max-area-mm2", type=float, help="limit (default: the run's area)")
    p.add_argument("--target", default="asic-28nm", help="technology, where no run is taken (default: %(default)s)")
    p.add_argument("--out", type=Path, default=Path("runs/nasaic"), help="folder (default: %(default)s)")
    add_output_options(p)
    return p


def main(argv=None, prog=None) -> int:
    """Exit status 0, or 2 after one clear error."""
    return run_command(run, parser(), argv, prog)


def run(args: argparse.Namespace) -> dict:
    """The whole job; see the module. Returns what was written."""
    require_ranges(args, RANGES | learning.RANGES)
    torch.set_num_threads(1)
    with going_on(f"{args.command_line} (what was trained, priced and finished is kept)"):
        return recost_points(args) if args.recost else run_flows(args)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What designs are made with and held against. own: the run's design, if a run is taken."""

    silicon: Silicon
    limits: Figures | None
    own: Row | None

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Reference":
        """From the command line; raises SpecError."""
        given = (args.max_latency_cycles, args.max_energy_j, args.max_area_mm2)
        if args.run is None and (args.recost or None not in given):
            technology = load_technology(args.target)
            silicon = Silicon(technology=technology, clk_period_ns=technology.clk_period_ns,
                              memory_latency_cycles=GadsSpace.load().memory_latency_cycles)
            return cls(silicon=silicon, own=None, limits=None if args.recost else Figures(
                latency_cycles=given[0], energy_j=given[1], area_mm2=given[2]))
        found = RunFolder.open(args.run or "runs/latest")
        design = design_from_yaml(found.require("design.yaml", "make search"))
        summary = found.summary()
        chip, technology = design.accelerator, load_technology(design.target)
        report = design_report(design, technology)
        limits = Figures(latency_cycles=given[0] or args.times * report.latency_cycles,
                         energy_j=given[1] or args.times * report.energy_j, area_mm2=given[2] or report.area_mm2)
        own = _row("the run's design", report, limits,
                   accuracy=summary.get("int8_test_accuracy") if summary.get("dataset") == args.dataset else None)
        return cls(limits=limits, own=own, silicon=Silicon(
            technology=technology, clk_period_ns=chip.clk_period_ns, memory_latency_cycles=chip.memory_latency_cycles))


def _row(name, report, limits, network="", hardware="", **more) -> Row:
    """edp_js, ...: of a cost report."""
    figures = Figures(latency_cycles=report.latency_cycles, energy_j=report.energy_j, area_mm2=report.area_mm2)
    return Row(name=name, network=network, hardware=hardware, **to_plain(figures), edp_js=report.edp_js,
               meets=figures.meets(limits), **more)


def run_flows(args: argparse.Namespace) -> dict:
    """Each flow asked for, in turn; the table and the last lines."""
    require_one_process("A flow of NASAIC's")
    reference = Reference.of(args)
    flows = Flows(args, reference, learning.load_splits(args), Compute.named(args.device, args.dataset))
    results, failures = [], []
    with only_one(flows.folder, "nasaic"):
        for name in args.flow or FLOWS:
            try:
                results.append(flows.result(name))
            except InfeasibleDesign as error:
                failures.append(f"{name}: {error}")
    if not results:
        raise InfeasibleDesign("\n".join(failures))
    rows = [row for row in (reference.own, *(result.row for result in results)) if row]
    record = {"target": reference.silicon.technology.name, "clk_period_ns": reference.silicon.clk_period_ns,
              "dataset": args.dataset, "limits": to_plain(reference.limits), "rows": to_plain(tuple(rows)),
              "failures": failures}
    write_json_atomically(flows.folder / "nasaic.json", record)
    write_text_atomically(flows.folder / "nasaic.md", flows.text(rows, failures, markdown_table) + "\n")
    write_origin(flows.folder, args, args.seed, ("torch",))
    print(flows.text(rows, failures, format_table))
    for row in (result.row for result in results):
        print(f"nasaic: flow={row.name} accuracy={row.accuracy:.4f} latency_cycles={row.latency_cycles} "
              f"energy_j={row.energy_j:.4g} area_mm2={row.area_mm2:.4g} edp_js={row.edp_js:.4g} "
              f"episodes={row.episodes} meets_specs={'yes' if row.meets else 'no'} out={flows.folder / row.name}")
    return {"out": str(flows.folder)} | record


class Flows:
    """The flows of one command line. folder: of whatever has these arguments and sources."""

    def __init__(self, args: argparse.Namespace, reference: Reference, splits: DatasetSplits, compute: Compute):
        self.args, self.silicon, self.limits, self.splits = args, reference.silicon, reference.limits, splits
        self.compute, self.teacher = compute, learning.load_teacher(args, splits)
        taught = self.teacher and RunFolder.open(args.teacher).summary()
        self.space = NasaicSpace(input_shape=splits.input_shape, classes=splits.num_classes)
        self.prices_key = sources_digest(PRICED_BY)
        images = [compute.device.type, compute.mixed, args.seed, args.dataset, args.proxy_images,
                  *(getattr(args, name) for name in learning.RANGES)]
        key = _digest(*images, args.episodes, args.hardware_steps, args.rho, args.train_epochs, args.final_epochs,
                      taught, to_plain(self.limits), self.silicon.technology.name, self.silicon.clk_period_ns,
                      self.silicon.memory_latency_cycles, self.prices_key, sources_digest((*TRAINED_BY, "quantize")))
        self.folder = args.out / f"{args.dataset.partition(':')[0]}-{key}"
        fewer = splits.with_train_images(args.proxy_images, args.seed) if args.proxy_images else splits
        self.accuracy = ProxyAccuracy(
            space=self.space, splits=fewer, epochs=args.train_epochs, seed=args.seed, compute=compute,
            settings=dataclasses.replace(learning.train_settings(args), cutout=0, cutmix=0.0),
            folder=args.out / "accuracy" / _digest(*images, args.train_epochs, sources_digest(TRAINED_BY)))

    def result(self, name: str) -> FlowResult:
        """A flow and the design that it ends with, or what was kept of it."""
        path = self.folder / name / "flow.json"
        if path.is_file():
            return from_plain(FlowResult, json.loads(path.read_text(encoding="utf-8")), f"file '{path}'")
        started = time.monotonic()
        prices = self.folder / name / PRICES
        pricer = TemplatePricer(self.silicon.technology, self.args.seed, QUICK, folder=prices, key=self.prices_key)
        bench = Bench(self.space, self.silicon, pricer, self.limits, self.accuracy, self.args.seed, self.args.rho)
        with contextlib.closing(StageBars(self.args.quiet, name)) as bar:
            found = FLOWS[name](bench, self.args.episodes, self.args.hardware_steps, bar)
            row = self.finish(found, pricer, bar)
        result = FlowResult(row=row, found=found, seconds=time.monotonic() - started)
        write_json_atomically(path, to_plain(result))
        (path.parent / TRAINING).unlink()
        shutil.rmtree(prices)
        return result

    def finish(self, found: Found, pricer: TemplatePricer, bar: StageBars) -> Row:
        """Map with full effort, train, quantise; a run folder as `search` leaves it."""
        args, run = self.args, RunFolder(self.folder / found.flow)
        run.path.mkdir(parents=True, exist_ok=True)
        design = map_design(self.silicon.chip(found.hardware), self.space.network(found.network), pricer, args.seed)
        module = train_network(make_module(self.space.network(found.network), args.seed),
                               self.splits.with_val_in_train(), args.final_epochs, args.seed,
                               settings=learning.train_settings(args), checkpoint=run.path / TRAINING,
                               compute=self.compute, teacher=self.teacher,
                               progress=lambda i, _: bar("training", i + 1, args.final_epochs))
        quant = quantize_network(module, learning.calibration_images(self.splits))
        accuracies = learning.judge_on_test(module, quant, self.splits, self.compute)
        write_json_atomically(run.path / "arguments.json", {name: getattr(args, name) for name in IMAGES})
        write_design(run, argparse.Namespace(target=self.silicon.technology.name, seed=args.seed), quant, design,
                     list(map(str, found.network)), accuracies | {"dataset": args.dataset})
        write_origin(run.path, args, args.seed, ("torch", "numpy"))
        return _row(found.flow, design.report, self.limits, accuracy=accuracies["int8_test_accuracy"],
                    episodes=len(found.episodes), network=f"<{','.join(map(str, found.network))}>",
                    hardware=" ".join(map(str, found.hardware)), trained=found.trained, mapped=found.mapped)

    def text(self, rows: Sequence[Row], failures: Sequence[str], table) -> str:
        """The table, by `table` (headings, rows), with what it is of and what is not in it."""
        first, limits = rows[0], self.limits
        return "\n\n".join([
            f"One cost model and mapper: {self.silicon}, one image of {self.args.dataset}. Specs: "
            f"{limits.latency_cycles:,.0f} cycles, {limits.energy_j * 1e6:.4g} uJ, {limits.area_mm2:.4g} mm2. "
            f"Networks: <stem filters, then filters and skip layers of each block>.",
            table(HEADERS, [(r.name, r.network, r.hardware, r.accuracy, r.latency_cycles, r.energy_j * 1e6, r.area_mm2,
                             r.edp_js, r.edp_js / first.edp_js, "yes" if r.meets else "no", r.episodes, r.trained,
                             r.mapped) for r in rows]), *(f"not shown: {failure}" for failure in failures)])


def _digest(*parts) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def recost_points(args: argparse.Namespace) -> dict:
    """The published points, their table and the last line."""
    published, silicon = load_published(), Reference.of(args).silicon
    folder = args.out / f"recost-{_digest(silicon.technology.name, silicon.clk_period_ns, args.seed)}"
    pricer = TemplatePricer(silicon.technology, args.seed, QUICK, folder=folder / PRICES,
                            key=sources_digest(PRICED_BY))
    with only_one(folder, "nasaic"), tqdm(total=len(published.rows), desc="points", unit="chip", disable=args.quiet,
                                          file=sys.stderr) as bar:
        points = tuple(recost(published, silicon, pricer, args.seed, progress=bar.update))
    table = PointTable(points=points, published=published, silicon=silicon)
    record = {"target": silicon.technology.name, "clk_period_ns": silicon.clk_period_ns, "network": list(NETWORK),
              "published": to_plain(published), "points": to_plain(points)}
    write_json_atomically(folder / "recost.json", record)
    write_text_atomically(folder / "recost.md", table.text(markdown_table) + "\n")
    write_origin(folder, args, args.seed, ("torch",))
    print(table.text(format_table))
    print(f"nasaic: recost={len(points)} out={folder} target={silicon.technology.name} {table.ratios('NAS->ASIC')}")
    return {"out": str(folder)} | record


@dataclass(frozen=True, kw_only=True)
class PointTable:
    """Re-costed points beside what is published of them: ratios to the row of the paper's own flow alone."""

    points: tuple[Recosted, ...]
    published: Published
    silicon: Silicon

    def base(self, point: Recosted) -> Recosted:
        """The point of the paper's own flow for the same workload."""
        row = self.published.base(point.row)
        return next(other for other in self.points if other.row == row)

    def text(self, table) -> str:
        """The table, by `table` (headings, rows), with what it is of."""
        paper = self.published
        return "\n\n".join([
            f"NASAIC's points in this cost model and mapper: {self.silicon}, one image. All run the ResNet9 "
            f"<{','.join(map(str, NETWORK))}>, as the networks of the rows are not known here. Ratios are to the row "
            f"NASAIC of the same workload; 'published': between the figures of {paper.source}, of other networks, "
            f"another model and other units; {paper.mark} = {paper.mark_meaning}.",
            table(POINT_HEADERS, list(map(self._row, self.points)))])

    def _row(self, point):
        row, mark = point.row, self.published.mark
        pairs = zip(point.ratios(self.base(point)), row.ratios(self.published.base(row)), strict=True)
        return (row.workload, row.flow, f"{row.accelerators} {mark}", point.pes, point.latency_cycles,
                point.energy_j * 1e6, point.area_mm2, point.edp_js,
                *(cell for ours, theirs in pairs for cell in (ours, f"{theirs:.4g} {mark}")))

    def ratios(self, flow: str) -> str:
        """Geometric means of the re-costed ratios of a flow over the workloads."""
        rows = [point.ratios(self.base(point)) for point in self.points if point.row.flow == flow]
        names = (f"{flow.lower().replace('->', '_')}_{name}_ratio" for name in ("cycles", "energy", "area", "edp"))
        return " ".join(f"{name}={statistics.geometric_mean(column):.3f}"
                        for name, column in zip(names, zip(*rows, strict=True), strict=True))


if __name__ == "__main__":
    sys.exit(main())
