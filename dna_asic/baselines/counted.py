"""The interface of all searches of the accelerator that are compared: a space, a cost that counts, a seed in; what the
cost has recorded out.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dna_asic.cosearch.designs import DesignPricer
from dna_asic.cosearch.gumbel import Sample
from dna_asic.cosearch.pricing import LayerPricer
from dna_asic.cosearch.prior import EstimatedPrior
from dna_asic.cosearch.targets import Targets
from dna_asic.errors import InfeasibleDesign
from dna_asic.gads import GadsSpace
from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.layer import NetworkSpec

ASKED = 100  # samples that may be asked for per evaluation: a search that goes round in circles ends


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """Best so far. evaluations: chips mapped; seconds: of the processor, search included; edp_js: infinite before."""

    evaluations: int
    seconds: float
    edp_js: float


class CountedCost(DesignPricer):
    """EDP of one network on chips of one space, for at most `budget` chips mapped; what is refused unmapped is free."""

    def __init__(self, space: GadsSpace, network: NetworkSpec, layers: LayerPricer, budget: int,
                 max_area_mm2: float = math.inf):
        super().__init__(layers, Targets(max_area_mm2=max_area_mm2))
        self.space, self.network, self.budget, self.asked = space, network, budget, 0
        self.curve: list[CurvePoint] = []
        self.chip: AcceleratorConfig | None = None
        self._prior = EstimatedPrior(space, self)
        self._started = time.process_time()

    @property
    def left(self) -> int:
        """Evaluations that are left; 0 too for a search that asks and asks without one."""
        return max(0, self.budget - self.evaluations) if self.asked < ASKED * self.budget else 0

    def edp_js(self, chips: Sequence[AcceleratorConfig | None], network: NetworkSpec) -> Tensor:
        """As DesignPricer's, and recorded."""
        edp = super().edp_js(chips, network)
        self.asked += len(chips)
        best = int(edp.argmin()) if len(chips) else None
        least = self.curve[-1].edp_js if self.curve else math.inf
        if best is not None and edp[best] < least:
            least, self.chip = float(edp[best]), chips[best]
        self.curve.append(CurvePoint(evaluations=self.evaluations, seconds=time.process_time() - self._started,
                                     edp_js=least))
        return edp

    def costs(self, samples: Sequence[Sample]) -> Tensor:
        """float64 [samples]: as DesignPricer's `log_costs`."""
        chips = [self._build(s) for s in samples]
        self.edp_js(chips, self.network)
        return self.log_costs(chips)

    def expected(self, samples: Sequence[Sample]) -> Tensor:
        """float64 [samples]: as `EstimatedPrior` has it; no evaluation."""
        index = [[c.options.index(s[c.label]) for c in self.space.choices] for s in samples]
        return self._prior(torch.tensor(index), self.network)

    def _build(self, sample):
        try:
            return self.space.build(sample)
        except InfeasibleDesign:
            return None


Search = Callable[[CountedCost, int], None]  # (cost, seed): spends the cost's budget
