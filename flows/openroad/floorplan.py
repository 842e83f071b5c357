"""Where a chip's memories go: shelves along the bottom of the core, the cells above them."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from flows.openroad.layout import Layout
from flows.openroad.netlist import module_bodies

UTILISATION = 0.6  # of the core that is left to cells: ORFS' PLACE_DENSITY of sky130hd and asap7
HALO_ROWS = 4  # rows kept free around a memory
MARGIN_ROWS = 4  # between core and die

_INSTANCE = re.compile(r"^\s+\\?(\S+)\s+\\?(\S+)\s*\($", re.MULTILINE)


@dataclass(frozen=True)
class Floorplan:
    """All in um. die and core: (x0, y0, x1, y1). macros: {instance path: (x, y)} of lower left corners."""

    die: tuple[float, float, float, float]
    core: tuple[float, float, float, float]
    macros: dict[str, tuple[float, float]]


def macro_instances(netlist: str, top: str) -> dict[str, str]:
    """{instance path: macro} of every memory below `top`, in the netlist's order; "/" stands between levels."""
    return {path: kind for path, kind in module_instances(netlist, top).items() if kind.startswith("sram_")}


def module_instances(netlist: str, top: str) -> dict[str, str]:
    """{instance path: module} of every module and memory below `top`; `top` itself has the path ""."""
    bodies = {name: _INSTANCE.findall(text.partition(";")[2]) for name, text in module_bodies(netlist).items()}
    return {"": top, **dict(_walk(bodies, top, ""))}


def _walk(bodies, module, prefix) -> Iterator[tuple[str, str]]:
    for kind, name in bodies[module]:
        path = prefix + name
        if kind.startswith("sram_") or kind in bodies:
            yield path, kind
        if kind in bodies:
            yield from _walk(bodies, kind, path + "/")


def floorplan(instances: dict[str, str], sizes_um: dict[str, tuple[float, float]], cell_area_um2: float,
              layout: Layout) -> Floorplan:
    """Core as square as the shelves allow, cells at UTILISATION; every corner on a site and a row."""
    site, row = layout.site_um
    halo, margin = HALO_ROWS * row, MARGIN_ROWS * row
    boxes = {path: tuple(length + 2 * halo for length in sizes_um[kind]) for path, kind in instances.items()}
    area = cell_area_um2 / UTILISATION + sum(width * height for width, height in boxes.values())
    width = max(math.sqrt(area), max((w for w, _ in boxes.values()), default=0.0), 10 * row)
    width = math.ceil(width / site) * site
    corners, used = _shelves(boxes, width)
    height = math.ceil((used + cell_area_um2 / UTILISATION / width) / row) * row
    x0, y0 = math.ceil(margin / site) * site, margin
    placed = {path: (x0 + _down(x + halo, site), y0 + _up(y + halo, row)) for path, (x, y) in corners.items()}
    return Floorplan((0.0, 0.0, width + 2 * x0, height + row + 2 * y0), (x0, y0, x0 + width, y0 + height + row), placed)


def _shelves(boxes, width):
    """({path: corner}, height): tallest first, left to right, a new shelf where one is full."""
    corners, x, y, shelf = {}, 0.0, 0.0, 0.0
    for path, (w, h) in sorted(boxes.items(), key=lambda item: (-item[1][1], item[0])):
        if x + w > width + 1e-9:
            x, y, shelf = 0.0, y + shelf, 0.0
        corners[path] = (x, y)
        x, shelf = x + w, max(shelf, h)
    return corners, y + shelf


def _down(value, step):
    return math.floor(value / step + 1e-6) * step


def _up(value, step):
    return math.ceil(value / step - 1e-6) * step
