"""Records are written whole or not at all: to a file beside the target, then renamed over it."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def write_text_atomically(path: Path, text: str) -> None:
    """Write `text` (UTF-8) to `path`; a crash leaves the old file, or none, never a part. Raises OSError."""
    write_atomically(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))


def write_json_atomically(path: Path, record) -> None:
    """Write plain data (see spec.record.to_plain) as JSON with a final newline; as `write_text_atomically`."""
    write_text_atomically(path, json.dumps(record, indent=1) + "\n")


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a scratch file with the suffix of `path`, then put it in the place of `path`.

    Raises OSError naming `path`, whatever the scratch file was called.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        os.close(handle)
        scratch = Path(name)
        try:
            write(scratch)
            scratch.chmod(0o644)
            os.replace(scratch, path)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
