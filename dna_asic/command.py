"""What every command line shares: one clear error and exit status 2, no traceback for what the user can mend."""

import argparse
import sys
from collections.abc import Callable

from dna_asic.errors import DnaAsicError, VerificationError


def run_command(body: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser, argv=None) -> int:
    """Parse `argv` and run `body`; 0 when it returns, 2 for an error of the user's, 1 for a failed verification."""
    args = parser.parse_args(argv)
    try:
        body(args)
    except VerificationError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    except DnaAsicError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: '{error.filename}': {error.strerror}; nothing was overwritten.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; finished steps are kept.", file=sys.stderr)
        return 130
    return 0
