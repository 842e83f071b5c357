"""Run folders: `runs/<name>/`, one folder per stage below it, and `runs/latest`, which names the last whole one."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from dna_asic.errors import SpecError

LATEST = "latest"
MARKER = "incomplete"  # stands in a folder from `create` to `finish`
PROBE_S = 0.1  # longer than `at_work` holds a lock while it looks


@contextlib.contextmanager
def only_one(folder: Path, stage: str) -> Iterator[None]:
    """Hold `folder`/.<stage>.lock: of two processes at one stage the second raises SpecError.

    The lock ends with its process, however that ends; the file stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{stage}.lock").open("a+", encoding="ascii") as stream:
        if not (_locked(stream) or time.sleep(PROBE_S) or _locked(stream)):
            stream.seek(0)
            holder = stream.read().strip() or "unknown"
            raise SpecError(f"Folder '{folder}': another `{stage}` is at work on it (process {holder}); wait for its "
                            f"end, or stop it.")
        with contextlib.suppress(OSError):  # a full disk: who holds it remains unknown
            stream.truncate(0)
            stream.write(f"{os.getpid()}\n")
            stream.flush()
        yield


@contextlib.contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Wait until no other process is within this for `path`; the lock, a file beside it, ends with its process."""
    with path.with_name(f".{path.name}.lock").open("a", encoding="ascii") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _locked(stream) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def at_work(folder: Path) -> list[str]:
    """Stages that some process is at."""
    stages = []
    for path in sorted(folder.glob(".*.lock")):
        with path.open(encoding="ascii") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                stages.append(path.name[1:-len(".lock")])
    return stages


@dataclass(frozen=True)
class RunFolder:
    """A run on disk."""

    path: Path

    @classmethod
    def create(cls, name: str, runs_dir: Path | str = "runs") -> "RunFolder":
        """Make a new folder `name`, or `name`-2, -3, ... if that is taken: no run is ever overwritten.

        Until `finish` it counts as half written. Raises SpecError for a name that is not a plain folder name.
        """
        if not name or name in (".", "..", LATEST) or Path(name).name != name:
            raise SpecError(f"Run name must be a plain folder name other than '{LATEST}', not '{name}'.")
        parent = Path(runs_dir)
        parent.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            path = parent / (name if number == 1 else f"{name}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                continue
            (path / MARKER).write_text("The search that makes this folder has not come to its end.\n")
            return cls(path)

    @classmethod
    def open(cls, path: Path | str, allow_partial: bool = False) -> "RunFolder":
        """Open a finished run; `runs/latest` follows the pointer. Raises SpecError for none, or one half written.

        With `allow_partial` a run without an end is opened too.
        """
        path = Path(path)
        if path.is_file():
            path = path.parent / path.read_text(encoding="utf-8").strip()
        if not path.is_dir():
            raise SpecError(f"Run '{path}' does not exist; make one with `make search`, or name another with --run.")
        run = cls(path.resolve().relative_to(Path.cwd()) if path.resolve().is_relative_to(Path.cwd())
                  else path.resolve())
        if not allow_partial and (run.path / MARKER).exists():
            raise SpecError(f"Run '{run.path}' is half written: its search did not end; go on with "
                            f"`python -m dna_asic.search --resume {run.path}`, or make a new one with `make search`.")
        return run

    def finish(self) -> None:
        """Mark the run as whole and let `latest` name it."""
        (self.path / MARKER).unlink(missing_ok=True)
        pointer = self.path.parent / LATEST
        scratch = pointer.with_name(f".{LATEST}-{os.getpid()}")
        scratch.unlink(missing_ok=True)
        try:
            scratch.symlink_to(self.path.name, target_is_directory=True)
        except OSError:  # a file system without links
            scratch.write_text(self.path.name + "\n", encoding="utf-8")
        os.replace(scratch, pointer)

    def stage(self, name: str) -> Path:
        """The folder of one stage, made if it is not there."""
        folder = self.path / name
        folder.mkdir(exist_ok=True)
        return folder

    @contextlib.contextmanager
    def working(self, stage: str) -> Iterator[Path]:
        """The folder of a stage, held by this process alone."""
        with only_one(self.path, stage):
            yield self.stage(stage)

    def arguments(self) -> dict:
        """The command line of the search that made this run, by option; raises SpecError when it is damaged."""
        return self._record("arguments.json")

    def summary(self) -> dict:
        """What the search found, in figures; raises SpecError when it is damaged."""
        return self._record("summary.json")

    def _record(self, name):
        path = self.require(name, "make search")
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise SpecError(f"Run '{self.path}': {name} is damaged ({error}); search again.") from error

    def require(self, relative: str, remedy: str) -> Path:
        """Path of a file of this run; raises SpecError with the remedy (a command) when it is not there."""
        path = self.path / relative
        if not path.is_file():
            raise SpecError(f"Run '{self.path}' has no {relative}; make it with `{remedy}`.")
        return path
