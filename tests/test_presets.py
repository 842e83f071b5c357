"""`python -m dna_asic.presets`: what is a preset, and when it holds."""

import dataclasses

import pytest

from dna_asic import presets as command
from dna_asic.gads import GadsSpace
from dna_asic.gads.presets import preset, presets
from dna_asic.spec.record import to_plain
from rtl_gen.emit import chip_verilog, verilog_digest

SMALL = ("mobilenet_v2", "block16_project")


def test_presets_are_points_of_the_full_space():
    options = {c.label: c.options for c in GadsSpace.load("full").pinned(["chunks=1"]).choices}
    for entry in presets().values():
        values = to_plain(entry.chunk) | {"port_bytes": entry.port_bytes}
        values["spatial"] = f"{values.pop('row_dim')} {values.pop('col_dim')}"
        assert {name: value for name, value in values.items() if value not in options[name]} == {}


def test_status_is_of_the_verilog():
    entry = preset("eyeriss_like")
    assert dataclasses.replace(entry, verified=None).status("a") == "not verified"
    assert dataclasses.replace(entry, verified="a").status("a") == "verified"
    assert dataclasses.replace(entry, verified="b").status("a") == "verified before the generator changed"


def test_digest_is_of_the_hardware_alone():
    chip = preset("eyeriss_like").accelerator("one", 1.0)
    text = chip_verilog(chip)
    assert verilog_digest(text) == verilog_digest(text.replace("'one'", "'two'")) != verilog_digest(text + "//")


def test_list_says_the_status(capsys):
    assert command.main(["--list", "--preset", "eyeriss_like"]) == 0
    entry = preset("eyeriss_like")
    status = entry.status(verilog_digest(chip_verilog(entry.accelerator("any", 1.0))))
    assert f"  {status}  " in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("late,told", [(0, "least_utilisation="), (1, "cycles by the cost")])
def test_preset_holds_only_where_cycles_are_the_models(late, told, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "LAYERS", (SMALL,))
    monkeypatch.setattr(command, "FED", SMALL)
    monkeypatch.setattr(command, "presets", lambda: {"eyeriss_like": None})
    monkeypatch.setattr(command, "preset", lambda name: dataclasses.replace(preset(name), least_utilisation=0.0))
    monkeypatch.setattr(command, "evaluate_design", evaluated := Kept(command.evaluate_design))

    def simulated(chip, *_):
        (tmp_path / chip.name).mkdir(exist_ok=True)
        (tmp_path / chip.name / "chip.v").write_text("module chip;\nendmodule\n")
        return evaluated.result.latency_cycles + late

    monkeypatch.setattr(command, "simulated_cycles", simulated)
    assert command.main(["--out", str(tmp_path)]) == late
    printed = capsys.readouterr()
    assert told in printed.out + printed.err


@pytest.mark.parametrize("arguments,told", [(["--preset", "tpu_like"], "must be one of nvdla_like"),
                                            (["--seed", "-1"], "--seed must be at least 0")])
def test_presets_wrong_arguments(arguments, told, capsys):
    assert command.main(arguments) == 2
    assert told in capsys.readouterr().err


class Kept:
    """A function that keeps its last result."""

    def __init__(self, function):
        self.function = function

    def __call__(self, *arguments):
        self.result = self.function(*arguments)
        return self.result
