"""Switching activity per module instance, read from a VCD file (Verilator --trace) in one pass.

Activity of an instance is the mean number of toggles per bit and clock cycle over the signals declared in it (those
of instances below are theirs), clock and reset apart, over a window of the simulation.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path

from dna_asic.errors import SpecError
from dna_asic.spec.record import from_plain, to_plain
from flows.openroad.steps import Step

CLOCKS = ("clk", "clock")
IGNORED = (*CLOCKS, "rst", "reset")


@dataclass(frozen=True, kw_only=True)
class Activity:
    """toggles_per_bit_cycle of each instance path ("a/b", "" is the root); cycles: length of the window."""

    cycles: int
    source: str
    toggles_per_bit_cycle: dict[str, float]


def read_activity(path: Path, first_cycle: int = 0, cycles: int | None = None) -> Activity:
    """Activity of a .vcd or .json file; `cycles` from `first_cycle` on (None: to the end). Raises SpecError."""
    if path.suffix == ".json":
        try:
            return from_plain(Activity, json.loads(path.read_text()), f"activity '{path}'")
        except ValueError as error:
            raise SpecError(f"Activity file '{path}' is not JSON: {error}; run the simulation again.") from error
    with path.open(encoding="ascii", errors="replace") as stream:
        return read_vcd(stream, path.name, first_cycle, cycles)


@dataclass(frozen=True, kw_only=True)
class ActivityExtraction(Step):
    """Turn the waves of a simulation into activity.json, once. Metrics: cycles, scopes."""

    waves: Path

    def run(self, folder: Path) -> dict:
        activity = read_activity(self.waves)
        (folder / "activity.json").write_text(json.dumps(to_plain(activity), indent=1) + "\n")
        return {"cycles": activity.cycles, "scopes": len(activity.toggles_per_bit_cycle)}


def activity_step(waves: Path) -> ActivityExtraction:
    """The step with its inputs and outputs declared."""
    return ActivityExtraction(name="activity", inputs=(waves,), outputs=("activity.json",), waves=waves)


def read_vcd(stream: io.TextIOBase, source: str, first_cycle: int = 0, cycles: int | None = None) -> Activity:
    """Activity of an open VCD; the clock is the signal named `clk` of the outermost scope that has one."""
    scopes, clock = _header(stream, source)
    toggles, seen = _changes(stream, clock, first_cycle, cycles)
    if seen == 0:
        raise SpecError(f"VCD '{source}' has no cycle of its clock from cycle {first_cycle} on; take another window.")
    rates = {}
    for path, signals in scopes.items():
        bits = sum(signals.values())
        rates[path] = sum(toggles.get(code, 0) for code in signals) / (bits * seen) if bits else 0.0
    return Activity(cycles=seen, source=source, toggles_per_bit_cycle=rates)


def _header(stream, source):
    """({scope path: {code: bits}}, clock code); register files count word by word."""
    scopes, stack, clock = {}, [], None
    for line in stream:
        word = line.split()
        if not word:
            continue
        if word[0] == "$scope":
            stack.append(word[2])
            scopes.setdefault("/".join(stack), {})
        elif word[0] == "$upscope":
            stack.pop()
        elif word[0] == "$var":
            name, code = word[4], word[3]
            if name in CLOCKS and clock is None:
                clock = code
            if name not in IGNORED:
                scopes.setdefault("/".join(stack), {})[code] = int(word[2])
        elif word[0] == "$enddefinitions":
            break
    if clock is None:
        raise SpecError(f"VCD '{source}' has no signal named {' or '.join(CLOCKS)}; trace the clock too.")
    return scopes, clock


def _changes(stream, clock, first_cycle, cycles):
    """({code: toggled bits}, cycles seen) in the window."""
    values, toggles, cycle, seen = {}, {}, -1, 0
    last = None if cycles is None else first_cycle + cycles
    for line in stream:
        head = line[0]
        if head in "01":
            code, value = line[1:-1], int(head)
            if code == clock:
                cycle += value
                if last is not None and cycle >= last:
                    break
                seen += value and cycle >= first_cycle
                continue
        elif head in "bB":
            bits, _, code = line[1:-1].partition(" ")
            value = int(bits, 2) if bits.isdigit() else 0
        else:
            continue
        if cycle >= first_cycle and code in values and (flips := values[code] ^ value):
            toggles[code] = toggles.get(code, 0) + flips.bit_count()
        values[code] = value
    return toggles, seen


def align(activity: Activity, instances: list[str]) -> tuple[dict[str, float], float]:
    """Rates of netlist instance paths, from a simulation that holds the same hierarchy under some scope.

    Returns ({path: rate}, share of the instances found). An instance without one (flattened, or renamed) takes its
    nearest ancestor's.
    """
    known = activity.toggles_per_bit_cycle
    present = [p for p in instances if p]
    roots = {scope[: len(scope) - len(probe)].rstrip("/") for probe in present[:1] + present[-1:] for scope in known
             if scope == probe or scope.endswith("/" + probe)} or {min(known, key=len)}
    best = max(sorted(roots), key=lambda root: sum(_join(root, p) in known for p in instances))
    rates, found = {}, 0
    for path in instances:
        probe = path
        found += _join(best, probe) in known
        while _join(best, probe) not in known and probe:
            probe = probe.rpartition("/")[0]
        rates[path] = known.get(_join(best, probe), 0.0)
    return rates, found / max(1, len(instances))


def _join(root, path):
    return "/".join(filter(None, (root, path)))
