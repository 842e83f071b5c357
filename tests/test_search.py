"""The search command, end to end on a small macro-architecture and a pinned space."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from unittest.mock import Mock

import pytest
import yaml
from PIL import Image

from dna_asic import goals, learning
from dna_asic import search as command
from dna_asic.cosearch import journal
from dna_asic.cosearch.compute import CPU
from dna_asic.cosearch.training import evaluate
from dna_asic.errors import SpecError
from dna_asic.gads.space import FOLDER
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.networks import load_macro
from dna_asic.quantize.files import load_quant
from dna_asic.runs import RunFolder
from dna_asic.spec.design import design_from_yaml
from dna_asic.spec.geometry import check_mapping
from dna_asic.spec.record import load_yaml, to_plain

PINS = ["gb_w_bytes=32768", "gb_i_bytes=16384", "gb_o_bytes=16384", "n_w=8", "n_i=8", "n_o=4", "rf_w_words=9",
        "rf_i_words=9", "rf_order=S R C Q P K G", "gb_order=S R C K Q P G", "dram_order=C Q P K G", "pe_cols=8"]
KEYS = {"float_test_accuracy", "int8_test_accuracy", "latency_cycles", "latency_s", "energy_j", "area_mm2", "edp_js",
        "search_seconds", "seed", "target"}


@pytest.fixture(scope="module")
def macro(tmp_path_factory):
    """Two searched blocks on the digits at half their channels."""
    plain = to_plain(load_macro("digits"))
    plain |= {"stages": [{"channels": 16, "layers": 2, "stride": 2}], "head_channels": 16,
              "candidates": ["k3_e1", "k3_e1_g2", "skip"]}
    path = tmp_path_factory.mktemp("macro") / "small.yaml"
    path.write_text(yaml.safe_dump(plain))
    return path


def command_line(macro, folder):
    pins = [x for pin in PINS for x in ("--set", pin)]
    return ["--macro", str(macro), *pins, "--warmup-epochs", "1", "--epochs", "2", "--train-epochs", "2",
            "--das-steps", "1", "--name", "run", "--runs-dir", str(folder), "--quiet"]


@pytest.mark.parametrize("flags, chosen", [([], ["polished"]), (["--no-network-polish"], ["likeliest"])])
def test_network_is_polished_once_unless_told_otherwise(flags, chosen, tmp_path):
    joint, args = Mock(), command.parser().parse_args(flags)
    joint.network.derive.return_value, joint.polish.return_value = ["likeliest"], ["polished"]
    for _ in range(2):  # the second time, of a session that goes on
        assert command.choose(args, Mock(compute=CPU), RunFolder(tmp_path), joint, Mock()) == chosen
    assert joint.polish.call_count == (not flags)


def test_other_processes_take_the_network_of_the_first(tmp_path):
    joint, inputs = Mock(), Mock(compute=Mock(rank=1))
    inputs.compute.told.return_value = ["of the first"]
    (tmp_path / command.CHOICES).write_text("being written")
    chosen = command.choose(command.parser().parse_args([]), inputs, RunFolder(tmp_path), joint, Mock())
    assert chosen == ["of the first"]
    joint.polish.assert_not_called()


@pytest.fixture
def arguments(macro, tmp_path):
    return command_line(macro, tmp_path)


@pytest.fixture(scope="module")
def whole(macro, tmp_path_factory):
    """A finished run; do not change it."""
    folder = tmp_path_factory.mktemp("runs")
    assert command.main(command_line(macro, folder)) == 0
    return folder / "run"


def test_search_writes_a_whole_run(whole):
    summary = json.loads((whole / "summary.json").read_text())
    assert summary.keys() >= KEYS and summary["seed"] == 0 and summary["target"] == "asic-28nm"
    assert 0 < summary["int8_test_accuracy"] <= 1 and summary["edp_js"] == pytest.approx(
        summary["energy_j"] * summary["latency_s"])
    design = design_from_yaml(whole / "design.yaml")
    chip, shapes = design.accelerator, hardware_shapes(design.network, design.accelerator.port_bytes)
    assert list(design.mappings) == [name for name, _ in shapes]
    for name, shape in shapes:
        check_mapping(shape, chip, chip.chunks[design.assignment.get(name, 0)], design.mappings[name])
    assert load_quant(whole / "quant").network == design.network
    assert len(json.loads((whole / "history.json").read_text())) == 3
    assert RunFolder.open(whole.parent / "latest").path.samefile(whole)


def test_search_same_seed_same_design_and_nothing_overwritten(whole, arguments, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    assert command.main(arguments) == 0
    assert not list((tmp_path / "run").iterdir())
    for name in ("design.yaml", "quant/quant.npz"):
        assert (tmp_path / "run-2" / name).read_bytes() == (whole / name).read_bytes()
    printed = capsys.readouterr().out
    assert all(x in printed for x in ("int8_test_accuracy=", "share %", "dram", "EDP", "float 0."))


def test_search_resumes_to_the_same_design(whole, arguments, tmp_path, monkeypatch, capsys):
    """One run, stopped in the joint search, in training, in the final accelerator search and in the mapping of its
    chips; what was finished is not done again.
    """
    bar, priced, going_on = command.StageBars.__call__, [], ["--resume", str(tmp_path / "run"), "--quiet"]
    save = journal.save_checkpoint
    monkeypatch.setattr(journal, "save_checkpoint", lambda path, state: priced.append(path) or save(path, state))
    for place, argv in [(("co-search", 0.7), arguments), (("training", 0.5), going_on), (("accelerator", 1), going_on),
                        (("mapping", 0.1), going_on)]:
        def stopped(bars, stage, done, of, place=place):
            if stage == place[0] and done / of >= place[1]:
                raise KeyboardInterrupt
            bar(bars, stage, done, of)
        monkeypatch.setattr(command.StageBars, "__call__", stopped)
        assert command.main(argv) == 130
        assert f"--resume {tmp_path / 'run'}" in capsys.readouterr().err
        assert (tmp_path / "run" / command.TRAINING).exists() == (place[0] == "training")
        assert bool(priced) == (place[0] in ("accelerator", "mapping"))
    with pytest.raises(SpecError, match="half written.*--resume"):
        RunFolder.open(tmp_path / "run")
    assert not (tmp_path / "latest").exists()
    stages = {}
    monkeypatch.setattr(command.StageBars, "__call__", lambda bars, stage, done, of: stages.setdefault(stage, done))
    assert command.main(going_on) == 0
    assert len(priced) == len(set(priced)) and "training" not in stages and "co-search" not in stages
    for file in ("design.yaml", "quant/quant.npz"):
        assert (tmp_path / "run" / file).read_bytes() == (whole / file).read_bytes()
    assert {p.name for p in (tmp_path / "run").iterdir()} == {p.name for p in whole.iterdir()}
    assert RunFolder.open(tmp_path / "latest").path.name == "run"


def test_search_keeps_targets_and_tells_what_it_misses(whole, arguments, tmp_path, capsys):
    """Less power than the free design's is kept; an accuracy of 1 is missed, after all files are written."""
    free = json.loads((whole / "summary.json").read_text())
    limit = f"{0.8e3 * free['energy_j'] / free['latency_s']:.6g}"
    assert command.main([*arguments, "--max-power-mw", limit, "--min-accuracy", "1", "--json"]) == 1
    said = capsys.readouterr()
    result, run = json.loads(said.out), RunFolder.open(tmp_path / "run")
    power, accuracy = json.loads((run.path / "summary.json").read_text())["targets"]
    assert power["target"] == "max_power_mw" and power["kept"] and power["value"] <= float(limit)
    assert accuracy == {"target": "min_accuracy", "limit": 1.0, "value": result["int8_val_accuracy"], "kept": False}
    assert result["targets"] == [power, accuracy] and result["exit_status"] == 1 and not free["targets"]
    assert re.search(r"^min_accuracy +1 +0\.\d+ +MISSED$", said.err, re.MULTILINE)
    assert re.search(r"^FAILED: Run '.*run' is whole, but misses min_accuracy 1 \(found 0", said.err, re.MULTILINE)
    history = json.loads((run.path / "history.json").read_text())
    assert [e["hw_weight"] is None for e in history] == [True, False, False] and history[1]["val_accuracy"] < 1


@pytest.mark.parametrize("mode", ["sequential", "network-only", "accelerator-only"])
def test_search_of_one_half(macro, whole, arguments, tmp_path, mode):
    assert command.main([*arguments, "--mode", mode, "--set", "spatial=K C", "--set", "pe_rows=8"]) == 0
    summary, history = (json.loads((tmp_path / "run" / name).read_text()) for name in ("summary.json", "history.json"))
    design = design_from_yaml(tmp_path / "run/design.yaml")
    assert summary["mode"] == mode and summary["preset"] == ("nvdla_like" if mode == "network-only" else None)
    assert (design.accelerator.name == "nvdla_like") == (mode == "network-only")
    if mode == "accelerator-only":
        assert history == [] and list(design.choices) == goals.middle_choices(load_macro(macro))
    else:
        assert [e["hw_weight"] for e in history] == [None, 0, 0] and history[1]["best_edp_js"] is None


def test_search_wrong_target_that_no_chip_keeps(arguments, tmp_path, capsys):
    assert command.main([*arguments, "--max-area-mm2", "0.001"]) == 2
    assert "within max_area_mm2 0.001 (the smallest met has" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert command.main([*arguments, "--max-latency-ms", "1e-5"]) == 2
    assert re.search(r"breaks max_latency_ms 1e-05 with 0\.\d+; allow more", capsys.readouterr().err)
    assert (tmp_path / "run/incomplete").exists()


def test_search_computes_alike_on_every_cpu_with_avx2():
    code = "import dna_asic, torch; print(torch.backends.cpu.get_cpu_capability())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert not said.startswith("AVX512") and said


@pytest.mark.parametrize("wrong,message", [
    (["--target", "asic-3nm"], "Target must be one of .*not 'asic-3nm'"),
    (["--dataset", "mnist"], "Dataset 'mnist' is not known"),
    (["--dataset", "imagefolder:nowhere"], "nowhere"),
    (["--dataset", "cifar10:nowhere"], "Dataset 'nowhere' is not a readable folder or tar"),
    (["--train-images", "19"], "--train-images must be at least 20 for the 10 classes of 'digits', not 19"),
    (["--batch", "1", "--label-smoothing", "2"], "(?s)--batch must be in 2..inf, not 1.*--label-smoothing must be in"),
    (["--macro", "nowhere.yaml"], "Macro-architecture 'nowhere.yaml' is not known"),
    (["--space", "edge"], "Space must be one of default"),
    (["--set", "pe_row=4"], "did you mean 'pe_rows'"),
    (["--set", "pe_rows=5"], "pe_rows must be one of .*not '5'"),
    (["--epochs", "0", "--seed", "-1"], "(?s)--epochs must be in 1..inf, not 0.*--seed must be in 0..922.*not -1"),
    (["--hw-weight", "nan"], "--hw-weight must be in 0..inf, not nan"),
    (["--name", "../x"], "Run name must be a plain folder name"),
])
def test_search_wrong_argument(arguments, tmp_path, capsys, wrong, message):
    assert command.main([*arguments, *wrong]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and re.search(message, error), error
    assert not list(tmp_path.iterdir())


def test_search_wrong_space_whose_buffers_hold_no_tile(tmp_path, capsys):
    plain = load_yaml(FOLDER / "default.yaml")
    plain["entries"] |= {"gb_w_bytes": [1024], "gb_i_bytes": [1024], "gb_o_bytes": [1024], "port_bytes": [64]}
    space = tmp_path / "tight.yaml"
    space.write_text(yaml.safe_dump(plain))
    assert command.main(["--space", str(space), "--runs-dir", str(tmp_path / "runs"), "--quiet"]) == 2
    assert "no sampled chip could run network 'digits'; enlarge its buffers" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_search_learns_from_a_teacher(whole, arguments, tmp_path, monkeypatch):
    """A run's own trained network, by its accuracy."""
    args = command.parser().parse_args([*arguments, "--teacher", str(whole)])
    inputs, seen = command.load_inputs(args), []
    summary = json.loads((whole / "summary.json").read_text())
    assert evaluate(inputs.teacher, *inputs.splits.test) == summary["float_test_accuracy"]
    monkeypatch.setattr(command, "train_network", lambda module, *_, teacher, **__: seen.append(teacher) or module)
    run = RunFolder.create("taught", tmp_path)
    (run.path / command.TRAINING).touch()
    command.train_derived(args, inputs, run, goals.middle_choices(inputs.macro), None, Mock())
    assert seen == [inputs.teacher] and (run.path / learning.WEIGHTS).exists()


def test_search_wrong_teacher(whole, arguments, tmp_path, capsys):
    pictures = tmp_path / "pictures"
    for part, name, shade in (("train", "a", 0), ("train", "b", 9), ("test", "a", 0), ("test", "b", 9)):
        (pictures / part / name).mkdir(parents=True)
        for n in range(6):
            Image.new("RGB", (8, 8), (shade, n, 0)).save(pictures / part / name / f"{n}.png")
    damaged = shutil.copytree(whole, tmp_path / "damaged")
    (damaged / learning.WEIGHTS).write_bytes(b"damaged")
    for more, message in (
            (["--teacher", str(tmp_path / "none")], "does not exist"),
            (["--teacher", str(damaged)], f"Weights '{damaged / learning.WEIGHTS}' cannot be read"),
            (["--teacher", str(whole), "--dataset", f"imagefolder:{pictures}"],
             f"--teacher must be of the same images, (3, 8, 8) in 2 classes, not of (1, 8, 8) in 10 as '{whole}' is")):
        assert command.main([*arguments, *more]) == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_search_wrong_resume_of_a_whole_run(whole, capsys):
    before = {p: p.read_bytes() for p in whole.rglob("*") if p.is_file()}
    assert command.main(["--resume", str(whole)]) == 2
    assert "is whole: nothing is left to do" in capsys.readouterr().err
    assert before == {p: p.read_bytes() for p in whole.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", [command.ARGUMENTS, command.CHECKPOINT, command.CHOICES, learning.WEIGHTS])
def test_search_wrong_resume_of_a_damaged_file(whole, tmp_path, capsys, name):
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run/incomplete").touch()
    (tmp_path / "run" / name).write_bytes(b"damaged")
    (tmp_path / "run/design.yaml").unlink()
    assert command.main(["--resume", str(tmp_path / "run"), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and name in error and re.search("start a new run|remove", error)
    assert not (tmp_path / "run/design.yaml").exists()


def test_search_wrong_resume_without_arguments(tmp_path, capsys):
    RunFolder.create("run", tmp_path)
    assert command.main(["--resume", str(tmp_path / "run")]) == 2
    assert "has no arguments.json; make it with `make search`" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_search_ends_at_a_signal_and_goes_on(whole, arguments, tmp_path, number):
    """The real process, interrupted as Ctrl-C does once its first checkpoint is there, or ended, or killed."""
    process = subprocess.Popen([sys.executable, "-m", "dna_asic.search", *arguments], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (tmp_path / "run" / command.CHECKPOINT).exists():
        time.sleep(0.05)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert "Traceback" not in error
    if number != signal.SIGKILL:
        assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
        assert error.splitlines()[-2:] == [
            "interrupted: finished steps are kept.",
            f"Go on with: python -m dna_asic.search --resume {tmp_path / 'run'}"]
    assert command.main(["--resume", str(tmp_path / "run"), "--quiet"]) == 0
    assert (tmp_path / "run/design.yaml").read_bytes() == (whole / "design.yaml").read_bytes()


@pytest.mark.slow
def test_search_on_a_full_disk_goes_on_when_there_is_room(whole, arguments, tmp_path, capsys, full_disk):
    """No file can grow beyond what the arguments take: the first checkpoint fails, and nothing is left of it."""
    with full_disk(4096):
        assert command.main(arguments) == 2
    error = capsys.readouterr().err
    assert re.search(r"error: '.*checkpoint.pt': File too large; finished steps are kept.*free some space", error)
    assert error.splitlines()[-1] == f"Go on with: python -m dna_asic.search --resume {tmp_path / 'run'}"
    assert not list((tmp_path / "run").glob(".checkpoint*"))
    assert command.main(["--resume", str(tmp_path / "run"), "--quiet"]) == 0
    assert (tmp_path / "run/design.yaml").read_bytes() == (whole / "design.yaml").read_bytes()


def test_rates_of_the_network_search(monkeypatch, tmp_path):
    """Alpha moves by 17 in all, over 100 epochs of 34 batches."""
    class Told(Exception):
        pass

    def network_search(macro, settings, *_):
        raise Told(settings)

    monkeypatch.setattr(command, "NetworkSearch", network_search)
    args = command.parser().parse_args(["--supernet-rate", "0.07", "--epochs", "100", "--mode", "sequential"])
    with pytest.raises(Told) as told:
        command.joint_search(args, command.load_inputs(args), RunFolder(tmp_path), None)
    (settings,) = told.value.args
    assert settings.weight_rate == 0.07 and settings.arch_rate == pytest.approx(17 / 3400)
