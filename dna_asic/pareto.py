"""`python -m dna_asic.pareto`: searches over the weight of the hardware cost, and over modes: accuracy against EDP.

Each point is a run of `search` below runs/<name>/, and takes that command's options. Weights are spaced by equal ratios
over two decades around the default; modes without a hardware cost in the network's search have one point each. Finished
points are kept, half-finished ones gone on with. Whole runs of other methods, as of `make nasaic`, can stand beside.
"""

import argparse
import contextlib
import functools
import hashlib
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dna_asic import goals, search
from dna_asic.command import add_output_options, going_on, numbers, progress, run_command
from dna_asic.cosearch.compute import require_one_process, share_cores
from dna_asic.cosearch.joint import JointSettings
from dna_asic.errors import InfeasibleDesign, SpecError, TargetMissed, ToolError
from dna_asic.goals import Mode
from dna_asic.origin import write_origin
from dna_asic.report.files import write_json_atomically, write_text_atomically
from dna_asic.report.plots import front_chart
from dna_asic.report.tables import format_table, markdown_table
from dna_asic.runs import MARKER, RunFolder, only_one
from dna_asic.spec.record import to_plain

HEADERS = ("mode", "lambda", "int8 accuracy %", "cycles", "energy uJ", "area mm2", "EDP J s", "front", "targets", "run")
SHARED = ("dataset", "image_size", "test_images", "target")  # of runs that stand beside the points
# What a warm-up does not depend on.
AFTER_WARM_UP = ("mode", "hw_weight", "train_epochs", "das_steps", "no_network_polish", "learning_rate",
                 "label_smoothing", "cutout", "cutmix", "teacher", "target", "space", "pins", *goals.TARGETS)
DECADES = 1.0  # on either side of the default weight
Mapped = Callable[[Callable, Iterable], Iterable]  # as `map`


@dataclass(frozen=True, kw_only=True)
class Point:
    """One search, or a run beside (mode: its folder's name). hw_weight: none where the mode has no such cost. missed:
    targets; none beside, where nobody asked. failure: why there is no design, and no figures.
    """

    mode: str
    hw_weight: float | None
    run: str
    accuracy: float | None = None
    latency_cycles: int | None = None
    energy_j: float | None = None
    area_mm2: float | None = None
    edp_js: float | None = None
    missed: tuple[str, ...] | None = ()
    failure: str | None = None


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m dna_asic.pareto", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples: python -m dna_asic.pareto --points 5 --processes 2\n"
               "          python -m dna_asic.pareto --hw-weights 0.005,0.05 --max-area-mm2 0.5\n"
               "          python -m dna_asic.pareto --mode joint --mode sequential --mode network-only --points 1")
    search.add_arguments(p)
    p.add_argument("--mode", action="append", choices=[str(mode) for mode in Mode],
                   help=f"may be repeated; {goals.ABOUT_MODES} (default: joint)")
    p.add_argument("--points", type=int, default=5, help="weights of the hardware cost (default: %(default)s)")
    p.add_argument("--hw-weights", type=numbers, metavar="A,B,C", help="these weights instead")
    p.add_argument("--beside", action="append", default=[], metavar="RUN",
                   help="whole run of the same images and target, for table and picture; may be repeated")
    p.add_argument("--processes", type=int, default=1, help="searches at once (default: %(default)s)")
    p.add_argument("--ray", metavar="ADDRESS", help="searches on the Ray cluster there ('local': started here), whose "
                                                    "nodes share this folder")
    p.add_argument("--name", help="folder of the points (default: pareto-<dataset>-<target>-seed<seed>)")
    p.add_argument("--runs-dir", type=Path, default=Path("runs"), help="folder of that one (default: %(default)s)")
    add_output_options(p)
    return p


def main(argv=None, prog=None) -> int:
    """Exit status 0, or 2 after one clear error."""
    return run_command(pareto, parser(), argv, prog)


def pareto(args: argparse.Namespace) -> dict:
    """The whole job; see the module. Returns what was written."""
    if args.points < 1 or args.processes < 1:
        raise SpecError(f"--points and --processes must be at least 1, not {args.points} and {args.processes}.")
    folder = args.runs_dir / (args.name or f"pareto-{args.dataset.partition(':')[0]}-{args.target}-seed{args.seed}")
    require_one_process("A front of searches")
    jobs, points, beside = plan(args, folder), [], [point_beside(args, run) for run in args.beside]
    with only_one(folder, "pareto"), going_on(f"{args.command_line} (finished points are kept)"):
        with executor(args.processes, args.ray) as mapped:
            for point in mapped(functools.partial(search_point, os.getcwd()), jobs):
                points.append(point)
                progress(args, f"point {len(points)} of {len(jobs)}, {point.run}: "
                               f"{point.failure or f'accuracy {point.accuracy:.4f}, EDP {point.edp_js:.4g} J s'}")
        return report(args, folder, points + beside)


def plan(args: argparse.Namespace, folder: Path) -> list[argparse.Namespace]:
    """The arguments of each search: of `joint` one per weight, of other modes one. All share one warm-up."""
    common = {k: getattr(args, k, v) for k, v in vars(search.parser().parse_args([])).items()} | {
        "runs_dir": folder, "json": False, "quiet": args.quiet or args.processes > 1 or args.ray is not None,
        "program": "python -m dna_asic.search", "command_line": args.command_line}
    alike = sorted((k, str(v)) for k, v in common.items() if k not in (*search.NOT_KEPT, *AFTER_WARM_UP))
    common["warm_up"] = folder / f"warm-up-{hashlib.sha256(repr(alike).encode()).hexdigest()[:12]}.pt"
    points = [(mode, f"{mode}-{weight:g}" if mode == Mode.JOINT else mode, weight)
              for mode in dict.fromkeys(args.mode or [str(Mode.JOINT)])
              for weight in (args.hw_weights or spaced(args.points) if mode == Mode.JOINT else spaced(1))]
    return [argparse.Namespace(**common | {"mode": mode, "name": name, "hw_weight": weight})
            for mode, name, weight in dict.fromkeys(points)]


def spaced(count: int) -> list[float]:
    """Weights by equal ratios over DECADES on either side of the default, to three digits; one: the default."""
    shifts = [DECADES * (2 * i / (count - 1) - 1) for i in range(count)] if count > 1 else [0.0]
    return [float(f"{JointSettings.hw_weight * 10**shift:.3g}") for shift in shifts]


@contextlib.contextmanager
def executor(processes: int, ray_address: str | None) -> Iterator[Mapped]:
    """`map`: in this process, in several, or on a Ray cluster. An early end stops the searches of the several."""
    if ray_address:
        with ray_cluster(ray_address) as mapped:
            yield mapped
    elif processes == 1:
        yield map
    else:
        pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _begin, (processes,))
        try:
            yield pool.map
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(processes):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that began this one to answer
    share_cores(processes)


@contextlib.contextmanager
def ray_cluster(address: str) -> Iterator[Mapped]:
    """`map` over the nodes of a Ray cluster. Raises ToolError without the package, or where no cluster answers."""
    try:
        import ray
    except ImportError as error:
        raise ToolError("--ray needs the Python package 'ray'; install it, or use --processes.") from error
    try:
        ray.init(address=address)
    except ConnectionError as error:
        raise ToolError(f"Ray: no cluster at '{address}' ({error}); start one, or use --processes.") from error

    def mapped(function: Callable, items: Iterable) -> Iterable:
        remote = ray.remote(lambda item: function(item))  # Ray takes no partial function
        return map(ray.get, [remote.remote(item) for item in items])

    try:
        yield mapped
    finally:
        ray.shutdown()


def search_point(cwd: str, args: argparse.Namespace) -> Point:
    """One search, in whatever process: new, gone on with, or kept; what it prints goes to a file beside its run.

    Raises SpecError for a run of that name which other options made.
    """
    os.chdir(cwd)
    path = args.runs_dir / args.name
    point = functools.partial(Point, mode=args.mode, run=str(path),
                              hw_weight=args.hw_weight if args.mode == Mode.JOINT else None)
    if (path / search.ARGUMENTS).is_file():
        require_same(args, path)
        args.resume = path
    elif (path / MARKER).is_file():
        shutil.rmtree(path)  # stopped before there was anything
    if args.resume is None or (path / MARKER).is_file():
        log = path.with_name(f"{path.name}.log")
        with log.open("a", encoding="utf-8") as stream, contextlib.redirect_stdout(stream):
            try:
                search.search(args)
            except InfeasibleDesign as error:
                return point(failure=str(error))
            except TargetMissed as error:
                print(error)
    summary = RunFolder(path).summary()
    return point(**_figures(summary), missed=tuple(t["target"] for t in summary["targets"] if not t["kept"]))


def point_beside(args: argparse.Namespace, run: str) -> Point:
    """A run of another method. Raises SpecError for one that is not whole, or not of the same images and target."""
    folder = RunFolder.open(run)
    summary = folder.summary()
    made = folder.arguments() | summary
    other = [f"{k} {made.get(k)}, not {getattr(args, k)}" for k in SHARED if made.get(k) != getattr(args, k)]
    if other or "int8_test_accuracy" not in summary:
        raise SpecError(f"--beside '{run}' must be a trained network's run of the same images and target; this one has "
                        f"{'; '.join(other) or 'no int8_test_accuracy'}.")
    return Point(mode=folder.path.name, hw_weight=None, run=run, missed=None, **_figures(summary))


def _figures(summary):
    return {"accuracy": summary["int8_test_accuracy"]} | {
        k: summary[k] for k in ("latency_cycles", "energy_j", "area_mm2", "edp_js")}


def require_same(args: argparse.Namespace, path: Path) -> None:
    """Raise SpecError where a run was made with other options than `args`."""
    made = RunFolder(path).arguments()
    other = [f"{k} {made[k]}, not {v}" for k, v in vars(args).items() if k in made and made[k] != v]
    if other:
        raise SpecError(f"Run '{path}' was made with {'; '.join(other)}: give another --name, or remove it.")


def front(points: Sequence[Point]) -> list[Point]:
    """Those that no other beats in one of accuracy and EDP without losing in the other, by EDP."""
    best, ordered = [], sorted((p for p in points if not p.failure), key=lambda p: (p.edp_js, -p.accuracy))
    for point in ordered:
        if not best or point.accuracy > best[-1].accuracy:
            best.append(point)
    return best


def _told(missed):
    return None if missed is None else f"missed: {' '.join(missed)}" if missed else "kept"


def report(args: argparse.Namespace, folder: Path, points: Sequence[Point]) -> dict:
    """Table, pareto.json (returned), picture and the last line. Raises InfeasibleDesign where no point has a design."""
    best, failures = front(points), [f"{p.run}: {p.failure}" for p in points if p.failure]
    record = {"dataset": args.dataset, "target": args.target, "seed": args.seed, "points": to_plain(tuple(points)),
              "front": [p.run for p in best]}
    write_json_atomically(folder / "pareto.json", record)
    if not best:
        raise InfeasibleDesign("No point has a design: " + "\n".join(failures))
    found = [p for p in points if not p.failure]
    rows = [(p.mode, p.hw_weight, 100 * p.accuracy, p.latency_cycles, p.energy_j * 1e6, p.area_mm2, p.edp_js,
             "*" if p in best else "", _told(p.missed), p.run) for p in found]
    notes = [f"not shown: {failure}" for failure in failures]
    write_text_atomically(folder / "pareto.md", "\n\n".join([markdown_table(HEADERS, rows), *notes]) + "\n")
    front_chart(folder / "pareto.png", {mode: [(p.edp_js, 100 * p.accuracy) for p in found if p.mode == mode]
                                        for mode in dict.fromkeys(p.mode for p in found)},
                [(p.edp_js, 100 * p.accuracy) for p in best], ("EDP, J s", "int8 accuracy on test, %"),
                f"{args.dataset}, {args.target}, seed {args.seed}")
    write_origin(folder, args, args.seed, ("torch", "matplotlib"))
    print("\n\n".join([format_table(HEADERS, rows), *notes]))
    print(f"pareto: points={len(found)} front={len(best)} best_accuracy={max(p.accuracy for p in found):.4f} "
          f"least_edp_js={best[0].edp_js:.4g} out={folder}")
    return record


if __name__ == "__main__":
    sys.exit(main())
