"""DAS and its rivals over the same space, by the common interface: random, evolution, REINFORCE, Bayesian."""

import contextlib
import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from dna_asic.baselines.counted import CountedCost, Search
from dna_asic.cosearch.das import AcceleratorSearch, search_within
from dna_asic.cosearch.gumbel import ABLATIONS, GumbelSettings, Sample
from dna_asic.errors import InfeasibleDesign, SpecError

BATCH = 16  # samples priced together, where a search does not need each before the next
CLOSED = -1e9  # score of an option that may not be taken: its probability is 0
# Of a choice's place and the options [samples] of each choice before it: which it may take, bool [samples, options], or
# None for all.
Allowed = Callable[[int, Sequence[Tensor]], Tensor | None]


def das(cost: CountedCost, seed: int, settings: GumbelSettings | None = None) -> None:
    """The search of this project."""
    search = AcceleratorSearch(cost.space, cost.layers.technology, seed, settings, designs=cost)
    with contextlib.suppress(InfeasibleDesign):  # where it finds no chip it ends without one, as its rivals do
        search_within(search, cost.network, cost.budget)


def random_search(cost: CountedCost, seed: int) -> None:
    """Uniform samples."""
    generator = torch.Generator().manual_seed(seed)
    while cost.left:
        cost.costs([cost.space.sample(generator) for _ in range(min(BATCH, cost.left))])


def evolution(cost: CountedCost, seed: int, population: int = 32, tournament: int = 8, mutations: float = 1.5,
              brood: int = 1) -> None:
    """Regularised evolution (Real et al., arXiv 1802.01548): the best of a tournament has a child with `mutations`
    entries drawn anew on average, and the oldest dies. Where several are drawn in its place (`brood`), the one of the
    least estimate is the child.
    """
    generator, choices = torch.Generator().manual_seed(seed), cost.space.choices
    alive: list[tuple[float, Sample]] = []
    while cost.left and len(alive) < population:
        drawn = [cost.space.sample(generator) for _ in range(brood * min(BATCH, cost.left))]
        born = drawn if brood == 1 else [drawn[i] for i in cost.expected(drawn).argsort()[:len(drawn) // brood]]
        alive += zip(cost.costs(born).tolist(), born, strict=True)
    while cost.left:
        picked = torch.randint(len(alive), (tournament,), generator=generator).tolist()
        parent = min((alive[i] for i in picked), key=lambda one: one[0])[1]
        born = []
        for fresh in [cost.space.sample(generator) for _ in range(brood)]:
            anew = torch.rand(len(choices), generator=generator) < mutations / len(choices)
            born.append({c.label: (fresh if new else parent)[c.label] for c, new in zip(choices, anew, strict=True)})
        child = born[int(cost.expected(born).argmin())] if brood > 1 else born[0]
        alive = [*alive[-population + 1:], (float(cost.costs([child])), child)]


def informed_evolution(cost: CountedCost, seed: int) -> None:
    """Evolution with the estimate that DAS begins with: for every first sample and child, the best of 16."""
    evolution(cost, seed, brood=16)


class Controller(nn.Module):
    """An LSTM that names the option of one choice after the other, as NASAIC's controller (arXiv 2002.04116) does."""

    def __init__(self, sizes: list[int], width: int = 64):
        super().__init__()
        self.cell, self.start = nn.LSTMCell(width, width), nn.Parameter(torch.zeros(1, width))
        self.heads = nn.ModuleList(nn.Linear(width, n) for n in sizes)
        self.words = nn.ModuleList(nn.Embedding(n, width) for n in sizes)

    def forward(self, count: int, generator: torch.Generator, shared: int = 0,
                allowed: Allowed = lambda place, chosen: None) -> tuple[Tensor, Tensor, Tensor]:
        """(options int64 [count, choices], log-probability [count], mean entropy) of samples.

        shared: so many first choices are one sample's for all.
        """
        word, state, chosen, likelihood, entropy = self.start.expand(count, -1), None, [], 0.0, 0.0
        for place, (head, words) in enumerate(zip(self.heads, self.words, strict=True)):
            state = self.cell(word, state)
            scores, open_ = head(state[0]), allowed(place, chosen)
            logs = torch.log_softmax(scores if open_ is None else scores.masked_fill(~open_, CLOSED), dim=1)
            option = torch.multinomial(logs.detach().exp(), 1, generator=generator)
            option = option[:1].expand(count, 1) if place < shared else option
            likelihood = likelihood + logs.gather(1, option)[:, 0]
            entropy = entropy - (logs.exp() * logs).sum(dim=1).mean() / len(self.heads)
            chosen.append(option[:, 0])
            word = words(option[:, 0])
        return torch.stack(chosen, dim=1), likelihood, entropy


class PolicyGradient:
    """REINFORCE of a `Controller`: the advantage is the reward less its running mean, over the batch's deviation.

    least: that deviation counts as no smaller, in units of the reward. Everything depends on `seed` alone.
    """

    def __init__(self, sizes: list[int], seed: int, *, least: float, rate: float = 5e-3, entropy_weight: float = 1e-2,
                 decay: float = 0.9):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.controller = Controller(sizes)
        self.generator, self.adam = torch.Generator().manual_seed(seed), torch.optim.Adam(
            self.controller.parameters(), rate)
        self.least, self.entropy_weight, self.decay = least, entropy_weight, decay
        self._baseline: Tensor | None = None
        self._likelihood = self._entropy = None

    def draw(self, count: int, **limits) -> list[list[int]]:
        """Options of `count` samples; limits: as of `Controller.forward`."""
        index, self._likelihood, self._entropy = self.controller(count, self.generator, **limits)
        return index.tolist()

    def learn(self, rewards: Tensor) -> None:
        """One step of Adam from the rewards of the samples last drawn, or of the first of them. rewards: [samples]."""
        mean = rewards.mean()
        self._baseline = mean if self._baseline is None else self.decay * self._baseline + (1 - self.decay) * mean
        deviation = rewards.std(correction=0).clamp(min=self.least)
        advantage = ((rewards - self._baseline) / deviation).clamp(-5, 5)
        loss = -(advantage * self._likelihood[:len(rewards)]).mean() - self.entropy_weight * self._entropy
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()


def reinforce(cost: CountedCost, seed: int) -> None:
    """Policy gradient; reward: -ln EDP."""
    choices = cost.space.choices
    policy = PolicyGradient([len(c.options) for c in choices], seed, least=1e-3)
    while cost.left:
        rows = policy.draw(min(BATCH, max(2, cost.left)))
        samples = [{c.label: c.options[i] for c, i in zip(choices, row, strict=True)} for row in rows]
        policy.learn(-cost.costs(samples[:cost.left]))


def bayesian(cost: CountedCost, seed: int, startup: int = 24) -> None:
    """The tree-structured Parzen estimator of Optuna, multivariate, after `startup` random samples."""
    try:
        import optuna
    except ImportError as error:
        raise SpecError("The Bayesian rival needs the Python package optuna; install it with pip, or leave it out with "
                        "--method.") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    choices = cost.space.choices
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=startup, multivariate=True))
    places = {c.label: optuna.distributions.CategoricalDistribution(list(range(len(c.options)))) for c in choices}
    while cost.left:
        trial = study.ask(places)
        sample = {c.label: c.options[trial.params[c.label]] for c in choices}
        study.tell(trial, float(cost.costs([sample])))


RIVALS: dict[str, Search] = {"random": random_search, "evolution": evolution, "reinforce": reinforce,
                             "bayesian": bayesian}  # that have nothing of ours
SEARCHES: dict[str, Search] = {"das": das, **RIVALS, "informed_evolution": informed_evolution}
PARTLY: dict[str, Search] = {name: functools.partial(das, settings=GumbelSettings(**flags))
                             for name, flags in ABLATIONS.items()}  # DAS without one part each
