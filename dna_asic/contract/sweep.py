"""Many random points: planned here, judged by worker processes a chip at a time, kept so that a later run goes on."""

import argparse
import dataclasses
import hashlib
import json
import multiprocessing
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

import dna_asic
import rtl_gen
import sim
from dna_asic.contract import hand
from dna_asic.contract.judge import Bench, Verdict, judge, summary_line, totals
from dna_asic.contract.plan import Plan, Planner
from dna_asic.errors import SpecError, ToolError, VerificationError
from dna_asic.gads import GadsSpace
from dna_asic.report.files import write_json_atomically
from dna_asic.runs import only_one
from dna_asic.spec.record import from_plain, to_plain

FULL_POINTS, FULL_DESIGNS = 600, 30  # so many cover the whole space
QUEUED = 2  # plans that wait for each worker


@dataclass(frozen=True)
class Record:
    """Where the verdicts of a sweep are kept: a folder per seed and state of the sources, a file per chip."""

    folder: Path

    def verdicts(self, name: str) -> list[Verdict] | None:
        """Of a chip that was judged before."""
        path = self.folder / f"{name}.json"
        if not path.is_file():
            return None
        return list(from_plain(tuple[Verdict, ...], json.loads(path.read_text(encoding="utf-8")), f"file '{path}'"))

    def keep(self, name: str, verdicts: Sequence[Verdict]) -> None:
        """Of a chip."""
        write_json_atomically(self.folder / f"{name}.json", to_plain(tuple(verdicts)))


def sources_digest() -> str:
    """Changes with everything that a verdict depends on."""
    folders = [Path(package.__file__).parent for package in (dna_asic, rtl_gen, sim)]
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".v", ".yaml")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def run(args: argparse.Namespace) -> dict:
    """Judge `--points` on `--designs`; the totals. Raises VerificationError naming the first point that differs."""
    for name in ("points", "designs", "jobs"):
        if getattr(args, name) < 1:
            raise SpecError(f"--{name} must be at least 1, not {getattr(args, name)}.")
    if args.points < args.designs:
        raise SpecError(f"--points must be at least the {args.designs} of --designs, not {args.points}.")
    space = GadsSpace.load(args.space).pinned(args.pins)
    settings = [args.points, args.designs, args.space, *args.pins]
    key = hashlib.sha256(repr(settings).encode()).hexdigest()[:6]
    record = Record(args.runs_dir / "contract" / f"seed{args.seed}-{sources_digest()}-{key}")
    print(f"contract: seed {args.seed}, {args.points} points on {args.designs} chips of space '{space.name}'; "
          f"records in {record.folder}", flush=True)
    planner, started = Planner(space, args.seed), time.monotonic()
    with only_one(record.folder, "contract"):
        verdicts = [v for _, found in sorted(_judged(planner, args, record)) for v in found]
    print(f"coverage: {planner.coverage.line()} seconds={time.monotonic() - started:.0f}")
    summary = totals(verdicts) | {"seed": args.seed, "designs": args.designs, "missing": planner.coverage.missing}
    write_json_atomically(record.folder / "summary.json", summary)
    _report(planner, args, verdicts, record)
    return {"records": str(record.folder)} | summary


def _judged(planner: Planner, args, record: Record) -> Iterator[tuple[str, list[Verdict]]]:
    """(chip, verdicts) as they come; plans are drawn while others are judged."""
    plans, pending = planner.plans(args.designs, args.points), {}
    pool = ProcessPoolExecutor(args.jobs, mp_context=multiprocessing.get_context("spawn"))
    try:
        with tqdm(total=args.designs, desc="chips", unit="chip", disable=args.quiet, file=sys.stderr) as bar:
            for plan in plans:
                if (kept := record.verdicts(plan.name)) is not None:
                    yield plan.name, kept
                    bar.update()
                    continue
                pending[pool.submit(judge_plan, plan, record.folder, planner.seed)] = plan
                if len(pending) >= QUEUED * args.jobs:
                    yield from _ended(record, pending, bar)
            while pending:
                yield from _ended(record, pending, bar)
    finally:
        pool.shutdown(cancel_futures=True)


def _ended(record, pending, bar):
    """Wait for the next chip; those that are ready leave `pending`."""
    for future in wait(pending, return_when=FIRST_COMPLETED).done:
        plan = pending.pop(future)
        yield plan.name, _keep(record, plan, future)
        bar.update()


def _keep(record: Record, plan: Plan, future: Future) -> list[Verdict]:
    verdicts = future.result()
    record.keep(plan.name, verdicts)
    for verdict in verdicts:
        if not verdict.holds:
            tqdm.write(f"{verdict.design}, {verdict.layer}: {verdict.text()}", file=sys.stderr)
    return verdicts


def judge_plan(plan: Plan, folder: Path, seed: int) -> list[Verdict]:
    """All points of a chip, in a worker process. Of the first whose cycles differ the steps are compared too."""
    torch.set_num_threads(1)
    verdicts, chip = [], folder / plan.name
    bench = Bench(verilog=chip / "chip.v", work=chip / "work", build_root=folder / "build").make(plan.designs[0])
    for design in plan.designs:
        for verdict in judge(design, bench, seed):
            if not verdict.holds:
                hand.save_point(design, verdict.layer, chip)
            if not verdict.cycles_equal and not any(v.parted for v in verdicts):
                parted = hand.parted_alone(design, verdict.layer, bench, seed)
                verdict = dataclasses.replace(verdict, parted=parted)
            verdicts.append(verdict)
    shutil.rmtree(chip / "work")
    return verdicts


def _report(planner, args, verdicts: Sequence[Verdict], record: Record) -> None:
    wrong = next((v for v in verdicts if not v.holds), None)
    missing = planner.coverage.missing
    if missing:
        print(f"coverage: not met: {', '.join(missing[:20])}{' and others' if len(missing) > 20 else ''}")
    print(summary_line(verdicts), flush=True)
    if wrong:
        chip = record.folder / wrong.design.rpartition("-")[0]
        raise VerificationError(f"Design '{wrong.design}', layer '{wrong.layer}': {wrong.text()}. Again: "
                                f"{hand.command(chip, wrong.design, wrong.layer, args.seed)}")
    whole = args.points >= FULL_POINTS and args.designs >= FULL_DESIGNS and args.space == "full" and not args.pins
    if missing and whole:
        raise VerificationError(f"Coverage: {len(missing)} values or pairs were not met; see above, and run more "
                                f"points or another seed.")
    if not verdicts:
        raise ToolError("No point was judged.")
