"""NASAIC's accelerator templates, sized for a network by this project's cost model and mapper.

Source: Yang et al., arXiv 2002.04116. NASAIC's are the three templates (dla after NVDLA, shi after ShiDianNao, rs: row
stationary, as its estimator MAESTRO describes them: which loop dims are spatial and what stays in the PEs), and that a
template is sized by its number of PEs, at most 4096, and its bandwidth.

This project's assumptions: the PEs are the chunk of DESIGN 5, with this project's register files, global buffers and
psum reduction, so that a template can be generated like any chip; a template runs alone, not as one of two
sub-accelerators; bandwidth is the memory port (up to the run's) and `width`, the limit of every fill, drain and
post-processing width. What is searched, relative to the run's own chip, says `Grid`. Clock, memory latency and node are
the run's, and so is the area that none may exceed.

Sizing: every point of the grid under the area cap is priced with few tilings per layer; the best by EDP are then
mapped as the run's own design is, and the best of those is the template.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from dna_asic.cost import ChipBatch, LayerBatch, Prices, area_um2, evaluate_design
from dna_asic.errors import InfeasibleDesign
from dna_asic.gads.space import widest
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.optimise import Mapper, group_kinds
from dna_asic.mapping.tilings import OBJECTIVES, QUICK, Effort, search_tilings
from dna_asic.spec.accelerator import AcceleratorConfig, ChunkConfig, LoopOrders, Mapping, Reduction, loop_order
from dna_asic.spec.design import Design
from dna_asic.spec.dims import DIMS, Dim, Operand
from dna_asic.spec.layer import LayerShape
from dna_asic.spec.report import CostReport
from dna_asic.technology import Technology

G, K, C, P, Q, R, S = DIMS
MAX_PES = 4096
PORTS = (8, 16, 32, 64)
BATCH = 32  # chips screened at once
Progress = Callable[[int, int], None]  # (chips screened now, chips to screen in all)


@dataclass(frozen=True, kw_only=True)
class Template:
    """A dataflow. rows: PE rows to try, or None for any power of two. rf_words: (W, I, O) to try; a PE's, per half.

    orders: loop orders of all its layers; what the innermost loops at the global buffer do not move stays in the PEs.
    """

    name: str
    row_dim: Dim
    col_dim: Dim
    reduction: Reduction
    orders: LoopOrders
    rf_words: tuple[tuple[int, int, int], ...]
    rows: tuple[int, ...] | None = None


def _orders(rf: str, gb: str) -> LoopOrders:
    return LoopOrders(rf_order=(loop_order(rf),), gb_order=(loop_order(gb),), dram_order=((C, Q, P, K, G),))


TEMPLATES = (
    Template(name="dla", row_dim=K, col_dim=C, reduction=Reduction.TREE, rf_words=((1, 8, 8), (4, 16, 16)),
             orders=_orders("Q P S R C K G", "Q P S R C K G")),  # weights stay over pixels
    Template(name="shi", row_dim=P, col_dim=Q, reduction=Reduction.TREE, rf_words=((9, 9, 1), (16, 16, 4)),
             orders=_orders("S R C Q P K G", "S R C K Q P G")),  # psums stay
    Template(name="rs", row_dim=R, col_dim=P, reduction=Reduction.DRAIN, rf_words=((4, 6, 4), (12, 12, 8)),
             orders=_orders("S C Q K P R G", "Q S R C K P G"),  # kernel rows stay along an input row
             rows=(3, 5)),
)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What is tried. pes: least and most, as factors on the run's PEs (array sides are powers of two, their ratio at
    most 2). gb_w, gb_i, gb_o: factors on the run's buffers. width: words per cycle of a fill or drain and
    post-processing lanes, at most.
    """

    pes: tuple[float, float] = (0.25, 4.0)
    gb_w: tuple[float, ...] = (0.5, 1.0)
    gb_i: tuple[float, ...] = (0.5, 1.0)
    gb_o: tuple[float, ...] = (0.5, 1.0, 2.0)
    width: tuple[int, ...] = (2, 8)


@dataclass(frozen=True, kw_only=True)
class SizedTemplate:
    """The chosen chip, its mappings and cost. points: chips of the grid under the area cap; evaluations: tilings."""

    accelerator: AcceleratorConfig
    mappings: dict[str, Mapping]
    report: CostReport
    points: int
    evaluations: int


def nasaic_accelerators(
    design: Design, technology: Technology, templates: Sequence[Template] = TEMPLATES, grid: Grid = Grid(),
    finalists: int = 8, effort: Effort | None = None, progress: Progress = lambda now, total: None,
) -> dict[str, SizedTemplate | InfeasibleDesign]:
    """Each template, by name, sized for the design's network; the error where no point of its grid can run it."""
    area_mm2 = sum(area_um2(design.accelerator, technology).values()) * 1e-6
    candidates = {t.name: points(t, design.accelerator, grid, area_mm2, technology) for t in templates}
    orders = {t.name: t.orders for t in templates}
    total = sum(map(len, candidates.values()))
    sized = {}
    for name, chips in candidates.items():
        try:
            sized[name] = _size(name, chips, orders[name], design, technology, finalists, effort,
                                lambda now: progress(now, total))
        except InfeasibleDesign as error:
            sized[name] = error
    return sized


def points(template: Template, run: AcceleratorConfig, grid: Grid, area_mm2: float,
           technology: Technology) -> list[AcceleratorConfig]:
    """Chips of the template's grid that take no more area than `area_mm2`."""
    chips = [_chip(template, run, *choice) for choice in itertools.product(
        _arrays(template, run.pes, grid), template.rf_words,
        itertools.product(grid.gb_w, grid.gb_i, grid.gb_o), grid.width,
        [port for port in PORTS if port <= run.port_bytes])]
    areas = Prices.of(chips, technology).area_mm2.tolist()
    return [chip for chip, area in zip(chips, areas, strict=True) if area <= area_mm2]


def _arrays(template: Template, pes: int, grid: Grid) -> Iterator[tuple[int, int]]:
    """(rows, columns) near the wanted number of PEs."""
    sides = [2**n for n in range(7)]
    for rows, cols in itertools.product(template.rows or sides, sides):
        square = template.rows is not None or max(rows, cols) <= 2 * min(rows, cols)
        if square and grid.pes[0] * pes <= rows * cols <= min(grid.pes[1] * pes, MAX_PES):
            yield rows, cols


def template_chunk(template: Template, array: tuple[int, int], *, rf_words: tuple[int, int, int],
                   gb_bytes: tuple[int, int, int], fill: int, drain: int, lanes: int) -> ChunkConfig:
    """A chunk of the template's dataflow. array: rows and columns; rf_words, gb_bytes: of W, I, O.

    fill, drain: limits of the widths of W and I, and of O, in words a cycle; lanes: of post-processing.
    """
    narrow = ChunkConfig(
        pe_rows=array[0], pe_cols=array[1], row_dim=template.row_dim, col_dim=template.col_dim,
        reduction=template.reduction, n_w=1, n_i=1, n_o=1, n_pp=lanes,
        **{f"rf_{x.name.lower()}_words": words for x, words in zip(Operand, rf_words, strict=True)},
        **{f"gb_{x.name.lower()}_bytes": size for x, size in zip(Operand, gb_bytes, strict=True)})
    limits = {Operand.W: fill, Operand.I: fill, Operand.O: drain}
    return dataclasses.replace(narrow, **{f"n_{x.name.lower()}": widest(limit, narrow.lane_extent(x))
                                          for x, limit in limits.items()})


def _chip(template, run, array, rf_words, gb, width, port):
    sizes = tuple(_scaled(run, f"gb_{x.name.lower()}_bytes", factor) for x, factor in zip(Operand, gb, strict=True))
    chunk = template_chunk(template, array, rf_words=rf_words, gb_bytes=sizes, fill=width, drain=width,
                           lanes=min(width, port))
    return dataclasses.replace(run, name=template.name, port_bytes=port, chunks=(chunk,))


def _scaled(run, buffer, factor):
    """Bytes of a buffer, over the run's chunks, times a power of two: a power of two within what a chunk may have."""
    size = int(sum(getattr(chunk, buffer) for chunk in run.chunks) * factor)
    return min(max(1 << size.bit_length() - 1, 1024), 512 * 1024)


def _size(name, chips, orders, design, technology, finalists, effort, progress) -> SizedTemplate:
    edp, evaluations = [], 0
    for start in range(0, len(chips), BATCH):
        values, priced = _screen(chips[start:start + BATCH], orders, design, technology)
        edp += values
        evaluations += priced
        progress(len(values))
    order = sorted((value, i) for i, value in enumerate(edp) if math.isfinite(value))[:finalists]
    if not order:
        raise InfeasibleDesign(f"Template '{name}': none of {len(chips)} sizes under the area cap runs network "
                               f"'{design.network.name}'; enlarge the cap.")
    mapped = [_map(chips[i], orders, design, technology, effort) for _, i in order]
    best = min(mapped, key=lambda m: m.report.edp_js)
    return dataclasses.replace(best, points=len(chips), evaluations=evaluations + sum(m.evaluations for m in mapped))


def _screen(chips: Sequence[AcceleratorConfig], orders: LoopOrders, design: Design,
            technology: Technology) -> tuple[list[float], int]:
    """EDP of the network on each chip, pJ x cycles, infinite where a layer finds no tiling; and tilings priced."""
    prices, evaluations = Prices.of(chips, technology), 0
    energy, cycles = torch.zeros(2, len(chips), dtype=torch.float64)
    for port in sorted({chip.port_bytes for chip in chips}):
        shapes: list[LayerShape] = [shape for _, shape in hardware_shapes(design.network, port)]
        mine = [i for i, chip in enumerate(chips) if chip.port_bytes == port]
        unique = sorted(set(shapes), key=repr)
        for layers in group_kinds(unique):
            layer, chip = (torch.tensor(x) for x in zip(*itertools.product(layers, mine), strict=True))
            found = search_tilings(
                LayerBatch.from_shapes([unique[i] for i in layer]), ChipBatch.from_configs([chips[i] for i in chip]),
                prices.take(chip), OBJECTIVES["edp"], torch.Generator().manual_seed(design.seed), QUICK, orders=orders)
            times = torch.tensor([shapes.count(unique[i]) for i in layer])
            energy.index_add_(0, chip, found.energy_pj * times)
            cycles.index_add_(0, chip, torch.where(found.score.isfinite(), (found.cycles * times).double(), torch.inf))
            evaluations += found.evaluations
    return (energy * cycles).tolist(), evaluations


def _map(chip, orders, design, technology, effort) -> SizedTemplate:
    """The chip as the run's own design is mapped and priced."""
    layers = hardware_shapes(design.network, chip.port_bytes)
    mapper = Mapper(chip, technology, effort=effort, seed=design.seed, orders=orders)
    mapped = mapper.network([shape for _, shape in layers])
    mappings = dict(zip((name for name, _ in layers), mapped.mappings, strict=True))
    report = evaluate_design(layers, chip, mappings, technology)
    return SizedTemplate(accelerator=chip, mappings=mappings, report=report, points=1, evaluations=mapped.evaluations)
