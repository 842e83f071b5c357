"""Error types. Every message says subject, rule, value and remedy."""


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
