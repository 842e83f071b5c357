"""Cell libraries: where they are found, and the published factors that carry their figures to another node.

The predictive library (`flows.openroad.predictive`) is written at need for the target's own node, and serves where no
library is named, unless a kit of that very node is present. A kit is looked for under the folder in the environment
variable DNA_ASIC_PDK_ROOT, laid out as the platforms of OpenROAD-flow-scripts are: `<root>/<platform>/lib/<file>`
(plain or .gz) and `<root>/<platform>/lef/<file>`. Debian's OSU 180 nm library is taken when it is named.
"""

import gzip
import os
import re
from dataclasses import dataclass
from pathlib import Path

from dna_asic.errors import SpecError, ToolError
from dna_asic.technology import Technology, scaling, scaling_table
from flows.openroad.predictive import write_kit

ROOT_VARIABLE = "DNA_ASIC_PDK_ROOT"
DEBIAN_FOLDER = Path("/usr/share/qflow/tech/osu018")
PREDICTIVE = "predictive"


@dataclass(frozen=True, kw_only=True)
class Platform:
    """A cell library. node_nm: its node; supply_v: voltage of the corner; driver: the cell that drives inputs.
    buffer: the smallest buffer, and its output and input pin. ties: (cell, pin) of constant 1 and 0; empty: none.
    clock_gate: latched clock gate, and its enable, clock and output pin; empty: none.

    liberty: names of the file wanted, first found serves. lef: of technology and cells. dont_use: patterns of cells
    kept out of mapping. setup_ns: set-up and hold time given to memory macros of this node.
    """

    name: str
    node_nm: int
    supply_v: float
    liberty: tuple[str, ...]
    driver: str
    buffer: tuple[str, str, str]
    ties: tuple[tuple[str, str], ...] = ()
    clock_gate: tuple[str, ...] = ()
    lef: tuple[str, ...] = ()
    dont_use: tuple[str, ...] = ()
    setup_ns: float = 0.05


PLATFORMS = (
    Platform(name="nangate45", node_nm=45, supply_v=1.1, driver="BUF_X4", buffer=("BUF_X1", "Z", "A"),
             ties=(("LOGIC1_X1", "Z"), ("LOGIC0_X1", "Z")), clock_gate=("CLKGATE_X1", "E", "CK", "GCK"),
             liberty=("NangateOpenCellLibrary_typical.lib.gz", "NangateOpenCellLibrary_typical.lib"),
             lef=("NangateOpenCellLibrary.tech.lef", "NangateOpenCellLibrary.macro.mod.lef"),
             dont_use=("TAPCELL*", "FILLCELL*", "ANTENNA*", "CLKGATE*", "TBUF*", "TINV*", "TLAT*")),
    Platform(name="sky130hd", node_nm=130, supply_v=1.8, driver="sky130_fd_sc_hd__buf_4", setup_ns=0.15,
             buffer=("sky130_fd_sc_hd__buf_1", "X", "A"),
             ties=(("sky130_fd_sc_hd__conb_1", "HI"), ("sky130_fd_sc_hd__conb_1", "LO")),
             clock_gate=("sky130_fd_sc_hd__dlclkp_1", "GATE", "CLK", "GCLK"),
             lef=("sky130_fd_sc_hd.tlef", "sky130_fd_sc_hd_merged.lef"),
             liberty=("sky130_fd_sc_hd__tt_025C_1v80.lib.gz", "sky130_fd_sc_hd__tt_025C_1v80.lib"),
             dont_use=("*probe*", "*lpflow*", "*dlclk*", "*sdf*", "*sedf*", "*ebuf*", "*einv*", "*clkdly*")),
)
DEBIAN = Platform(name="osu018", node_nm=180, supply_v=1.8, driver="BUFX4", buffer=("BUFX2", "Y", "A"),
                  liberty=("osu018_stdcells.lib",), dont_use=("TBUF*", "LATCH"), setup_ns=0.2)
NAMES = (PREDICTIVE, *(p.name for p in (*PLATFORMS, DEBIAN)))


@dataclass(frozen=True, kw_only=True)
class Library:
    """A platform and its files, unpacked where tools can read them. note: what a reader must know of it, or nothing."""

    platform: Platform
    liberty: Path
    lef: tuple[Path, ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Factors from the library's node to the target's; `scaled` False: none is published, figures stay as they are."""

    area: float
    energy: float
    scaled: bool
    note: str


def predictive_platform(technology: Technology) -> Platform:
    """The predictive library of a node as a platform; set-up of macros in proportion to Nangate45's."""
    name = f"{PREDICTIVE}{technology.node_nm}"
    return Platform(
        name=name, node_nm=technology.node_nm, supply_v=technology["supply_v"], driver="BUF_X4",
        buffer=("BUF_X1", "Z", "A"), ties=(("TIEHI_X1", "Z"), ("TIELO_X1", "Z")),
        clock_gate=("CLKGATE_X1", "E", "CK", "GCK"), liberty=(f"{name}.lib",),
        lef=(f"{name}.tech.lef", f"{name}.lef"), dont_use=("HA_*", "FA_*", "CLKGATE_*", "TIE*"),
        setup_ns=0.05 * scaling.delay_factor(45, technology.node_nm))


def find_library(technology: Technology, folder: Path, name: str | None = None, root: Path | None = None) -> Library:
    """The library `name` with its files written or unpacked into `folder`.

    None: the kit of the technology's own node under `root` (default: DNA_ASIC_PDK_ROOT) if it is there, else the
    predictive library. Raises SpecError for an unknown name, ToolError for a named library that is not there.
    """
    if name is not None and name not in NAMES:
        raise SpecError(f"Platform '{name}' is unknown; use one of {', '.join(NAMES)}.")
    if name == DEBIAN.name:
        return _debian(folder)
    root = root or (Path(os.environ[ROOT_VARIABLE]) if os.environ.get(ROOT_VARIABLE) else None)
    for platform in PLATFORMS:
        if name == platform.name or (name is None and platform.node_nm == technology.node_nm):
            if (liberty := _kit_file(root, platform, "lib", platform.liberty)) is not None:
                return _kit(platform, liberty, root, folder)
            if name is not None:
                raise ToolError(_missing(platform, root))
    return _predictive(technology, folder)


def _predictive(technology, folder):
    kit = write_kit(technology, folder)
    return Library(platform=predictive_platform(technology), liberty=kit.liberty, lef=(kit.tech_lef, kit.cell_lef),
                   note=f"cells are the project's predictive {technology.node_nm} nm library: a model's, no foundry's")


def _debian(folder):
    path = DEBIAN_FOLDER / DEBIAN.liberty[0]
    if not path.is_file():
        raise ToolError(f"Cell library: {path} not found; install it: apt-get install qflow-tech-osu018.")
    return Library(platform=DEBIAN, liberty=_unpacked(path, folder))


def _kit(platform, liberty, root, folder):
    lefs = tuple(path for file in platform.lef if (path := _kit_file(root, platform, "lef", (file,))))
    return Library(platform=platform, liberty=_unpacked(liberty, folder), lef=lefs)


def _kit_file(root, platform, kind, names):
    """The first of the files that is there."""
    paths = (root / platform.name / kind / name for name in names) if root else ()
    return next((path for path in paths if path.is_file()), None)


def _missing(platform, root):
    where = f"under {ROOT_VARIABLE}={root}" if root else f"because {ROOT_VARIABLE} is not set"
    return (f"Cell library: {platform.name}/lib/{platform.liberty[0]} not found {where}; set {ROOT_VARIABLE} to a "
            f"folder that holds it, or take --platform {PREDICTIVE}.")


def _unpacked(path: Path, folder: Path) -> Path:
    """The Liberty file in `folder`, unpacked if it is .gz, and as `plain_liberty` leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / re.sub(r"\.gz$", "", path.name)
    data = path.read_bytes()
    out.write_text(plain_liberty((gzip.decompress(data) if path.suffix == ".gz" else data).decode(errors="replace")))
    return out


def plain_liberty(text: str) -> str:
    """The library without what falsifies figures before placement.

    Its default wire load goes: wires are not in the figures. A condition on Q and QN keeps Q alone: OpenSTA takes the
    two as independent and would halve the energy of such a state.
    """
    text = re.sub(r"^\s*default_wire_load\s*:.*$", "", text, flags=re.MULTILINE)
    return re.sub(r'(when\s*:\s*"[^"]*\bQ\b[^"]*?) *& *!?QN\b', r"\1", text)


def scaling_of(platform: Platform, target_nm: int) -> Scaling:
    """Published area and energy factors from the platform's node to `target_nm`. Slack is not scaled."""
    if platform.node_nm == target_nm:
        kind = "as predicted" if platform.name.startswith(PREDICTIVE) else "as characterised"
        return Scaling(area=1.0, energy=1.0, scaled=True, note=f"{target_nm} nm {kind}")
    if not (scaling.is_covered(platform.node_nm) and scaling.is_covered(target_nm)):
        return Scaling(area=1.0, energy=1.0, scaled=False,
                       note=f"unscaled: no published factor from {platform.node_nm} to {target_nm} nm")
    area, energy = (factor(platform.node_nm, target_nm) for factor in (scaling.area_factor, scaling.energy_factor))
    note = (f"area x {area:.3g}, energy x {energy:.3g} from {platform.node_nm} nm ({platform.supply_v} V corner, "
            f"factor applied as published) to {target_nm} nm; delay not scaled; {scaling_table().source}")
    return Scaling(area=area, energy=energy, scaled=True, note=note)
