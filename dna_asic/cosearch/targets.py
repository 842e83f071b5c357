"""Targets that a design must keep, and the weight of the hardware cost that follows them."""

import dataclasses
import math
from dataclasses import dataclass

from dna_asic.errors import InfeasibleDesign
from dna_asic.spec.report import CostReport

PENALTY = 4.0  # power of e times what limits are exceeded by, by which such a chip's EDP counts more
STEP, SPAN = 2.0, 100.0  # of lambda: factor per vote and epoch; the most that it moves from where it began, either way
SLACK = 0.1  # share of a limit that must be left before lambda is lowered again
ACCURACY_SLACK = 0.01  # above the target before lambda is raised


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A target by name, its limit and what was found, in the unit of the name."""

    target: str
    limit: float
    value: float
    kept: bool


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Limits of a design; infinite, and 0 of the accuracy, where there is none.

    Latency and power are of one inference, power is its energy over its latency. min_accuracy: share of the images of
    the validation part that are classified rightly.
    """

    max_latency_ms: float = math.inf
    max_area_mm2: float = math.inf
    max_power_mw: float = math.inf
    min_accuracy: float = 0.0

    def _shares(self, energy_j, latency_s):
        """What latency and power take of their limits; 0 without a limit."""
        return 1e3 * latency_s / self.max_latency_ms, 1e3 * energy_j / latency_s / self.max_power_mw

    def excess(self, energy_j: float, latency_s: float) -> float:
        """ln of what latency and power exceed their limits by, both together; 0 where they are kept."""
        return sum(math.log(max(1.0, share)) for share in self._shares(energy_j, latency_s))

    def penalty(self, energy_j: float, latency_s: float) -> float:
        """Nats on top of a chip's ln EDP: 0 where latency and power are kept, else PENALTY (1 + `excess`)."""
        excess = self.excess(energy_j, latency_s)
        return PENALTY * (1 + excess) if excess else 0.0

    def tightened(self, asked: "Targets", energy_j: float, latency_s: float) -> "Targets":
        """Limits of latency and power lowered by what those of `asked` are exceeded by."""
        latency, power = (max(1.0, share) for share in asked._shares(energy_j, latency_s))
        return dataclasses.replace(self, max_latency_ms=self.max_latency_ms / latency,
                                   max_power_mw=self.max_power_mw / power)

    def judged(self, report: CostReport, accuracy: float | None = None) -> tuple[Judged, ...]:
        """Every target there is, against a report and (None: not judged) an accuracy."""
        found = {"max_latency_ms": report.latency_s * 1e3, "max_area_mm2": report.area_mm2,
                 "max_power_mw": report.energy_j / report.latency_s * 1e3}
        rows = [Judged(target=name, limit=getattr(self, name), value=value, kept=value <= getattr(self, name))
                for name, value in found.items() if math.isfinite(getattr(self, name))]
        if self.min_accuracy and accuracy is not None:
            rows.append(Judged(target="min_accuracy", limit=self.min_accuracy, value=accuracy,
                               kept=accuracy >= self.min_accuracy))
        return tuple(rows)

    def require(self, report: CostReport, subject: str) -> None:
        """Raise InfeasibleDesign with every target of hardware that the report of `subject` breaks."""
        broken = [f"{x.target} {x.limit:g} with {x.value:.4g}" for x in self.judged(report) if not x.kept]
        if broken:
            raise InfeasibleDesign(f"{subject} breaks {' and '.join(broken)}; allow more, widen the space, or search "
                                   f"longer.")

    def next_weight(self, weight: float, start: float, energy_j: float, latency_s: float,
                    accuracy: float | None = None) -> float:
        """lambda after an epoch whose best design takes so much: `weight` times STEP to the sum of two votes.

        Hardware votes for more where latency or power are broken, for less down to `start` where both are kept with
        slack; accuracy (None: no vote) for less below its target, for more above it with slack.
        """
        share = max(self._shares(energy_j, latency_s))
        vote = (share > 1) - (0 < share < 1 - SLACK and weight > start)
        if accuracy is not None:
            vote += (accuracy > self.min_accuracy + ACCURACY_SLACK) - (accuracy < self.min_accuracy)
        return min(max(weight * STEP**vote, start / SPAN), start * SPAN)


NO_TARGETS = Targets()
