"""What every command line shares: its options, one clear error and exit status; no traceback for the user's own errors.

Exit status: 0; 1 hardware and reference disagree, a target is missed, or something needed is missing; 2 an error of the
input or of a tool; 130 interrupted, 143 terminated; 141 the reader of the output went away.
"""

import argparse
import contextlib
import errno
import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from dna_asic.errors import DnaAsicError, SpecError, TargetMissed, ToolError, VerificationError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Terminated(KeyboardInterrupt):
    """SIGTERM: as Ctrl-C, with another exit status."""


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """--quiet and --json."""
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--json", action="store_true",
                        help="the result as one JSON object on standard output, all else on standard error")


def numbers(text: str) -> list[float]:
    """An option's value "A,B,C"."""
    try:
        return [float(x) for x in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be numbers with commas between, not '{text}'") from error


def require_ranges(args: argparse.Namespace, ranges: dict[str, tuple[float, float]]) -> None:
    """Raise SpecError naming every argument that is given and outside its range (least, most)."""
    faults = [f"--{name.replace('_', '-')} must be in {least}..{most}, not {getattr(args, name)}."
              for name, (least, most) in ranges.items()
              if getattr(args, name) is not None and not least <= getattr(args, name) <= most]
    if faults:
        raise SpecError("\n".join(faults))


def renamed(parser: argparse.ArgumentParser, prog: str) -> argparse.ArgumentParser:
    """The same parser under another name, in its examples too."""
    parser.description = parser.description.replace(f"`{parser.prog}`: ", "").replace(parser.prog, prog)
    parser.epilog = parser.epilog and parser.epilog.replace(parser.prog, prog)
    parser.prog = prog
    return parser


def run_command(body: Callable[[argparse.Namespace], dict | None], parser: argparse.ArgumentParser, argv=None,
                prog: str | None = None) -> int:
    """Parse `argv` and run `body`; returns the exit status, see the module. `body` returns plain data for --json.

    prog: the name under which the command was called, if not its own.
    """
    parser = renamed(parser, prog) if prog else parser
    args = parser.parse_args(argv)
    args.program = parser.prog
    words = sys.argv[1:] if argv is None else argv
    args.command_line = shlex.join([*parser.prog.split(), *map(str, words)])
    if not getattr(args, "json", False):
        return _run(body, args)[0]
    with contextlib.redirect_stdout(sys.stderr):
        status, result = _run(body, args)
    with _readers_end():
        print(json.dumps({"exit_status": status} | (result or {}), indent=1), flush=True)
    return status


def _run(body, args) -> tuple[int, dict | None]:
    try:
        with _terminable(), _readers_end():
            result = body(args)
            sys.stdout.flush()
            return 0, result
    except DnaAsicError as error:
        head = "FAILED" if isinstance(error, (VerificationError, TargetMissed)) else "error"
        return error.exit_status, _say(head, error) | getattr(error, "record", {})
    except BrokenPipeError:
        return 141, None
    except OSError as error:
        return 2, _say("error", error, _os_text(error))
    except KeyboardInterrupt as error:
        status = 143 if isinstance(error, Terminated) else 130
        return status, _say("interrupted", error, "finished steps are kept.")


def _say(head: str, error: BaseException, text: str | None = None) -> dict:
    """Print one message, with how to go on if the error knows it."""
    message = "\n".join([str(error) if text is None else text, *getattr(error, "__notes__", ())])
    print(f"{paint(head + ':', 'red', sys.stderr)} {message}", file=sys.stderr)
    return {"error": message}


def _os_text(error: OSError) -> str:
    what = f"'{error.filename}': " if error.filename else ""
    if error.errno in FULL:
        return f"{what}{error.strerror}; finished steps are kept, nothing was overwritten: free some space."
    return f"{what}{error.strerror or error}; nothing was overwritten."


@contextlib.contextmanager
def going_on(how: str) -> Iterator[None]:
    """Whatever ends the work in it early says how to go on: `how`, a command."""
    try:
        yield
    except (KeyboardInterrupt, OSError, ToolError) as error:
        error.add_note(f"Go on with: {how}")
        raise


@contextlib.contextmanager
def _terminable():
    """SIGTERM ends the work as Ctrl-C does."""
    def end(*_):
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _readers_end():
    """Where nobody reads standard output any more (`| head`), Python's own last flush must not complain."""
    try:
        yield
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def paint(text: str, colour: str, stream) -> str:
    """Coloured on a terminal, unless NO_COLOR is set."""
    plain = not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    code = {"red": "1;31", "green": "32", "yellow": "33", "bold": "1"}[colour]
    return text if plain else f"\x1b[{code}m{text}\x1b[0m"


def progress(args: argparse.Namespace, text: str) -> None:
    """A line about what goes on, to standard error; none with --quiet."""
    if not getattr(args, "quiet", False):
        print(text, file=sys.stderr, flush=True)
