"""`python -m dna_asic.das`: the accelerator search (DAS) against the optimum of a space that is enumerated in full.

A point is a chip of the space, with the mapping that `mapping.greedy` gives each layer of a small fixed network: a
function of the chip alone. An evaluation is one chip mapped and priced, layers and all: the enumeration takes one a
point, the search one for every new chip that it asks for, in its steps and in its polish alike (a chip asked for again
is not mapped again). The tilings that both priced by the exact cost model are shown beside.
"""

import argparse
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from dna_asic.command import add_output_options, going_on, run_command
from dna_asic.cosearch.das import AcceleratorSearch, DasStats, search_within
from dna_asic.cosearch.designs import DesignPricer
from dna_asic.cosearch.enumeration import Enumeration, enumerate_space, fixed_pricer
from dna_asic.cosearch.gumbel import ABLATIONS, GumbelSettings
from dna_asic.errors import SpecError, VerificationError
from dna_asic.gads import GadsSpace
from dna_asic.networks.blocks import conv
from dna_asic.report.files import write_json_atomically
from dna_asic.report.tables import format_table
from dna_asic.sources import sources_digest
from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.layer import Activation, NetworkSpec
from dna_asic.spec.record import to_plain
from dna_asic.technology import Technology, load_technology

MAX_GAP_PCT, MAX_EVALUATIONS_PCT = 5.0, 1.0
PRICED_BY = ("cost", "gads", "layer_kinds.py", "mapping", "spec", "technology", "cosearch/assignment.py",
             "cosearch/designs.py", "cosearch/enumeration.py", "cosearch/pricing.py")  # what an enumeration depends on
UNIFORM_SEEDS = 101  # whose median is the best of as many uniform samples
ROWS = 9  # of the table of steps
HEADERS = ("search", "seed", "evaluations", "tilings", "steps", "entropy of gamma", "sampled EDP", "best EDP",
           "best of as many uniform", "gap %")
STEP_HEADERS = ("step", "evaluations", "entropy of gamma", "sampled EDP", "best EDP", "best of as many uniform")


def small_network() -> NetworkSpec:
    """A layer of each kind: 3 x 3, depthwise, pointwise with a residual."""
    relu = Activation.RELU
    return NetworkSpec(name="three-kinds", input_shape=(16, 8, 8), layers=(
        conv("dense", "input", 16, 24, (8, 8), kernel=3, activation=relu),
        conv("depthwise", "dense", 24, 24, (8, 8), kernel=3, groups=24, activation=relu),
        conv("pointwise", "depthwise", 24, 24, (8, 8), residual="dense")))


@dataclass(frozen=True, kw_only=True)
class SearchRun:
    """One search and the chip it found. gap_pct: of its EDP over the optimum's; seconds: of the processor."""

    search: str
    seed: int
    chip: AcceleratorConfig
    evaluations: int
    tilings: int
    edp_js: float
    gap_pct: float
    seconds: float
    steps: tuple[DasStats, ...]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m dna_asic.das", description=__doc__,
                                epilog="example: python -m dna_asic.das --seeds 2 --ablations")
    p.add_argument("--space", default="reduced", help="space by name, or YAML file; at most a million samples "
                                                      "(default: %(default)s)")
    p.add_argument("--set", action="append", default=[], metavar="ENTRY=VALUE[|VALUE]", dest="pins",
                   help="narrow an entry of the space; may be repeated")
    p.add_argument("--target", default="asic-28nm", help="technology (default: %(default)s)")
    p.add_argument("--seeds", type=int, default=5, help="searches, of seeds 0, 1, ... (default: %(default)s)")
    p.add_argument("--budget-pct", type=float, default=MAX_EVALUATIONS_PCT,
                   help="evaluations that a search may take, of the points (default: %(default)s)")
    p.add_argument("--ablations", action="store_true", help="also the search without each of its parts")
    p.add_argument("--jobs", type=int, default=2, help="processes of the enumeration (default: %(default)s)")
    p.add_argument("--runs-dir", type=Path, default=Path("runs"), help="(default: %(default)s)")
    add_output_options(p)
    return p


def main(argv=None, prog=None) -> int:
    """Exit status 0; 1 when a search ends too far from the optimum or takes too much; 2 after another error."""
    return run_command(run, parser(), argv, prog)


def run(args: argparse.Namespace) -> dict:
    """The whole job; see the module. Returns what was written."""
    if args.seeds < 1 or args.jobs < 1:
        raise SpecError(f"--seeds and --jobs must be at least 1, not {args.seeds} and {args.jobs}.")
    torch.set_num_threads(1)
    technology, network = load_technology(args.target), small_network()
    space = GadsSpace.load(args.space).pinned(args.pins).at_clock(technology.clk_period_ns)
    folder = args.runs_dir / "das" / f"{space.name}-{_key(space, network, technology)}"
    with going_on(f"{args.command_line} (priced points are kept)"):
        whole = enumerated(space, network, technology, folder, args)
    budget = int(len(whole.samples) * args.budget_pct / 100)
    if budget < GumbelSettings.samples + 2:
        raise SpecError(f"--budget-pct {args.budget_pct:g} of {len(whole.samples):,} points is {budget} evaluations, "
                        f"less than the {GumbelSettings.samples + 2} that a step of the search takes; give more.")
    variants = {"DAS": {}} | (ABLATIONS if args.ablations else {})
    place = {space.build(s): i for i, s in enumerate(whole.samples)}
    runs, least = [], float(whole.edp_js.min())
    with tqdm(total=args.seeds * len(variants), desc="DAS", unit="search", disable=args.quiet, file=sys.stderr) as bar:
        for name, flags in variants.items():
            for seed in range(args.seeds):
                runs.append(search_run(name, seed, budget, space, network, technology, least, GumbelSettings(**flags)))
                check_price(runs[-1], whole, place)
                bar.update()
    return report(whole, runs, folder)


def _key(space: GadsSpace, network: NetworkSpec, technology: Technology) -> str:
    text = json.dumps([[[c.label, list(c.options)] for c in space.entries], space.memory_latency_cycles,
                       space.clk_period_ns, to_plain(network), technology.name, sources_digest(PRICED_BY)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def enumerated(space, network, technology, folder: Path, args) -> Enumeration:
    """All points, behind a progress bar; raises SpecError where not one of them runs the network."""
    print(f"das: space '{space.name}', {space.size:,} samples; network '{network.name}', {len(network.layers)} layers; "
          f"blocks kept in {folder}", flush=True)
    with tqdm(desc="enumeration", unit="point", disable=args.quiet, file=sys.stderr) as bar:
        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)
        whole = enumerate_space(space, network, technology, folder, args.jobs, write_json_atomically, progress)
    if not whole.edp_js.isfinite().any():
        raise SpecError(f"Space '{space.name}': no chip runs network '{network.name}'; enlarge its buffers.")
    return whole


def search_run(name: str, seed: int, budget: int, space: GadsSpace, network: NetworkSpec, technology: Technology,
               least: float, settings: GumbelSettings) -> SearchRun:
    """One search with its own prices; least: EDP of the optimum."""
    started, steps = time.process_time(), []
    search = AcceleratorSearch(space, technology, seed, settings, DesignPricer(fixed_pricer(space, technology)))
    edp_js = search_within(search, network, budget, steps.append)
    return SearchRun(search=name, seed=seed, chip=search.chip, evaluations=search.designs.evaluations,
                     tilings=search.pricer.evaluations, edp_js=edp_js, gap_pct=100 * (edp_js / least - 1),
                     seconds=time.process_time() - started, steps=tuple(steps))


def check_price(found: SearchRun, whole: Enumeration, place: dict[AcceleratorConfig, int]) -> None:
    """Raise VerificationError where the enumeration has another price of a search's chip."""
    priced = float(whole.edp_js[place[found.chip]])
    if found.edp_js != priced:
        raise VerificationError(f"Seed {found.seed}: the search's chip has EDP {found.edp_js!r} J s, and {priced!r} in "
                                f"the enumeration.")


def best_of_uniform(whole: Enumeration, counts: Sequence[int]) -> list[float]:
    """Median over seeds of the least EDP of so many points drawn at random, each at most once."""
    draws = []
    for seed in range(UNIFORM_SEEDS):
        order = torch.randperm(len(whole.edp_js), generator=torch.Generator().manual_seed(seed))[:max(counts)]
        running = whole.edp_js[order].cummin(dim=0).values
        draws.append([float(running[n - 1]) for n in counts])
    return [statistics.median(column) for column in zip(*draws, strict=True)]


def report(whole: Enumeration, runs: Sequence[SearchRun], folder: Path) -> dict:
    """Tables, das.json (returned) and the last line; raises VerificationError for a limit that is broken."""
    points, best = len(whole.samples), float(whole.edp_js.min())
    able = whole.edp_js[whole.edp_js.isfinite()]
    print(f"\n{points:,} points by {whole.tilings:,} tilings; {len(able):,} run the network. EDP of the optimum "
          f"{best:.4g} J s, median {float(able.median()) / best:.4g} times that; within 5 % of it: "
          f"{int((whole.edp_js <= 1.05 * best).sum())} points.\nEDP below is over the optimum's; sampled: the "
          f"geometric mean of gamma's own samples in the last step.\n")
    uniform = best_of_uniform(whole, [r.evaluations for r in runs])
    print(format_table(HEADERS, [
        (r.search, r.seed, r.evaluations, r.tilings, len(r.steps), r.steps[-1].entropy, r.steps[-1].mean_cost / best,
         r.edp_js / best, u / best, r.gap_pct) for r, u in zip(runs, uniform, strict=True)]))
    first = runs[0].steps
    shown = sorted({round(i * (len(first) - 1) / (ROWS - 1)) for i in range(ROWS)})
    uniform = best_of_uniform(whole, [first[i].evaluations for i in shown])
    print(f"\nsteps of {runs[0].search}, seed {runs[0].seed}, before its polish:")
    print(format_table(STEP_HEADERS, [
        (i + 1, first[i].evaluations, first[i].entropy, first[i].mean_cost / best, first[i].best_cost / best, u / best)
        for i, u in zip(shown, uniform, strict=True)]))
    record = {"points": points, "tilings": whole.tilings, "optimum_edp_js": best,
              "optimum": whole.samples[int(whole.edp_js.argmin())], "runs": to_plain(tuple(runs))}
    write_json_atomically(folder / "das.json", record)
    judged = [r for r in runs if r.search == runs[0].search]
    gap = max(r.gap_pct for r in judged)
    share = 100 * max(r.evaluations for r in judged) / points
    print(f"das: points={points} optimum_gap_pct={gap:.2f} evaluations_pct={share:.2f}")
    if gap > MAX_GAP_PCT or share > MAX_EVALUATIONS_PCT:
        raise VerificationError(f"DAS: its gap must be at most {MAX_GAP_PCT:g} %, not {gap:.2f}, with at most "
                                f"{MAX_EVALUATIONS_PCT:g} % of the points as evaluations, not {share:.2f}.")
    return record


if __name__ == "__main__":
    sys.exit(main())
