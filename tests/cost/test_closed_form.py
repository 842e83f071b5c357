"""Both closed forms against the cycle-stepped oracle, and hand-computed small cases."""

import random

import pytest
import torch

from dna_asic.cost.closed_form import Member, shared_cycles, unshared_cycles
from dna_asic.cost.oracle import Port, run_level, run_two_levels


def random_nest(rng, loops):
    bounds = [rng.choice((1, 1, 2, 2, 3, 4)) for _ in range(loops)]
    while torch.tensor(bounds).prod() > 96:
        bounds[rng.randrange(loops)] = 1
    relevant = {x: tuple(rng.random() < 0.5 for _ in range(loops)) for x in "wior"}
    relevant["r"] = relevant["o"]
    return bounds, relevant, {x: rng.randrange(0, 40) for x in "wior"}, rng.randrange(1, 30)


def lowest(bounds, relevant):
    return next((i for i, (r, b) in enumerate(zip(relevant, bounds, strict=True)) if r and b > 1), len(bounds))


def batch(nests):
    bounds = torch.tensor([n[0] for n in nests]).T
    low = {x: torch.tensor([lowest(n[0], n[1][x]) for n in nests]) for x in "wior"}
    duration = {x: torch.tensor([n[2][x] for n in nests]) for x in "wior"}
    return bounds, low, duration, torch.tensor([n[3] for n in nests])


def ports(nest, names, drains):
    return [Port(nest[2][x], nest[1][x], x in drains) for x in names]


@pytest.mark.parametrize("loops", [3, 7])
def test_unshared_equals_oracle(loops):
    rng = random.Random(loops)
    nests = [random_nest(rng, loops) for _ in range(1500)]
    bounds, low, duration, compute = batch(nests)
    got = unshared_cycles(bounds, compute, low, duration, ("w", "i"), ("o",))
    want = [run_level(n[0], n[3], [[p] for p in ports(n, "wio", "o")]) for n in nests]
    assert got.tolist() == want


@pytest.mark.parametrize("fills_first", [False, True])
@pytest.mark.parametrize("read,write", [
    ("riw", "o"), ("iw", "o"), ("w", "oi"), ("wi", "or"), ("riwo", ""), ("i", "wo")])
def test_shared_equals_oracle(read, write, fills_first):
    rng = random.Random(read)
    nests = [random_nest(rng, 5) for _ in range(600)]
    bounds, low, duration, compute = batch(nests)
    if fills_first:  # durations of the size of the compute: the port is the bottleneck
        compute = compute.clamp(max=3)
        nests = [(*n[:3], min(n[3], 3)) for n in nests]
    groups = [names for names in (read, write) if names]
    members = tuple(tuple(Member(low[x], duration[x], x in "or") for x in g) for g in groups)
    got = shared_cycles(bounds, compute, members)
    want = [run_level(n[0], n[3], [ports(n, g, "or") for g in groups]) for n in nests]
    assert got.tolist() == want


def test_shared_absent_member_does_not_make_the_port_wait():
    rng = random.Random(5)
    nests = [random_nest(rng, 5) for _ in range(1000)]
    bounds, low, duration, compute = batch(nests)
    present = torch.tensor([rng.random() < 0.5 for _ in nests])
    read = (Member(low["r"], duration["r"], True, present), Member(low["i"], duration["i"]),
            Member(low["w"], duration["w"]))
    got = shared_cycles(bounds, compute, (read, (Member(low["o"], duration["o"], True),)))
    want = [run_level(n[0], n[3], [ports(n, "riw" if has else "iw", "r"), ports(n, "o", "o")])
            for n, has in zip(nests, present, strict=True)]
    assert got.tolist() == want


def test_unshared_hand_computed():
    # one loop of 3, only W moves: fill 4, first step 10 (second fill hides), 10, 10, drain 2
    bounds, compute = torch.tensor([[3]]), torch.tensor([10])
    low = {"w": torch.tensor([0]), "i": torch.tensor([1]), "o": torch.tensor([1])}
    duration = {"w": torch.tensor([4]), "i": torch.tensor([3]), "o": torch.tensor([2])}
    assert unshared_cycles(bounds, compute, low, duration, ("w", "i"), ("o",)).tolist() == [4 + 30 + 2]
    # a fill of 15 bounds the first two steps, the last has no fill to wait for
    duration["w"] = torch.tensor([15])
    assert unshared_cycles(bounds, compute, low, duration, ("w", "i"), ("o",)).tolist() == [15 + 15 + 15 + 10 + 2]


def test_shared_hand_computed():
    # two tiles, I and W share a port: prologue 4 + 3, step max(5, 4 + 3), step 5, drain 6
    bounds, zero = torch.tensor([[2]]), torch.tensor([0])
    read = (Member(zero, torch.tensor([4])), Member(zero, torch.tensor([3])))
    cycles = shared_cycles(bounds, torch.tensor([5]), (read, (Member(zero, torch.tensor([6]), True),)))
    assert cycles.tolist() == [7 + 7 + 6 + 6]  # the last step waits for the first tile's drain of 6


def test_single_step_pays_prologue_and_epilogue_only():
    bounds, none = torch.ones((7, 1), dtype=torch.int64), torch.tensor([7])
    low = dict.fromkeys("wio", none)
    duration = {"w": torch.tensor([9]), "i": torch.tensor([3]), "o": torch.tensor([2])}
    assert unshared_cycles(bounds, torch.tensor([5]), low, duration, ("w", "i"), ("o",)).tolist() == [9 + 5 + 2]


def test_wider_port_never_costs():
    rng = random.Random(1)
    bounds, low, duration, compute = batch([random_nest(rng, 5) for _ in range(2000)])
    def cycles(d):
        read = tuple(Member(low[x], d[x], x == "r") for x in "riw")
        return shared_cycles(bounds, compute, (read, (Member(low["o"], d["o"], True),)))
    assert (cycles({x: (d + 1) // 2 for x, d in duration.items()}) <= cycles(duration)).all()


def test_two_levels_compose():
    rng = random.Random(2)
    for _ in range(40):
        inner, outer = random_nest(rng, 3), random_nest(rng, 3)
        two = run_two_levels(inner[0], inner[3], [[p] for p in ports(inner, "wio", "o")], 2, outer[0],
                             [ports(outer, "riw", "r"), ports(outer, "o", "o")])
        b, low, duration, compute = batch([inner])
        core = unshared_cycles(b, compute, low, duration, ("w", "i"), ("o",)) + 2
        b, low, duration, _ = batch([outer])
        read = tuple(Member(low[x], duration[x], x == "r") for x in "riw")
        assert shared_cycles(b, core, (read, (Member(low["o"], duration["o"], True),))).tolist() == [two]


def test_trace_lists_every_boundary():
    trace = []
    run_level((2, 3), 4, [[Port(1, (True, False))], [Port(6, (False, True), drain=True)]], trace)
    assert [e.boundary for e in trace] == [None, 0, 1, 0, 1, 0, 2]
    assert [e.cycle for e in trace] == [1, 5, 9, 13, 17, 21, 25]
    assert [e.waited for e in trace] == [()] * 7
    assert trace[0].step == (0, 0) and trace[-1].step is None


def test_trace_names_the_group_waited_for():
    trace = []
    run_level((3,), 4, [[Port(7, (True,))], [Port(2, (True,), drain=True)]], trace)
    assert [(e.cycle, e.waited) for e in trace] == [(7, ()), (14, (0,)), (21, (0,)), (25, ())]
