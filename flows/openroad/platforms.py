"""Cell libraries: where they are found, and the published factors that carry their figures to another node.

A kit is looked for under the folder in the environment variable DNA_ASIC_PDK_ROOT, laid out as the platforms of
OpenROAD-flow-scripts are: `<root>/<platform>/lib/<file>` (plain or .gz). With none of them present Debian's OSU 180 nm
library serves.
"""

import gzip
import os
import re
from dataclasses import dataclass
from pathlib import Path

from dna_asic.errors import SpecError, ToolError

ROOT_VARIABLE = "DNA_ASIC_PDK_ROOT"
DEBIAN_FOLDER = Path("/usr/share/qflow/tech/osu018")
SCALING_SOURCE = "Stillmaker and Baas, Integration 58 (2017), coefficients as used by Accelergy; 28 nm interpolated"
# node in nm: (area, energy) factors to 28 nm at 0.9 V, each from the node's nominal voltage
TO_28NM = {130: (0.059, 0.083), 65: (0.253, 0.321), 45: (0.377, 0.507), 28: (1.0, 1.0), 16: (1.97, 3.56),
           7: (6.4, 8.9)}


@dataclass(frozen=True, kw_only=True)
class Platform:
    """A cell library. node_nm: its node; supply_v: voltage of the corner; driver: the cell that drives inputs.
    buffer: the smallest buffer, and its output and input pin.

    liberty: names of the file wanted, first found serves. dont_use: patterns of cells kept out of mapping.
    setup_ns: set-up and hold time given to memory macros of this node.
    """

    name: str
    node_nm: int
    supply_v: float
    liberty: tuple[str, ...]
    driver: str
    buffer: tuple[str, str, str]
    dont_use: tuple[str, ...] = ()
    setup_ns: float = 0.05


PLATFORMS = (
    Platform(name="nangate45", node_nm=45, supply_v=1.1, driver="BUF_X4", buffer=("BUF_X1", "Z", "A"),
             liberty=("NangateOpenCellLibrary_typical.lib.gz", "NangateOpenCellLibrary_typical.lib"),
             dont_use=("TAPCELL*", "FILLCELL*", "ANTENNA*", "CLKGATE*", "TBUF*", "TINV*", "TLAT*")),
    Platform(name="sky130hd", node_nm=130, supply_v=1.8, driver="sky130_fd_sc_hd__buf_4", setup_ns=0.15,
             buffer=("sky130_fd_sc_hd__buf_1", "X", "A"),
             liberty=("sky130_fd_sc_hd__tt_025C_1v80.lib.gz", "sky130_fd_sc_hd__tt_025C_1v80.lib"),
             dont_use=("*probe*", "*lpflow*", "*dlclk*", "*sdf*", "*sedf*", "*ebuf*", "*einv*", "*clkdly*")),
)
DEBIAN = Platform(name="osu018", node_nm=180, supply_v=1.8, driver="BUFX4", buffer=("BUFX2", "Y", "A"),
                  liberty=("osu018_stdcells.lib",), dont_use=("TBUF*", "LATCH"), setup_ns=0.2)
NAMES = tuple(p.name for p in (*PLATFORMS, DEBIAN))


@dataclass(frozen=True, kw_only=True)
class Library:
    """A platform whose Liberty file was found; `note` says what was wanted and missing, if anything was."""

    platform: Platform
    liberty: Path
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Factors from the library's node to the target's; `scaled` False: none is published, figures stay as they are."""

    area: float
    energy: float
    scaled: bool
    note: str


def find_library(name: str | None = None, target_nm: int = 28, root: Path | None = None) -> Library:
    """The library `name`, or with None the present one whose node is nearest to the target's.

    Raises SpecError for an unknown name, ToolError when a named library, or any, is not there.
    """
    if name is not None and name not in NAMES:
        raise SpecError(f"Platform '{name}' is unknown; use one of {', '.join(NAMES)}.")
    root = root or (Path(os.environ[ROOT_VARIABLE]) if os.environ.get(ROOT_VARIABLE) else None)
    wanted = [p for p in PLATFORMS if name in (None, p.name)]
    wanted.sort(key=lambda p: abs(p.node_nm - target_nm))
    for platform in wanted:
        for file in platform.liberty if root else ():
            path = root / platform.name / "lib" / file
            if path.is_file():
                return Library(platform=platform, liberty=path)
    missing = ", ".join(f"{p.name}/lib/{p.liberty[0]}" for p in wanted)
    where = f"under {ROOT_VARIABLE}={root}" if root else f"because {ROOT_VARIABLE} is not set"
    debian = DEBIAN_FOLDER / DEBIAN.liberty[0]
    if name in (None, DEBIAN.name) and debian.is_file():
        note = f"wanted {missing}; none found {where}; used Debian's OSU 180 nm library" if name is None else ""
        return Library(platform=DEBIAN, liberty=debian, note=note)
    wish = f"{missing} not found {where}; set {ROOT_VARIABLE} to a folder that holds it, or " if missing else ""
    raise ToolError(f"Cell library: {wish}install Debian's OSU 180 nm library: apt-get install qflow-tech-osu018.")


def plain_liberty(library: Library, folder: Path) -> Path:
    """The Liberty file unpacked, in `folder`; tools read it from there."""
    out = folder / re.sub(r"\.gz$", "", library.liberty.name)
    data = library.liberty.read_bytes()
    out.write_bytes(gzip.decompress(data) if library.liberty.suffix == ".gz" else data)
    return out


def scaling(platform: Platform, target_nm: int) -> Scaling:
    """Published area and energy factors from the platform's node to `target_nm`. Delay has none: it is not scaled."""
    if platform.node_nm == target_nm:
        return Scaling(area=1.0, energy=1.0, scaled=True, note=f"{target_nm} nm as characterised")
    if platform.node_nm not in TO_28NM or target_nm not in TO_28NM:
        return Scaling(area=1.0, energy=1.0, scaled=False,
                       note=f"unscaled: no published factor from {platform.node_nm} to {target_nm} nm")
    area, energy = (a / b for a, b in zip(TO_28NM[platform.node_nm], TO_28NM[target_nm], strict=True))
    note = (f"area x {area:.3g}, energy x {energy:.3g} from {platform.node_nm} nm ({platform.supply_v} V corner, "
            f"factor applied as published) to {target_nm} nm; delay not scaled; {SCALING_SOURCE}")
    return Scaling(area=area, energy=energy, scaled=True, note=note)
