"""Versions of what is installed. Only the standard library is read: this works where all else is missing."""

import importlib.metadata
import re
import shutil
import subprocess
from pathlib import Path

PACKAGE = "dna-asic"
SOURCES = Path(__file__).resolve().parent
VERSION_OPTIONS = {"sta": "-version", "iverilog": "-V", "openroad": "-version", "klayout": "-v"}
_NUMBER = re.compile(r"\d+(?:\.\d+)+\S*")


def package_version(name: str) -> str | None:
    """Of an installed Python package; None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def program_version(name: str) -> str | None:
    """What a program on PATH says, or "?"; None where there is none."""
    path = shutil.which(name)
    if path is None:
        return None
    try:
        said = subprocess.run([path, VERSION_OPTIONS.get(name, "--version")], capture_output=True, text=True,
                              timeout=10, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return "?"
    found = _NUMBER.search(said.stdout + said.stderr)
    return found[0].rstrip(",;)") if found else "?"


def source_commit() -> str | None:
    """Commit of the sources, with "+changes" where tracked files differ; None outside a checkout of them."""
    git = ["git", "-C", str(SOURCES.parent)]
    try:
        top = subprocess.run([*git, "rev-parse", "--show-toplevel", "HEAD"], capture_output=True, text=True, timeout=10)
        folder, _, commit = top.stdout.strip().partition("\n")
        if top.returncode or Path(folder) != SOURCES.parent:
            return None
        changed = subprocess.run([*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True,
                                 text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return None
    return commit + ("+changes" if changed else "")
