"""Chips priced for a network: each once, none above the area cap."""

import math

import pytest
import torch
from estimates_by_chip import estimates

from dna_asic.cosearch.designs import DesignPricer, edp_js
from dna_asic.cosearch.pricing import GreedyPricer
from dna_asic.cosearch.targets import PENALTY, Targets
from dna_asic.cost import area_um2
from dna_asic.das import small_network
from dna_asic.gads import GadsSpace
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.technology import load_technology

TECHNOLOGY = load_technology("asic-28nm")
SPACE = GadsSpace.load("reduced").at_clock(TECHNOLOGY.clk_period_ns)
NETWORK = small_network()


def chips(count):
    generator = torch.Generator().manual_seed(0)
    return list(dict.fromkeys(SPACE.feasible(generator)[1] for _ in range(count)))


def make(**limits):
    return DesignPricer(GreedyPricer(TECHNOLOGY, 0, orders=SPACE.orders), Targets(**limits))


def test_edp_is_of_the_sums_and_each_chip_is_mapped_once():
    pricer, asked = make(), chips(12)
    edp = pricer.edp_js([*asked, asked[0], None], NETWORK)
    tilings = pricer.layers.evaluations
    assert pricer.evaluations == len(asked) and edp[-2] == edp[0] and edp[-1].isinf()
    again = pricer.edp_js(asked[::-1], NETWORK)
    assert torch.equal(again.flip(0), edp[:-2])
    assert (pricer.evaluations, pricer.layers.evaluations) == (len(asked), tilings)
    chip = pricer.best(1)[0]
    costs = pricer.layers.price([(chip, s) for _, s in hardware_shapes(NETWORK, chip.port_bytes)]).sum(dim=0)
    assert edp[edp.isfinite()].min() == edp_js(chip, *costs.tolist())


def test_prices_do_not_depend_on_what_was_asked_before():
    asked = chips(6)
    alone = torch.cat([make().edp_js([chip], NETWORK) for chip in asked])
    assert torch.equal(make().edp_js(asked, NETWORK), alone) and alone.isfinite().any()


def test_chips_above_the_area_are_not_mapped():
    asked = chips(12)
    areas = [sum(area_um2(chip, TECHNOLOGY).values()) * 1e-6 for chip in asked]
    cap = sorted(areas)[5]
    pricer = make(max_area_mm2=cap)
    edp, free = pricer.edp_js(asked, NETWORK), make().edp_js(asked, NETWORK)
    small = torch.tensor(areas) <= cap
    assert pricer.evaluations == 6 and torch.equal(edp[small], free[small]) and edp[~small].isinf().all()


@pytest.mark.parametrize("cap", [math.inf, 1e-6])
def test_nothing_priced_has_no_best(cap):
    pricer = make(max_area_mm2=cap)
    pricer.edp_js(chips(1), NETWORK) if cap < 1 else None
    assert pricer.best(3) == [] and pricer.evaluations == 0


def test_chips_above_latency_or_power_cost_more_the_more_they_are_above():
    asked = chips(12)
    free = make()
    edp = free.edp_js(asked, NETWORK)
    runs = [chip for chip, x in zip(asked, edp) if x.isfinite()]
    figures = [free.figures(chip) for chip in runs]
    assert [x for x, *_ in figures] == edp[edp.isfinite()].tolist()
    for name, values in (("max_latency_ms", [1e3 * t for _, _, t in figures]),
                         ("max_power_mw", [1e3 * e / t for _, e, t in figures])):
        limit = sorted(values)[len(values) // 2]
        priced = make(**{name: limit})
        plain = torch.tensor([x for x, *_ in figures], dtype=torch.float64)
        nats = (priced.edp_js(runs, NETWORK) / plain).log()
        over = [PENALTY * (1 + math.log(v / limit)) if v > limit else 0.0 for v in values]
        assert nats.tolist() == pytest.approx(over, abs=1e-9) and max(over) > 0
        assert priced.figures(runs[0]) == figures[0]
        guessed = (estimates(priced, runs, NETWORK) - estimates(free, runs, NETWORK)).tolist()
        assert min(guessed) == 0 < max(guessed)


def test_least_area_is_of_all_asked_for():
    pricer, asked = make(max_area_mm2=1e-6), chips(4)
    pricer.edp_js(asked, NETWORK)
    assert pricer.least_area_mm2 == min(sum(area_um2(chip, TECHNOLOGY).values()) * 1e-6 for chip in asked)
