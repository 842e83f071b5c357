"""The map command: known, imported and searched networks on presets and accelerator files."""

import functools
import json
import re

import numpy as np
import pytest
import yaml
from importer.models import save
from onnx import helper
from runs_by_hand import make_run

from dna_asic import map as command
from dna_asic.cost import evaluate_design
from dna_asic.importer import from_onnx
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.tilings import Effort
from dna_asic.networks import known
from dna_asic.spec.design import accelerator_from_yaml, design_from_yaml
from dna_asic.spec.geometry import check_mapping
from dna_asic.spec.record import to_plain
from dna_asic.technology import load_technology
from rtl_gen import emit


@pytest.fixture(autouse=True)
def little_effort(monkeypatch):
    monkeypatch.setattr(command, "Mapper", functools.partial(command.Mapper, effort=Effort(width=16, rounds=2, keep=4)))


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path)


@pytest.mark.parametrize("chunks", [1, 2])
def test_map_of_a_run(chunks, tmp_path, capsys):
    """Its design is legal, priced as printed, no worse than plain mappings, and `rtl` takes it."""
    folder, plain = make_run(tmp_path, chunks)
    output = tmp_path / "mapped.yaml"
    assert command.main(["--run", str(folder.path), "-o", str(output), "--json", "--quiet"]) == 0
    record, design = json.loads(capsys.readouterr().out), design_from_yaml(output)
    assert design.network == plain.network and design.accelerator == plain.accelerator
    chip, shapes = design.accelerator, hardware_shapes(design.network, design.accelerator.port_bytes)
    for name, shape in shapes:
        chunk = design.assignment[name]
        check_mapping(shape, chip.alone[chunk], chip.chunks[chunk], design.mappings[name])
    technology = load_technology("asic-28nm")
    report = evaluate_design(shapes, chip, design.mappings, technology, design.pipeline)
    assert (record["latency_cycles"], record["edp_js"]) == (report.latency_cycles, report.edp_js)
    assert report.edp_js <= evaluate_design(shapes, chip, plain.mappings, technology, plain.pipeline).edp_js
    assert [row["cycles"] for row in record["layers"]] == [layer.cycles for layer in report.layers]
    if chunks == 1:
        assert emit.main(["--design", str(output), "-o", str(tmp_path / "chip.v")]) == 0
        assert "module chip" in (tmp_path / "chip.v").read_text()


def test_map_objective_and_seed(run, tmp_path, capsys):
    folder, _ = run
    def cycles(*options):
        assert command.main(["--run", str(folder.path), "-o", str(tmp_path / "x.yaml"), "--json", *options]) == 0
        return json.loads(capsys.readouterr().out)["latency_cycles"]
    assert cycles("--objective", "latency") <= cycles()
    cycles("--objective", "energy")
    first = (tmp_path / "x.yaml").read_bytes()
    cycles("--objective", "energy")
    assert (tmp_path / "x.yaml").read_bytes() == first


def test_map_onnx_on_an_accelerator_file(run, tmp_path, monkeypatch, capsys):
    _, plain = run
    monkeypatch.chdir(tmp_path)
    chip = tmp_path / "chip.yaml"
    chip.write_text(yaml.safe_dump(to_plain(plain.accelerator)))
    assert accelerator_from_yaml(chip) == plain.accelerator
    model = tmp_path / "model.onnx"
    write_model(model)
    assert command.main(["--network", str(model), "--accelerator", str(chip)]) == 0
    design = design_from_yaml(tmp_path / "runs/maps" / f"{from_onnx(model).network.name}-{plain.accelerator.name}.yaml")
    assert design.network == from_onnx(model).network
    assert capsys.readouterr().out.splitlines()[-1].startswith("map: design=runs/maps/")


def write_model(path):
    weight = np.random.default_rng(0).normal(size=(6, 2, 3, 3)).astype(np.float32)
    save(path, [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4), helper.make_node("Relu", ["c"], ["y"])],
         (1, 2, 4, 4), {"w": weight})


def test_map_known_network_on_a_preset(tmp_path, monkeypatch, capsys):
    _, plain = make_run(tmp_path)
    monkeypatch.setitem(known.NETWORKS, "resnet18", lambda: plain.network)
    assert command.main(["--network", "resnet18", "--preset", "gemmini_like", "-o", str(tmp_path / "m.yaml")]) == 0
    assert design_from_yaml(tmp_path / "m.yaml").accelerator.pes == 256
    assert "waits most for" in capsys.readouterr().out


@pytest.mark.parametrize(("argv", "message"), [
    ([], "Give either --network or --run."),
    (["--network", "resnet18"], "Give the accelerator: --preset NAME or --accelerator FILE."),
    (["--network", "resnet18", "--preset", "a", "--accelerator", "b"], "not both"),
    (["--network", "resnet18", "--preset", "tpu"], "Preset must be one of nvdla_like"),
    (["--network", "alexnet", "--preset", "nvdla_like"], "or an ONNX file, not 'alexnet'"),
    (["--network", "resnet18", "--accelerator", "none.yaml"], "File 'none.yaml' cannot be read"),
])
def test_map_wrong_arguments(argv, message, capsys):
    assert command.main(argv) == 2
    assert message in capsys.readouterr().err


def test_map_wrong_accelerator_too_small(run, tmp_path, capsys):
    folder, plain = run
    small = to_plain(plain.accelerator)
    for chunk in small["chunks"]:
        chunk["gb_i_bytes"] = 1024
    small["port_bytes"] = 64  # the nine pixels of a window take 576 bytes, a half of the buffer is 512
    chip = tmp_path / "chip.yaml"
    chip.write_text(yaml.safe_dump(small))
    assert command.main(["--run", str(folder.path), "--accelerator", str(chip), "-o", str(tmp_path / "m.yaml")]) == 2
    assert re.search(r"cannot run layer conv.*; enlarge its buffers", capsys.readouterr().err)
    assert not (tmp_path / "m.yaml").exists()
