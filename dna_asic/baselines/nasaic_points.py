"""NASAIC's published <dataflow, PEs, bandwidth> points in this project's own cost model.

Only the hardware is NASAIC's: all points run one ResNet9 of its space for CIFAR-10 (`NETWORK`; which networks its rows
had is not known here), on the chips of `nasaic_space`, mapped by this project. The paper's figures are another model's
and in units of their own (`report.published`): its ratios between its own rows stand beside those between ours.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dna_asic.baselines.nasaic_space import NasaicSpace, Silicon, TemplatePricer, Values, parse_hardware
from dna_asic.cosearch.designs import map_design
from dna_asic.mapping.tilings import Effort
from dna_asic.report.published import Published, PublishedRow

SPACE = NasaicSpace(input_shape=(3, 32, 32), classes=10)
NETWORK: Values = (32, 128, 2, 256, 2, 256, 2)


@dataclass(frozen=True, kw_only=True)
class Recosted:
    """A published point as this project has it. edp_js: J s; the area is of both sub-accelerators."""

    row: PublishedRow
    pes: int
    latency_cycles: int
    energy_j: float
    area_mm2: float
    edp_js: float

    def ratios(self, base: "Recosted") -> tuple[float, float, float, float]:
        """Cycles, energy, area and energy x cycles, each over those of `base`: as PublishedRow's."""
        return (self.latency_cycles / base.latency_cycles, self.energy_j / base.energy_j,
                self.area_mm2 / base.area_mm2, self.edp_js / base.edp_js)


def recost(published: Published, silicon: Silicon, pricer: TemplatePricer, seed: int, network: Values = NETWORK,
           effort: Effort | None = None, progress: Callable[[], object] = lambda: None) -> Iterator[Recosted]:
    """Each row of the table; raises InfeasibleDesign for a chip that cannot run the network."""
    for row in published.rows:
        chip = silicon.chip(parse_hardware(row.accelerators))
        report = map_design(chip, SPACE.network(network), pricer, seed, effort).report
        progress()
        yield Recosted(row=row, pes=chip.pes, latency_cycles=report.latency_cycles, energy_j=report.energy_j,
                       area_mm2=report.area_mm2, edp_js=report.edp_js)
