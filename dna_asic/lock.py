"""`python -m dna_asic.lock REPORT`: write requirements.lock, the versions that set-up installs, from a report of pip.

`make lock` has pip make the report. Reads only the standard library, since `doctor` works where all else is missing.
"""

import json
import re
import sys
from pathlib import Path

from dna_asic.errors import SpecError
from dna_asic.versions import PACKAGE, SOURCES, package_version

LOCK = SOURCES.parent / "requirements.lock"
HEAD = """\
# Constraints for pip: what `make setup` installs, version by version. Renewed by `make lock`, on the oldest Python that
# the project serves. CPU and CUDA builds of torch are one version here; what a CUDA build needs, torch itself pins.
"""
_LINE = re.compile(r"([a-z0-9-]+)==([\w.!]+)")


def canonical(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def public(version: str) -> str:
    """A version without its build, as +cpu."""
    return version.partition("+")[0]


def read_lock(path: Path = LOCK) -> dict[str, str]:
    """Version of each locked package by canonical name; raises SpecError for a line that is none, or a second one."""
    locked = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line and not line.startswith("#"):
            found = _LINE.fullmatch(line)
            if not found or found[1] in locked:
                raise SpecError(f"File '{path}', line {number}: must be 'name==version', each name once, not '{line}'; "
                                f"renew it by `make lock`.")
            locked[found[1]] = found[2]
    return locked


def differing(locked: dict[str, str]) -> dict[str, tuple[str, str]]:
    """(installed, locked) version of each installed package that is not as locked."""
    installed = {name: package_version(name) for name in locked}
    return {name: (found, locked[name]) for name, found in installed.items() if found and public(found) != locked[name]}


def lock_text(report: dict) -> str:
    """The lock of what pip reports to install, the project itself left out."""
    found = {canonical(item["metadata"]["name"]): public(item["metadata"]["version"]) for item in report["install"]}
    return HEAD + "".join(f"{name}=={found[name]}\n" for name in sorted(found) if name != PACKAGE)


if __name__ == "__main__":
    LOCK.write_text(lock_text(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), encoding="utf-8")
    print(f"lock: file={LOCK.name} packages={len(read_lock())}")
