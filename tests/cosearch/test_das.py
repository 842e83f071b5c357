"""The accelerator search on small pinned spaces, its prices, and the chip it ends with."""

import itertools

import pytest
import torch

from dna_asic.cosearch.das import (
    RECALLED,
    SCOUT_DRAWS,
    SCOUT_ROUNDS,
    AcceleratorSearch,
    edp_js,
    fixed_accelerator,
    polish,
    require_chip,
    search_accelerator,
    search_within,
)
from dna_asic.cosearch.designs import map_design
from dna_asic.cosearch.gumbel import GumbelSettings
from dna_asic.cosearch.pricing import GreedyPricer, LayerPricer
from dna_asic.cosearch.targets import Targets
from dna_asic.cost import evaluate_design, idle_pj
from dna_asic.errors import InfeasibleDesign
from dna_asic.gads import GadsSpace
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.optimise import Mapper
from dna_asic.mapping.tilings import Effort
from dna_asic.networks import blocks
from dna_asic.spec.geometry import check_mapping
from dna_asic.spec.latency import RUN_CYCLES
from dna_asic.spec.layer import Activation, LayerShape, LayerSpec, NetworkSpec
from dna_asic.spec.pipeline import pipeline
from dna_asic.technology import load_technology

TECHNOLOGY = load_technology("asic-28nm")
FIXED = ("n_w=8", "n_i=8", "n_o=4", "n_pp=4", "rf_w_words=9", "rf_i_words=9", "rf_o_words=8", "gb_i_bytes=16384",
         "gb_o_bytes=16384", "rf_order=S R C Q P K G", "dram_order=C Q P K G")
ONE_CHUNK = [*FIXED, "chunks=1", "delivery=multicast", "reduction=tree"]
SPACE = GadsSpace.load().pinned([*ONE_CHUNK, "gb_order=S R C K Q P G|Q P S R C K G", "pe_rows=2|8", "pe_cols=2|8",
                                 "spatial=K C|P Q", "gb_w_bytes=8192|32768", "port_bytes=8|16"])
TIGHT = SPACE.pinned(["gb_w_bytes=8192"])
SMALL = GumbelSettings(samples=6)


def conv(name, source, c, k, kernel=3, g=1, **more):
    shape = LayerShape(g=g, k=k // g, c=c // g, p=8, q=8, r=kernel, s=kernel, pad=kernel // 2, h=8, w=8)
    return LayerSpec(name=name, shape=shape, source=source, **more)


NETWORK = NetworkSpec(name="n", input_shape=(4, 8, 8), layers=(
    conv("a", "input", 4, 12), conv("b", "a", 12, 12, g=12), conv("c", "b", 12, 12, 1, residual="a")))
WIDE = NetworkSpec(name="wide", input_shape=(4, 8, 8), layers=(conv("a", "input", 4, 48), conv("b", "a", 48, 48)))
HUGE = NetworkSpec(name="huge", input_shape=(16, 32, 32), layers=(
    LayerSpec(name="a", source="input", shape=LayerShape(k=16, c=16, p=16, q=16, r=15, s=15, h=30, w=30)),))


def make(seed=0, space=SPACE, settings=SMALL, **more):
    return AcceleratorSearch(space, TECHNOLOGY, seed, settings, **more)


def every_sample():
    choices = SPACE.choices
    return [dict(zip((c.label for c in choices), p)) for p in itertools.product(*(c.options for c in choices))]


@pytest.mark.parametrize("variant", [{}, {"control_variate": False, "screened": 0}], ids=["guided", "plain"])
def test_search_comes_to_the_best_of_a_small_space(variant):
    search = make(settings=GumbelSettings(samples=16, **variant))
    samples = every_sample()
    edp = search.edp_js(samples, NETWORK)
    first = search.gumbel.entropy()
    for _ in range(60):
        stats = search.step(NETWORK)
    likeliest = edp[samples.index(search.gumbel.likeliest())]
    assert len(samples) == 32 and stats.best_cost == edp.min()
    assert likeliest <= 1.05 * edp.min() < edp.median()
    assert stats.entropy < first and stats.mean_cost < edp.mean()


def test_edp_is_that_of_the_samples_own_port():
    search, sample = make(), make().gumbel.draw()[0][0]
    for port in (8, 16):
        sample["port_bytes"] = port
        chip = search.space.build(sample)
        costs = search.pricer.price([(chip, s) for _, s in hardware_shapes(NETWORK, port)]).sum(dim=0)
        assert search.edp_js([sample], NETWORK)[0] == edp_js(chip, *costs.tolist())


def test_edp_is_that_of_the_report():
    chip = make().space.feasible(torch.Generator().manual_seed(0))[1]
    shapes = hardware_shapes(NETWORK, chip.port_bytes)
    mapped = Mapper(chip, TECHNOLOGY, effort=Effort(width=48, rounds=3, keep=8)).network([s for _, s in shapes])
    report = evaluate_design(shapes, chip, dict(zip([n for n, _ in shapes], mapped.mappings)), TECHNOLOGY)
    assert edp_js(chip, sum(mapped.energy_pj), sum(mapped.cycles)) == pytest.approx(report.edp_js, rel=1e-4)


def test_prices_are_kept_and_near_the_mappers():
    pricer, space, generator = LayerPricer(TECHNOLOGY, 0), SPACE.at_clock(1.0), torch.Generator().manual_seed(1)
    chips = [space.feasible(generator)[1] for _ in range(12)]
    pairs = [[(c, s) for _, s in hardware_shapes(NETWORK, c.port_bytes)] for c in chips]
    pricer.price([p for row in pairs[4:] for p in row])
    asked = [p for row in pairs[:4] for p in row]
    prices, priced = pricer.price(asked), pricer.evaluations
    best = torch.cat([Mapper(c, TECHNOLOGY).costs([s for _, s in row]) for c, row in zip(chips, pairs[:4])])
    assert (prices.prod(1) / best.prod(1)).log().mean() < 0.2
    assert torch.equal(pricer.price(asked[::-1]), prices.flip(0)) and pricer.evaluations == priced > 0


def test_with_the_least_effort_a_chip_is_priced_near_the_best_of_the_long_list_by_rule():
    chip = SPACE.at_clock(1.0).feasible(torch.Generator().manual_seed(1))[1]
    pairs = [(chip, s) for _, s in hardware_shapes(NETWORK, chip.port_bytes)]
    least = Effort(width=1, rounds=1, keep=1)
    searched, by_rule = (p(TECHNOLOGY, 0, effort=least).price(pairs).prod(1) for p in (LayerPricer, GreedyPricer))
    assert (searched / by_rule).max() < 1.25


def test_prices_infinite_where_nothing_is_legal():
    chip = TIGHT.at_clock(1.0).feasible(torch.Generator().manual_seed(0))[1]
    (shape,) = [s for _, s in hardware_shapes(HUGE, chip.port_bytes)]
    assert LayerPricer(TECHNOLOGY, 0).price([(chip, shape)]).isinf().all()


def test_step_ranks_what_cannot_run_below_what_can():
    """A network whose weights only fit the larger buffer: gamma leaves the smaller one."""
    network = NetworkSpec(name="n", input_shape=(4, 8, 8), layers=(conv("a", "input", 4, 8, 13),))
    search = make(space=SPACE.pinned(["pe_rows=8", "pe_cols=8", "spatial=K C", "port_bytes=16"]),
                  settings=GumbelSettings(samples=8, rate=0.3))
    sizes = [c.label for c in search.space.choices].index("gb_w_bytes")
    small = search.edp_js([s for s in every_sample() if s["gb_w_bytes"] == 8192 and s["pe_rows"] == s["pe_cols"] == 8
                           and s["spatial"] == "K C" and s["port_bytes"] == 16], network)
    for _ in range(4):
        search.step(network)
    assert small.isinf().all()
    assert search.gumbel.gamma[sizes][1] > search.gumbel.gamma[sizes][0] and search.best["gb_w_bytes"] == 32768


def test_chip_runs_at_the_technologys_clock():
    technology = load_technology("asic-130nm")
    search = AcceleratorSearch(SPACE, technology, 0, SMALL)
    search.step(NETWORK)
    assert search.chip.clk_period_ns == technology.clk_period_ns != 1.0


def test_state_resumes_exactly(tmp_path):
    whole = make()
    whole.step(NETWORK)
    torch.save(whole.state_dict(), tmp_path / "state.pt")
    expected = [whole.step(NETWORK) for _ in range(2)], whole.pricer.evaluations
    again = make(seed=5)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert ([again.step(NETWORK) for _ in range(2)], again.pricer.evaluations) == expected
    assert again.best == whole.best


def test_layer_costs_are_of_the_best_chip():
    search = make()
    search.step(NETWORK)
    shapes = [s for _, s in hardware_shapes(NETWORK, search.port_bytes)]
    energy, cycles = search.layer_costs(shapes)[:, 0].sum(dim=0).tolist()
    assert edp_js(search.chip, energy, cycles) == search.edp_js([search.best], NETWORK)[0]


def test_search_accelerator_maps_every_layer_and_leaves_start_alone():
    start, stages = make(), []
    start.step(NETWORK)
    before, best = start.gumbel.steps, start.edp_js([start.best], NETWORK)[0]
    found = [search_accelerator(NETWORK, SPACE, TECHNOLOGY, seed=0, steps=2, start=start,
                                progress=lambda *stage: stages.append(stage)) for _ in range(2)]
    assert found[0] == found[1] and start.gumbel.steps == before
    chip, shapes = found[0].accelerator, hardware_shapes(NETWORK, found[0].accelerator.port_bytes)
    for name, shape in shapes:
        check_mapping(shape, chip, chip.chunks[0], found[0].mappings[name])
    report = evaluate_design(shapes, chip, found[0].mappings, TECHNOLOGY)
    own = RUN_CYCLES * idle_pj(chip, TECHNOLOGY) * 1e-12 / report.energy_j  # of the run's own cycles; a price has none
    assert report == found[0].report and report.edp_js * (1 - own) <= best * (1 + 1e-9)
    assert found[0].evaluations > start.pricer.evaluations
    assert {s for s, *_ in stages} == {"accelerator", "polish", "mapping"}


def test_each_layer_runs_on_the_chunk_that_suits_it():
    """A chunk for channels beside one for pixels of a channel: the depthwise layer leaves the first."""
    space = GadsSpace.load().pinned([
        *FIXED, "chunks=2", "delivery=multicast", "reduction=tree", "pe_rows=8", "pe_cols=8", "gb_w_bytes=32768",
        "port_bytes=8", "chunk0.spatial=K C", "chunk1.spatial=P Q"])
    search = make(space=space)
    search.step(NETWORK)
    found = map_design(search.chip, NETWORK, search.pricer, seed=0)
    assert found.assignment["b"] == 1
    assert found.report == evaluate_design(
        hardware_shapes(NETWORK, 8), search.chip, found.mappings, TECHNOLOGY, pipeline(NETWORK, found.assignment, 2))
    assert found.report.idle_fetches > 0
    assert search.edp_js([search.best], NETWORK)[0] == pytest.approx(found.report.edp_js, rel=0.02)


def test_polish_ends_where_no_single_change_helps():
    search = make()
    search.step(NETWORK)
    polish(search, NETWORK)
    around = [search.best | {c.label: option} for c in search.space.choices for option in c.options]
    assert search.moves(NETWORK) == [] and search.designs.best(1) == [search.chip]
    assert search.edp_js(around, NETWORK).min() == search.edp_js([search.best], NETWORK)[0]


def test_evaluations_are_new_chips_and_no_more_than_allowed():
    search = make()
    stats = []
    edp = search_within(search, NETWORK, 20, stats.append)
    assert search.designs.evaluations == len(search.designs.best(99)) <= 20 and edp == search.edp_js(
        [search.best], NETWORK)[0]
    assert [s.evaluations for s in stats] == sorted(s.evaluations for s in stats) and stats[-1].best_cost >= edp
    before = search.designs.evaluations
    assert search_within(search, NETWORK, 5) <= edp and search.designs.evaluations <= before + 5


def same(one, other):
    """Whether two states, of dicts, lists, tensors and numbers, are one."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_scouts_leave_the_search_as_it_was():
    search, twin = (make(space=GadsSpace.load().pinned(["chunks=1"])) for _ in "12")
    search.scout(NETWORK)
    assert len(SCOUT_ROUNDS) < search.designs.evaluations <= len(SCOUT_DRAWS + SCOUT_ROUNDS) and search.started
    assert float(search.edp_js([search.best], NETWORK)) == min(map(search.designs._edp.get, search.designs.best(9)))
    assert same(search.gumbel.state_dict(), twin.gumbel.state_dict())
    assert same(search.guide.state_dict(), twin.guide.state_dict())
    twin._turn_to(NETWORK)
    assert search.guide.propose() == twin.guide.propose()
    best = search.best
    search._prefer(twin.gumbel.samples(twin.gumbel.draw_index(3)), NETWORK)
    assert search.best == best
    uninformed = make(settings=GumbelSettings(prior=False))
    uninformed.scout(NETWORK)
    assert uninformed.designs.evaluations == 0


def test_scouts_come_first_where_there_are_evaluations_for_them(monkeypatch):
    step, seen = AcceleratorSearch.step, []
    monkeypatch.setattr(AcceleratorSearch, "step", lambda self, network: seen.append(
        self.designs.evaluations) or step(self, network))
    search_within(make(), NETWORK, 24)
    search_within(make(), NETWORK, 16)
    assert 0 < seen[0] <= len(SCOUT_DRAWS + SCOUT_ROUNDS) and seen.count(0) == 1


def test_require_chip_steps_only_where_scouts_do_not_run(monkeypatch):
    scouted, stepped = [], []
    monkeypatch.setattr(AcceleratorSearch, "step", lambda self, network: stepped.append(network))
    require_chip(NETWORK, SPACE, TECHNOLOGY, seed=0, tries=2)
    assert not stepped
    monkeypatch.setattr(AcceleratorSearch, "scout", lambda self, network: scouted.append(network))
    with pytest.raises(InfeasibleDesign, match="network 'n'"):
        require_chip(NETWORK, SPACE, TECHNOLOGY, seed=0, tries=2)
    assert scouted == [NETWORK] and stepped == [NETWORK] * 2


def test_search_within_ends_where_nothing_is_new():
    search = make()
    search_within(search, NETWORK, 10**6)
    assert search.designs.evaluations <= len(every_sample())


def test_search_turns_to_another_network():
    """What is remembered of one network is at the level of the next: the best samples exactly."""
    search = make()
    for _ in range(3):
        search.step(NETWORK)
    before, recalled = {tuple(row) for row in search.guide.index.tolist()}, search.guide.best(RECALLED)
    search.step(WIDE)
    rows = [tuple(row) for row in search.guide.index.tolist()]
    assert before < set(rows)
    places = [rows.index(tuple(row)) for row in search.gumbel.index(recalled).tolist()]
    assert search.guide.costs[places].tolist() == pytest.approx(search.edp_js(recalled, WIDE).log().tolist())


def test_search_accelerator_wrong_network_too_large():
    with pytest.raises(InfeasibleDesign, match="no sampled chip could run the network"):
        search_accelerator(HUGE, TIGHT, TECHNOLOGY, seed=0, steps=1)


def test_search_accelerator_keeps_latency_and_power_at_the_cost_of_edp():
    free = search_accelerator(NETWORK, SPACE, TECHNOLOGY, seed=0, steps=2).report
    power_mw = free.energy_j / free.latency_s * 1e3
    targets = Targets(max_power_mw=0.7 * power_mw)
    search = make(targets=targets)
    found = search_accelerator(NETWORK, SPACE, TECHNOLOGY, seed=0, steps=6, designs=search.designs).report
    assert found.energy_j / found.latency_s * 1e3 <= 0.7 * power_mw and found.edp_js > free.edp_js


@pytest.mark.parametrize(("targets", "message"), [
    (Targets(max_latency_ms=1e-4), "'n': the nearest chip found in space 'default' breaks max_latency_ms 0.0001 with"),
    (Targets(max_area_mm2=1e-3), r"no sampled chip within max_area_mm2 0.001 \(the smallest met has 0.*; allow more")])
def test_search_accelerator_wrong_targets_that_none_keeps(targets, message):
    with pytest.raises(InfeasibleDesign, match=message):
        search_accelerator(NETWORK, SPACE, TECHNOLOGY, seed=0, steps=1, designs=make(targets=targets).designs)
    if targets.max_area_mm2 < 1:
        with pytest.raises(InfeasibleDesign, match=message):
            require_chip(NETWORK, SPACE, TECHNOLOGY, seed=0, tries=1, targets=targets)


def test_fixed_accelerator_has_the_best_mapping_of_its_chip():
    chip = make().space.feasible(torch.Generator().manual_seed(0))[1]
    found = fixed_accelerator(chip, NETWORK, SPACE, TECHNOLOGY, seed=0)
    assert found.accelerator == chip and found.evaluations > 0
    assert found[:4] == map_design(chip, NETWORK, make().pricer, 0)[:4]
    with pytest.raises(InfeasibleDesign, match=f"chip '{chip.name}' breaks max_area_mm2 0.01 with"):
        fixed_accelerator(chip, NETWORK, SPACE, TECHNOLOGY, seed=0, targets=Targets(max_area_mm2=0.01))
    with pytest.raises(InfeasibleDesign):
        fixed_accelerator(chip, HUGE, SPACE, TECHNOLOGY, seed=0)


def test_search_within_an_area_finds_what_two_dataflows_save():
    """Pointwise and depthwise layers, each on a chunk of its own, beside the chunk that suits both best."""
    relu, space = Activation.RELU, GadsSpace.load("full").pinned(["port_bytes=64"])
    layers, channels, size = [], 96, 28
    for i in range(3):
        source = layers[-1].name if layers else "input"
        layers += [blocks.conv(f"wide{i}", source, channels, 6 * channels, (size, size), activation=relu),
                   blocks.conv(f"depth{i}", f"wide{i}", 6 * channels, 6 * channels, (size, size), kernel=3,
                               groups=6 * channels, activation=relu),
                   blocks.conv(f"narrow{i}", f"depth{i}", 6 * channels, channels, (size, size))]
    network = NetworkSpec(name="inverted", input_shape=(channels, size, size), layers=tuple(layers))
    found = {}
    for chunks in ("1", "1|2|3|4"):
        search = AcceleratorSearch(space.pinned([f"chunks={chunks}"]), TECHNOLOGY, 0, targets=Targets(max_area_mm2=1.3))
        found[chunks] = search_within(search, network, 40)
    assert found["1|2|3|4"] < 0.5 * found["1"], found
