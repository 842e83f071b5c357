"""Drawings of a chip and of a network, as inline SVG."""

import math
from collections.abc import Sequence

from dna_asic.report.charts import WIDTH
from dna_asic.report.content import Block, Chip, Chunk, Layer, Network
from dna_asic.report.html import Markup, join, tag

Box = tuple[float, float, float, float]  # x, y, width, height
HEAD = 12  # of a chunk, above its blocks
MOST_PES = 32  # lines drawn along a side of the array: beyond, each stands for several PEs
ROW, BOX = 40, 30
NODE_LEFT, NODE_WIDTH, LANE = 8, 250, 14


def squarified(areas: Sequence[float], box: Box) -> list[Box]:
    """A rectangle for each area, together the box, each as square as it comes (Bruls et al. 2000). Areas descend and
    add up to that of the box.
    """
    x, y, width, height = box
    if not areas:
        return []
    side, row = min(width, height), 1
    while row < len(areas) and _worst(areas[:row + 1], side) <= _worst(areas[:row], side):
        row += 1
    thick = sum(areas[:row]) / side
    placed, at = [], 0.0
    for area in areas[:row]:
        long = area / thick
        placed.append((x, y + at, thick, long) if width >= height else (x + at, y, long, thick))
        at += long
    rest = (x + thick, y, width - thick, height) if width >= height else (x, y + thick, width, height - thick)
    return placed + squarified(areas[row:], rest)


def _worst(areas, side):
    """The worst ratio of sides in a row."""
    thick = sum(areas) / side
    return max(max(thick / (a / thick), (a / thick) / thick) for a in areas)


def chip_side_um(chip: Chip) -> float:
    """Side of the whole chip as a square."""
    return math.sqrt(sum(b.area_um2 for c in chip.chunks for b in c.blocks))


def chip_drawing(chip: Chip, side_um: float) -> Markup:
    """Blocks with their true areas; `side_um` is the width of the drawing. Places are not those of a layout."""
    chunks = [c for c in chip.chunks if any(b.area_um2 > 0 for b in c.blocks)]
    areas = [sum(b.area_um2 for b in c.blocks) for c in chunks]
    scale = (WIDTH - 2) / side_um
    side = math.sqrt(sum(areas)) * scale
    order = sorted(range(len(chunks)), key=lambda n: -areas[n])
    boxes = squarified([areas[n] * scale**2 for n in order], (1, 1, side, side))
    drawn = [_chunk(chunks[n], box) for n, box in zip(order, boxes)]
    ruler = 10 ** math.floor(math.log10(side_um / 2))
    length, y = ruler * scale, side + 16
    scale_bar = join([tag("line", x1=1, x2=1 + length, y1=y, y2=y, class_="ruler"),
                      tag("text", f"{ruler:g} µm", x=length + 8, y=y + 4, class_="tick")])
    return tag("svg", drawn, scale_bar, viewBox=f"0 0 {WIDTH} {side + 26:.6g}", role="img", class_="chart chip",
               aria_label=f"{chip.title}: blocks to scale")


def _chunk(chunk: Chunk, box: Box) -> Markup:
    blocks = sorted((b for b in chunk.blocks if b.area_um2 > 0), key=lambda b: -b.area_um2)
    whole = sum(b.area_um2 for b in blocks)
    share = box[2] * box[3] / whole
    boxes = squarified([b.area_um2 * share for b in blocks], box)
    x, y, width, height = box
    return tag("g", [_block(b, place, chunk.name, whole) for b, place in zip(blocks, boxes)],
               tag("rect", x=x, y=y, width=width, height=height, class_="chunk"))


def _block(block: Block, box: Box, chunk: str, whole: float) -> Markup:
    x, y, width, height = box
    grid = f", {block.grid[0]} x {block.grid[1]} PEs" if block.grid else ""
    tip = f"{chunk}: {block.name}{grid}\n{block.area_um2:,.0f} µm², {100 * block.area_um2 / whole:.3g} % of it"
    label = None
    if width > 6.2 * len(block.name) + 6 and height > HEAD + 2:
        label = tag("text", block.name, x=x + 4, y=y + HEAD, class_="block-name")
    elif height > 6.2 * len(block.name) + 6 and width > HEAD + 2:
        label = tag("text", block.name, x=x + HEAD, y=y + height - 4, class_="block-name",
                    transform=f"rotate(-90 {x + HEAD:.6g} {y + height - 4:.6g})")
    lines = _pe_lines(block.grid, box) if block.grid else None
    return tag("g", tag("rect", x=x, y=y, width=width, height=height, class_=f"block {block.kind}"), lines, label,
               data_tip=tip)


def _pe_lines(grid, box):
    x, y, width, height = box
    rows, cols = (min(n, MOST_PES) for n in grid)
    steps = " ".join([*(f"M{x + width * n / cols:.2f} {y:.2f}v{height:.2f}" for n in range(1, cols)),
                      *(f"M{x:.2f} {y + height * n / rows:.2f}h{width:.2f}" for n in range(1, rows))])
    return tag("path", d=steps or f"M{x:.2f} {y:.2f}", class_="pes")


def network_drawing(network: Network) -> Markup:
    """Layers from top to bottom, a box each with its share of the cycles; what skips a layer goes along the right."""
    place = {"input": 0} | {layer.name: n for n, layer in enumerate(network.layers, 1)}
    most = max(layer.cycles for layer in network.layers)
    edges, lanes, drawn = [], [], []
    for n, layer in enumerate(network.layers, 1):
        for source in layer.reads:
            edges.append((place[source], n, source == layer.reads[-1] and len(layer.reads) > 1))
    for begin, end, added in sorted(edges, key=lambda e: e[1] - e[0]):
        if end - begin == 1 and not added:
            x = NODE_LEFT + NODE_WIDTH / 2
            drawn.append(tag("path", d=f"M{x} {begin * ROW + BOX + 2}V{end * ROW + 2}", class_="edge",
                             marker_end="url(#arrow)"))
            continue
        lane = next(i for i in range(len(lanes) + 1) if i == len(lanes) or all(
            b >= end or e <= begin for b, e in lanes[i]))
        lanes += [[]] if lane == len(lanes) else []
        lanes[lane].append((begin, end))
        x, out = NODE_LEFT + NODE_WIDTH, NODE_LEFT + NODE_WIDTH + LANE * (lane + 1)
        top, bottom = begin * ROW + 2 + BOX * 0.7, end * ROW + 2 + BOX * 0.3
        drawn.append(tag("path", d=f"M{x} {top:.1f}H{out - 5}q5 0 5 5V{bottom - 5:.1f}q0 5 -5 5H{x}",
                         class_="edge added" if added else "edge", marker_end="url(#arrow)"))
    nodes = [_node(0, "input", "", network.input, None)]
    nodes += [tag("a", _node(n, layer.name, f"{layer.kind} of {layer.shape}", layer.output, layer, most),
                  href=f"#layer-{n}") for n, layer in enumerate(network.layers, 1)]
    arrow = tag("defs", tag("marker", tag("path", d="M0 0L6 3L0 6z", class_="head"), id="arrow", viewBox="0 0 6 6",
                            refX=6, refY=3, markerWidth=6, markerHeight=6, orient="auto"))
    width = max(WIDTH, NODE_LEFT + NODE_WIDTH + LANE * (len(lanes) + 1))
    return tag("svg", arrow, drawn, nodes, viewBox=f"0 0 {width} {(len(network.layers) + 1) * ROW}", role="img",
               class_="chart network", aria_label=f"network {network.name}: {len(network.layers)} layers")


def _node(n: int, name: str, about: str, output: str, layer: Layer | None, most: int = 1) -> Markup:
    y = n * ROW + 2
    tip, bar, colour = f"{name}: {output}", None, "outside"
    if layer:
        tip = (f"{name} on chunk {layer.chunk}: {about}, gives {output}\n{layer.macs:,} MACs, {layer.cycles:,} cycles, "
               f"utilisation {100 * layer.utilisation:.3g} %")
        width = (NODE_WIDTH - 8) * layer.cycles / most
        bar, colour = tag("rect", x=NODE_LEFT + 4, y=y + BOX - 4, width=width, height=2.5, class_="share"), \
            f"node{layer.chunk}"
    return tag("g", tag("rect", x=NODE_LEFT, y=y, width=NODE_WIDTH, height=BOX, rx=4, class_=f"node {colour}"),
               tag("text", _short(name, 22), x=NODE_LEFT + 7, y=y + 12, class_="node-name"),
               tag("text", output, x=NODE_LEFT + NODE_WIDTH - 7, y=y + 12, class_="tick end"),
               tag("text", _short(about, 40), x=NODE_LEFT + 7, y=y + 23, class_="tick") if layer else None, bar,
               data_tip=tip)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length - 1] + "…"
