"""What layers are estimated to cost, beside what the mapper by rule and the cost model say."""

import math

import pytest
import torch
from estimates_by_chip import estimates

from dna_asic.cosearch.designs import REFUSED, DesignPricer
from dna_asic.cosearch.enumeration import fixed_pricer
from dna_asic.cosearch.estimate import _fastest_order, estimated
from dna_asic.cosearch.pricing import LayerPricer
from dna_asic.cosearch.targets import Targets
from dna_asic.cost.nest import visited_tiles
from dna_asic.das import small_network
from dna_asic.gads import GadsSpace
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.tilings import QUICK
from dna_asic.networks.blocks import conv
from dna_asic.spec.accelerator import ORDERS
from dna_asic.spec.dims import Operand
from dna_asic.spec.layer import LayerShape, NetworkSpec
from dna_asic.technology import load_technology

TECHNOLOGY = load_technology("asic-28nm")
SPACE = GadsSpace.load("reduced").at_clock(TECHNOLOGY.clk_period_ns)
NETWORK = small_network()
WIDE = NetworkSpec(name="wide", input_shape=(96, 14, 14), layers=(
    conv("dense", "input", 96, 128, (14, 14), kernel=3),
    conv("pool", "dense", 128, 128, (14, 14), kernel=7, groups=128)))
TWO = GadsSpace.load("default").at_clock(TECHNOLOGY.clk_period_ns).pinned(["chunks=2"])
FULL = GadsSpace.load("full").at_clock(TECHNOLOGY.clk_period_ns).pinned(["chunks=1", "port_bytes=64"])


def chips_of(space, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [space.feasible(generator)[1] for _ in range(count)]


def ranks(x):
    return x.argsort().argsort().double()


def test_estimate_orders_chips_as_the_cost_model_does():
    chips, pricer = chips_of(SPACE, 60), DesignPricer(fixed_pricer(SPACE, TECHNOLOGY))
    guess, exact = estimates(pricer, chips, NETWORK), pricer.edp_js(chips, NETWORK).log()
    runs = exact.isfinite() & (guess < REFUSED)
    assert runs.sum() > 30
    assert torch.corrcoef(torch.stack([ranks(guess[runs]), ranks(exact[runs])]))[0, 1] > 0.8
    assert (exact - guess)[runs].std() < 0.6 * exact[runs].std()


def test_estimate_knows_what_cannot_run():
    """Most chips that the mapper finds no tiling for are known, and few others are refused."""
    chips, shapes = chips_of(FULL, 60), [s for _, s in hardware_shapes(WIDE, 64)]
    pricer = LayerPricer(TECHNOLOGY, 0, QUICK, FULL.orders)
    exact = pricer.price([(c, s) for c in chips for s in shapes])[:, 1].isfinite()
    guess = estimated(chips, shapes, TECHNOLOGY)[:, :, 1].flatten().isfinite()
    assert not exact.all() and (exact & ~guess).double().sum() <= 0.1 * exact.sum()
    assert (guess & ~exact).sum() <= 0.1 * (~exact).sum()


def test_estimate_takes_no_fewer_cycles_than_the_macs_and_grows_with_the_layer():
    chips = chips_of(SPACE, 20)
    small, large = (LayerShape(k=32, c=32, p=n, q=n, r=3, s=3, pad=1, h=n, w=n) for n in (8, 16))
    costs = estimated(chips, [small, large], TECHNOLOGY)
    runs = costs.isfinite().all(dim=2).all(dim=1)
    pes = torch.tensor([c.pes for c in chips])
    assert runs.any() and (costs[runs, 0, 1] >= small.macs / pes[runs]).all()
    assert (costs[runs, 1] > 2 * costs[runs, 0]).all()


def test_estimate_is_infinite_where_no_tile_fits():
    """A 16 x 16 kernel on 64 channels: 16 KiB an input tile at least."""
    shape = LayerShape(k=8, c=64, p=1, q=1, r=16, s=16, h=16, w=16)
    chips = [c for c in chips_of(SPACE, 60) if c.chunk.gb_i_bytes < 2 * 16 * 16 * min(64, c.port_bytes)]
    assert chips and estimated(chips, [shape], TECHNOLOGY).isinf().all()


def test_estimates_cost_no_evaluation_and_put_last_what_is_refused():
    pricer, chips = DesignPricer(fixed_pricer(SPACE, TECHNOLOGY), Targets(max_area_mm2=0.2)), chips_of(SPACE, 40)
    guess = estimates(pricer, [None, *chips], NETWORK)
    large = torch.tensor([pricer._area_excess(c) > 0 for c in chips])
    assert pricer.evaluations == 0 and guess.isfinite().all() and large.any() and not large.all()
    assert guess[0] > REFUSED and (guess[1:][large] > REFUSED).all() and guess[1:][~large].min() < 0


@pytest.mark.parametrize("seed", range(3))
def test_each_layer_is_estimated_on_the_better_chunk_and_all_chunks_are_paid(seed):
    pricer, (chip,) = DesignPricer(fixed_pricer(TWO, TECHNOLOGY)), chips_of(TWO, 1, seed)
    both, alone = estimates(pricer, [chip], NETWORK), estimates(pricer, chip.alone, NETWORK)
    idle = max(pricer.layers.idle_pj(c) for c in chip.alone)
    assert math.isfinite(both) and idle > 0 and (both < REFUSED or (alone > REFUSED).all())


def test_fastest_order_is_that_of_the_nest_of_each():
    """The first of the least, with what `visited_tiles` counts of it."""
    gb = torch.randint(1, 4, (7, 300), generator=torch.Generator().manual_seed(3))
    moved = {x: torch.randint(1, 40, (300,), generator=torch.Generator().manual_seed(x)) for x in Operand}
    steps = 10 * gb.prod(dim=0)
    cycles, visits = _fastest_order(gb, steps, moved)
    nests = [visited_tiles(order, gb) for order in ORDERS["gb_order"]]
    each = torch.stack([torch.stack([steps, *(n[x] * moved[x] for x in Operand)]).amax(dim=0) for n in nests])
    assert torch.equal(cycles, each.amin(dim=0)) and len(each.argmin(dim=0).unique()) > 1
    for x in Operand:
        assert torch.equal(visits[x], torch.stack([n[x] for n in nests]).gather(0, each.argmin(dim=0)[None])[0])
