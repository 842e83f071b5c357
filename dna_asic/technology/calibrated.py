"""Writes calibrated coefficients into technology files: those of the node itself, scaled ones into the others."""

import re
from pathlib import Path

from dna_asic.technology.scaling import FACTORS
from dna_asic.technology.table import CALIBRATED, FOLDER, UNITS, targets

_ENTRY = r"^  {name}:\n(?:    .*\n)+"
DIGITS = 5


def write_calibrated(values: dict[str, float], node_nm: int, source: str, folder: Path = FOLDER) -> list[Path]:
    """Put `values` of `node_nm` with their source into every technology file of `folder`; return the files.

    Files of other nodes get them by the published factors, with the original beside. Other entries stay as they are.
    """
    paths = [folder / f"{target}.yaml" for target in targets()]
    for path in paths:
        text = path.read_text(encoding="utf-8")
        own_nm = int(re.search(r"^node_nm: (\d+)$", text, re.MULTILINE)[1])
        for name, value in values.items():
            entry = _entry(name, float(f"{value:.{DIGITS}g}"), node_nm, own_nm, source)
            text, found = re.subn(_ENTRY.format(name=name), lambda _: entry, text, flags=re.MULTILINE)  # noqa: B023
            if not found:
                text = re.sub(r"^values:\n", lambda match: match[0] + entry, text, flags=re.MULTILINE)  # noqa: B023
        path.write_text(text, encoding="utf-8")
    return paths


def _entry(name, value, node_nm, own_nm, source):
    here = value if own_nm == node_nm else float(f"{value * FACTORS[CALIBRATED[name]](node_nm, own_nm):.{DIGITS}g}")
    scaled = "" if own_nm == node_nm else (f"    scaled: {{value: {value!r}, node_nm: {node_nm}, "
                                           f"by: {CALIBRATED[name]}}}\n")
    return f"  {name}:\n    value: {here!r}\n    unit: {UNITS[name]}\n    source: \"{source}\"\n{scaled}"
