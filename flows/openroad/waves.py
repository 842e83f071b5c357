"""Waves of a simulation (VCD), sampled once a clock cycle and packed eight cycles to the byte."""

import gzip
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dna_asic.errors import SpecError

CLOCKS = ("clk", "clock")


@dataclass(frozen=True)
class Waves:
    """What the signals of a design were at the end of each of `cycles` clock cycles.

    scopes: of each scope path ("a/b") its signals by name: (code, bits, lowest index). changes: of each code the cycles
    in which it changed and its values then, as texts of 0, 1, x and z. packed: what was asked for already.
    """

    cycles: int
    scopes: dict[str, dict[str, tuple[str, int, int]]]
    changes: dict[str, tuple[list[int], list[str]]]
    packed: dict[str, np.ndarray] = field(default_factory=dict, compare=False)

    def bit(self, scope: str, net: str) -> np.ndarray | None:
        """Packed values of a net of one bit (`name`, `name[3]`) in a scope; None where the waves do not have it."""
        signals = self.scopes.get(scope, {})
        if net in signals:
            return self._bits(*signals[net][:2])[-1]
        name, _, index = net.removesuffix("]").rpartition("[")
        if name not in signals or not index.isdecimal():
            return None
        code, width, low = signals[name]
        place = int(index) - low
        return self._bits(code, width)[-1 - place] if 0 <= place < width else None

    def _bits(self, code, width) -> np.ndarray:
        """[bits, ceil(cycles / 8)] uint8, most significant bit first."""
        if code in self.packed:
            return self.packed[code]
        at, values = self.changes.get(code, ([], []))
        table = np.zeros((len(values) + 1, width), np.uint8)
        for n, value in enumerate(values, 1):
            fill = "0" if value[0] == "1" else value[0]
            table[n] = np.frombuffer(value.rjust(width, fill).encode(), np.uint8) == ord("1")
        lengths = np.diff(np.concatenate([[0], np.minimum(at, self.cycles), [self.cycles]]).astype(int))
        self.packed[code] = np.packbits(np.repeat(table, lengths, axis=0), axis=0).T.copy()
        return self.packed[code]


def read_waves(path: Path, cycles: int | None = None) -> Waves:
    """Waves of a .vcd or .vcd.gz file from its first clock edge on, at most `cycles` of them.

    The clock is the signal named `clk` of the outermost scope that has one. Raises SpecError.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="ascii", errors="replace") as stream:
            return parse_waves(stream, path.name, cycles)
    except (EOFError, gzip.BadGzipFile) as error:
        raise SpecError(f"Waves '{path}' are damaged ({error}); run the simulation again.") from error


def parse_waves(stream: Iterable[str], source: str, cycles: int | None = None) -> Waves:
    """See `read_waves`."""
    lines = iter(stream)
    scopes, clock = _header(lines, source)
    changes, cycle, pending = {}, -1, {}

    def settle(last):
        """What changed at one time: of the cycle that begins then, if the clock rises."""
        rises = pending.pop(clock, None) == "1"
        at = last + rises
        if cycles is not None and at >= cycles:
            return at
        for code, value in pending.items():
            kept = changes.setdefault(code, ([], []))
            if kept[0] and kept[0][-1] == max(at, 0):
                kept[1][-1] = value
            else:
                kept[0].append(max(at, 0))
                kept[1].append(value)
        pending.clear()
        return at

    for line in lines:
        head = line[0]
        if head in "01xzXZ":
            pending[line[1:-1]] = head
        elif head in "bB":
            value, _, code = line[1:-1].partition(" ")
            pending[code] = value
        elif head == "#":
            cycle = settle(cycle)
            if cycles is not None and cycle >= cycles:
                break
    else:
        cycle = settle(cycle)
    seen = cycle + 1 if cycles is None else min(cycles, cycle + 1)
    if seen < 1:
        raise SpecError(f"Waves '{source}' have no cycle of their clock; record a part in which it runs.")
    return Waves(seen, scopes, changes)


def _header(lines, source):
    """({scope path: {name: (code, bits, lowest index)}}, code of the clock)."""
    scopes, stack, clock = {}, [], None
    for line in lines:
        word = line.split()
        if not word:
            continue
        if word[0] == "$scope":
            stack.append(word[2])
            scopes.setdefault("/".join(stack), {})
        elif word[0] == "$upscope":
            stack.pop()
        elif word[0] == "$var":
            code, name, bounds = word[3], word[4].removeprefix("\\"), word[5] if len(word) > 6 else ""
            if name in CLOCKS and clock is None:
                clock = code
            low = int(bounds.strip("[]").split(":")[-1]) if bounds else 0
            scopes.setdefault("/".join(stack), {})[name] = (code, int(word[2]), low)
        elif word[0] == "$enddefinitions":
            break
    if clock is None:
        raise SpecError(f"Waves '{source}' have no signal named {' or '.join(CLOCKS)}; trace the clock too.")
    return scopes, clock
