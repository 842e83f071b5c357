"""The contract: cycles, MACs and accesses of the cost model are those of the Verilog, and every byte is golden's."""

import itertools
import random

import numpy as np
import pytest
from chips import CHIPS, KINDS, make_chip

from dna_asic.cost import evaluate_design
from dna_asic.golden import run_golden
from dna_asic.mapping.compile import compile_program
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.mapper import random_mapping
from dna_asic.spec.dims import Operand
from dna_asic.technology import load_technology
from rtl_gen.emit import chip_verilog
from sim.all_kinds import all_kinds
from sim.chip import run_chip
from sim.four_layers import four_layers
from sim.integers import random_images

W, I, O = Operand  # noqa: E741
QUICK = ("kc-tree-4x4", "kc-drain-3x6", "pq-3x2", "rp-drain-systolic", "gc-tree-multicast", "cr-tree-systolic",
         "pr-tree-multicast", "qg-tree-systolic")


def model_counters(report, port_bytes):
    """The chip's counters as the cost model predicts them."""
    def total(of):
        return sum(of(layer.counts) for layer in report.layers)

    counters = {"cycles": report.latency_cycles, "macs": total(lambda c: c.macs), "layer": len(report.layers)}
    for x in Operand:
        for level in ("rf", "gb"):
            for access in ("reads", "writes"):
                counters[f"{level}_{x.name.lower()}_{access}"] = total(lambda c: getattr(c, f"{level}_{access}")[x])  # noqa: B023
    return counters | {
        "dram_i_beats": total(lambda c: c.dram_reads[I]) // port_bytes,
        "dram_r_beats": total(lambda c: c.dram_reads[O]) // port_bytes,
        "dram_o_beats": total(lambda c: c.dram_writes[O]) // port_bytes,
        "dram_w_and_p_beats": total(lambda c: c.dram_reads[W]) // port_bytes,
    }


def run(chip, quant, seed, images, tmp_path_factory, **options):
    """(program, golden tensors, cost report, what the Verilog did) with random mappings."""
    print(f"seed {seed}")
    rng, shapes = random.Random(seed), hardware_shapes(quant.network, chip.port_bytes)
    mappings = {name: random_mapping(shape, chip, chip.chunks[0], rng) for name, shape in shapes}
    program = compile_program(chip, quant, mappings)
    x = random_images(quant.network, images, seed)
    build = tmp_path_factory.getbasetemp() / f"build-{chip.name}"
    build.mkdir(exist_ok=True)
    verilog = build / "chip.v"
    if not verilog.exists():
        verilog.write_text(chip_verilog(chip))
    report = evaluate_design(shapes, chip, mappings, load_technology("asic-28nm"))
    runs = run_chip(verilog, program, chip, [program.input.pack(i) for i in x], work=tmp_path_factory.mktemp("work"),
                    build_root=build, limit_cycles=20 * report.latency_cycles, **options)
    assert len(runs) == images
    return program, run_golden(quant, x), report, runs


def assert_outputs(program, golden, runs):
    for n, result in enumerate(runs):
        assert result.ended and result.error == "none"
        for layer in program.layers:
            got = layer.output.unpack(result.outputs[layer.name])
            np.testing.assert_array_equal(got, golden[layer.name][n].reshape(got.shape), err_msg=layer.name)


@pytest.mark.simulator
@pytest.mark.parametrize("name,seed", [
    pytest.param(name, seed, marks=() if name in QUICK else pytest.mark.slow)
    for name, seed in (*itertools.product(CHIPS, (1, 2)), *((name, 3) for name in KINDS))])
def test_model_is_the_chip(name, seed, tmp_path_factory):
    chip = make_chip(name)
    program, golden, report, runs = run(chip, all_kinds(seed), seed, 2, tmp_path_factory)
    assert_outputs(program, golden, runs)
    for result in runs:
        got = dict(result.counters)
        got["dram_w_and_p_beats"] = got.pop("dram_w_beats") + got.pop("dram_p_beats")
        assert got == model_counters(report, chip.port_bytes)
        assert np.diff(result.layer_cycles, prepend=0).tolist() == [layer.cycles for layer in report.layers]


@pytest.mark.simulator
@pytest.mark.parametrize("stall_seed", [3, 4])
def test_stalls_change_cycles_only(stall_seed, tmp_path_factory):
    chip = make_chip("kc-tree-4x4")
    program, golden, report, runs = run(chip, all_kinds(stall_seed), stall_seed, 2, tmp_path_factory,
                                        stall_seed=stall_seed)
    assert_outputs(program, golden, runs)
    for result in runs:
        spent = np.diff(result.layer_cycles, prepend=0)
        assert all(spent > [layer.cycles for layer in report.layers])


@pytest.mark.simulator
def test_icarus_agrees(tmp_path_factory):
    chip = make_chip("kc-tree-2x3")
    program, golden, report, runs = run(chip, four_layers(), 5, 1, tmp_path_factory, simulator="icarus")
    assert_outputs(program, golden, runs)
    assert runs[0].counters["cycles"] == report.latency_cycles
