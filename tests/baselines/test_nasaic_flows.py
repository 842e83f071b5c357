"""NASAIC's flows: on figures by formula, and on this project's own prices of tiny networks."""

import dataclasses
import math

import pytest
import torch

from dna_asic.baselines.nasaic_flows import FLOWS, Bench, Figures
from dna_asic.baselines.nasaic_space import NasaicSpace, Silicon, TemplatePricer, parse_hardware
from dna_asic.cost import area_um2
from dna_asic.errors import InfeasibleDesign
from dna_asic.mapping.tilings import Effort
from dna_asic.technology import load_technology

SPACE = NasaicSpace(input_shape=(1, 8, 8), classes=10)
TECHNOLOGY = load_technology("asic-28nm")
SILICON = Silicon(technology=TECHNOLOGY, clk_period_ns=1.0, memory_latency_cycles=20)
LIMITS = Figures(latency_cycles=20000, energy_j=4e-6, area_mm2=3.0)
QUIET = lambda *_: None  # noqa: E731


def accuracy(network):
    """More filters and layers are better, in 0..1."""
    return 1 - 1 / (1 + math.log(sum(network)))


class Formula(Bench):
    """Figures without a mapper: MACs by PEs, and an area by PEs."""

    def __init__(self, limits=LIMITS, seed=0):
        super().__init__(SPACE, SILICON, None, limits, accuracy, seed)

    def _area_mm2(self, sub, port_bytes):
        return 0.002 * sub.pes

    def figures(self, pairs):
        for network, hardware in pairs:
            macs, pes = SPACE.network(network).macs, sum(sub.pes for sub in hardware)
            self._figures[network, hardware] = Figures(
                latency_cycles=2000 + 20 * macs / pes, energy_j=macs * 1e-11, area_mm2=self.area_mm2(hardware))
        return [self._figures[pair] for pair in pairs]


@pytest.mark.parametrize("flow", ["nasaic", "asic-nas", "nas-asic"])
def test_controller_learns(flow):
    rewards = [e.reward for e in FLOWS[flow](Formula(), 120, 5, QUIET).episodes]
    assert sum(rewards[-30:]) > sum(rewards[:30])


@pytest.mark.parametrize("flow", FLOWS)
def test_flow_is_seeded(flow):
    one, same, other = (FLOWS[flow](Formula(seed=s), 12, 4, QUIET) for s in (1, 1, 2))
    assert one == same != other


@pytest.mark.parametrize("flow", ["nasaic", "asic-nas"])
def test_only_what_meets_the_specs_is_trained(flow):
    bench = Formula()
    found = FLOWS[flow](bench, 60, 4, QUIET)
    trained = {e.network for e in found.episodes if e.accuracy is not None}
    assert 0 < len(trained) == found.trained < len({e.network for e in found.episodes})
    for episode in found.episodes:
        assert (episode.accuracy is not None) == episode.figures.meets(LIMITS) == (episode.violation == 0)
    assert found.figures.meets(LIMITS)
    assert found.accuracy == max(e.accuracy for e in found.episodes if e.accuracy is not None)


def test_nas_asic_takes_the_most_accurate_network_whatever_it_costs():
    found = FLOWS["nas-asic"](Formula(), 40, 4, QUIET)
    assert found.accuracy == max(e.accuracy for e in found.episodes) and found.violation > 0
    assert found.figures.area_mm2 <= LIMITS.area_mm2


def test_asic_nas_keeps_its_hardware():
    found = FLOWS["asic-nas"](Formula(), 10, 4, QUIET)
    assert {e.hardware for e in found.episodes} == {found.hardware}


def test_violation_is_a_share_of_the_way_to_the_bound():
    bench = Formula()
    bench.bounds = (3.0, 11.0, 2.0)
    over = lambda x, y, z: Figures(  # noqa: E731
        latency_cycles=x * LIMITS.latency_cycles, energy_j=y * LIMITS.energy_j, area_mm2=z * LIMITS.area_mm2)
    assert bench.violation(over(1, 0.5, 1)) == 0
    assert bench.violation(over(2, 2, 1.5)) == pytest.approx(0.5 + 0.1 + 0.5)
    assert bench.violation(over(math.inf, math.inf, 9)) == 3


def test_rewards_of_an_episode():
    bench, network = Formula(), (2, 8, 0, 8, 0, 8, 0)
    bench.bounds = (3.0, 3.0, 2.0)
    small, large = (parse_hardware(text) for text in ("<dla,256,8> <shi,256,8>", "<dla,2048,8> <shi,256,8>"))
    episode, rewards = bench.episode(network, [large, small])
    excess = 0.002 * 2304 / 3 - 1
    assert rewards == pytest.approx([accuracy(network) - 10 * excess, accuracy(network)])
    assert (episode.hardware, episode.violation, episode.reward) == (small, 0, pytest.approx(sum(rewards) / 2))
    assert bench.episode(network, [large])[1] == pytest.approx([-10 * excess])


def test_monte_carlo_knows_all_that_is_within_the_area():
    bench = Formula(dataclasses.replace(LIMITS, area_mm2=0.3))  # of 150 PEs: 32 + 32, 64, 96; 64 + 64
    able = bench.affordable()
    speeds = sum(a + b <= 64 for a in range(8, 64, 8) for b in range(8, 64, 8))
    assert len(able) == len(able.unique(dim=0)) == (3 + 3) * 9 * speeds
    found = bench.monte_carlo(50, None, QUIET)
    assert len({pair for pair, _ in found}) == 50 and all(f.area_mm2 <= 0.3 for _, f in found)
    assert all(sum(sub.gb_per_s for sub in hardware) <= 64 for (_, hardware), _ in found)


def test_monte_carlo_wrong_area():
    bench = Formula(dataclasses.replace(LIMITS, area_mm2=0.01))
    with pytest.raises(InfeasibleDesign, match="is within 0.01 mm2; enlarge the limit"):
        bench.monte_carlo(2, None, QUIET)


def priced(folder):
    pricer = TemplatePricer(TECHNOLOGY, 0, Effort(width=16, rounds=1, keep=4), folder=folder, key="k")
    return Bench(SPACE, SILICON, pricer, LIMITS, accuracy, 0)


def test_flow_on_the_projects_own_prices_goes_on_from_its_journal(tmp_path):
    first = FLOWS["nasaic"](priced(tmp_path), 3, 3, QUIET)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert files and math.isfinite(first.figures.energy_j)
    for path in sorted(files)[::2]:
        path.unlink()  # as if it had been stopped
    assert FLOWS["nasaic"](priced(tmp_path), 3, 3, QUIET) == first
    kept = set(sorted(files)[1::2])
    assert all(path.stat().st_mtime_ns == files[path] for path in kept)


def test_area_is_that_of_the_chip(tmp_path):
    bench = priced(tmp_path)
    for _, hardware in SPACE.sample(5, torch.Generator().manual_seed(0)):
        whole = sum(area_um2(SILICON.chip(hardware), TECHNOLOGY).values()) * 1e-6
        assert bench.area_mm2(hardware) == pytest.approx(whole)
