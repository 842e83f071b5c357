"""Formulas of memories fitted to published points (`sram_points.yaml`).

read energy   bits * (base + slope * sqrt(kilobytes))      pJ
area          overhead + per_bit * words * bits            um2
access time   base + slope * sqrt(words * bits)            ns

Each is a least-squares fit of relative errors at one node; points of another node are brought there by the published
factors. The technology files hold the results, scaled; a test holds the files to the fits.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dna_asic.spec.record import from_plain, load_yaml
from dna_asic.technology.scaling import area_factor, delay_factor, energy_factor

FIT_NM = 45  # node of the fits of energy, overhead and access time
DENSITY_NM = 28  # node of the fit of the area of a bit


@dataclass(frozen=True, kw_only=True)
class MemoryPoint:
    """One published figure of a `words` x `bits` memory: value in pJ a read, um2 or ns."""

    words: int
    bits: int
    value: float
    node_nm: int
    fitted: bool
    source: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class ChipPoint:
    """Published area of an accelerator with `macs` int8 multipliers and a buffer of `buffer_kb`."""

    macs: int
    buffer_kb: float
    area_mm2: float
    node_nm: int
    source: str


@dataclass(frozen=True, kw_only=True)
class MemoryPoints:
    """All points of the file."""

    energy: tuple[MemoryPoint, ...]
    area_macros: tuple[MemoryPoint, ...]
    access: tuple[MemoryPoint, ...]
    area_chips: tuple[ChipPoint, ...]


@functools.cache
def memory_points() -> MemoryPoints:
    """Read `sram_points.yaml`; raises SpecError."""
    return from_plain(MemoryPoints, load_yaml(Path(__file__).parent / "sram_points.yaml"), "memory points")


def fit_energy() -> tuple[float, float]:
    """(base pJ/bit, slope pJ/bit per square root of KB) at FIT_NM."""
    points = _fitted(memory_points().energy)
    rows = [(p.bits, p.bits * (p.words * p.bits / 8192) ** 0.5) for p in points]
    return _fit(rows, [p.value * energy_factor(p.node_nm, FIT_NM) for p in points])


def fit_overhead() -> float:
    """um2 that a macro has beside its bits, at FIT_NM: intercept of the fit over the macros."""
    points = _fitted(memory_points().area_macros)
    return _fit([(1, p.words * p.bits) for p in points],
                [p.value * area_factor(p.node_nm, FIT_NM) for p in points])[0]


def fit_density() -> float:
    """um2 per bit at DENSITY_NM: slope over the buffers of chips, beside a constant and a slope over their MACs."""
    points = memory_points().area_chips
    return _fit([(1, p.macs, p.buffer_kb * 8192) for p in points],
                [1e6 * p.area_mm2 * area_factor(p.node_nm, DENSITY_NM) for p in points])[2]


def fit_access() -> tuple[float, float]:
    """(base ns, slope ns per square root of bits) at FIT_NM."""
    points = _fitted(memory_points().access)
    return _fit([(1, (p.words * p.bits) ** 0.5) for p in points],
                [p.value * delay_factor(p.node_nm, FIT_NM) for p in points])


def _fitted(points):
    return [p for p in points if p.fitted]


def _fit(rows, values):
    """Coefficients that minimise the sum of squared relative errors."""
    values = np.array(values)
    solution, *_ = np.linalg.lstsq(np.array(rows, dtype=float) / values[:, None], np.ones(len(values)), rcond=None)
    return tuple(map(float, solution))
