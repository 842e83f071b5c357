"""Checkers: they read metrics and say what is wrong; steps make metrics and judge nothing."""

from collections.abc import Iterator

from dna_asic.errors import ToolError
from flows.openroad.platforms import Library, Scaling


def check_all(mapped: dict, timed: dict, library: Library, factors: Scaling) -> Iterator[str]:
    """Findings of every checker, in order; raises ToolError for one that makes the figures void."""
    check_all_mapped(mapped)
    yield from check_setup(timed)
    yield from check_latches(mapped)
    yield from check_node(library, factors)


def check_all_mapped(mapped: dict):
    """Every cell must be of the library: a generic one has no area and no delay."""
    generic = sorted(name for name in mapped["cell_types"] if name.startswith("$"))
    if generic:
        raise ToolError(f"Synthesis left cells that the library does not have: {', '.join(generic)}; "
                        f"take a library with flip-flops and simple gates.")


def check_setup(timed: dict) -> Iterator[str]:
    """Worst slack must not be negative."""
    if timed["worst_slack_ns"] < 0:
        yield (f"set-up is violated by {-1e3 * timed['worst_slack_ns']:.0f} ps at the library's node: the clock "
               f"must be that much longer there.")


def check_latches(mapped: dict) -> Iterator[str]:
    """rtl_gen means no latches."""
    latches = sorted(name for name in mapped["cell_types"] if "LATCH" in name.upper() or "__dl" in name)
    if latches:
        yield f"latches inferred: {', '.join(latches)}."


def check_node(library: Library, factors: Scaling) -> Iterator[str]:
    """A library of another node than the target's, and one that stood in."""
    if library.note:
        yield library.note + "."
    if not factors.scaled:
        yield f"area and energy are {factors.note}."
