"""Checkers: they read metrics and say what is wrong; steps make metrics and judge nothing."""

import re
from collections.abc import Iterator

from dna_asic.errors import SpecError, ToolError
from dna_asic.technology import Technology
from dna_asic.technology.scaling import delay_factor
from flows.openroad.abstracts import liberty_cells
from flows.openroad.platforms import Library, Scaling
from flows.openroad.predictive.model import Model


def check_all(mapped: dict, timed: dict, library: Library, factors: Scaling, technology: Technology) -> Iterator[str]:
    """Findings of every checker, in order; raises ToolError for one that makes the figures void."""
    check_all_mapped(mapped)
    yield from check_setup(timed)
    yield from check_latches(mapped, library)
    yield from check_node(library, factors)
    yield from check_sources(technology)


def check_library(library: Library) -> None:
    """The Liberty file must be whole and have a flip-flop and the cells that the flow names. Raises SpecError."""
    text, platform = library.liberty.read_text(errors="replace"), library.platform
    needed = {platform.driver, platform.buffer[0], *platform.clock_gate[:1], *(cell for cell, _ in platform.ties)}
    lacking = sorted(needed - liberty_cells(text, library.liberty.name).keys())
    if not re.search(r"\bff\s*\(", text):
        lacking.append("any flip-flop")
    if lacking:
        raise SpecError(f"Liberty '{library.liberty.name}' lacks {', '.join(lacking)}; take the whole library of "
                        f"{platform.name}.")


def check_clock(clk_period_ns: float, technology: Technology, library_nm: int) -> None:
    """No clock is shorter than the way from a flip-flop to the next at the library's node. Raises SpecError."""
    least_ns = Model(technology).register_ns() * delay_factor(technology.node_nm, library_nm)
    if not clk_period_ns > least_ns:
        raise SpecError(f"Clock period of {clk_period_ns:g} ns is impossible: two flip-flops with nothing between them "
                        f"take about {least_ns:.3g} ns at {library_nm} nm; take a longer one.")


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


def check_latches(mapped: dict, library: Library) -> Iterator[str]:
    """rtl_gen means no latches but those of clock gates."""
    latches = sorted(name for name in mapped["cell_types"] if ("LATCH" in name.upper() or "__dl" in name)
                     and name not in library.platform.clock_gate)
    if latches:
        yield f"latches inferred: {', '.join(latches)}."


def check_sources(technology: Technology) -> Iterator[str]:
    """Coefficients of memories and leakage that no source confirms."""
    used = [name for name in technology.unconfirmed if name.startswith("sram_") or name == "leakage_mw_per_mm2"]
    if used:
        yield f"from memory and not confirmed in {technology.name}: {', '.join(used)}."


def check_node(library: Library, factors: Scaling) -> Iterator[str]:
    """A library of another node than the target's, and one that stood in."""
    if library.note:
        yield library.note + "."
    if not factors.scaled:
        yield f"area and energy are {factors.note}."
