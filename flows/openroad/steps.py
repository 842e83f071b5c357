"""What a flow is made of: steps that declare inputs, outputs and configuration, and make metrics; and checkers.

A step's result is kept under a key of everything that it read; running it again with the same inputs does nothing.
"""

import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from dna_asic.errors import ToolError, require_room


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step. inputs: files read. outputs: names of files written in the step's folder. config: plain values.

    `run` does the work in a folder of its own and returns the metrics; their unit is part of their name.
    """

    name: str
    inputs: tuple[Path, ...]
    outputs: tuple[str, ...]
    config: dict = field(default_factory=dict)

    def run(self, folder: Path) -> dict:
        """Write the outputs into `folder`; return the metrics (JSON-able). Raises ToolError."""
        raise NotImplementedError

    def key(self) -> str:
        """Digest of inputs, configuration and the step's own source."""
        digest = hashlib.sha256(json.dumps(self.config, sort_keys=True, default=str).encode())
        source = Path(sys.modules[type(self).__module__].__file__)
        for path in (*self.inputs, source):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """Metrics of a step and where its outputs are; `cached`: nothing had to be done."""

    metrics: dict
    folder: Path
    cached: bool


def run_step(step: Step, root: Path) -> StepResult:
    """Run `step` under `root`/<name>, unless the result there belongs to the same inputs."""
    folder, key = root / step.name, step.key()
    state = folder / "metrics.json"
    if state.is_file():
        stored = json.loads(state.read_text())
        if stored["key"] == key and all((folder / name).is_file() for name in step.outputs):
            return StepResult(metrics=stored["metrics"], folder=folder, cached=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    metrics = step.run(folder)
    require_room(folder)
    scratch = folder / "metrics.json.part"
    inputs = {str(path): _digest(path) for path in step.inputs}
    scratch.write_text(json.dumps({"key": key, "inputs": inputs, "metrics": metrics}, indent=1) + "\n")
    os.replace(scratch, state)
    return StepResult(metrics=metrics, folder=folder, cached=False)


def unchanged_inputs(folder: Path) -> list[Path]:
    """Of the inputs that the result in a step's folder was made from, those that are as they were; none without one."""
    state = folder / "metrics.json"
    inputs = json.loads(state.read_text()).get("inputs", {}) if state.is_file() else {}
    return [path for name, digest in inputs.items() if (path := Path(name)).is_file() and _digest(path) == digest]


def _digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def keep_record(path: Path, record: dict) -> None:
    """Write a JSON record at once or not at all, its folder too; other processes may do the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as scratch:
        json.dump(record, scratch)
    os.replace(scratch.name, path)


def require_program(name: str, remedy: str) -> str:
    """Path of a program, or ToolError that says how to get it."""
    path = shutil.which(name)
    if path is None:
        raise ToolError(f"Program '{name}' is not on PATH; {remedy}.")
    return path


def require_module(name: str, remedy: str):
    """Check that a Python module can be imported, or raise ToolError that says how to get it."""
    try:
        importlib.import_module(name)
    except ImportError as error:
        raise ToolError(f"Python module '{name}' cannot be imported ({error}); {remedy}.") from error


def run_tool(command: list[str], log: Path, env: dict | None = None) -> str:
    """Run a tool with its output in `log`; return that text. A bad exit raises ToolError with the last lines."""
    with log.open("w") as stream:
        status = subprocess.run(command, cwd=log.parent, stdout=stream, stderr=subprocess.STDOUT, check=False,
                                env={**os.environ, **(env or {})}).returncode
    text = log.read_text(errors="replace")
    if status:
        require_room(log.parent)
        tail = "\n".join(text.strip().splitlines()[-8:])
        raise ToolError(f"{Path(command[0]).name} failed with status {status}; see {log}:\n{tail}")
    return text


def run_yosys(script: str, folder: Path) -> str:
    """Run a Yosys script in `folder`, where it and its log are left; returns the log. Raises ToolError."""
    require_module("pyosys.libyosys", "pip install pyosys")
    (folder / "script.ys").write_text(script)
    run = "from pyosys import libyosys as y; y.run_pass('script script.ys', y.Design())"
    return run_tool([sys.executable, "-c", run], folder / "yosys.log")
