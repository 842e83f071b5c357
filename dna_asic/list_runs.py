"""`python -m dna_asic.list_runs`: run folders with their state, stages and key figures."""

import argparse
import json
import sys
from pathlib import Path

from dna_asic.command import add_output_options, run_command
from dna_asic.errors import SpecError
from dna_asic.report.tables import format_table
from dna_asic.runs import LATEST, MARKER, at_work

STAGES = {"rtl": "rtl/chip.v", "sim": "sim/report.json", "synth": "synth/synth.json", "compare": "compare/compare.json",
          "report": "report.html"}
FIGURES = {"accuracy": "int8_test_accuracy", "cycles": "latency_cycles", "energy_j": "energy_j",
           "area_mm2": "area_mm2", "edp_js": "edp_js"}
HEADERS = ("run", "state", "stages", "accuracy %", "cycles", "energy uJ", "area mm2", "EDP J s", "wrong bytes",
           "slack ps")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m dna_asic.list_runs", description=__doc__,
                                epilog="example: python -m dna_asic.list_runs --runs-dir runs --json")
    p.add_argument("--runs-dir", type=Path, default=Path("runs"), help="folder of the runs (default: %(default)s)")
    add_output_options(p)
    return p


def main(argv=None, prog=None) -> int:
    """Exit status 0, or 2 where there is no such folder."""
    return run_command(list_runs, parser(), argv, prog)


def list_runs(args: argparse.Namespace) -> dict:
    """Print the table; returns its rows as records, the latest run first."""
    if not args.runs_dir.is_dir():
        raise SpecError(f"Folder '{args.runs_dir}' does not exist; make a run with `make search`, or name another with "
                        f"--runs-dir.")
    latest = latest_name(args.runs_dir)
    runs = [describe(path) for path in sorted(args.runs_dir.iterdir())
            if path.is_dir() and not path.is_symlink() and is_run(path)]
    runs.sort(key=lambda run: run["run"] != latest)
    rows = [(f"{run['run']}{' (latest)' if run['run'] == latest else ''}", run["state"], " ".join(run["stages"]) or "-",
             _scaled(run["accuracy"], 100), run["cycles"], _scaled(run["energy_j"], 1e6), run["area_mm2"],
             run["edp_js"], run["wrong_bytes"], run["slack_ps"]) for run in runs]
    print(format_table(HEADERS, rows) if rows else "no runs yet; make one with `make search`")
    print(f"runs: folder={args.runs_dir} runs={len(runs)} latest={latest or 'none'}")
    return {"latest": latest, "runs": runs}


def is_run(path: Path) -> bool:
    """Whether a search made this folder, or is at it."""
    return any((path / name).is_file() for name in (MARKER, "summary.json", "arguments.json"))


def latest_name(folder: Path) -> str | None:
    """Of the run that `latest` names."""
    pointer = folder / LATEST
    if pointer.is_file():
        return pointer.read_text(encoding="utf-8").strip()
    return pointer.resolve().name if pointer.is_dir() else None


def describe(path: Path) -> dict:
    """What one run's files say; a damaged file makes the state, not an error."""
    busy, damaged = at_work(path), []

    def record(name):
        try:
            return json.loads((path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            damaged.append(name)
            return {}

    summary, simulated, synthesised = map(record, ("summary.json", STAGES["sim"], STAGES["synth"]))
    state = f"at work: {' '.join(busy)}" if busy else "half written" if (path / MARKER).exists() else "whole"
    return {"run": path.name, "state": f"damaged: {' '.join(damaged)}" if damaged else state,
            "stages": [stage for stage, file in STAGES.items() if (path / file).is_file()],
            **{name: summary.get(key) for name, key in FIGURES.items()},
            "wrong_bytes": simulated.get("mismatches"), "slack_ps": synthesised.get("slack_ps")}


def _scaled(value, factor):
    return None if value is None else value * factor


if __name__ == "__main__":
    sys.exit(main())
