"""LEF of the predictive library: layers and site, and cells as abstracts with one metal1 pin per port.

Layer geometry is in proportion to the site, as Nangate45's is [C]; no rule of a foundry is in it.
"""

from collections.abc import Iterator

from flows.openroad.predictive.cells import CLOCK_GATES, COMBINATIONAL, FILLS, REGISTERS, TIES
from flows.openroad.predictive.model import GRID_UM, Model, sites

SITE = "predictive"
LAYERS = 7
# first layer, then width, spacing, pitch and thickness in site widths; Nangate45: metal1 0.07 um at a site of 0.19 um
GEOMETRY = ((1, 0.37, 0.34, 1.0, 0.7), (4, 0.74, 0.74, 1.5, 1.5), (7, 2.1, 2.1, 4.2, 4.2))
RAIL = 0.9  # width of a supply rail in site widths
RESISTIVITY_OHM_UM = 0.04  # [M] copper in narrow lines, twice bulk; not confirmed


def tech_lef(model: Model, header: str) -> str:
    """Units, layers, vias and site. Wire capacitance is that of the technology's wire energy: E = C V^2."""
    lines = [f"# {header}", "# Wire resistance is [M], not confirmed.", "VERSION 5.8 ;", 'BUSBITCHARS "[]" ;',
             'DIVIDERCHAR "/" ;', "UNITS\n  DATABASE MICRONS 2000 ;\nEND UNITS", f"MANUFACTURINGGRID {GRID_UM} ;"]
    for number in range(1, LAYERS + 1):
        lines += _routing(model, number)
        if number < LAYERS:
            cut_um = layer_geometry_um(model, number)[0]
            lines.append(f"LAYER via{number}\n  TYPE CUT ;\n  SPACING {_um(cut_um)} ;\nEND via{number}")
    for number in range(1, LAYERS):
        lines += _via(model, number)
    width, height = model.site_um
    lines += [f"SITE {SITE}\n  CLASS CORE ;\n  SYMMETRY Y ;\n  SIZE {_um(width)} BY {_um(height)} ;\nEND {SITE}"]
    return "\n".join((*lines, "END LIBRARY", ""))


def cell_lef(model: Model, header: str) -> str:
    """Every cell of the Liberty file, and fill cells."""
    lines = [f"# {header}", "VERSION 5.8 ;", 'BUSBITCHARS "[]" ;', 'DIVIDERCHAR "/" ;']
    for cell in (*COMBINATIONAL, *REGISTERS, *CLOCK_GATES, *TIES):
        for drive in cell.drives:
            pins = [*((pin, "INPUT") for pin in cell.inputs), *((pin, "OUTPUT") for pin in cell.outputs)]
            lines += _macro(model, f"{cell.name}_X{drive}", "CORE", sites(cell, drive), pins)
    for width in FILLS:
        lines += _macro(model, f"FILL_X{width}", "CORE SPACER", width, [])
    return "\n".join((*lines, "END LIBRARY", ""))


def layer_geometry_um(model: Model, number: int) -> list[float]:
    """[width, spacing, pitch, thickness] of a routing layer in um, on the grid."""
    _, *sizes = [row for row in GEOMETRY if row[0] <= number][-1]
    width, spacing, pitch, thickness = (size * model.site_um[0] / GRID_UM for size in sizes)
    return [GRID_UM * steps for steps in (2 * round(width / 2), 2 * round(spacing / 2), round(pitch), thickness)]


def _routing(model, number):
    width, spacing, pitch, thickness = layer_geometry_um(model, number)
    volts = model.technology["supply_v"]
    farads = 1e-3 * model.technology["noc_pj_per_bit_mm"] / volts**2  # pF per um
    return [f"LAYER metal{number}\n  TYPE ROUTING ;\n  DIRECTION {'HORIZONTAL' if number % 2 else 'VERTICAL'} ;",
            f"  PITCH {_um(pitch)} ;\n  OFFSET {_um(pitch / 2)} ;\n  WIDTH {_um(width)} ;\n  SPACING {_um(spacing)} ;",
            f"  THICKNESS {_um(thickness)} ;\n  RESISTANCE RPERSQ {RESISTIVITY_OHM_UM / thickness:.4g} ;",
            f"  CAPACITANCE CPERSQDIST {farads / width:.4g} ;\nEND metal{number}"]


def _via(model, number):
    cut, half = layer_geometry_um(model, number)[0], layer_geometry_um(model, number)[0] / 2
    over = max(half, layer_geometry_um(model, number + 1)[0] / 2)
    rects = ((f"metal{number}", half, half), (f"via{number}", half, half), (f"metal{number + 1}", over, over))
    shapes = "".join(f"  LAYER {layer} ;\n    RECT {_um(-x)} {_um(-y)} {_um(x)} {_um(y)} ;\n" for layer, x, y in rects)
    yield f"VIA via{number}_0 DEFAULT\n{shapes}END via{number}_0"
    enclosure, low, high, gap = map(_um, (over - half, -half, half, 2 * cut))
    yield (f"VIARULE via{number}_array GENERATE\n  LAYER metal{number} ;\n    ENCLOSURE 0 0 ;\n"
           f"  LAYER metal{number + 1} ;\n    ENCLOSURE {enclosure} {enclosure} ;\n  LAYER via{number} ;\n"
           f"    RECT {low} {low} {high} {high} ;\n    SPACING {gap} BY {gap} ;\nEND via{number}_array")


def _macro(model: Model, name: str, kind: str, width: int, pins: list[tuple[str, str]]) -> Iterator[str]:
    """One abstract: supply rails at the edges, each pin in a column of its own."""
    pitch, height = model.site_um
    yield f"MACRO {name}\n  CLASS {kind} ;\n  ORIGIN 0 0 ;\n  SIZE {_um(width * pitch)} BY {_um(height)} ;"
    yield f"  SYMMETRY X Y ;\n  SITE {SITE} ;"
    half = layer_geometry_um(model, 1)[0] / 2
    for column, (pin, direction) in enumerate(pins):
        x, y = (column * width // len(pins) + 0.5) * pitch, height / 2
        yield _pin(pin, direction, "SIGNAL", (x - half, y - 2 * half, x + half, y + 2 * half))
    rail = RAIL * pitch / 2
    yield _pin("VDD", "INOUT", "POWER", (0, height - rail, width * pitch, height + rail), "    SHAPE ABUTMENT ;\n")
    yield _pin("VSS", "INOUT", "GROUND", (0, -rail, width * pitch, rail), "    SHAPE ABUTMENT ;\n")
    yield f"END {name}"


def _pin(name, direction, use, rect, shape=""):
    return (f"  PIN {name}\n    DIRECTION {direction} ;\n    USE {use} ;\n{shape}    PORT\n      LAYER metal1 ;\n"
            f"        RECT {' '.join(map(_um, rect))} ;\n    END\n  END {name}")


def _um(value):
    return f"{round(value / GRID_UM) * GRID_UM:.4f}"
