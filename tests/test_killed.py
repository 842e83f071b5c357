"""Every stage stopped at random moments by SIGKILL and SIGINT: what was there stays, and the next call ends as one that
nothing disturbed.
"""

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runs_by_hand import make_run

from dna_asic.cli import COMMANDS

pytestmark = pytest.mark.slow
SEED = 20
APART = ("seconds=", "run=", "out=", "page=", "verilog=")
STAGES = {"rtl": "rtl/chip.v", "sim": "sim/report.json", "compare": "compare/compare.json",
          "synth": "synth/synth.json", "report": "report.html"}
SEARCH = ["--set", "chunks=1", "--warmup-epochs", "1", "--epochs", "2", "--train-epochs", "2", "--das-steps", "2"]


def started(stage: str, *options: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", COMMANDS[stage][0], *options, "--quiet"], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def last_line(stage: str, *options: str) -> tuple[str, float]:
    """(the stage's last line without times and places, seconds that it took)."""
    begun, process = time.monotonic(), started(stage, *options)
    text = process.communicate()[0]
    assert process.returncode == 0, text
    lines = [line for line in text.splitlines() if line.startswith(f"{stage}: ")]
    return " ".join(pair for pair in lines[-1].split() if not pair.startswith(APART)), time.monotonic() - begun


def stopped(process: subprocess.Popen, after: float, number: signal.Signals) -> bool:
    """Send a signal after some seconds and wait for the end; False where the process came to its own end first."""
    time.sleep(after)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode in (0, 130, -number)  # -SIGINT: before it had read its modules
    return process.returncode != 0


def test_search_killed_five_times_ends_with_the_same_design(tmp_path):
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    undisturbed, seconds = last_line("search", *SEARCH, "--runs-dir", str(tmp_path / "whole"), "--name", "run")
    run, span, kills = tmp_path / "killed" / "run", seconds, 0
    while kills < 5:
        shutil.rmtree(run, ignore_errors=True)
        options, kills = [*SEARCH, "--runs-dir", str(run.parent), "--name", "run"], 0
        while kills < 5 and stopped(started("search", *options), rng.uniform(0.1, 0.6) * span, signal.SIGKILL):
            kills += 1
            if (run / "arguments.json").exists():
                options = ["--resume", str(run)]
        span /= 2  # should it have come to its end before
        assert span > 1
    assert last_line("search", *options)[0] == undisturbed
    for file in ("design.yaml", "quant/quant.npz", "weights.safetensors"):
        assert (run / file).read_bytes() == (tmp_path / "whole" / "run" / file).read_bytes()


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A run with all its stages: its folder; of each stage the last line, and the seconds that it took."""
    run, _ = make_run(tmp_path_factory.mktemp("runs"))
    return run.path, {stage: last_line(stage, "--run", str(run.path)) for stage in STAGES}


@pytest.mark.simulator
@pytest.mark.sta
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("stage", STAGES)
def test_stage_stopped_is_done_anew(chain, stage, number, tmp_path):
    whole, done = chain
    run, (undisturbed, seconds) = tmp_path / whole.name, done[stage]
    output, share = run / STAGES[stage], random.Random(f"{SEED} {stage} {number}").uniform(0.2, 0.9)
    while True:
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(whole, run)
        output.unlink()
        before = contents(run, stage, output)
        if stopped(started(stage, "--run", str(run)), share * seconds, number):
            break
        share /= 2  # the signal came too late: sooner, then
        assert share > 0.01
    assert contents(run, stage, output) == before
    assert last_line(stage, "--run", str(run))[0] == undisturbed and output.is_file()


def contents(run: Path, stage: str, output: Path) -> dict[Path, bytes]:
    """Files of the other stages, locks apart."""
    return {path.relative_to(run): path.read_bytes() for path in run.rglob("*")
            if path.is_file() and path.suffix != ".lock" and path != output and not path.is_relative_to(run / stage)}
