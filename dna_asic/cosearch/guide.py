"""What the search remembers of the samples that it priced, and the use it makes of that: elites, a screen of its draws,
and the control variate of its gradient. `GumbelSettings` switches each of them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dna_asic.cosearch.gumbel import GumbelSearch, Sample
from dna_asic.cosearch.surrogate import Surrogate

FIT_STEPS = 4  # of the model's likelihood, per step of the search
CAUTION = 2.0  # deviations below the model's mean at which the boldest of a step's screened samples is judged
REDRAWN = 1.5  # choices of an elite that are drawn anew, on average


class Guide:
    """Samples int64 [n, choices] with their costs (ln EDP, finite), each once; and the model of them."""

    def __init__(self, search: GumbelSearch):
        self.search, self.settings = search, search.settings
        self.index = torch.zeros((0, len(search.choices)), dtype=torch.int64)
        self.costs = torch.zeros(0, dtype=torch.float64)
        self.model, self._place = Surrogate(len(search.choices)), {}

    @property
    def screened(self) -> int:
        """How many samples of the next step are not gamma's own."""
        return min(self.settings.screened, self.settings.samples // 2) if self.model.ready else 0

    def update(self, gates: Tensor, index: Tensor, costs: Tensor) -> None:
        """One step of gamma by its own samples [n, choices]; the model is of those before.

        With the control variate the samples give the gradient of what the model leaves of their costs, and the model's
        mean under gamma the rest: the sum is that of the costs, with less noise.
        """
        if not (self.settings.control_variate and self.model.ready):
            return self.search.update(gates, costs)
        left = self.model.standard(costs) - self.model.predict(index)[0]
        return self.search.update(gates, left, self.model.expected(self.search.probabilities()))

    def learn(self, index: Tensor, costs: Tensor) -> None:
        """Remember what was priced (the latest cost of a sample), and fit the model where it is of use."""
        if not (self.settings.control_variate or self.settings.screened):
            return
        rows, new = list(map(tuple, index.tolist())), []
        for i, row in enumerate(rows):
            if self._place.setdefault(row, len(self._place)) == len(self.costs) + len(new):
                new.append(i)
        self.index, self.costs = torch.cat([self.index, index[new]]), torch.cat([self.costs, costs[new]])
        self.costs[[self._place[row] for row in rows]] = costs
        self.model.fit(self.index, self.costs, FIT_STEPS)

    def rebase(self, index: Tensor, costs: Tensor) -> None:
        """The same samples cost so much now: all others are taken to have changed as these did on average."""
        places = [self._place[row] for row in map(tuple, index.tolist())]
        self.costs = self.costs + (costs - self.costs[places]).mean()
        self.learn(index, costs)

    def best(self, count: int) -> list[Sample]:
        """The cheapest, best first."""
        return self.search.samples(self.index[self.costs.argsort(stable=True)[:count]])

    def ranked(self, samples: Sequence[Sample]) -> list[Sample]:
        """Samples in the order of what the model expects of them, the cheapest first."""
        order = self.model.predict(self.search.index(samples))[0].argsort(stable=True)
        return [samples[i] for i in order.tolist()]

    def propose(self) -> list[Sample]:
        """Up to `screened` new samples: of `pool` draws of gamma, and as many elites with some choices drawn anew,
        those that the model expects least of, at a caution that rises from one to the next.
        """
        if not self.screened:
            return []
        drawn = self._new(torch.cat([self.search.draw_index(self.settings.pool), *self._varied_elites()]))
        mean, deviation = self.model.predict(drawn)
        chosen = []
        for caution in torch.linspace(0, CAUTION, self.screened).tolist()[:len(drawn)]:
            merit = mean - caution * deviation
            merit[chosen] = torch.inf
            chosen.append(int(merit.argmin()))
        return self.search.samples(drawn[chosen])

    def _varied_elites(self):
        if self.settings.elites:
            parents = self.index[self.costs.argsort(stable=True)[:self.settings.elites]]
            generator, choices = self.search.generator, parents.shape[1]
            parents = parents[torch.randint(len(parents), (self.settings.pool,), generator=generator)]
            anew = torch.rand(parents.shape, generator=generator) < REDRAWN / choices
            yield torch.where(anew, self.search.draw_index(self.settings.pool), parents)

    def _new(self, index):
        """Those that were not priced, each once."""
        rows = dict.fromkeys(row for row in map(tuple, index.tolist()) if row not in self._place)
        return torch.tensor(list(rows), dtype=torch.int64).reshape(-1, index.shape[1])

    def state_dict(self) -> dict:
        """For `load_state_dict`: tensors only."""
        return {"index": self.index, "costs": self.costs, "model": self.model.raw}

    def load_state_dict(self, state: dict) -> None:
        """Take up a `state_dict` of the same space."""
        self.index, self.costs, self.model.raw = state["index"], state["costs"].clone(), state["model"]
        self._place = {row: i for i, row in enumerate(map(tuple, self.index.tolist()))}
        if len(self.index):
            self.model.fit(self.index, self.costs, 0)
