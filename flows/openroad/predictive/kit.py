"""Writes the predictive library of a node into a folder: `lib/` and `lef/`, laid out as a platform's."""

from dataclasses import dataclass
from pathlib import Path

from dna_asic.technology import Technology
from flows.openroad.predictive.lef import cell_lef, tech_lef
from flows.openroad.predictive.liberty import liberty_text
from flows.openroad.predictive.model import Model

HEADER = ("PREDICTIVE {node} nm cell library of dna-asic: written from technology file {name} by a stated model; "
          "not a foundry's, not characterised, not for tape-out")


@dataclass(frozen=True, kw_only=True)
class Kit:
    """Paths of the files written."""

    liberty: Path
    tech_lef: Path
    cell_lef: Path


def write_kit(technology: Technology, folder: Path) -> Kit:
    """Write the files of `technology`'s node below `folder`; the same technology gives the same bytes."""
    model, name = Model(technology), f"predictive{technology.node_nm}"
    header = HEADER.format(node=technology.node_nm, name=technology.name)
    kit = Kit(liberty=folder / "lib" / f"{name}.lib", tech_lef=folder / "lef" / f"{name}.tech.lef",
              cell_lef=folder / "lef" / f"{name}.lef")
    for path, text in ((kit.liberty, liberty_text(model, name, header)), (kit.tech_lef, tech_lef(model, header)),
                       (kit.cell_lef, cell_lef(model, header))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return kit
