"""A network that is brought: from the ONNX file through the command line to a run that the other stages take up."""

import json
import re

import numpy as np
import pytest
import yaml

from dna_asic import search as command
from dna_asic.cosearch import das
from dna_asic.gads.space import FOLDER
from dna_asic.mapping import simulate as functional
from dna_asic.quantize import load_quant
from dna_asic.runs import RunFolder
from dna_asic.simulate import layer_workloads, searched_workload
from dna_asic.spec.design import design_from_yaml
from dna_asic.spec.record import load_yaml
from rtl_gen.emit import emit_run
from tests.importer.models import save
from tests.importer.test_operators import node, weight
from tests.test_search import PINS

FURTHER_PINS = ("chunks=1", "spatial=K C", "reduction=tree", "delivery=multicast", "n_pp=4", "rf_o_words=8",
                "port_bytes=8")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Convolution, a residual that is not of the source's shape, pooling, classifier."""
    nodes = [node("Conv", "x", "a", "t", pads=[1, 1, 1, 1]), node("Relu", "t", "u"), node("Conv", "u", "b", "v"),
             node("Relu", "v", "r"), node("Conv", "r", "c", "s"), node("Add", "s", "u", "w"),
             node("MaxPool", "w", "m", kernel_shape=[2, 2], strides=[2, 2]), node("Flatten", "m", "f"),
             node("Gemm", "f", "d", "z", transB=1), node("Softmax", "z", "y")]
    folder = tmp_path_factory.mktemp("model")
    np.save(folder / "images.npy", np.random.default_rng(0).normal(size=(20, 1, 8, 8)))
    return save(folder / "tiny.onnx", nodes, ["batch", 1, 8, 8], {
        "a": weight(8, 1, 3, 3), "b": weight(12, 8, 1, 1), "c": weight(8, 12, 1, 1), "d": weight(10, 128)})


def command_line(model, folder, *extra):
    pins = [x for pin in (*PINS, *FURTHER_PINS) for x in ("--set", pin)]
    return ["--network", str(model), "--calibration", str(model.with_name("images.npy")), *pins, "--das-steps", "1",
            "--runs-dir", str(folder), "--quiet", *extra]


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """A finished run; do not change it."""
    folder = tmp_path_factory.mktemp("runs")
    assert command.main(command_line(model, folder)) == 0
    return folder / "tiny-asic-28nm-seed0"


def test_own_network_makes_a_whole_run(whole, model, tmp_path, capsys):
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["int8_agreement"] >= 0.9 and summary["network"] == str(model) and summary["choices"] == []
    assert load_quant(whole / "quant").network == design_from_yaml(whole / "design.yaml").network
    assert RunFolder.open(whole.parent / "latest").path.samefile(whole)
    assert command.main(command_line(model, tmp_path)) == 0
    for name in ("design.yaml", "quant/quant.npz", "inputs.npy"):
        assert (tmp_path / whole.name / name).read_bytes() == (whole / name).read_bytes()
    printed = capsys.readouterr().out
    assert "note: Softmax node" in printed and "int8_agreement=" in printed


def test_own_network_goes_on_to_the_program(whole):
    """The program computes what golden does: the whole network, and one layer of each kind."""
    run = RunFolder.open(whole)
    design, program, verilog = emit_run(run)
    assert verilog.is_file() and len(program.layers) == 5
    singles = list(layer_workloads(run, design, 0))
    assert {w.name for w in singles} == {layer.name for layer in design.network.layers}
    assert max(len(w.program.layers) for w in singles) == 2  # a residual of its own
    for workload in (searched_workload(run, design, program, 2), *singles):
        image = workload.program.input.pack(workload.images[0])
        (outputs,) = functional.simulate(workload.program, design.accelerator, [image])
        for layer in workload.program.layers:
            got = layer.output.unpack(outputs[layer.name])
            assert np.array_equal(got, workload.golden[layer.name][0].reshape(got.shape)), layer.name


def test_own_network_of_a_run(whole, tmp_path, capsys):
    """The integers and images of another run, on another technology; and of that run again."""
    first, second = tmp_path / "first", tmp_path / "second"
    for name, source, target in (("first", whole, "asic-45nm"), ("second", first, "asic-7nm")):
        argv = command_line(source, tmp_path, "--target", target, "--name", name)
        assert command.main(argv) == 0
    assert "int8_agreement=" in capsys.readouterr().out
    for run, target in ((first, "asic-45nm"), (second, "asic-7nm")):
        for name in ("quant/quant.npz", "inputs.npy"):
            assert (run / name).read_bytes() == (whole / name).read_bytes()
        summary = json.loads((run / "summary.json").read_text())
        assert summary["target"] == target
        assert summary["int8_agreement"] == json.loads((whole / "summary.json").read_text())["int8_agreement"]


def test_own_network_wrong_run(whole, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert command.main(command_line(tmp_path / "empty", tmp_path)) == 2
    assert "make search" in capsys.readouterr().err


def test_own_network_keeps_targets(whole, model, tmp_path, capsys):
    free = json.loads((whole / "summary.json").read_text())
    area = free["area_mm2"] * 0.97
    assert command.main(command_line(model, tmp_path, "--max-area-mm2", str(area), "--max-latency-ms", "1")) == 0
    summary = json.loads((tmp_path / whole.name / "summary.json").read_text())
    assert [(t["target"], t["kept"]) for t in summary["targets"]] == [("max_latency_ms", True), ("max_area_mm2", True)]
    assert summary["area_mm2"] <= area and re.search(r"^max_latency_ms +1 ", capsys.readouterr().out, re.MULTILINE)


def test_own_network_resumes(whole, model, tmp_path, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(das, "polish", interrupt)
        assert command.main(command_line(model, tmp_path)) == 130
    assert f"--resume {tmp_path / whole.name}" in capsys.readouterr().err
    assert command.main(["--resume", str(tmp_path / whole.name), "--quiet"]) == 0
    assert (tmp_path / whole.name / "design.yaml").read_bytes() == (whole / "design.yaml").read_bytes()


@pytest.mark.parametrize("wrong,message", [
    (["--calibration", ""], "is float: give --calibration with images"),
    (["--calibration", "nowhere"], "'nowhere': give a folder of pictures"),
    (["--network", "nowhere.onnx"], "'nowhere.onnx' is not a file"),
    (["--das-steps", "0"], "--das-steps must be in 1..inf"),
    (["--min-accuracy", "0.9"], "--min-accuracy needs a network that is searched"),
])
def test_own_network_wrong_argument(model, tmp_path, capsys, wrong, message):
    assert command.main(command_line(model, tmp_path, *wrong)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error
    assert not list(tmp_path.iterdir())


def test_own_network_wrong_numbers(model, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(command_line(model, tmp_path, "--mean", "grey"))
    assert "must be numbers with commas between, not 'grey'" in capsys.readouterr().err


def test_own_network_wrong_space_too_small(model, tmp_path, capsys):
    plain = load_yaml(FOLDER / "default.yaml")
    plain["entries"] |= {"gb_w_bytes": [1024], "gb_i_bytes": [1024], "gb_o_bytes": [1024], "port_bytes": [64]}
    space = tmp_path / "tight.yaml"
    space.write_text(yaml.safe_dump(plain))
    arguments = ["--network", str(model), "--calibration", "random", "--space", str(space), "--runs-dir",
                 str(tmp_path / "runs"), "--quiet"]
    assert command.main(arguments) == 2
    assert "no sampled chip could run network 'tiny'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
