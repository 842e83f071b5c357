"""What a search is to keep, and which of its halves it searches: the options, and how the outcome is told."""

import argparse
import enum
import math

from dna_asic.cosearch.targets import Targets
from dna_asic.errors import SpecError, TargetMissed
from dna_asic.networks import Macro, candidate_layers
from dna_asic.report.tables import format_table

TARGETS = {  # (metavar, what it says, least)
    "max_latency_ms": ("MS", "latency of one inference, at most", 1e-9),
    "max_area_mm2": ("MM2", "area of the chip, at most", 1e-9),
    "max_power_mw": ("MW", "energy over latency of one inference, at most", 1e-9),
    "min_accuracy": ("SHARE", "of the images of the validation part that the int8 network has right, at least", 0.0)}
RANGES = {name: (least, 1 if name == "min_accuracy" else math.inf) for name, (_, _, least) in TARGETS.items()}


class Mode(enum.StrEnum):
    """Which halves are searched, and how."""

    JOINT = "joint"
    SEQUENTIAL = "sequential"
    NETWORK_ONLY = "network-only"
    ACCELERATOR_ONLY = "accelerator-only"

    @property
    def searches_network(self) -> bool:
        """Else it is `middle_choices`."""
        return self is not Mode.ACCELERATOR_ONLY

    @property
    def searches_accelerator(self) -> bool:
        """Else it is `gads.presets.fitted_preset`."""
        return self is not Mode.NETWORK_ONLY


ABOUT_MODES = ("joint: both at once; sequential: the network for accuracy alone, then its accelerator; network-only: "
               "the same on a hand preset; accelerator-only: the accelerator of the network of middle candidates")


def add_target_arguments(parser: argparse.ArgumentParser) -> None:
    """One option per target."""
    group = parser.add_argument_group("targets of the design")
    for name, (metavar, about, _) in TARGETS.items():
        group.add_argument(f"--{name.replace('_', '-')}", type=float, metavar=metavar, help=about)


def targets_of(args: argparse.Namespace) -> Targets:
    """Those that the arguments name. Raises SpecError for what cannot be asked of a network that is brought."""
    if args.network and args.min_accuracy is not None:
        raise SpecError("--min-accuracy needs a network that is searched and trained; leave it out with --network.")
    if args.network and args.mode not in (Mode.JOINT, Mode.ACCELERATOR_ONLY):
        raise SpecError(f"--mode {args.mode} searches a network; with --network only the accelerator is searched.")
    return Targets(**{name: getattr(args, name) for name in TARGETS if getattr(args, name) is not None})


def middle_choices(macro: Macro) -> list[str]:
    """At each place the candidate of median MACs (the larger of two), `skip` not counted; of channels that are searched
    the middle.
    """
    choices = []
    for place, candidates in zip(macro.places, candidate_layers(macro), strict=True):
        macs = {label: sum(layer.shape.macs for layer in layers)
                for label, layers in zip(macro.options(place), candidates, strict=True) if layers}
        choices.append(sorted(macs, key=macs.get)[len(macs) // 2])
    return choices + [c.options[len(c.options) // 2] for c in macro.space.choices[len(choices):]]


def tell_targets(summary: dict) -> None:
    """Print the targets of a run's summary with what was found."""
    if summary["targets"]:
        rows = [(t["target"], t["limit"], t["value"], "yes" if t["kept"] else "MISSED") for t in summary["targets"]]
        print(f"\n{format_table(('target', 'limit', 'found', 'kept'), rows)}\n")


def require_targets(summary: dict) -> None:
    """Raise TargetMissed, with the summary, for targets that a whole run misses."""
    missed = [f"{t['target']} {t['limit']:g} (found {t['value']:.4g})" for t in summary["targets"] if not t["kept"]]
    if missed:
        raise TargetMissed(f"Run '{summary['run']}' is whole, but misses {', '.join(missed)}; lower --hw-weight, train "
                           f"longer, or allow less.", summary)
