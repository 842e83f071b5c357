"""What the search remembers of the samples that it priced, and the use it makes of that: elites, a screen of its draws,
and the control variate of its gradient. `GumbelSettings` switches each of them.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dna_asic.cosearch.designs import REFUSED
from dna_asic.cosearch.gumbel import GumbelSearch, Sample
from dna_asic.cosearch.surrogate import Surrogate

FIT_STEPS = 4  # of the model's likelihood, per step of the search
CAUTION = 2.0  # deviations below the model's mean at which the boldest of a step's screened samples is judged
REDRAWN = 2.0  # choices of an elite that are drawn anew, on average
ROUNDS = 4  # in which the pool grows in a step, each by its share of `pool`
FIRST_ROUNDS = (12, 24, 48, 48)  # in the first steps: some chips are priced soon, and the estimate is followed far
NICHE = 2  # of a step's screened samples of one option of the widest choice
Prior = Callable[[Tensor], Tensor]  # of samples int64 [n, choices] what is expected of each, float64 [n], finite
Unused = Callable[[Tensor], Tensor]  # bool [n, choices] of samples int64 [n, choices]: what makes no difference to each
# Like samples int64 [n, choices], within limits that are known beforehand: as well as can be, or by chance, in no time.
Repaired = Callable[[Tensor, torch.Generator | None], Tensor]
# For a step: new samples [any, choices], parts of some [n, choices] in the place of elites' [m, choices] own.
Exchange = Callable[[], Callable[[Tensor, Tensor], Tensor]]


def _nothing(index):
    return torch.zeros(len(index), dtype=torch.float64)


def _remembering(prior):
    """`prior`, asked once for each sample."""
    known = {}

    def expected(index):
        rows = list(map(tuple, index.tolist()))
        if new := [row for row in dict.fromkeys(rows) if row not in known]:
            known.update(zip(new, prior(torch.tensor(new)).tolist(), strict=True))
        return torch.tensor([known[row] for row in rows], dtype=torch.float64)
    return expected


def places(costs: Tensor, among: Tensor) -> Tensor:
    """-0.5 to 0.5 [n]: the place of each of `costs` in the order `among` others [m], the mean place among equals.

    Their order alone moves gamma, whether all draws can run the network or few (fitness shaping; Wierstra et al., JMLR
    15, 2014).
    """
    order = among.sort().values
    before, through = (torch.searchsorted(order, costs, right=right) for right in (False, True))
    return (before + through) / (2 * len(among)) - 0.5


class Guide:
    """Samples int64 [n, choices] with their costs (ln EDP, finite), each once; and the model of them.

    Choices that are unused in a sample count as their first option.
    """

    def __init__(self, search: GumbelSearch, prior: Prior | None = None, unused: Unused | None = None,
                 repaired: Repaired | None = None, exchange: Exchange | None = None):
        self.unused = unused or (lambda index: torch.zeros_like(index, dtype=torch.bool))
        self._repaired = repaired or (lambda index, generator: index)
        self._exchange = exchange or (lambda: lambda index, elites: index[:0])
        self.search, self.settings = search, search.settings
        self.prior, self.informed = prior or _nothing, prior is not None
        self.index = torch.zeros((0, len(search.choices)), dtype=torch.int64)
        self.costs = torch.zeros(0, dtype=torch.float64)
        self.model, self._place = Surrogate(len(search.choices)), {}
        self._front, self._expected = self.index, self.costs
        self._widest = max(range(len(search.choices)), key=lambda i: len(search.choices[i].options))

    @property
    def screened(self) -> int:
        """How many samples of the next step are not gamma's own."""
        able = self.model.ready or self.informed
        return min(self.settings.screened, self.settings.samples - 2) if able else 0

    def expect(self, index: Tensor, prior: Prior | None = None) -> tuple[Tensor, Tensor]:
        """(mean, deviation) [n] of the costs of samples [n, choices]. prior: another than the guide's own."""
        index = self._plain(index)
        return self.model.predict(index, (prior or self.prior)(index))

    def _plain(self, index):
        return index.masked_fill(self.unused(index), 0)

    def update(self, gates: Tensor, index: Tensor, costs: Tensor) -> None:
        """One step of gamma by its own samples [n, choices]; the model is of those before.

        With the control variate the samples give the gradient of what the model leaves of their costs, and draws of
        gamma that of the model: the sum is that of the costs, with less noise. Costs count by their place among the
        draws.
        """
        if not (self.settings.control_variate and self.model.ready):
            return self.search.update(gates, costs)
        drawn = self.search.draw_index(max(2, self.settings.pool // ROUNDS))
        expected = self.expect(drawn)[0]
        left = places(costs, expected) - places(self.expect(index)[0], expected)
        return self.search.update(gates, left, self._mean_of_model(drawn, expected))

    def _mean_of_model(self, drawn, expected):
        """A loss with the gradient of the mean place under gamma of the model's `expected` costs, by gamma's draws."""
        return (places(expected, expected) * self.search.log_likelihood(drawn)).mean()

    def learn(self, index: Tensor, costs: Tensor) -> None:
        """Remember what was priced (the latest cost of a sample), and fit the model where it is of use."""
        if not (self.settings.control_variate or self.settings.screened):
            return
        index = self._plain(index)
        rows, new = list(map(tuple, index.tolist())), []
        for i, row in enumerate(rows):
            if self._place.setdefault(row, len(self._place)) == len(self.costs) + len(new):
                new.append(i)
        self.index, self.costs = torch.cat([self.index, index[new]]), torch.cat([self.costs, costs[new]])
        self.costs[[self._place[row] for row in rows]] = costs
        self._fit(FIT_STEPS)

    def _fit(self, steps):
        self._expected = self.prior(self.index)
        self.model.fit(self.index, self.costs, self._expected, steps)

    def rebase(self, index: Tensor, costs: Tensor) -> None:
        """The same samples cost so much now: all others are taken to have changed as what is expected of them did, and
        on average as these did.
        """
        places = [self._place[row] for row in map(tuple, self._plain(index).tolist())]
        before, now = self._expected, self.prior(self.index)
        self.costs = self.costs + torch.where(before.maximum(now) < REFUSED, now - before, 0.0)
        self.costs = self.costs + (costs - self.costs[places]).mean()
        self.learn(index, costs)

    def best(self, count: int) -> list[Sample]:
        """The cheapest, best first."""
        return self.search.samples(self.index[self.costs.argsort(stable=True)[:count]])

    def ranked(self, samples: Sequence[Sample]) -> list[Sample]:
        """Samples in the order of what the model expects of them, the cheapest first."""
        order = self.expect(self.search.index(samples))[0].argsort(stable=True)
        return [samples[i] for i in order.tolist()]

    def propose(self, rounds: int | None = None, most: int | None = None) -> list[Sample]:
        """Up to `most` new samples, `screened` if none is said: of gamma's draws, varied elites and what differs from
        the best in one choice, those that the model expects least of, at a caution that rises from one to the next.

        Gamma follows the model's gradient from round to round, as many as a step has if none is said; elites are the
        best by the model so far, priced or not.
        """
        if not self.screened:
            return []
        share = self.settings.pool // ROUNDS
        rounds = rounds or (*FIRST_ROUNDS, ROUNDS)[min(self.search.steps, len(FIRST_ROUNDS))]
        around = torch.cat([self._front, self._repaired(torch.cat([self.index[:0], *self._neighbours()]), None)])
        count = max(2, share // 4) if self.settings.elites else share
        drawn, prior = self.search.draw_index(count), _remembering(self.prior)
        prior(self._plain(torch.cat([around, drawn])))  # of all that are known by then: a batch takes hardly longer
        pool, exchanged = self._grown({}, around, prior), self._exchange()
        for i in range(rounds):
            if self.settings.control_variate:
                self.search.descend(self._mean_of_model(drawn, self.expect(drawn, prior)[0]))
            found = torch.cat([drawn, *self._of_elites(pool, share, exchanged)])
            drawn = self.search.draw_index(count) if i + 1 < rounds else drawn
            prior(self._plain(torch.cat([found, drawn])))
            pool = self._grown(pool, found, prior)
        index, mean, deviation = self._judged(pool)
        chosen, option = [], index[:, self._widest]
        for caution in torch.linspace(0, CAUTION, most or self.screened).tolist()[:len(index)]:
            merit = mean - caution * deviation
            crowded = (option[:, None] == option[chosen]).sum(dim=1) >= NICHE
            merit[crowded] += merit.max() - merit.min()  # after all others
            merit[chosen] = torch.inf
            chosen.append(int(merit.argmin()))
        self._front = index[self._elites(index, mean)]
        return self.search.samples(index[chosen])

    def _grown(self, pool, index, prior):
        """`pool`, rows with what is expected of them before, and those of `index` that are neither in it nor priced."""
        rows = dict.fromkeys(map(tuple, self._plain(index).tolist()))
        new = [row for row in rows if row not in pool and row not in self._place]
        rows = torch.tensor(new, dtype=torch.int64).reshape(-1, index.shape[1])
        return pool | dict(zip(new, prior(rows).tolist(), strict=True))

    def _judged(self, pool):
        """(samples [n, choices], mean, deviation) of a pool."""
        index = torch.tensor(list(pool), dtype=torch.int64).reshape(-1, self.index.shape[1])
        return index, *self.model.predict(index, torch.tensor(list(pool.values()), dtype=torch.float64))

    def _neighbours(self):
        """What differs from the best sample in one choice."""
        if self.settings.elites and len(self.index):
            best = self.index[self.costs.argmin()]
            for i, choice in enumerate(self.search.choices):
                rows = best.repeat(len(choice.options), 1)
                rows[:, i] = torch.arange(len(choice.options))
                yield rows

    def _of_elites(self, pool, count, exchanged):
        """Copies of elites, half of them crossed with another, with some choices drawn anew; and elites with parts of
        what else is known, unless it is beyond the limits.
        """
        if not self.settings.elites or not (pool or len(self.index)):
            return
        priced = dict(zip(map(tuple, self.index.tolist()), self._expected.tolist(), strict=True))
        both = priced | pool
        known, mean, _ = self._judged(both)
        elites, generator = known[self._elites(known, mean)], self.search.generator
        parent, other = elites[torch.randint(len(elites), (2, count), generator=generator)]
        crossed = torch.rand((count, 1), generator=generator) < 0.5
        parent = torch.where(crossed & (torch.rand(parent.shape, generator=generator) < 0.3), other, parent)
        used = (~self.unused(parent)).sum(dim=1, keepdim=True)
        anew = torch.rand(parent.shape, generator=generator) < REDRAWN / used
        copies = torch.where(anew, self._fresh(parent), parent)
        yield torch.cat([copies[::2], self._repaired(copies[1::2], generator)])
        yield exchanged(known[torch.tensor([*both.values()]) <= REFUSED + 1], elites)

    def _fresh(self, parent):
        """Other options: of gamma's draws, any, or one before or after, as often; gamma may have settled."""
        generator, sizes = self.search.generator, torch.tensor([len(c.options) for c in self.search.choices])
        any_ = (torch.rand(parent.shape, generator=generator) * sizes).long()
        beside = parent + 2 * torch.randint(2, parent.shape, generator=generator) - 1
        way = torch.randint(3, parent.shape, generator=generator)
        fresh = torch.where(way == 0, any_, beside.clamp(min=0).minimum(sizes - 1))
        return torch.where(way == 1, self.search.draw_index(len(parent)), fresh)

    def _elites(self, index, expected):
        """Places of the `elites` best: of each number of used choices as many, with different options of the widest
        choice; then any.
        """
        used, options = (~self.unused(index)).sum(dim=1).tolist(), index[:, self._widest].tolist()
        order, taken, places = expected.argsort(stable=True).tolist(), Counter(), []
        share = self.settings.elites / max(1, len({*used}))
        for i in order:
            if not taken[used[i], options[i]] and taken[used[i]] < share:
                places.append(i)
                taken.update((used[i], (used[i], options[i])))
        places = dict.fromkeys([*places, *order[:self.settings.elites]])
        return list(places)[:self.settings.elites]

    def state_dict(self) -> dict:
        """For `load_state_dict`: tensors only."""
        return {"index": self.index, "costs": self.costs, "model": self.model.raw, "front": self._front}

    def load_state_dict(self, state: dict) -> None:
        """Take up a `state_dict` of the same space."""
        self.index, self.costs, self.model.raw = state["index"], state["costs"].clone(), state["model"]
        self._front = state["front"]
        self._place = {row: i for i, row in enumerate(map(tuple, self.index.tolist()))}
        if len(self.index):
            self._fit(0)
