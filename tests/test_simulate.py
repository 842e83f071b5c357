"""The simulate command on a run folder written by hand; a broken PE must be named with the place of its first fault."""

import argparse
import json
import re

import pytest
from chips import make_chip, make_chips

from dna_asic import simulate
from dna_asic.errors import InfeasibleDesign
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.mapper import trivial_mapping
from dna_asic.quantize import save_quant
from dna_asic.report.files import write_json_atomically
from dna_asic.runs import MARKER, RunFolder
from dna_asic.spec.design import Design, design_to_yaml
from rtl_gen import emit
from sim.four_layers import four_layers

PRODUCT = r"\$signed\((\w+)\) \* \$signed\((\w+)\)"


def make_run(folder, chip, assignment):
    """A finished run whose network is four layers on digits."""
    quant = four_layers()
    mappings = {name: trivial_mapping(shape, alone, alone.chunk)
                for name, shape in hardware_shapes(quant.network, chip.port_bytes)
                for alone in [chip.alone[assignment.get(name, 0)]]}
    made = RunFolder.create("small", folder)
    (made.path / "design.yaml").write_text(design_to_yaml(Design(
        target="asic-28nm", seed=0, choices=(), network=quant.network, accelerator=chip, mappings=mappings,
        assignment=assignment)))
    save_quant(quant, made.path / "quant")
    write_json_atomically(made.path / "arguments.json", {"dataset": "digits", "image_size": None})
    made.finish()
    return made


@pytest.fixture
def run(tmp_path):
    """On a chip of six PEs."""
    return make_run(tmp_path, make_chip("kc-tree-2x3"), {})


def command(run, *options):
    return simulate.main(["--run", str(run.path), "--simulator", "icarus", "--images", "1", *options])


@pytest.mark.simulator
def test_simulate_equals_golden_and_model(run, capsys):
    assert command(run, "--network", "searched") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    found = re.fullmatch(r"sim: images=1 layers=4 bytes=1546 mismatches=0 cycles_model=(\d+) cycles_rtl=(\d+) "
                         r"mean_error_pct=0", last)
    assert found and found[1] == found[2]
    record = json.loads((run.path / "sim" / "report.json").read_text())
    assert record["mismatches"] == 0 and record["cycles_rtl"] == int(found[1])
    assert (run.path / "rtl" / "program.bin").stat().st_size == json.loads(
        (run.path / "rtl" / "program.json").read_text())["image_bytes"]


@pytest.mark.simulator
@pytest.mark.slow
def test_simulate_two_chunks_at_once(tmp_path, capsys):
    assignment = {"conv": 0, "depthwise": 1, "pointwise": 0, "classifier": 1}
    two = make_run(tmp_path, make_chips("kc-tree-2x3", "kc-tree-2x3"), assignment)
    assert command(two, "--network", "searched", "--images", "2") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    found = re.fullmatch(r"sim: images=2 layers=4 bytes=\d+ mismatches=0 cycles_model=(\d+) cycles_rtl=(\d+) "
                         r"mean_error_pct=0 together=2 together_cycles_model=(\d+) together_cycles_rtl=(\d+)", last)
    assert found and found[1] == found[2] and found[3] == found[4] and int(found[3]) < 2 * int(found[1])
    programs = json.loads((two.path / "rtl" / "program.json").read_text())["chunks"]
    assert [program["layers"] for program in programs] == [["conv", "pointwise"], ["depthwise", "classifier"]]


@pytest.mark.simulator
def test_simulate_names_the_first_fault_of_a_broken_pe(run, capsys):
    assert emit.main(["--run", str(run.path)]) == 0
    verilog = run.path / "rtl" / "chip.v"
    text, count = re.subn(PRODUCT, r"-($signed(\1) * $signed(\2))", verilog.read_text(), count=1)
    assert count == 1
    verilog.write_text(text)
    assert command(run, "--network", "searched") == 1
    error = capsys.readouterr().err
    assert re.search(r"layer 'conv' has \d+ wrong bytes of 512; the first at channel \d+, row \d+, column \d+ is "
                     r"-?\d+, not -?\d+.*the Verilog is at fault", error)
    assert not (run.path / "sim" / "report.json").exists()


def test_simulate_wrong_number_of_images(run, capsys):
    assert simulate.main(["--run", str(run.path), "--images", "0"]) == 2
    assert "--images must be at least 1, not 0" in capsys.readouterr().err


def test_simulate_wrong_half_written_run(run, capsys):
    (run.path / MARKER).write_text("")
    assert command(run) == 2
    assert "is half written" in capsys.readouterr().err


def test_simulate_wrong_no_run(tmp_path, capsys):
    assert simulate.main(["--run", str(tmp_path / "none")]) == 2
    assert "does not exist; make one with `make search`" in capsys.readouterr().err


def test_fixed_network_that_the_chip_cannot_hold_is_told(monkeypatch, capsys):
    def too_large(name, design, seed):
        raise InfeasibleDesign("No mapping.\nEnlarge the buffers.")

    monkeypatch.setattr(simulate, "fixed_workload", too_large)
    monkeypatch.setattr(simulate, "searched_workload", lambda *_: "searched")
    args = argparse.Namespace(network="all", seed=0, images=1)
    assert list(simulate.workloads(None, None, None, args)) == ["searched"]
    assert capsys.readouterr().out == "all-kinds: not run, this chip cannot hold it: No mapping. Enlarge the buffers.\n"
    args.network = "all-kinds"
    with pytest.raises(InfeasibleDesign):
        list(simulate.workloads(None, None, None, args))
