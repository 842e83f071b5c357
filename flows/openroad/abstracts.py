"""Reads what LEF and Liberty say of a cell's ports, and holds the two against each other."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dna_asic.errors import SpecError

SUPPLIES = ("POWER", "GROUND")


@dataclass(frozen=True)
class Abstract:
    """A cell: size in um (LEF only) and direction ("input", "output", "inout") of each single-bit signal pin."""

    size_um: tuple[float, float] | None
    pins: dict[str, str]


@dataclass(frozen=True)
class Input:
    """One bit of an input as a driver sees it: capacitance, in the library's unit; whether it takes a clock."""

    capacitance: float
    clock: bool = False


def liberty_inputs(text: str) -> dict[str, dict[tuple[str, int], Input]]:
    """{cell: {(pin, 0): its Input}} of the single-bit input pins of a Liberty text."""
    found = {}
    for cell, body in liberty_groups("cell", text):
        found[cell] = pins = {}
        for name, content in liberty_groups("pin", body):
            if re.search(r'\bdirection\s*:\s*"?input\b', content):
                load = re.search(r"(?<![a-z_])capacitance\s*:\s*([\d.eE+-]+)", content)
                clock = re.search(r'(?<![a-z_])clock\s*:\s*"?true', content)
                pins[name, 0] = Input(float(load[1]) if load else 0.0, clock is not None)
    return found


def liberty_strengths(text: str) -> dict[str, float]:
    """{cell: what its strongest output may drive (max_capacitance), in the library's unit}."""
    return {cell: max(map(float, found)) for cell, body in liberty_groups("cell", text)
            if (found := re.findall(r"(?<![a-z_])max_capacitance\s*:\s*([\d.eE+-]+)", body))}


def cell_area(text: str, cell: str) -> float:
    """Area of a cell of a Liberty text."""
    body = next(body for name, body in liberty_groups("cell", text) if name == cell)
    return float(re.search(r"\barea\s*:\s*([\d.eE+-]+)", body)[1])


def liberty_groups(kind: str, text: str) -> Iterator[tuple[str, str]]:
    """(name, text up to the next) of every group of a kind ("cell", "pin"), comments left out."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    starts = list(re.finditer(rf'\b{kind}\s*\(\s*"?([\w$]+)"?\s*\)\s*\{{', text))
    for match, end in zip(starts, [m.start() for m in starts[1:]] + [len(text)]):
        yield match[1], text[match.end():end]


def lef_cells(text: str, subject: str) -> dict[str, Abstract]:
    """MACROs of a LEF text, supply pins left out. Raises SpecError for one that does not end, or has no size."""
    cells = {}
    for name in re.findall(r"^\s*MACRO\s+(\S+)", text, re.MULTILINE):
        body = re.search(rf"^\s*MACRO\s+{re.escape(name)}\s.*?^\s*END\s+{re.escape(name)}\s", text + "\n",
                         re.DOTALL | re.MULTILINE)
        size = body and re.search(r"\bSIZE\s+([\d.]+)\s+BY\s+([\d.]+)", body[0])
        if not size:
            fault = "has no SIZE" if body else "does not end"
            raise SpecError(f"LEF '{subject}': macro {name} {fault}; the file is damaged, write or fetch it again.")
        cells[name] = Abstract((float(size[1]), float(size[2])), _lef_pins(body[0]))
    if not cells and not re.search(r"^\s*LAYER\s", text, re.MULTILINE):
        raise SpecError(f"LEF '{subject}' holds no MACRO and no LAYER; the file is damaged, write or fetch it again.")
    return cells


def _lef_pins(body):
    pins = {}
    for name, content in re.findall(r"^\s*PIN\s+(\S+)(.*?)^\s*END\s+\1\s", body, re.DOTALL | re.MULTILINE):
        if not re.search(rf"\bUSE\s+({'|'.join(SUPPLIES)})\b", content):
            pins[name] = re.search(r"\bDIRECTION\s+(\w+)", content)[1].lower()
    return pins


def liberty_cells(text: str, subject: str) -> dict[str, Abstract]:
    """Cells of a Liberty text with their signal pins, buses bit by bit. Raises SpecError where braces do not match."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    if text.count("{") != text.count("}") or "{" not in text:
        raise SpecError(f"Liberty '{subject}': {text.count('{')} opening and {text.count('}')} closing braces; the "
                        f"file is damaged, write or fetch it again.")
    types = re.findall(r"\btype\s*\((\w+)\)\s*\{[^}]*?bit_width\s*:\s*(\d+)", text)
    widths = {name: int(bits) for name, bits in types}
    return {name: Abstract(None, _liberty_pins(body, widths)) for name, body in liberty_groups("cell", text)}


def _liberty_pins(body, widths):
    pins = {}
    starts = list(re.finditer(r'\b(pin|bus)\s*\(\s*"?([\w$]+)"?\s*\)\s*\{', body))
    for match, end in zip(starts, [m.start() for m in starts[1:]] + [len(body)]):
        content = body[match.end():end]
        direction = re.search(r'\bdirection\s*:\s*"?(\w+)"?', content)
        bus = re.search(r"\bbus_type\s*:\s*(\w+)", content)
        names = [f"{match[2]}[{i}]" for i in range(widths[bus[1]])] if match[1] == "bus" else [match[2]]
        if direction and direction[1] != "internal":
            pins |= dict.fromkeys(names, direction[1])
    return pins


def check_agreement(lef: dict[str, Abstract], liberty: dict[str, Abstract]) -> list[str]:
    """What LEF and Liberty disagree on, cell by cell of the Liberty; nothing if they agree."""
    faults = [f"cell {name} is in the Liberty file and not in the LEF" for name in liberty if name not in lef]
    for name in liberty.keys() & lef.keys():
        for pin in sorted(liberty[name].pins.keys() ^ lef[name].pins.keys()):
            where = "Liberty" if pin in liberty[name].pins else "LEF"
            faults.append(f"pin {pin} of {name} is in the {where} file only")
        faults += [f"pin {pin} of {name} is {direction} in the LEF and {liberty[name].pins[pin]} in the Liberty file"
                   for pin, direction in lef[name].pins.items() if liberty[name].pins.get(pin, direction) != direction]
    return faults


def require_agreement(lefs: tuple[Path, ...], liberties: tuple[Path, ...]) -> dict[str, Abstract]:
    """Abstracts of all LEF files, once every Liberty cell was found among them with its pins. Raises SpecError."""
    cells = {}
    for path in lefs:
        cells |= lef_cells(path.read_text(errors="replace"), path.name)
    faults = [f"{path.name}: {fault}" for path in liberties
              for fault in check_agreement(cells, liberty_cells(path.read_text(errors="replace"), path.name))]
    if faults:
        rest = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise SpecError(f"LEF and Liberty disagree: {'; '.join(faults[:5])}{rest}; take files of one release.")
    return cells
