"""Rows that others published, kept as published and never mixed with this project's own figures."""

from dataclasses import dataclass
from pathlib import Path

from dna_asic.spec.record import from_plain, load_yaml

FILE = Path(__file__).with_name("nasaic_published.yaml")


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One row. accelerators: <dataflow, PEs, GB/s> each; energy and area in the paper's own units."""

    workload: str
    flow: str
    accelerators: str
    cifar10_pct: float
    second_pct: float
    cycles: int
    energy: float
    area: float

    def ratios(self, base: "PublishedRow") -> tuple[float, float, float, float]:
        """Cycles, energy, area and energy x cycles, each over those of `base`."""
        return (self.cycles / base.cycles, self.energy / base.energy, self.area / base.area,
                self.energy * self.cycles / (base.energy * base.cycles))


@dataclass(frozen=True, kw_only=True)
class Published:
    """A table of one paper; `mark` stands at every figure of its rows and `mark_meaning` says what it means."""

    source: str
    mark: str
    mark_meaning: str
    abstract: str
    rows: tuple[PublishedRow, ...]

    def base(self, row: PublishedRow) -> PublishedRow:
        """The row of the paper's own flow for the same workload."""
        return next(r for r in self.rows if r.workload == row.workload and r.flow == "NASAIC")


def load_published(path: Path = FILE) -> Published:
    """Read a table; raises SpecError."""
    return from_plain(Published, load_yaml(path), f"published table '{path.name}'")
