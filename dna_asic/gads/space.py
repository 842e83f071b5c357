"""GADS: labelled choices that freeze to an AcceleratorConfig, or are refused with the reason."""

import dataclasses
import difflib
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from dna_asic.errors import InfeasibleDesign, SpecError
from dna_asic.space import Choice, Space
from dna_asic.spec.accelerator import (
    ORDERS,
    AcceleratorConfig,
    ChunkConfig,
    Delivery,
    LoopOrders,
    Reduction,
    loop_order,
)
from dna_asic.spec.dims import REDUCTION, Dim, Operand
from dna_asic.spec.record import from_plain, load_yaml

FOLDER = Path(__file__).parent / "spaces"
WORDS = {"spatial": None, "reduction": Reduction, "delivery": Delivery}  # chunk entries whose options are words
WIDTHS = {"n_w": Operand.W, "n_i": Operand.I, "n_o": Operand.O}
NUMBERS = ("pe_rows", "pe_cols", "n_pp", "rf_w_words", "rf_i_words", "rf_o_words", "gb_w_bytes", "gb_i_bytes",
           "gb_o_bytes")
CHUNK_ENTRIES = (*WORDS, *NUMBERS, *WIDTHS)
CHIP_ENTRIES = ("chunks", "port_bytes")
ENTRIES = (*CHIP_ENTRIES, *CHUNK_ENTRIES, *ORDERS)
DEFAULT_CLK_PERIOD_NS = 1.0


@dataclass(frozen=True, kw_only=True)
class GadsFile:
    """A space file. entries: options of every choice of ENTRIES. clk_period_ns: none for the technology's clock."""

    name: str
    memory_latency_cycles: int
    entries: dict[str, list]
    clk_period_ns: float | None = None

    def __post_init__(self):
        faults = [f"Space '{self.name}': unknown entry '{e}'{_hint(e, ENTRIES)}" for e in self.entries
                  if e not in ENTRIES]
        faults += [f"Space '{self.name}': missing entry '{e}'; add its options." for e in ENTRIES
                   if e not in self.entries]
        for entry, options in self.entries.items():
            faults += [f"Space '{self.name}': {fault}" for fault in _option_faults(entry, options)]
        if faults:
            raise SpecError("\n".join(faults))


def _option_faults(entry, options):
    """What is wrong with the options of an entry of a file."""
    kind = str if entry in WORDS or entry in ORDERS else int
    if not options or any(type(o) is not kind for o in options):
        yield f"{entry} must be a list of {kind.__name__} options, not {options!r}."
    elif entry in ("reduction", "delivery"):
        known = [member.value for member in WORDS[entry]]
        yield from (f"{entry} must be one of {', '.join(known)}, not {o}{_hint(o, known)}"
                    for o in options if o not in known)
    elif kind is str:
        yield from (f"{entry} '{o}' names no loop dim '{d}'; use G K C P Q R S."
                    for o in options for d in o.split() if d not in Dim.__members__)
        yield from (f"spatial '{o}' must be two loop dims, on rows and on columns."
                    for o in options if entry == "spatial" and len(o.split()) != 2)
    elif entry == "chunks":
        yield from (f"chunks must be in 1..4, not {o}." for o in options if not 1 <= o <= 4)


@dataclass(frozen=True, kw_only=True)
class GadsSpace:
    """The space: `choices` (one categorical each), `orders` (a layer's), `size`, `freeze`. Narrow it by `pinned`.

    Chunks have the same entries; where there may be several, the choices of chunk n are labelled `chunkN.<entry>`.
    """

    name: str
    entries: tuple[Choice, ...]
    memory_latency_cycles: int
    clk_period_ns: float | None = None

    @classmethod
    def load(cls, source: str | Path = "default") -> "GadsSpace":
        """A bundled space by name, or a YAML file by path; raises SpecError."""
        bundled = FOLDER / f"{source}.yaml"
        if not bundled.exists() and Path(source).suffix not in (".yaml", ".yml"):
            known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.yaml")))
            raise SpecError(f"Space must be one of {known} or a .yaml file, not '{source}'.")
        plain = from_plain(GadsFile, load_yaml(bundled if bundled.exists() else Path(source)), f"space '{source}'")
        chunks = max(plain.entries["chunks"])
        entries = [Choice(label, plain.entries[e]) for e in ENTRIES for label in _labels(e, chunks)]
        return cls(name=plain.name, entries=tuple(entries), memory_latency_cycles=plain.memory_latency_cycles,
                   clk_period_ns=plain.clk_period_ns)

    @functools.cached_property
    def choices(self) -> tuple[Choice, ...]:
        """Entries that make the chip."""
        return tuple(c for c in self.entries if c.label not in ORDERS)

    @property
    def orders(self) -> LoopOrders:
        """Loop orders that the mapper may give a layer."""
        return LoopOrders(**{c.label: tuple(map(loop_order, c.options)) for c in self.entries if c.label in ORDERS})

    @property
    def space(self) -> Space:
        """The same as a generic space."""
        return Space(name=f"space '{self.name}'", choices=self.choices, build=self.build)

    @property
    def size(self) -> int:
        """Number of chips, those with unused chunks counted once; mappings, which depend on the network, are not in it.
        """
        options = {c.label: len(c.options) for c in self.choices}
        counts = self.space["chunks"].options
        sizes = [math.prod(options[self._label(e, n)] for e in CHUNK_ENTRIES) for n in range(max(counts))]
        return options["port_bytes"] * sum(math.prod(sizes[:n]) for n in counts)

    def pinned(self, pins: Sequence[str]) -> "GadsSpace":
        """Narrow entries by "name=value" or "name=value|value"; raises SpecError with every wrong pin.

        An entry's bare name pins it in all chunks.
        """
        choices, faults = {c.label: c for c in self.entries}, []
        for pin in pins:
            name, equals, text = pin.partition("=")
            labels = [label for label in choices if name in (label, label.partition(".")[2])]
            if not equals or not labels:
                hint = _hint(name, [*choices, *CHUNK_ENTRIES]) if equals else "."
                faults.append(f"Pin '{pin}' must be name=value with a name of the space{hint}")
            for label in labels if equals else ():
                by_text, wanted = {str(o): o for o in choices[label].options}, text.split("|")
                faults += [f"Pin '{pin}': {label} must be one of {', '.join(by_text)}, not '{w}'{_hint(w, by_text)}"
                           for w in wanted if w not in by_text]
                kept = tuple(by_text[w] for w in wanted if w in by_text)
                if kept:
                    choices[label] = Choice(label, kept)
        if faults:
            raise SpecError("\n".join(faults))
        return dataclasses.replace(self, entries=_without_unused_chunks(choices))

    def at_clock(self, clk_period_ns: float) -> "GadsSpace":
        """The space with the technology's clock, unless its file fixes one."""
        return dataclasses.replace(self, clk_period_ns=self.clk_period_ns or clk_period_ns)

    def sample(self, generator: torch.Generator) -> dict[str, Any]:
        """One sample, uniform per choice; it may be infeasible."""
        return self.space.sample(generator)

    def freeze(self, sample: Mapping[str, Any]) -> AcceleratorConfig:
        """The chip of a sample. Raises SpecError for a sample outside the space, InfeasibleDesign with the reason."""
        return self.space.freeze(sample)

    def build(self, sample: Mapping[str, Any]) -> AcceleratorConfig:
        """As `freeze`, for a sample that is known to be of the space."""
        chunks = [_chunk({e: sample[self._label(e, n)] for e in CHUNK_ENTRIES}) for n in range(sample["chunks"])]
        return AcceleratorConfig(
            name=self.name, chunks=tuple(chunks), port_bytes=sample["port_bytes"],
            memory_latency_cycles=self.memory_latency_cycles, clk_period_ns=self.clk_period_ns or DEFAULT_CLK_PERIOD_NS)

    @functools.cached_property
    def _labels(self):
        return {c.label for c in self.entries}

    def _label(self, entry, chunk):
        return entry if entry in self._labels else f"chunk{chunk}.{entry}"

    def chunk_of(self, label: str) -> int:
        """Number of the chunk that an entry belongs to; 0 for one of the chip."""
        chunk, dot, _ = label.partition(".")
        return int(chunk.removeprefix("chunk")) if dot else 0

    def feasible(self, generator: torch.Generator, attempts: int = 1000) -> tuple[dict[str, Any], AcceleratorConfig]:
        """A uniform sample that freezes, and its chip; raises InfeasibleDesign after `attempts`."""
        for _ in range(attempts):
            sample = self.sample(generator)
            try:
                return sample, self.build(sample)
            except InfeasibleDesign as error:
                reason = error
        raise InfeasibleDesign(f"Space '{self.name}': none of {attempts} samples is a chip; the last reason: {reason}")


def _without_unused_chunks(choices):
    """Entries of the chunks that there may be; of one chunk, without its number."""
    chunks = max(choices["chunks"].options)
    kept = {label: label for e in ENTRIES for label in _labels(e, chunks)}
    if chunks == 1:
        kept = {e: e if e in choices else f"chunk0.{e}" for e in ENTRIES}
    return tuple(Choice(label, choices[old].options) for label, old in kept.items())


def _labels(entry, chunks):
    """Labels of an entry in a space of so many chunks."""
    return [f"chunk{n}.{entry}" for n in range(chunks)] if entry in CHUNK_ENTRIES and chunks > 1 else [entry]


def _chunk(sample: Mapping[str, Any]) -> ChunkConfig:
    """Widths are limits, and what has nothing to reduce has trees of one: equivalent samples are one chunk."""
    row_dim, col_dim = loop_order(sample["spatial"])
    lanes = _lane_extents(row_dim, col_dim, sample["pe_rows"], sample["pe_cols"])
    reduces = REDUCTION & {row_dim, col_dim}
    return ChunkConfig(
        row_dim=row_dim, col_dim=col_dim, delivery=Delivery(sample["delivery"]),
        reduction=Reduction(sample["reduction"]) if reduces else Reduction.TREE, **{n: sample[n] for n in NUMBERS},
        **{n: widest(sample[n], lanes[x]) for n, x in WIDTHS.items()})


def widest(limit: int, extent: int) -> int:
    """Largest power of two up to `limit` that divides `extent`."""
    width = 1
    while 2 * width <= limit and extent % (2 * width) == 0:
        width *= 2
    return width


def _lane_extents(row_dim, col_dim, rows, cols):
    """PEs along the lane axis of each operand, as ChunkConfig has them."""
    chunk = SimpleNamespace(row_dim=row_dim, col_dim=col_dim, pe_rows=rows, pe_cols=cols)
    chunk.lane_axis = lambda operand: ChunkConfig.lane_axis(chunk, operand)
    return {x: ChunkConfig.lane_extent(chunk, x) for x in Operand}


def _hint(value, names):
    close = difflib.get_close_matches(str(value), [str(n) for n in names], n=1)
    return f"; did you mean '{close[0]}'?" if close else "."
