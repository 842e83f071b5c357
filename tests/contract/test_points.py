"""The command for random points: what it draws, what it judges, and that a fault is found and its step named."""

import dataclasses
import json
import random

import pytest
import yaml
from chips import make_chip
from mutation import mutate

from dna_asic.contract.__main__ import main
from dna_asic.contract.coverage import Coverage, layer_features, targets, wanted_targets
from dna_asic.contract.hand import HandLayer
from dna_asic.contract.judge import Verdict, summary_line
from dna_asic.contract.layers import KINDS, STRIDES, draw_layer, tensors_of
from dna_asic.contract.model import evaluate_rows
from dna_asic.contract.plan import Planner
from dna_asic.cost.trace import layer_steps
from dna_asic.errors import SpecError
from dna_asic.gads import GadsSpace
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.mapper import random_mapping
from dna_asic.spec.layer import NetworkSpec
from dna_asic.spec.record import to_plain
from dna_asic.spec.trace import Step, first_difference
from rtl_gen.emit import chip_verilog
from sim.all_kinds import all_kinds

LAYER = "k=30,c=17,p=5,q=7,r=3,s=3,stride=2"


@pytest.fixture
def accelerator_file(tmp_path):
    path = tmp_path / "accelerator.yaml"
    path.write_text(yaml.safe_dump(to_plain(make_chip("kc-tree-4x4"))))
    return path


def test_wanted_targets_leave_out_the_impossible():
    wanted = wanted_targets(GadsSpace.load("full").pinned(["chunks=1"]))
    assert (("spatial", "K P"), ("reduction", "tree")) in wanted
    assert (("spatial", "K P"), ("reduction", "drain")) not in wanted
    assert (("spatial", "K C"), ("reduction", "drain")) in wanted
    assert {(("kind", k), ("stride", s)) for k in KINDS for s in STRIDES} <= wanted
    assert (("pe_rows", 64),) in wanted and (("n_i", 64),) in wanted


def test_coverage_counts_what_is_new():
    features = {"kind": "dense", "stride": 2, "pad": 1}
    assert len(targets(features)) == 4  # three values, one pair
    coverage = Coverage(targets(features) | targets({"kind": "max"}))
    assert coverage.gain(features) == 4
    coverage.add({"kind": "dense", "pad": 1})
    assert coverage.gain(features) == 2
    assert coverage.missing == ["kind=dense with stride=2", "kind=max", "stride=2"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stride", STRIDES)
def test_draw_layer_realises_kind_and_stride(kind, stride):
    rng, network = random.Random(f"{kind}{stride}"), all_kinds().network
    drawn = [draw_layer("new", kind, stride, tensors_of(network), rng) for _ in range(200)]
    layers = [layer for layer in drawn if layer]
    assert layers and {layer.shape.stride for layer in layers} == {stride}
    for layer in layers:
        assert layer_features(kind, layer.shape)["kind"] == kind
        NetworkSpec(name="longer", input_shape=network.input_shape, layers=(*network.layers, layer))
        assert bool(layer.residual) == (kind == "residual") and bool(layer.pool) == (kind == "fused pooling")
        assert layer.average == (kind in ("average", "global average"))


def test_plans_are_those_of_the_seed():
    def plans():
        return list(Planner(GadsSpace.load("full"), 3).plans(2, 8))
    first = plans()
    assert first == plans() and [len(p.points) for p in first] == [4, 4]
    assert first[0].accelerator != first[1].accelerator


def test_step_trace_is_the_closed_form():
    rng, chip = random.Random(4), make_chip("kc-drain-3x6")
    for _, shape in hardware_shapes(all_kinds().network, chip.port_bytes):
        mapping = random_mapping(shape, chip, chip.chunk, rng)
        ((cycles, _),) = evaluate_rows([(shape, chip, mapping)])
        assert layer_steps(shape, chip, mapping)[-1].cycle == cycles


def test_first_difference_is_the_earliest():
    steps = [Step(cycle=10 * n, level="array", tile=0, step=n, event="next", flips="W") for n in range(4)]
    assert first_difference(steps, list(steps)) is None
    late = [*steps[:2], dataclasses.replace(steps[2], waited="W"), dataclasses.replace(steps[3], cycle=35)]
    assert first_difference(steps, late) == (steps[2], late[2])
    assert first_difference(steps, steps[:3]) == (steps[3], None)


def test_summary_line():
    equal = Verdict(design="d", layer="a", bit_exact=True, cycles_model=100, cycles_rtl=100, counts={})
    slower = dataclasses.replace(equal, cycles_rtl=200, counts={"macs": (1, 2)})
    assert summary_line([equal, slower]) == (
        "contract: points=2 bit_exact=2 cycles_equal=1 counts_equal=1 mean_error_pct=25 worst_error_pct=50")
    assert equal.holds and not slower.holds and "macs=2, and the cost model says 1" in slower.text()


def test_layer_text_is_read_back():
    for layer in all_kinds().network.layers:
        text = HandLayer.of(layer).text()
        assert HandLayer.parse(text) == HandLayer.of(layer)
        made = HandLayer.parse(text).network().layers[-1]
        assert (made.shape, made.pool, made.average) == (layer.shape, layer.pool, layer.average)


@pytest.mark.parametrize("text,message", [
    ("k=3,c=2,p=1,q=1,strid=2", "Unknown key 'strid' in layer; did you mean 'stride'"),
    ("k=3,c=2,p", "'p' must be name=value"), ("k=3,c=2,p=1,q=1,op=sum", "op must be one of mac, max, average"),
    ("k=3,k=2,c=1,p=1,q=1", "a key stands twice"), ("k=x,c=1,p=1,q=1", "layer.k must be int")])
def test_layer_wrong_text(text, message):
    with pytest.raises(SpecError, match=message):
        HandLayer.parse(text)


@pytest.mark.parametrize("arguments,message", [
    (["--points", "0"], "--points must be at least 1"), (["--points", "2", "--designs", "3"], "at least the 3"),
    (["--set", "pe_row=2"], "did you mean 'pe_rows'")])
def test_command_wrong_arguments(arguments, message, capsys, tmp_path):
    assert main([*arguments, "--runs-dir", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.simulator
def test_point_by_hand_holds(accelerator_file, tmp_path, capsys):
    assert main(["--design", str(accelerator_file), "--layer", LAYER, "--random-mapping", "3", "--trace",
                 "--runs-dir", str(tmp_path)]) == 0
    assert "bit_exact=1 cycles_equal=1 counts_equal=1" in capsys.readouterr().out


@pytest.mark.simulator
def test_fault_is_named_by_its_step(accelerator_file, tmp_path, capsys):
    """A sequencer that waits for the fill of I at every step of the array."""
    broken = tmp_path / "chip.v"
    broken.write_text(mutate(chip_verilog(make_chip("kc-tree-4x4")), r"\\chip.chunk_0.core.sequencer",
                             r"assign ready = (.*);", r"assign ready = i_idle & (\1);"))
    assert main(["--design", str(accelerator_file), "--layer", LAYER, "--random-mapping", "3", "--trace",
                 "--verilog", str(broken), "--runs-dir", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "cycles, and the cost model says" in said
    assert "the first step where they part: the model says '" in said and "waited=" in said


def sweep(points, designs, *options, runs_dir, capsys):
    """(exit status, last line) of the command."""
    status = main(["--points", str(points), "--designs", str(designs), "--seed", "1", "--runs-dir", str(runs_dir),
                   *options])
    return status, capsys.readouterr().out.splitlines()[-1]


def line(points):
    """The last line of a run of so many points that all hold."""
    return (f"contract: points={points} bit_exact={points} cycles_equal={points} counts_equal={points} "
            f"mean_error_pct=0 worst_error_pct=0")


@pytest.mark.simulator
def test_sweep_holds_and_is_kept(tmp_path, capsys):
    small = {"runs_dir": tmp_path, "capsys": capsys}
    assert sweep(12, 2, "--set", "chunks=1", **small) == (0, line(12))
    (folder,) = (tmp_path / "contract").iterdir()
    kept = json.loads((folder / "design-000.json").read_text())
    (folder / "design-000.json").write_text(json.dumps(kept[1:]))
    assert sweep(12, 2, "--set", "chunks=1", **small) == (0, line(11))  # what was judged is not run again


@pytest.mark.simulator
@pytest.mark.slow
def test_sweep_of_all_chunk_counts_holds(tmp_path, capsys):
    assert sweep(60, 6, runs_dir=tmp_path, capsys=capsys) == (0, line(60))
