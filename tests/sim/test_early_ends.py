"""Builds and steps that were cut short by a full disk or an interrupt: never taken for whole."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from dna_asic.errors import ToolError
from flows.openroad.steps import Step, run_step
from sim import runner

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def disk(monkeypatch):
    """`disk(free)`: from now on the disk has so many bytes free."""
    def set_free(free: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, free))
    return set_free


class Tool:
    """A simulator that builds without a word, as Icarus does on a full disk; then it fails or leaves `results`."""

    builds = 0
    results = None

    def build(self, build_dir, log_file, **_):
        Tool.builds += 1
        (Path(build_dir) / "sim.vvp").write_text("cut sho")

    def test(self, results_xml, log_file, **_):
        Path(log_file).write_text("")
        if self.results is None:
            raise RuntimeError("Command failed with return code: 1")
        Path(results_xml).write_text(self.results)


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Run the bench on the tool above."""
    source = tmp_path / "x.v"
    source.write_text("module x; endmodule\n")
    monkeypatch.setattr(runner, "get_runner", lambda _: Tool())
    monkeypatch.setattr(runner, "find_tool", lambda _: "/bin/true")
    monkeypatch.setattr(Tool, "builds", 0)
    return lambda: runner.run_bench(module="none", top="x", sources=[source], build_root=tmp_path / "build",
                                    work=tmp_path / "work", simulator="icarus")


def test_build_on_a_full_disk_is_made_again(bench, disk, monkeypatch):
    disk(0)
    with pytest.raises(OSError, match="No space left on device"):
        bench()
    disk(1 << 30)
    monkeypatch.setattr(Tool, "results", "<testsuites><testcase name='a'/></testsuites>")
    bench()
    bench()
    assert Tool.builds == 2


@pytest.mark.parametrize("results", [None, "<testsuites><testca"])
def test_build_that_does_not_run_is_made_again(bench, disk, monkeypatch, results):
    disk(1 << 30)
    monkeypatch.setattr(Tool, "results", results)
    for _ in range(2):
        with pytest.raises(ToolError, match="Simulation of x in icarus (failed|ended without results)"):
            bench()
    assert Tool.builds == 2


class Write(Step):
    """Writes its output; the first time it is ended by `error`."""

    def run(self, folder: Path) -> dict:
        (folder / "out").write_text("half" if self.config["errors"] else "whole")
        if self.config["errors"]:
            raise self.config["errors"].pop()
        return {"bytes": 5}

    def key(self) -> str:
        return "the same"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_step_that_was_ended_is_run_again(tmp_path, error):
    step = Write(name="write", inputs=(), outputs=("out",), config={"errors": [error]})
    with pytest.raises(type(error)):
        run_step(step, tmp_path)
    result = run_step(step, tmp_path)
    assert not result.cached and (result.folder / "out").read_text() == "whole" and run_step(step, tmp_path).cached


def test_step_on_a_full_disk_is_run_again(tmp_path, disk):
    """A tool that does not notice that its file was cut short."""
    step = Write(name="write", inputs=(), outputs=("out",), config={"errors": []})
    disk(0)
    with pytest.raises(OSError, match="No space left on device"):
        run_step(step, tmp_path)
    disk(1 << 30)
    assert not run_step(step, tmp_path).cached
