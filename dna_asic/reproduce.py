"""`python -m dna_asic.reproduce`: run the README's figures again and set them beside those printed there.

Figures are taken from the README's own block of last lines. All but times and places must be equal, as text.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from dna_asic.cli import COMMANDS
from dna_asic.command import add_output_options, going_on, run_command
from dna_asic.errors import SpecError, ToolError, VerificationError
from dna_asic.report.files import write_json_atomically
from dna_asic.report.tables import format_table
from dna_asic.runs import MARKER, only_one
from dna_asic.versions import SOURCES, source_commit

README = SOURCES.parent / "README.md"
STAGES = ("search", "rtl", "sim", "compare", "synth", "report")
LONG = ("contract", "presets", "das")  # keep results of their own
APART = ("seconds", "run", "out", "page")  # times and places
_LINE = re.compile(r" {4}(\w+): ((?:\w+=\S+ ?)+)")
HEADERS = ("stage", "figure", "README", "here", "")

Lines = dict[str, dict[str, str]]  # figures of each stage's last line, by name


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m dna_asic.reproduce", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter,
                                epilog="example: python -m dna_asic.reproduce --also contract das")
    p.add_argument("--also", nargs="+", choices=LONG, default=[], help="long ones, each of minutes to an hour")
    p.add_argument("--readme", type=Path, default=README, help="file with the figures (default: the project's)")
    p.add_argument("--runs-dir", type=Path, default=Path("runs"), help="folder of the runs (default: %(default)s)")
    add_output_options(p)
    return p


def main(argv=None, prog=None) -> int:
    """Exit status 0; 1 where a figure differs; 2 after another error."""
    return run_command(reproduce, parser(), argv, prog)


def reproduce(args: argparse.Namespace) -> dict:
    """The whole job; see the module. Returns all figures. Raises VerificationError naming those that differ.

    What was run in the same state of the sources is not run again.
    """
    stages = (*STAGES, *args.also)
    wanted = expected(args.readme, stages)
    folder, found = args.runs_dir / "reproduce" / source_state(), {}
    with only_one(folder, "reproduce"), going_on(f"{args.command_line} (finished stages are kept)"):
        for stage in stages:
            found[stage] = kept(folder / f"{stage}.json") or run_stage(stage, folder, wanted, args.quiet)
            write_json_atomically(folder / f"{stage}.json", found[stage])
    return compared(wanted, found)


def expected(readme: Path, stages: Sequence[str]) -> Lines:
    """Figures of the last lines that a text shows, by stage; raises SpecError where a stage with figures has none."""
    lines = {m[1]: figures(m[2]) for m in map(_LINE.fullmatch, readme.read_text(encoding="utf-8").splitlines()) if m}
    absent = [s for s in stages if s not in lines and s not in ("rtl", "report")]
    if absent:
        raise SpecError(f"File '{readme}' must show the last line of {', '.join(absent)}, as '    search: run=...'.")
    return {stage: lines[stage] for stage in stages if stage in lines}


def figures(line: str) -> dict[str, str]:
    """`name=value` pairs of a line."""
    return dict(pair.split("=", 1) for pair in line.split())


def source_state() -> str:
    """The commit, and a digest of what tracked files have beside it; raises SpecError outside a checkout."""
    commit = source_commit()
    if commit is None:
        raise SpecError(f"Folder '{SOURCES.parent}' must be a git checkout: figures are kept by commit; clone it.")
    commit, plus, _ = commit.partition("+")
    if not plus:
        return commit[:12]
    diff = subprocess.run(["git", "-C", str(SOURCES.parent), "diff", "HEAD"], capture_output=True, check=True).stdout
    return f"{commit[:12]}-{hashlib.sha256(diff).hexdigest()[:8]}"


def kept(path: Path) -> dict[str, str] | None:
    """Figures of an earlier session."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def run_stage(stage: str, folder: Path, wanted: Lines, quiet: bool) -> dict[str, str]:
    """Run one stage, its output passed on; the figures of its last line, and its seconds.

    Raises ToolError where it fails.
    """
    command = [sys.executable, "-m", COMMANDS[stage][0], *options(stage, folder, wanted), *["--quiet"] * quiet]
    started, last = time.monotonic(), None
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stdout:
                print(line, end="", flush=True)
                last = line if line.startswith(f"{stage}: ") else last
        except BaseException:
            process.terminate()
            raise
    if process.returncode or (last is None and stage in wanted):
        raise ToolError(f"Stage '{stage}' ended with status {process.returncode} and "
                        f"{'its' if last else 'no'} last line; see above.")
    return {"seconds": f"{time.monotonic() - started:.0f}"} | figures((last or ": ").partition(": ")[2])


def options(stage: str, folder: Path, wanted: Lines) -> list[str]:
    """Those with which the README's figures were made, on a run below `folder`; a search that was stopped goes on."""
    if stage in LONG:
        return []
    run = folder / Path(wanted["search"]["run"]).name
    if stage != "search":
        return ["--run", str(run)]
    return ["--resume", str(run)] if (run / MARKER).exists() else ["--runs-dir", str(folder), "--name", run.name]


def compared(wanted: Lines, found: Lines) -> dict:
    """Print every figure of the README beside that found here; raises VerificationError naming those that differ."""
    rows = [(stage, name, value, here := found[stage].get(name, "-"),
             "apart" if name in APART else "equal" if here == value else "DIFFERS")
            for stage, line in wanted.items() for name, value in line.items()]
    print("\n" + format_table(HEADERS, rows))
    differing = [f"{stage} {name} is {here}, in the README {value}" for stage, name, value, here, verdict in rows
                 if verdict == "DIFFERS"]
    equal = sum(row[-1] == "equal" for row in rows)
    print(f"reproduce: stages={len(found)} figures={len(rows)} equal={equal} differ={len(differing)}")
    if differing:
        raise VerificationError("; ".join(differing) + ".")
    return {"found": found, "readme": wanted}


if __name__ == "__main__":
    sys.exit(main())
