"""`python -m dna_asic.contract`: random chips, layers and mappings, to show that the cost model is the chip."""

import argparse
import sys
from pathlib import Path

from dna_asic.command import add_output_options, going_on, run_command
from dna_asic.contract import hand, sweep
from dna_asic.contract.sweep import FULL_DESIGNS, FULL_POINTS


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m dna_asic.contract", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples: python -m dna_asic.contract --points 60 --designs 6\n"
               "          python -m dna_asic.contract --design runs/latest/design.yaml --layer k=8,c=8,p=4,q=4 --trace")
    p.add_argument("--points", type=int, default=FULL_POINTS, help="layers to run (default: %(default)s)")
    p.add_argument("--designs", type=int, default=FULL_DESIGNS, help="chips to build (default: %(default)s)")
    p.add_argument("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    p.add_argument("--space", default="full", help="accelerator space by name, or YAML file (default: %(default)s)")
    p.add_argument("--set", action="append", default=[], metavar="ENTRY=VALUE[|VALUE]", dest="pins",
                   help="narrow an entry of the space; may be repeated")
    p.add_argument("--jobs", type=int, default=2, help="chips that are built and run at once (default: %(default)s)")
    p.add_argument("--runs-dir", type=Path, default=Path("runs"), help="(default: %(default)s)")
    one = p.add_argument_group("a point by hand")
    one.add_argument("--design", type=Path, help="design file of a run, or a file with an accelerator alone")
    one.add_argument("--layer", help="as 'k=30,c=17,p=13,q=7,r=3,s=3,stride=2'; also g, pad, h, w, op=mac|max|average, "
                                     "residual=1, pool=max|average, pool_window, shuffle_groups, activation")
    one.add_argument("--chunk", type=int, default=0, help="that runs it (default: %(default)s)")
    one.add_argument("--mapping", type=Path, help="file with its mapping (default: the best that the mapper finds)")
    one.add_argument("--random-mapping", type=int, metavar="SEED", help="a random mapping instead")
    one.add_argument("--trace", action="store_true", help="write the steps of model and Verilog, name the first that "
                                                          "differs")
    one.add_argument("--verilog", type=Path, help="of the design, perhaps edited (default: made afresh)")
    add_output_options(p)
    return p


def contract(args: argparse.Namespace) -> dict:
    """The whole job; see the module. Returns the verdict, or the totals."""
    with going_on(f"{args.command_line}" + ("" if args.design else " (judged chips are kept)")):
        return (hand.run if args.design else sweep.run)(args)


def main(argv=None, prog=None) -> int:
    """Exit status 0; 1 where chip, model and reference differ, naming the first point; 2 after another error."""
    return run_command(contract, parser(), argv, prog)


if __name__ == "__main__":
    sys.exit(main())
