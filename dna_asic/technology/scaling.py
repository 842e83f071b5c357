"""Published factors that carry area, energy and delay from one node to another, each at its nominal voltage.

Stillmaker and Baas (2017); `scaling.yaml` holds their coefficients and says which device they take. A node between two
of theirs (28 and 40 nm) is interpolated between its neighbours in proportion to the node, which is ours, not theirs.
"""

import bisect
import functools
from dataclasses import dataclass
from pathlib import Path

from dna_asic.errors import SpecError
from dna_asic.spec.record import from_plain, load_yaml

ANCHOR_NM = 45  # two nodes of which neither is theirs are joined through this one


@dataclass(frozen=True, kw_only=True)
class Table:
    """The coefficients; nodes in nm, voltages in V. area[a][b]: factor from a to b."""

    source: str
    nominal_v: dict[int, float]
    area: dict[int, dict[int, float]]
    energy: dict[int, tuple[float, ...]]
    delay: dict[int, tuple[float, ...]]


@functools.cache
def scaling_table() -> Table:
    """Read `scaling.yaml`; raises SpecError."""
    path = Path(__file__).parent / "scaling.yaml"
    return from_plain(Table, load_yaml(path), "scaling table")


def area_factor(from_nm: int, to_nm: int) -> float:
    """Area at `to_nm` over area at `from_nm`. Raises SpecError for a node outside the table."""
    area = scaling_table().area
    if from_nm == to_nm:
        return 1.0
    if from_nm in area:
        return _between(to_nm, area[from_nm].__getitem__)
    if to_nm in area:
        return 1.0 / area_factor(to_nm, from_nm)
    return area_factor(ANCHOR_NM, to_nm) / area_factor(ANCHOR_NM, from_nm)


def energy_factor(from_nm: int, to_nm: int) -> float:
    """Energy of one event at `to_nm` over that at `from_nm`, nominal voltages. Raises SpecError."""
    return _level("energy", to_nm) / _level("energy", from_nm)


def delay_factor(from_nm: int, to_nm: int) -> float:
    """Delay of a gate at `to_nm` over that at `from_nm`, nominal voltages. Raises SpecError."""
    return _level("delay", to_nm) / _level("delay", from_nm)


def voltage_squared_factor(from_nm: int, to_nm: int) -> float:
    """Square of the ratio of the nominal voltages: energy of a wire, whose capacitance per length hardly scales."""
    return (nominal_v(to_nm) / nominal_v(from_nm)) ** 2


def capacitance_factor(from_nm: int, to_nm: int) -> float:
    """Capacitance of a gate: energy over voltage squared."""
    return energy_factor(from_nm, to_nm) / voltage_squared_factor(from_nm, to_nm)


FACTORS = {"area": area_factor, "energy": energy_factor, "delay": delay_factor, "capacitance": capacitance_factor,
           "voltage_squared": voltage_squared_factor}


def nominal_v(nm: int) -> float:
    """The voltage at which a node is taken."""
    return _between(nm, scaling_table().nominal_v.__getitem__)


def is_covered(nm: int) -> bool:
    """Whether a node lies within the table."""
    nodes = scaling_table().area
    return min(nodes) <= nm <= max(nodes)


def _level(kind, nm):
    coefficients, volts = getattr(scaling_table(), kind), nominal_v(nm)
    return _between(nm, lambda node: functools.reduce(lambda sum_, c: sum_ * volts + c, coefficients[node], 0.0))


def _between(nm, value):
    """value(nm) where the table has the node, else on the line through its neighbours."""
    nodes = sorted(scaling_table().area)
    if not is_covered(nm):
        raise SpecError(f"Node {nm} nm has no published scaling factor; use one of {nodes[0]} to {nodes[-1]} nm.")
    if nm in nodes:
        return value(nm)
    above = bisect.bisect(nodes, nm)
    low, high = nodes[above - 1], nodes[above]
    return value(low) + (value(high) - value(low)) * (nm - low) / (high - low)
