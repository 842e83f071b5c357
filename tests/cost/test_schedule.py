"""The schedule of several chunks: by hand, against a machine that is stepped cycle by cycle, and in the long run."""

import math
import random

import pytest
from chips import draw_design, make_chips

from dna_asic.cost import design_schedule, evaluate_design
from dna_asic.cost.schedule import period_cycles, schedule
from dna_asic.errors import SpecError
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.mapper import random_assignment
from dna_asic.spec.instruction import INSTRUCTION_BYTES
from dna_asic.spec.latency import RUN_CYCLES, SETUP_CYCLES, SYNC_CYCLES
from dna_asic.spec.pipeline import pipeline
from dna_asic.technology import load_technology
from sim.all_kinds import all_kinds
from sim.four_layers import four_layers

FETCH = 20
NETWORKS = (four_layers, all_kinds)


def draw(seed, chunks):
    """(programs, cycles of each layer) of a random assignment."""
    rng = random.Random(seed)
    net = NETWORKS[seed % 2]().network
    programs = pipeline(net, random_assignment(net, chunks, rng), chunks).programs
    return programs, {x.name: FETCH + rng.randint(6, 400) for x in net.layers}


def stepped(programs, cycles, images):
    """Ends by (layer, image) of controllers that move one cycle at a time, with progress as they have it."""
    chunks = [{"i": 0, "k": 0, "first": 0, "stage": 0, "timer": FETCH, "phase": "fetch", "over": not p, "seen": {}}
              for p in programs]
    ends, now = {}, 0

    def progress(chunk, at):
        """What others see of a chunk in cycle `at`: what it had come to SYNC_CYCLES before."""
        return max((v for t, v in chunk["seen"].items() if t <= at - SYNC_CYCLES), default=(0, 0))

    def move_on(chunk, image, last):
        if image < 0 or last:
            chunk["i"], chunk["k"], chunk["stage"] = chunk["i"] + 1, chunk["first"], 0
        else:
            chunk["k"] += 1
        chunk["timer"], chunk["phase"] = FETCH, "fetch"
        chunk["seen"][now] = (math.inf, 0) if chunk["over"] else (chunk["i"], chunk["k"])

    for chunk in chunks:
        if chunk["over"]:
            chunk["seen"][-SYNC_CYCLES] = (math.inf, 0)
    while not all(c["over"] for c in chunks):
        now += 1
        for chunk, program in zip(chunks, programs):
            if chunk["over"]:
                continue
            place = program[chunk["k"]]
            chunk["timer"] -= chunk["timer"] > 0
            if chunk["phase"] == "fetch" and not chunk["timer"]:
                image = chunk["i"] - chunk["stage"]
                if image >= 0 and chunk["stage"] != place.stage:
                    chunk["stage"], chunk["timer"] = chunk["stage"] + 1, 1
                elif 0 <= image < images:
                    chunk["phase"], chunk["timer"] = "wait", SETUP_CYCLES
                else:
                    chunk["first"] = chunk["k"] + 1 if image >= images else chunk["first"]
                    move_on(chunk, image, False)
            elif chunk["phase"] == "wait" and not chunk["timer"]:
                if all(progress(chunks[w.chunk], now) >= (chunk["i"] - w.distance, w.position)
                       for w in place.waits if w.distance <= chunk["i"]):
                    chunk["phase"], chunk["timer"] = "layer", cycles[place.name] - FETCH - SETUP_CYCLES
            elif chunk["phase"] == "layer" and not chunk["timer"]:
                image = chunk["i"] - place.stage
                ends[place.name, image] = now
                last = chunk["k"] == len(program) - 1
                chunk["over"] = last and image == images - 1
                move_on(chunk, image, last)
    return ends


def test_schedule_one_chunk_is_the_sum():
    programs, cycles = draw(1, 1)
    for images in (1, 3):
        got = schedule(programs, cycles, FETCH, images)
        assert got.cycles == images * sum(cycles.values()) == images * period_cycles(programs, cycles)
        assert got.idle_fetches == (0,)


def test_schedule_by_hand():
    net = four_layers().network
    programs = pipeline(net, {"conv": 0, "depthwise": 1, "pointwise": 1, "classifier": 1}, 2).programs
    cycles = dict.fromkeys(("conv", "depthwise", "pointwise", "classifier"), 100)
    got = schedule(programs, cycles, FETCH, 1)
    # chunk 1 ends its pass 0 after a fetch and a step; fetches and steps again, and is held up by conv (100) until 102
    assert got.ends["conv", 0] == 100
    assert got.ends["depthwise", 0] == 100 + SYNC_CYCLES + (100 - FETCH - SETUP_CYCLES)
    assert got.cycles == got.ends["depthwise", 0] + 200
    assert got.idle_fetches == (0, 1)
    assert period_cycles(programs, cycles) == 301  # the step back to stage 1 costs a cycle in every pass


@pytest.mark.parametrize("chunks", [2, 3, 4])
@pytest.mark.parametrize("seed", range(8))
def test_schedule_equals_the_stepped_machine(seed, chunks):
    programs, cycles = draw(seed, chunks)
    for images in (1, 2, 5, 9):
        assert schedule(programs, cycles, FETCH, images).ends == stepped(programs, cycles, images)


@pytest.mark.parametrize("chunks", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(10))
def test_period_is_that_of_many_images(seed, chunks):
    programs, cycles = draw(seed, chunks)
    total = [schedule(programs, cycles, FETCH, images).cycles for images in (400, 401, 402)]
    assert total[1] - total[0] == total[2] - total[1] == period_cycles(programs, cycles)


def test_schedule_without_images_is_empty():
    programs, cycles = draw(3, 2)
    got = schedule(programs, cycles, FETCH, 0)
    assert (got.cycles, got.ends) == (0, {})


def test_report_of_several_chunks():
    rng, quant, technology = random.Random(5), all_kinds(), load_technology("asic-28nm")
    chip = make_chips("kc-tree-4x4", "kc-drain-3x6", "pq-3x2")
    assignment, mappings = draw_design(chip, quant.network, rng)
    shapes, places = hardware_shapes(quant.network, chip.port_bytes), pipeline(quant.network, assignment, 3)
    report = evaluate_design(shapes, chip, mappings, technology, places)
    alone = [evaluate_design([(n, s) for n, s in shapes if assignment[n] == c], chip.alone[c], mappings, technology)
             for c in range(3)]
    assert {c.name: c for c in report.layers} == {c.name: c for r in alone for c in r.layers}
    times = design_schedule(places.programs, {c.name: c.cycles for c in report.layers}, chip)
    assert report.latency_cycles == RUN_CYCLES + times.cycles > max(r.latency_cycles for r in alone)
    assert report.idle_fetches == sum(times.idle_fetches) > 0
    assert report.period_cycles == max(r.latency_cycles - RUN_CYCLES + p[-1].stage
                                       for r, p in zip(alone, places.programs))
    assert report.area_mm2 == pytest.approx(sum(r.area_mm2 for r in alone))
    per_cycle = [r.energy_pj_by_level["clock"] / r.latency_cycles for r in alone]
    assert report.energy_pj_by_level["clock"] == pytest.approx(sum(per_cycle) * report.latency_cycles)
    fetched = report.idle_fetches * INSTRUCTION_BYTES * 8 * technology["dram_pj_per_bit"]
    assert report.energy_pj_by_level["dram"] == pytest.approx(
        sum(r.energy_pj_by_level["dram"] for r in alone) + fetched)


def test_report_wrong_no_pipeline():
    quant, chip = four_layers(), make_chips("kc-tree-4x4", "pq-3x2")
    _, mappings = draw_design(chip, quant.network, random.Random(0))
    with pytest.raises(SpecError, match="has 2 chunks; say by a pipeline"):
        evaluate_design(hardware_shapes(quant.network, chip.port_bytes), chip, mappings, load_technology("asic-28nm"))
