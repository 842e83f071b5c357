"""Error types. Every message says subject, rule, value and remedy."""


class DnaAsicError(Exception):
    """Base of every error that is the user's to mend; the command line prints it and exits with 2."""


class SpecError(DnaAsicError):
    """A record or file breaks its schema: unknown, missing or duplicate key, value out of range."""


class InfeasibleDesign(DnaAsicError):
    """A design point or mapping that the hardware could not run; the search catches this type only."""


class DataError(DnaAsicError):
    """A dataset is missing, empty or unreadable."""


class ToolError(DnaAsicError):
    """An external tool is missing, or failed."""


class VerificationError(DnaAsicError):
    """Hardware and golden model disagree."""
