"""What is expected of samples without their chips, beside what the pricer estimates of the chips: the same figures."""

import pytest
import torch
from estimates_by_chip import estimates

from dna_asic.cosearch import prior as priors
from dna_asic.cosearch.designs import REFUSED, DesignPricer
from dna_asic.cosearch.gumbel import GumbelSearch, GumbelSettings
from dna_asic.cosearch.pricing import LayerPricer
from dna_asic.cosearch.prior import EstimatedPrior
from dna_asic.cosearch.targets import NO_TARGETS, Targets
from dna_asic.cost import area_um2
from dna_asic.das import small_network
from dna_asic.errors import InfeasibleDesign
from dna_asic.gads import GadsSpace
from dna_asic.gads.space import NUMBERS, WIDTHS
from dna_asic.networks.known import known_network
from dna_asic.technology import load_technology

TECHNOLOGY = load_technology("asic-28nm")
NETWORK = small_network()
LIMITED = Targets(max_area_mm2=0.3, max_latency_ms=0.05, max_power_mw=50.0)


def make(space="default", pins=(), targets=NO_TARGETS, count=60, seed=0):
    """(prior, its pricer, index of samples, their chips)."""
    space = GadsSpace.load(space).at_clock(TECHNOLOGY.clk_period_ns).pinned(pins)
    designs = DesignPricer(LayerPricer(TECHNOLOGY, seed), targets)
    search = GumbelSearch(space.choices, seed, GumbelSettings())
    index = search.draw_index(count)
    return EstimatedPrior(space, designs), designs, index, [build(space, s) for s in search.samples(index)]


def build(space, sample):
    try:
        return space.build(sample)
    except InfeasibleDesign:
        return None


@pytest.mark.parametrize(("space", "pins"), [
    ("default", ()), ("reduced", ()), ("full", ()), ("default", ("chunks=1",)), ("full", ("chunks=3|4",)),
    ("default", ("chunks=2", "chunk1.pe_rows=4|8", "chunk0.n_pp=8"))])
@pytest.mark.parametrize("targets", [NO_TARGETS, LIMITED])
def test_samples_are_expected_to_cost_what_their_chips_are_estimated_to(space, pins, targets):
    prior, designs, index, chips = make(space, pins, targets)
    for network in (NETWORK, known_network("digits"), NETWORK):
        assert torch.allclose(prior(index, network), estimates(designs, chips, network), rtol=1e-12, atol=0)


def test_area_of_all_samples_is_met():
    prior, designs, index, chips = make(targets=LIMITED)
    prior(index, NETWORK)
    met, designs.least_area_mm2 = designs.least_area_mm2, float("inf")
    estimates(designs, chips, NETWORK)
    assert met == pytest.approx(designs.least_area_mm2, rel=1e-12) and met < float("inf")


def test_samples_alone_and_after_others_were_forgotten_cost_the_same(monkeypatch):
    prior, _, index, _ = make()
    whole = prior(index, NETWORK)
    monkeypatch.setattr(priors, "KEPT", 3)
    assert torch.equal(torch.cat([prior(row[None], NETWORK) for row in index]), whole)
    assert len(prior._chunks) <= 3 + 2


def test_targets_that_were_tightened_count():
    prior, designs, index, _ = make()
    before = prior(index, NETWORK)
    designs.reprice(LIMITED)
    after = prior(index, NETWORK)
    assert (after >= before).all() and (after > before).any()


def test_sample_that_is_no_chip_is_beyond_all():
    prior, _, index, chips = make("full", ("chunks=1", "port_bytes=8"), count=200)
    costs = prior(index, NETWORK)
    assert None in chips and all((c is None) == (x == REFUSED + 2) for c, x in zip(chips, costs.tolist(), strict=True))


def areas(chips):
    return [sum(area_um2(chip, TECHNOLOGY).values()) * 1e-6 for chip in chips]


@pytest.mark.parametrize("drawn", [False, True])
def test_what_is_too_large_is_shrunk_until_it_fits(drawn):
    prior, _, index, chips = make("full", count=50, targets=Targets(max_area_mm2=2.0))
    shrunk, again = (prior.shrunk(index, NETWORK, torch.Generator().manual_seed(1) if drawn else None) for _ in "12")
    assert torch.equal(shrunk, again)
    changed = (shrunk != index).any(dim=1).tolist()
    large = [chip is not None and area > 2.0 for chip, area in zip(chips, areas([c or chips[0] for c in chips]))]
    assert changed == large and sum(large) > 15
    assert (shrunk <= index).all() and (index - shrunk)[:, [i for i, c in enumerate(prior.space.choices)
                                                            if c.label.endswith("spatial")]].eq(0).all()
    samples = GumbelSearch(prior.space.choices, 0, GumbelSettings()).samples(shrunk)
    after = areas([build(prior.space, s) for s, x in zip(samples, large, strict=True) if x])
    assert max(after) <= 2.0 and sum(area > 1.5 for area in after) > 15
    assert torch.equal(make("full")[0].shrunk(index, NETWORK, torch.Generator() if drawn else None), index)


def test_sizes_that_are_lowered_first_cost_least_for_their_area():
    """One step of it, beside all sizes one by one; the area is such that one is enough."""
    prior, designs, index, chips = make("default", ("chunks=1",), count=40)
    columns = [i for i, c in enumerate(prior.space.choices) if c.label in (*NUMBERS, *WIDTHS)]
    checked = 0
    for row, chip in zip(index, chips, strict=True):
        if chip is None or not (row[columns] > 0).any():
            continue
        smaller = torch.stack([row - (torch.arange(len(row)) == i).long() for i in columns if row[i] > 0])
        made = [build(prior.space, s) for s in GumbelSearch(prior.space.choices, 0, GumbelSettings()).samples(smaller)]
        here, sizes = areas([chip])[0], torch.tensor(areas([x or chip for x in made]))
        limit = here - (here - float(sizes.min())) / 8
        saved = here - sizes.clamp(min=limit)
        costs, before = prior(smaller, NETWORK), float(prior(row[None], NETWORK))
        slope = torch.where(saved > 0, (costs - before) / saved, torch.inf)
        limited = EstimatedPrior(prior.space, DesignPricer(designs.layers, Targets(max_area_mm2=limit)))
        shrunk, first = limited.shrunk(row[None], NETWORK)[0], smaller[slope.argmin()]
        checked += bool((shrunk <= first).all())
        assert (shrunk <= first).all()
    assert checked > 20


@pytest.mark.parametrize("pins", [(), ("chunk1.pe_rows=4|8",), ("chunks=1",)])
@pytest.mark.parametrize("targets", [NO_TARGETS, Targets(max_area_mm2=0.5)])
def test_elites_get_the_chunk_that_suits_them_best(pins, targets):
    """Beside all chunks in all places, one by one."""
    prior, designs, index, chips = make("default", ("port_bytes=8|16", *pins), targets)
    elites, labels = index[:6], [c.label for c in prior.space.choices]
    prior(index, NETWORK)
    made = prior.exchange(NETWORK)(index, elites)
    counts, parts = prior.space.choices[labels.index("chunks")].options, prior._chunks._places
    tried = []
    for elite in elites:
        count = counts[elite[labels.index("chunks")]]
        for donor in index[index[:, labels.index("port_bytes")] == elite[labels.index("port_bytes")]]:
            for n in range(counts[donor[labels.index("chunks")]]):
                for at in range(min(count + 1, max(counts))):
                    if max(count, at + 1) == 1 or prior._chunks.like[at] != prior._chunks.like[n]:
                        continue
                    row = elite.clone()
                    row[labels.index("chunks")] = counts.index(max(count, at + 1))
                    row[parts[at]] = donor[parts[n]]
                    tried.append(row)
    if max(counts) == 1:
        assert len(made) == 0
        return
    best = prior(torch.stack(tried), NETWORK).min()
    assert best < prior(elites, NETWORK).min() and prior(made, NETWORK).min() == pytest.approx(float(best), abs=1e-9)


def test_exchange_remembers_what_it_met():
    """In parts as at once; what was met for one elite serves another later."""
    prior, _, index, _ = make("default", ("port_bytes=8",), Targets(max_area_mm2=0.5))
    prior(index, NETWORK)
    at_once, parts = prior.exchange(NETWORK), prior.exchange(NETWORK)
    made = [parts(row[None], index[:6]) for row in index]
    assert torch.equal(made[-1], at_once(index, index[:6])) and not torch.equal(made[-1], made[len(index) // 2])
    assert torch.equal(parts(index[:1], index[6:9]), at_once(index[:1], index[6:9]))


def test_what_was_shrunk_for_others_does_not_count():
    """Other samples, another network, another limit."""
    prior, designs, index, _ = make("full", ("chunks=1",), Targets(max_area_mm2=0.8), count=40)
    other, made = known_network("digits"), []
    for part, network, limit in ((index[:20], NETWORK, 0.8), (index[20:], NETWORK, 0.8), (index[20:], other, 0.8),
                                 (index[20:], other, 0.6)):
        designs.reprice(Targets(max_area_mm2=limit))
        made.append(prior.shrunk(part, network))
        assert torch.equal(made[-1], EstimatedPrior(prior.space, designs).shrunk(part, network))
    assert not any(torch.equal(one, after) for one, after in zip(made, made[1:]))
