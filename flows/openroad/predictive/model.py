"""Delay, energy, capacitance and area of a cell: logical effort on cells of fixed height.

Sutherland, Sproull and Harris, "Logical Effort" (1999), with transistors of one width in a stage.

The unit is the smallest inverter: input capacitance `cell_input_ff`, and tau = its resistance times that capacitance.
A stage of size x has an output resistance of r / x, r = (2 U + D) / 3, where U = 1 + SERIES_P (up - 1) and
D = 1 + SERIES_N (down - 1) for `up` and `down` transistors in series, and a drain capacitance of
x DRAIN (inputs + 1) / 2. Its delay is tau (r / x) (drain + load).

Parameters without a unit, each read from Nangate45 [C] (typical corner) as a ratio, none from a single cell's fit:
"""

import math
from dataclasses import dataclass

from dna_asic.technology import Technology
from flows.openroad.predictive.cells import REGISTERS, Cell, Register, Stage

P_OVER_N = 2.0  # resistance of a p over an n transistor: Nangate45's INV_X1 rises at 2.40 and falls at 1.21 ps/fF
SERIES_P = 1.1  # of a further p transistor in series over the first: slopes of Nangate45's NOR2_X1 and NOR3_X1
SERIES_N = 0.72  # likewise for n, where velocity saturation helps: NAND2_X1 to NAND4_X1
DRAIN = 1.24  # drain over gate capacitance of an inverter: Nangate45's INV_X1, 3.8 ps at no load
SLEW_OF_DELAY = 0.85  # 30 % to 70 % of an exponential: ln(7/3) RC, RC being the slope of the delay over load
DELAY_OF_SLEW = 0.35  # of the input's slew, seen in the delay: Nangate45's INV_X1, 0.24 to 0.52
SLEW_OF_SLEW = 0.1  # of the input's slew, seen in the output's
ENERGY_SHARE = 0.9  # of drain and inner gate capacitance times V^2: Nangate45 0.70 to 0.79 at fast inputs, and the
# short-circuit current at slews of 20 to 40 ps adds a fifth
MAX_FANOUT = 32  # input units a stage of size 1 may drive: Nangate45's INV_X1, max_capacitance 60.7 fF
SITE_ASPECT = 1.4 / 0.19  # row height over site width: Nangate45
GRID_UM = 0.0005


@dataclass(frozen=True)
class Model:
    """The formulas at one node."""

    technology: Technology

    def input_ff(self, units: float, drive: int) -> float:
        """Capacitance of a pin."""
        return self.technology["cell_input_ff"] * units * drive

    def max_load_ff(self, drive: int) -> float:
        """Most that an output may drive."""
        return self.technology["cell_input_ff"] * MAX_FANOUT * drive

    def delay_ns(self, path: tuple[Stage, ...], drive: int, slew_ns: float, load_ff: float) -> float:
        """From 50 % of the input to 50 % of the output of the last stage."""
        return DELAY_OF_SLEW * slew_ns + 1e-3 * self.technology["cell_tau_ps"] * (
            self._inner(path, drive) + self._last(path[-1], drive, load_ff))

    def slew_ns(self, path: tuple[Stage, ...], drive: int, slew_ns: float, load_ff: float) -> float:
        """30 % to 70 % of the output."""
        seen = SLEW_OF_SLEW * slew_ns if len(path) == 1 else 0.0
        return seen + SLEW_OF_DELAY * 1e-3 * self.technology["cell_tau_ps"] * self._last(path[-1], drive, load_ff)

    def energy_fj(self, path: tuple[Stage, ...], drive: int) -> float:
        """Of one rise or fall of the output, without the load."""
        inner = sum(nxt.size + stage.load for stage, nxt in zip(path, path[1:]))
        units = drive * (sum(map(_drain, path)) + inner + path[-1].load)
        return 0.5 * ENERGY_SHARE * units * self.technology["cell_input_ff"] * self.technology["supply_v"] ** 2

    def setup_ns(self, cell: Register) -> float:
        """Time that the data must be there before the clock: the way to the first latch."""
        return 1e-3 * self.technology["cell_tau_ps"] * (self._inner(cell.setup, 1) + self._last(cell.setup[-1], 1, 0.0))

    def register_ns(self) -> float:
        """From one flip-flop to the next with nothing between: no clock can be shorter."""
        cell = REGISTERS[0]
        return self.delay_ns(cell.outputs["Q"].path, 1, 0.0, 0.0) + self.setup_ns(cell)

    @property
    def site_um(self) -> tuple[float, float]:
        """(width, height) of a site, on the manufacturing grid."""
        width = math.sqrt(self.technology["cell_site_um2"] / SITE_ASPECT)
        return _snap(width), _snap(width * SITE_ASPECT)

    def area_um2(self, sites: int) -> float:
        """Of a cell `sites` wide."""
        width, height = self.site_um
        return sites * width * height

    def leakage_nw(self, sites: int) -> float:
        """Of a cell `sites` wide."""
        return 1e6 * self.technology.leakage_mw(self.area_um2(sites))

    def _inner(self, path, drive):
        """Delay of all stages but the last, in tau; the drive cancels, as all stages grow with it."""
        return sum(_resistance(stage) / stage.size * (_drain(stage) + stage.load + nxt.size)
                   for stage, nxt in zip(path, path[1:]))

    def _last(self, stage, drive, load_ff):
        load = load_ff / self.technology["cell_input_ff"] / drive
        return _resistance(stage) / stage.size * (_drain(stage) + stage.load + load)


def sites(cell: Cell, drive: int) -> int:
    """Width: a column per transistor pair and finger, and the gaps."""
    return sum(pairs * math.ceil(size * drive) for pairs, size in cell.blocks) + cell.breaks


def _resistance(stage):
    up, down = 1 + SERIES_P * (stage.up - 1), 1 + SERIES_N * (stage.down - 1)
    return (P_OVER_N * up + down) / (P_OVER_N + 1)


def _drain(stage):
    return DRAIN * stage.size * (stage.inputs + 1) / 2


def _snap(um):
    return round(um / GRID_UM) * GRID_UM
