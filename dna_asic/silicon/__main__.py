"""`python -m dna_asic.silicon`: area and power of the cost model's logic beside synthesis, on points of the space.

Every point goes through the generator, synthesis to the target's predictive library, a simulation of a small network,
and power at the activity of that simulation. Memories, which follow one formula on both sides, are left out.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from tqdm import tqdm

from dna_asic.command import add_output_options, going_on, run_command
from dna_asic.errors import SpecError, VerificationError
from dna_asic.report.files import write_json_atomically, write_text_atomically
from dna_asic.report.plots import scatter_chart
from dna_asic.report.tables import format_table
from dna_asic.silicon.fit import fit, predict, with_values
from dna_asic.silicon.judge import Figures, block_rows, figures_of, last_line, limits_broken, point_rows, summary
from dna_asic.silicon.measure import Measured, measure, point_key
from dna_asic.silicon.nvdla import nvdla_table
from dna_asic.silicon.points import is_training, points
from dna_asic.spec.record import from_plain, to_plain
from dna_asic.technology import load_technology
from dna_asic.technology.calibrated import write_calibrated

POINTS, LEAST_POINTS = 24, 9
POINT_HEADERS = ("point", "chunks", "cells", "area um2", "model", "error %", "power mW", "model", "error %", "fitted")
BLOCK_HEADERS = ("block", "share of area %", "mean error %", "worst error %")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m dna_asic.silicon", description=__doc__.split("\n\n")[0],
                                epilog="example: python -m dna_asic.silicon --points 12")
    p.add_argument("--points", type=int, default=POINTS, help="the presets and random ones (default: %(default)s)")
    p.add_argument("--seed", type=int, default=0, help="of points and workload (default: %(default)s)")
    p.add_argument("--target", default="asic-28nm", help="technology (default: %(default)s)")
    p.add_argument("--calibrate", action="store_true", help="fit the logic coefficients to two thirds of the points "
                   "and write them into the technology files")
    p.add_argument("--nvdla", action="store_true", help="only the K x C preset at NVDLA's sizes beside its own areas")
    p.add_argument("--runs-dir", type=Path, default=Path("runs"), help="(default: %(default)s)")
    add_output_options(p)
    return p


def main(argv=None, prog=None) -> int:
    """Exit status 0; 1 where an error is beyond its limit on the points that the fit did not see; 2 for others."""
    return run_command(silicon, parser(), argv, prog)


def silicon(args: argparse.Namespace) -> dict:
    """The whole job; see the module. Returns what was written."""
    technology = load_technology(args.target)
    if args.nvdla:
        print(nvdla_table())
        return {}
    if args.points < LEAST_POINTS or args.seed < 0:
        raise SpecError(f"--points must be at least {LEAST_POINTS} and --seed at least 0, not {args.points} and "
                        f"{args.seed}.")
    folder = args.runs_dir / "silicon" / f"{args.target}-seed{args.seed}"
    chips = points(args.points, args.seed, technology.clk_period_ns)
    with going_on(f"{args.command_line} (finished points are kept)"):
        measured = collect(chips, technology, args.seed, folder, args.runs_dir / ".mapped", args.quiet)
    if args.calibrate:
        values = fit([pair for n, pair in enumerate(zip(chips, measured)) if is_training(n)], technology)
        source = (f"calibrated: make silicon, seed {args.seed}, {args.points} points, predictive{technology.node_nm} "
                  f"library [D]")
        write_calibrated(values, technology.node_nm, source)
        technology = with_values(technology, values)
    found = [figures_of(chip, one, predict(chip, technology), is_training(n))
             for n, (chip, one) in enumerate(zip(chips, measured))]
    return report(found, args, folder)


def collect(chips, technology, seed: int, folder: Path, cache: Path, quiet: bool = False) -> list[Measured]:
    """Every point's measurement, from the folder where it is there already."""
    found = []
    with tqdm(chips, desc="silicon", unit="point", disable=quiet, file=sys.stderr) as bar:
        for chip in bar:
            path, key = folder / f"{chip.name}.json", point_key(chip, technology, seed)
            kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            if kept.get("key") != key:
                work = folder / chip.name
                one = measure(chip, technology, seed, work, cache,
                              lambda line: bar.set_postfix_str(f"{chip.name}{line}"))  # noqa: B023
                kept = to_plain(one)
                write_json_atomically(path, kept)
                shutil.rmtree(work)
            found.append(from_plain(Measured, kept, f"file '{path}'"))
    return found


def report(found: list[Figures], args: argparse.Namespace, folder: Path) -> dict:
    """Tables, plot and record (returned); raises VerificationError beyond the limits."""
    text = "\n\n".join([format_table(POINT_HEADERS, point_rows(found)), format_table(BLOCK_HEADERS, block_rows(found))])
    write_text_atomically(folder / "silicon.txt", text + "\n")
    record = {"seed": args.seed, "target": args.target, "summary": summary(found),
              "points": [to_plain(f) for f in found]}
    write_json_atomically(folder / "silicon.json", record)
    series = {name: [f for f in found if f.training == training]
              for name, training in (("fitted", True), ("unseen", False))}
    scatter_chart(folder / "silicon.png", [
        ("synthesis, um2", "cost model, um2", {n: [(f.area_um2, f.model_um2) for f in fs] for n, fs in series.items()}),
        ("synthesis, mW", "cost model, mW", {n: [(f.power_mw, f.model_mw) for f in fs] for n, fs in series.items()})],
        f"Logic, {args.target}, memories left out")
    print(text)
    print(last_line(found))
    if broken := limits_broken(found):
        raise VerificationError("Model against synthesis: " + "; ".join(broken) + ".")
    return record


if __name__ == "__main__":
    sys.exit(main())
