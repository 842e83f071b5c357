"""`dna-asic COMMAND ...`: all commands under one name. Each has the parser of its own module, `python -m ...`.

A module is read when its command is asked for: `doctor` and `runs` work, and `--help` answers at once, where PyTorch is
slow to load or missing.
"""

import argparse
import importlib
import sys
from pathlib import Path

from dna_asic.command import renamed
from dna_asic.versions import PACKAGE, package_version, source_commit

PROGRAM = "dna-asic"
COMMANDS = {  # name: (module, what it does)
    "search": ("dna_asic.search", "search a network and its accelerator together, or the accelerator of a given one"),
    "pareto": ("dna_asic.pareto", "searches over weights of the hardware cost, and over modes: accuracy against EDP"),
    "map": ("dna_asic.map", "best mapping of a network on a given accelerator, layer by layer"),
    "rtl": ("rtl_gen.emit", "Verilog and program of a run, or Verilog of a design file"),
    "sim": ("dna_asic.simulate", "run the Verilog, every byte and cycle compared"),
    "synth": ("dna_asic.synth", "cells, slack, power and energy of the Verilog"),
    "compare": ("dna_asic.compare", "the design beside NASAIC's"),
    "report": ("dna_asic.page", "one HTML page of a run"),
    "contract": ("dna_asic.contract.__main__", "cost model against Verilog on random chips and layers"),
    "presets": ("dna_asic.presets", "named chips on layers of published networks"),
    "silicon": ("dna_asic.silicon.__main__", "area and power of the cost model's logic beside synthesis"),
    "das": ("dna_asic.das", "the accelerator search against the optimum of an enumerated space"),
    "rivals": ("dna_asic.rivals", "that search beside random, evolution, REINFORCE and Bayesian search"),
    "nasaic": ("dna_asic.nasaic", "NASAIC's three flows in its own space, and its published points re-costed"),
    "reproduce": ("dna_asic.reproduce", "the README's figures, run again and set beside those printed there"),
    "runs": ("dna_asic.list_runs", "run folders with state and key figures"),
    "doctor": ("dna_asic.doctor", "what is installed, and how to get what is missing")}
FILES = ("FILE", "RUN", "IMAGES", "NAME|FILE")  # metavars of options that take a path
SHELLS = ("bash", "zsh", "tcsh")
EXAMPLES = """examples:
  dna-asic doctor
  dna-asic search --seed 1 --set pe_rows=4
  dna-asic sim --run runs/latest --images 4 --json
  dna-asic map --network resnet18 --preset nvdla_like
  dna-asic COMMAND --help

shell completion:
  eval "$(dna-asic --print-completion bash)"

exit status: 0; 1 hardware and reference disagree, or something needed is missing; 2 an error of the input or of a tool;
130 interrupted."""


def parser(whole: bool = False) -> argparse.ArgumentParser:
    """The command line; with `whole` every command's own parser hangs below it, else its name alone."""
    p = argparse.ArgumentParser(prog=PROGRAM, description="Co-search of a neural network and its accelerator, down to "
                                "verified Verilog.", epilog=EXAMPLES,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--version", action="store_true", help="version and commit, then end")
    p.add_argument("--print-completion", choices=SHELLS, metavar="SHELL",
                   help=f"completion script of a shell ({', '.join(SHELLS)}), then end")
    commands = p.add_subparsers(title="commands", dest="command", metavar="COMMAND",
                                parser_class=_own if whole else argparse.ArgumentParser)
    for name, (module, about) in COMMANDS.items():
        commands.add_parser(name, help=about, **({"module": module} if whole else {}))
    return p


def _own(module: str, prog: str, **_) -> argparse.ArgumentParser:
    """Parser of a command's own module, under its name here."""
    return renamed(importlib.import_module(module).parser(), prog)


def main(argv=None) -> int:
    """Exit status of the command; 2 without one."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv and argv[0] in COMMANDS:
        module = importlib.import_module(COMMANDS[argv[0]][0])
        return module.main(argv[1:], prog=f"{PROGRAM} {argv[0]}")
    p = parser()
    args = p.parse_args(argv)
    if args.print_completion:
        return _completion(args.print_completion)
    if args.version:
        print(PROGRAM, package_version(PACKAGE) or "not installed", source_commit() or "")
        return 0
    p.print_help(sys.stderr)
    return 2


def _completion(shell: str) -> int:
    try:
        import shtab
    except ImportError:
        print("error: completion needs the Python package 'shtab'; run `make setup`.", file=sys.stderr)
        return 2
    p = parser(whole=True)
    for command in COMMANDS:
        own = p._subparsers._group_actions[0].choices[command]
        for action in own._actions:
            if action.type is Path or action.metavar in FILES or action.dest == "run":
                action.complete = shtab.FILE
    print(shtab.complete(p, shell=shell))
    return 0


if __name__ == "__main__":
    sys.exit(main())
