"""What made a record: command, version, commit, seed, time, versions of tools; a file beside those of a stage."""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from dna_asic.errors import SpecError
from dna_asic.report.content import Origin
from dna_asic.report.files import write_json_atomically
from dna_asic.spec.record import from_plain, to_plain
from dna_asic.versions import PACKAGE, package_version, program_version, source_commit

FILE = "origin.json"


def write_origin(folder: Path, args: argparse.Namespace, seed: int | None = None, packages: Sequence[str] = (),
                 programs: Sequence[str] = ()) -> None:
    """Leave the origin of what the command of `args` wrote into `folder`."""
    found = {name: package_version(name) for name in packages} | {name: program_version(name) for name in programs}
    origin = Origin(
        file=FILE, command=getattr(args, "command_line", None), version=package_version(PACKAGE),
        commit=source_commit(), seed=seed, made=time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
        versions={name: version for name, version in found.items() if version})
    write_json_atomically(folder / FILE, to_plain(origin))


def read_origin(folder: Path, file: str) -> Origin:
    """Origin of `file` of a run, a path in it; without a record of its making, the file alone. Raises SpecError."""
    path = (folder / file).parent / FILE
    if not path.is_file():
        return Origin(file=file)
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SpecError(f"File '{path}' is not valid JSON: {error}; remove it.") from error
    record = from_plain(Origin, plain, f"origin '{path}'")
    return Origin(**{**vars(record), "file": file})
