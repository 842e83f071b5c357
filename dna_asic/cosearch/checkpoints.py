"""Checkpoints: tensors, numbers and strings in a file, whole or not at all."""

import contextlib
import io
import pickle
from collections.abc import Iterator
from pathlib import Path

import torch

from dna_asic.errors import SpecError
from dna_asic.report.files import write_atomically


def save_checkpoint(path: Path, state: dict) -> None:
    """Write `state`, in one piece, so that a full disk is an OSError."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, lambda part: part.write_bytes(buffer.getvalue()))


@contextlib.contextmanager
def read_checkpoint(path: Path, remedy: str) -> Iterator[dict]:
    """The state in a file, on the CPU, to take up within; raises SpecError where either fails.

    remedy: what removing it does.
    """
    try:
        yield torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise SpecError(f"Checkpoint '{path}' cannot be read: {error}; remove it to {remedy}.") from error
