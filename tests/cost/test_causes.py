"""Cycles by cause: they add up to the model's, and the waits are those of the cycle-stepped machine."""

import random

import pytest
from chips import KINDS, kind_chip, make_chip

from dna_asic.cost import ChipBatch, LayerBatch, MappingBatch
from dna_asic.cost.causes import Cause, cycles_by_cause
from dna_asic.cost.model import core_cycles, layer_cycles, schedule_of, store_job_cycles
from dna_asic.cost.trace import layer_steps
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.mapper import random_mapping
from dna_asic.spec.accelerator import Mapping
from dna_asic.spec.layer import LayerShape
from dna_asic.spec.trace import BEGIN
from sim.all_kinds import all_kinds

SMALL = LayerShape(k=4, c=4, p=2, q=2, h=2, w=2)
WHOLE = Mapping(rf=(1,) * 7, noc=(1, 4, 4, 1, 1, 1, 1), gb=(1, 1, 1, 2, 2, 1, 1), dram=(1,) * 7)


def rows(shape, chip, mapping):
    return schedule_of(LayerBatch.from_shapes([shape]), ChipBatch.from_configs([chip]),
                       MappingBatch.from_mappings([mapping]))


@pytest.mark.parametrize("kind", sorted(KINDS)[::9])
def test_cycles_by_cause_add_up(kind):
    """Every kind of layer, residuals, pooling and shuffles among them, with random tilings and loop orders."""
    rng, seen = random.Random(kind), set()
    chip = kind_chip(kind, rng)
    for _, shape in hardware_shapes(all_kinds().network, chip.port_bytes):
        for _ in range(2):
            mapping = random_mapping(shape, chip, chip.chunk, rng)
            causes, s = cycles_by_cause(shape, chip, mapping), rows(shape, chip, mapping)
            tiles = int(s.dram.steps)
            assert sum(causes.values()) == int(layer_cycles(s)) and min(causes.values()) >= 0
            assert causes[Cause.COMPUTE] == int(s.rf.steps * s.gb.steps) * tiles
            core = sum(causes[c] for c in (Cause.COMPUTE, Cause.FILL, Cause.DRAIN))
            assert core == tiles * (int(core_cycles(s)) - 2)
            assert causes[Cause.STORE] >= int(store_job_cycles(s))
            seen |= {c for c in Cause if causes[c]}
    assert seen == set(Cause)


@pytest.mark.parametrize("seed", range(8))
def test_waits_are_those_of_the_machine(seed):
    """Between two boundaries that wait for one port alone, the wait is that port's."""
    rng, chip = random.Random(seed), make_chip("kc-tree-2x3")
    shapes = [s for _, s in hardware_shapes(all_kinds().network, chip.port_bytes) if s.macs < 30_000]
    shape = rng.choice(shapes)
    mapping = random_mapping(shape, chip, chip.chunk, rng)
    causes, compute = cycles_by_cause(shape, chip, mapping), int(rows(shape, chip, mapping).rf.steps)
    waits = {}
    steps = [step for step in layer_steps(shape, chip, mapping) if step.level == "array"]
    tile = [step for step in steps if step.tile == 0 and step.event != "end"]
    for before, step in zip(tile, tile[1:]):
        waits[step.waited] = waits.get(step.waited, 0) + step.cycle - before.cycle - compute
    assert waits.pop("", 0) == 0 and tile[0].event == BEGIN
    tiles = 1 + max(step.tile for step in steps)
    fills, drains = ({x for x in waits if set(x.split("+")) <= set(ports)} for ports in ("WI", "O"))
    s = rows(shape, chip, mapping)
    beats = {x.name: int(n) for x, n in s.geometry.fill_beats.items()}
    prologue = max(int(s.chips.fill_latencies[0, 0]) + beats["W"], int(s.chips.fill_latencies[0, 1]) + beats["I"])
    epilogue = int(s.chips.drain_latency) + beats["O"]
    either = sum(cycles for port, cycles in waits.items() if port not in fills | drains)
    for cause, ports, edge in ((Cause.FILL, fills, prologue), (Cause.DRAIN, drains, epilogue)):
        certain = edge + sum(waits[x] for x in ports)
        assert tiles * certain <= causes[cause] <= tiles * (certain + either)


def test_cycles_by_cause_by_hand():
    """One DRAM tile on 4 x 4 PEs, n_w = 4, n_i = n_o = 2: W once (2 + 4 cycles), four pixels of one cycle each, whose
    I (2 + 2) and O (3 + 1 + 1 + 2) are moved one pixel ahead and behind.
    """
    causes = cycles_by_cause(SMALL, make_chip("kc-tree-4x4"), WHOLE)
    assert causes[Cause.COMPUTE] == 4
    assert causes[Cause.FILL] == 6 + 3 * 3  # W at first; then each next pixel
    assert causes[Cause.DRAIN] == 2 * 3 + 6 + 7  # beyond the wait for a fill; after the last pixel; of the last pixel
