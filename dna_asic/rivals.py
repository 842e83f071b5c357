"""`python -m dna_asic.rivals`: DAS and its rivals on published networks: best EDP by evaluations and by seconds.

Every search gets the same space, cost model, quick mapper, area cap, memory port, node and clock, and the same number
of evaluations: an evaluation is one chip on which the whole network is mapped and priced, polish included. Samples that
are no chip, or above the area cap, are refused by arithmetic and free for all. The best chip of each search is then
mapped with full effort, as the hand presets beside are. Seconds are of one processor core. Finished cells (network,
method, seed) are kept, and an interrupted run goes on.
"""

import argparse
import bisect
import hashlib
import json
import math
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from dna_asic.baselines.counted import CountedCost, CurvePoint
from dna_asic.baselines.rivals import PARTLY, RIVALS, SEARCHES
from dna_asic.command import add_output_options, going_on, run_command
from dna_asic.cosearch.designs import map_design
from dna_asic.cosearch.gumbel import GumbelSettings
from dna_asic.cosearch.pricing import LayerPricer
from dna_asic.cost import area_um2
from dna_asic.errors import InfeasibleDesign, SpecError
from dna_asic.gads import GadsSpace
from dna_asic.gads.presets import presets
from dna_asic.mapping.tilings import QUICK
from dna_asic.networks.known import NETWORKS, known_network
from dna_asic.report.files import write_json_atomically
from dna_asic.report.plots import curve_chart
from dna_asic.report.tables import format_table
from dna_asic.runs import RunFolder
from dna_asic.sources import sources_digest
from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.design import design_from_yaml
from dna_asic.spec.layer import NetworkSpec
from dna_asic.spec.record import from_plain, to_plain
from dna_asic.technology import Technology, load_technology

DEPENDS_ON = ("cost", "gads", "layer_kinds.py", "mapping", "space", "spec", "technology", "cosearch/assignment.py",
              "cosearch/designs.py", "cosearch/pricing.py", "cosearch/targets.py", "baselines/counted.py",
              "baselines/rivals.py")
OURS_DEPEND_ON = tuple(f"cosearch/{name}.py" for name in ("chunks", "das", "estimate", "exchange", "guide", "gumbel",
                                                          "prior", "surrogate"))
HEADERS = ("network", "method", "seeds", "evaluations", "seconds", "best EDP, quick mapper", "least", "most",
           "best EDP, full mapper", "over best preset", "evaluations of DAS to reach it", "seconds of DAS to reach it")
PLACES = (0.125, 0.25, 0.5, 1.0)  # of the evaluations, and of DAS's seconds, where curves are compared
PRESET_HEADERS = ("network", "preset", "PEs", "area mm2", "EDP, full mapper", "over best preset")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One search. chip: its best, none where no chip was found; edp_js: of that by the full mapper, J s."""

    network: str
    method: str
    seed: int
    chip: AcceleratorConfig | None
    edp_js: float | None
    curve: tuple[CurvePoint, ...]


@dataclass(frozen=True, kw_only=True)
class PresetRow:
    """A hand preset. edp_js: by the full mapper, J s; none where it cannot run the network."""

    network: str
    name: str
    pes: int
    area_mm2: float
    edp_js: float | None


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m dna_asic.rivals", description=__doc__,
                                epilog="example: python -m dna_asic.rivals --network resnet18 --evaluations 120")
    p.add_argument("--network", action="append", choices=list(NETWORKS), help="may be repeated (default: all)")
    p.add_argument("--run", help="run folder whose searched network is added")
    p.add_argument("--method", action="append", choices=list(SEARCHES), help="may be repeated (default: all)")
    p.add_argument("--ablations", action="store_true", help="also DAS without each of its parts")
    p.add_argument("--evaluations", type=int, default=300, help="of each search (default: %(default)s)")
    p.add_argument("--seeds", type=int, default=5, help="searches each, of seeds 0, 1, ... (default: %(default)s)")
    p.add_argument("--space", default="full", help="accelerator space by name, or YAML file (default: %(default)s)")
    p.add_argument("--set", action="append", default=[], metavar="ENTRY=VALUE[|VALUE]", dest="pins",
                   help="narrow an entry of the space; may be repeated")
    p.add_argument("--port-bytes", type=int, default=64, help="memory port of all (default: %(default)s, the presets')")
    p.add_argument("--max-area-mm2", type=float, help="area cap (default: that of the largest preset)")
    p.add_argument("--target", default="asic-28nm", help="technology (default: %(default)s)")
    p.add_argument("--out", type=Path, default=Path("runs/rivals"), help="folder (default: %(default)s)")
    add_output_options(p)
    return p


def main(argv=None, prog=None) -> int:
    """Exit status 0, or 2 after one clear error."""
    return run_command(run, parser(), argv, prog)


def run(args: argparse.Namespace) -> dict:
    """The whole job; see the module. Returns what was written."""
    least = GumbelSettings.samples + 2
    if args.seeds < 1 or args.evaluations < least:
        raise SpecError(f"--seeds must be at least 1 and --evaluations at least {least}, as a step of DAS takes, not "
                        f"{args.seeds} and {args.evaluations}.")
    torch.set_num_threads(1)
    arena = Arena.of(args)
    methods, networks = [*(args.method or SEARCHES), *(PARTLY if args.ablations else ())], arena.networks
    cells, hand = [], []
    total = len(networks) * (len(methods) * args.seeds + len(arena.presets))
    with going_on(f"{args.command_line} (finished searches are kept)"), tqdm(
            total=total, desc="rivals", unit="search", disable=args.quiet, file=sys.stderr) as bar:
        for network in networks:
            for name in arena.presets:
                hand.append(arena.preset_row(network, name))
                bar.update()
            for seed in range(args.seeds):
                for method in methods:
                    bar.set_postfix_str(f"{network} {method} {seed}")
                    cells.append(arena.cell(network, method, seed))
                    bar.update()
    return report(cells, hand, methods, arena)


@dataclass(frozen=True, kw_only=True)
class Arena:
    """What is the same for all; `folder` keeps what was finished."""

    space: GadsSpace
    technology: Technology
    max_area_mm2: float
    evaluations: int
    networks: dict[str, NetworkSpec]
    presets: dict[str, AcceleratorConfig]
    folder: Path

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Arena":
        """From the command line; raises SpecError."""
        technology = load_technology(args.target)
        space = GadsSpace.load(args.space).pinned([*args.pins, f"port_bytes={args.port_bytes}"]).at_clock(
            technology.clk_period_ns)
        networks = {name: known_network(name) for name in args.network or ([] if args.run else NETWORKS)}
        if args.run:
            networks["searched"] = design_from_yaml(RunFolder.open(args.run).require(
                "design.yaml", "make search")).network
        hand = {name: entry.accelerator(name, technology.clk_period_ns) for name, entry in presets().items()
                if entry.port_bytes == args.port_bytes}
        cap = args.max_area_mm2 or max((_area_mm2(chip, technology) for chip in hand.values()), default=float("inf"))
        key = [technology.name, cap, args.evaluations, space.memory_latency_cycles, space.clk_period_ns,
               [[c.label, list(c.options)] for c in space.entries], sources_digest(DEPENDS_ON)]
        folder = args.out / hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]
        return cls(space=space, technology=technology, max_area_mm2=cap, evaluations=args.evaluations,
                   networks=networks, presets={n: c for n, c in hand.items() if _area_mm2(c, technology) <= cap},
                   folder=folder)

    def cell(self, network: str, method: str, seed: int) -> Cell:
        """One search and the full mapping of its chip, or what was kept of it."""
        sources = "" if method in RIVALS else f"-{sources_digest(OURS_DEPEND_ON)}"
        path = self.folder / self._digest(network) / f"{method.replace(' ', '-')}-{seed}{sources}.json"
        if path.is_file():
            return from_plain(Cell, json.loads(path.read_text(encoding="utf-8")), f"file '{path}'")
        cost = CountedCost(self.space, self.networks[network], LayerPricer(
            self.technology, seed, QUICK, self.space.orders), self.evaluations, self.max_area_mm2)
        (SEARCHES | PARTLY)[method](cost, seed)
        cell = Cell(network=network, method=method, seed=seed, chip=cost.chip, curve=_steps(cost.curve),
                    edp_js=cost.chip and self._mapped(cost.chip, network))
        write_json_atomically(path, to_plain(cell))
        return cell

    def preset_row(self, network: str, name: str) -> PresetRow:
        """A preset mapped with full effort, or what was kept of it."""
        path, chip = self.folder / self._digest(network) / f"preset-{name}.json", self.presets[name]
        if path.is_file():
            return from_plain(PresetRow, json.loads(path.read_text(encoding="utf-8")), f"file '{path}'")
        row = PresetRow(network=network, name=name, pes=chip.pes, area_mm2=_area_mm2(chip, self.technology),
                        edp_js=self._mapped(chip, network))
        write_json_atomically(path, to_plain(row))
        return row

    def _digest(self, network):
        text = json.dumps(to_plain(self.networks[network]))
        return f"{network}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"

    def _mapped(self, chip, network):
        pricer = LayerPricer(self.technology, 0, QUICK, self.space.orders)
        try:
            return map_design(chip, self.networks[network], pricer, 0).report.edp_js
        except InfeasibleDesign:
            return None


def _area_mm2(chip, technology):
    return sum(area_um2(chip, technology).values()) * 1e-6


def _steps(curve: Sequence[CurvePoint]) -> tuple[CurvePoint, ...]:
    """Where the best changes, and the end."""
    kept = [p for before, p in zip([None, *curve], curve) if before is None or p.edp_js < before.edp_js]
    kept = [p for p in kept if p.edp_js < float("inf")]
    return tuple(kept if not curve or (kept and kept[-1] is curve[-1]) else [*kept, curve[-1]])


def best_at(cell: Cell, axis: str, place: float) -> float:
    """Best EDP of a search by so many evaluations or seconds."""
    i = bisect.bisect_right([getattr(p, axis) for p in cell.curve], place)
    return cell.curve[i - 1].edp_js if i else float("inf")


def first_below(cells: Iterable[Cell], axis: str, edp_js: float) -> float | None:
    """Median over searches of the evaluations or seconds at which they reach an EDP; none where most do not."""
    reached = [min((getattr(p, axis) for p in c.curve if p.edp_js <= edp_js), default=float("inf")) for c in cells]
    middle = statistics.median(reached)
    return None if middle == float("inf") else middle


def behind(of: dict[str, list[Cell]], axis: str) -> float:
    """The evaluations or seconds from which on the median of DAS is above that of no rival, by methods' cells; infinite
    where it ends above one.
    """
    def median(cells, place):
        return statistics.median(best_at(c, axis, place) for c in cells)

    rivals = [cells for method, cells in of.items() if method in RIVALS]
    places = sorted({getattr(p, axis) for cells in [of["das"], *rivals] for c in cells for p in c.curve})
    return max((after for place, after in zip(places, [*places[1:], math.inf], strict=True)
                if median(of["das"], place) > min(median(cells, place) for cells in rivals)), default=0.0)


def ends_of(of: dict[str, list[Cell]], arena: Arena) -> dict[str, float]:
    """Where curves are compared last: all evaluations, and the seconds of DAS (of the first method without it)."""
    seconds = [c.curve[-1].seconds for c in of.get("das", next(iter(of.values())))]
    return {"evaluations": arena.evaluations, "seconds": statistics.median(seconds)}


def _over(edp_js, best_preset):
    return edp_js / best_preset if edp_js and best_preset else None


def _median(values):
    return statistics.median([float("inf") if v is None else v for v in values])


def report(cells: Sequence[Cell], hand: Sequence[PresetRow], methods: Sequence[str], arena: Arena) -> dict:
    """Tables, rivals.json (returned), a plot per network, and the last line."""
    rows, hand_rows, shares, gains, places, late = [], [], [], [], [], {"evaluations": [], "seconds": []}
    for network in arena.networks:
        of = {m: [c for c in cells if c.network == network and c.method == m] for m in methods}
        best_preset = min((r.edp_js for r in hand if r.network == network and r.edp_js), default=None)
        hand_rows += [(r.network, r.name, r.pes, r.area_mm2, r.edp_js, _over(r.edp_js, best_preset))
                      for r in hand if r.network == network]
        for method, mine in of.items():
            ends = [c.curve[-1].edp_js for c in mine]
            full = _median([c.edp_js for c in mine])
            reach = [first_below(of.get("das", ()), a, statistics.median(ends)) if "das" in of else None
                     for a in ("evaluations", "seconds")]
            rows.append((network, method, len(mine), max(c.curve[-1].evaluations for c in mine),
                         statistics.median(c.curve[-1].seconds for c in mine), statistics.median(ends), min(ends),
                         max(ends), full, _over(full, best_preset), *reach))
            places += [(network, method, axis, *(statistics.median(best_at(c, axis, x * end) for c in mine)
                                                 for x in PLACES)) for axis, end in ends_of(of, arena).items()]
            if method == "das":
                gains.append(_over(full, best_preset))
            elif method in RIVALS and "das" in of:
                shares.append(float("inf") if reach[0] is None else reach[0] / rows[-1][3])
        if "das" in of and {*of} & {*RIVALS}:
            for axis, ends in late.items():
                ends.append(behind(of, axis))
        curve_chart(arena.folder / f"{network}.png", [
            (label, {m: [[(getattr(p, axis), p.edp_js) for p in c.curve] for c in mine] for m, mine in of.items()})
            for axis, label in (("evaluations", "evaluations"), ("seconds", "seconds of one core"))],
            "best EDP, J s", f"{network}: space {arena.space.name}, at most {arena.max_area_mm2:.3g} mm2, "
                             f"{arena.technology.name}", {} if best_preset is None else {"best preset": best_preset})
    record = {"space": arena.space.name, "target": arena.technology.name, "max_area_mm2": arena.max_area_mm2,
              "evaluations": arena.evaluations, "cells": to_plain(tuple(cells)), "presets": to_plain(tuple(hand))}
    write_json_atomically(arena.folder / "rivals.json", record)
    print(f"space '{arena.space.name}' of {arena.space.size:.3g} chips, at most {arena.max_area_mm2:.4g} mm2, "
          f"{arena.technology.name}, clock {arena.space.clk_period_ns:g} ns. EDP in J s: medians over seeds.\n")
    print(format_table(HEADERS, rows))
    print(f"\n{format_table(('network', 'method', 'best EDP by', *(f'{x:.4g} of them' for x in PLACES)), places)}")
    if hand_rows:
        print(f"\n{format_table(PRESET_HEADERS, hand_rows)}")
    gains = [x for x in gains if x is not None]
    print(f"rivals: out={arena.folder} networks={len(arena.networks)} methods={len(methods)} cells={len(cells)}"
          + (f" das_evaluations_to_rivals_end={max(shares):.3f}" if shares else "")
          + "".join(f" das_behind_{axis}={max(x):.3g}" for axis, x in late.items() if x)
          + (f" das_over_best_preset={max(gains):.3f}" if gains else ""))
    return record


if __name__ == "__main__":
    sys.exit(main())
