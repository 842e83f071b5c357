"""Error types. Every message says subject, rule, value and remedy."""

import errno
import os
import shutil
from pathlib import Path

LEAST_FREE_BYTES = 1 << 20


class DnaAsicError(Exception):
    """Base of every error that is the user's to mend; the command line prints it and exits with its status."""

    exit_status = 2


class SpecError(DnaAsicError):
    """A record or file breaks its schema: unknown, missing or duplicate key, value out of range."""


class InfeasibleDesign(DnaAsicError):
    """A design point or mapping that the hardware could not run; the search catches this type only."""


class DataError(DnaAsicError):
    """A dataset is missing, empty or unreadable."""


class ToolError(DnaAsicError):
    """An external tool is missing, or failed."""


class NotInstalled(ToolError):
    """What somebody asked for by `doctor` is not there; `record`: all that was found."""

    exit_status = 1

    def __init__(self, message: str, record: dict):
        super().__init__(message)
        self.record = record


class VerificationError(DnaAsicError):
    """Hardware and golden model disagree."""

    exit_status = 1


class TargetMissed(DnaAsicError):
    """A design is whole, but misses a target of its user; `record`: what was found."""

    exit_status = 1

    def __init__(self, message: str, record: dict):
        super().__init__(message)
        self.record = record


def require_room(folder: Path) -> None:
    """Raise OSError where the disk of `folder` is full: not every tool notices that what it wrote was cut short."""
    if shutil.disk_usage(folder).free < LEAST_FREE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
