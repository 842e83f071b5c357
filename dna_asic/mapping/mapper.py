"""Plain mappings: one that any layer has, and random legal ones (assignments too) for tests. `optimise` looks for good
ones.
"""

import random
from dataclasses import replace

from dna_asic.errors import InfeasibleDesign
from dna_asic.spec.accelerator import AcceleratorConfig, ChunkConfig, Mapping
from dna_asic.spec.dims import DIMS, DRAM_DIMS, Dim
from dna_asic.spec.geometry import ceil_div, mapping_faults, output_unit
from dna_asic.spec.layer import LayerShape, NetworkSpec
from dna_asic.spec.pipeline import pipeline

G, K, C, P, Q, R, S = DIMS
_ONES = (1,) * len(DIMS)
_GROWING = (C, K, G, Q, P)  # dims whose global-buffer tile grows, the most useful first


def trivial_mapping(layer: LayerShape, accelerator: AcceleratorConfig, chunk: ChunkConfig) -> Mapping:
    """A legal mapping: one word per register file, the widest spatial factors, tiles as large as they fit.

    Raises InfeasibleDesign when none of this form exists, with the rules that the smallest tile breaks.
    """
    faults = None
    for noc in _spatial_choices(layer, chunk):
        smallest = _with_tile(layer, noc, _smallest_tile(layer, chunk, accelerator.port_bytes))
        broken = list(mapping_faults(layer, accelerator, chunk, smallest))
        if not broken:
            return _grown(layer, accelerator, chunk, smallest)
        faults = faults or broken
    raise InfeasibleDesign("\n".join((
        "No mapping: even the smallest tile does not fit; enlarge the buffers.", *faults)))


def _spatial_choices(layer, chunk):
    """NoC factors: both dims spread, one of them, none."""
    row, col = _widest(layer, chunk, "row"), _widest(layer, chunk, "col")
    for rows, cols in dict.fromkeys(((row, col), (1, col), (row, 1), (1, 1))):
        noc = list(_ONES)
        noc[chunk.row_dim], noc[chunk.col_dim] = rows, cols
        yield tuple(noc)


def _widest(layer, chunk, axis):
    """Largest legal factor on an axis that wastes less than one step."""
    dim, extent = chunk.axes[axis]
    step, bound = chunk.lane_unit(axis), _spatial_bound(layer, chunk, dim)
    if dim is K and layer.k_segments > 1:
        bound //= layer.k_segments
    return max(1, min(extent // step * step, ceil_div(bound, step) * step)) if bound > 1 else 1


def _spatial_bound(layer, chunk, dim):
    """Bound of a spatial dim, 1 where the layer may not be spread along it."""
    barred = (dim is R and layer.maximum) or (dim is G and chunk.wide_group_lanes and not layer.depthwise)
    return 1 if barred else layer.bounds[dim]


def _smallest_tile(layer, chunk, port):
    """Smallest global-buffer tile that is aligned."""
    tile, unit = list(_ONES), output_unit(layer, chunk, port)
    tile[P] = tile[Q] = layer.pool_window
    tile[R], tile[S] = layer.r, layer.s
    tile[C] = min(layer.c, port)
    tile[K] = layer.k // layer.k_segments if layer.k_segments > 1 else min(layer.k, unit)
    tile[G] = min(layer.g, unit) if layer.depthwise else 1
    return tile


def _with_tile(layer, noc, tile):
    """Mapping with one word per register file whose tile covers `tile`."""
    gb = tuple(ceil_div(tile[d], noc[d]) for d in DIMS)
    return Mapping(rf=_ONES, noc=noc, gb=gb, dram=tuple(ceil_div(layer.bounds[d], gb[d] * noc[d]) for d in DIMS))


def _grown(layer, accelerator, chunk, mapping):
    """Double the tile in one dim after another while the result is legal."""
    for d in _GROWING:
        while mapping.dram[d] > 1:
            tile = [a * b for a, b in zip(mapping.gb, mapping.noc, strict=True)]
            tile[d] = min(2 * tile[d], layer.bounds[d] if d not in (P, Q) else
                          ceil_div(layer.bounds[d], layer.pool_window) * layer.pool_window)
            larger = _with_tile(layer, mapping.noc, tile)
            if larger == mapping or any(mapping_faults(layer, accelerator, chunk, larger)):
                break
            mapping = larger
    return mapping


def random_mapping(layer: LayerShape, accelerator: AcceleratorConfig, chunk: ChunkConfig, rng: random.Random,
                   tries: int = 3000) -> Mapping:
    """A random legal mapping; the trivial one when `tries` draws find none."""
    for _ in range(tries):
        mapping = _draw(layer, accelerator.port_bytes, chunk, rng)
        if not any(mapping_faults(layer, accelerator, chunk, mapping)):
            return mapping
    return trivial_mapping(layer, accelerator, chunk)


def _draw(layer, port, chunk, rng):
    rf, noc, gb, dram = (list(_ONES) for _ in range(4))
    for axis, (dim, extent) in chunk.axes.items():
        step, bound = chunk.lane_unit(axis), _spatial_bound(layer, chunk, dim)
        if bound > 1 and rng.random() < 0.8:
            noc[dim] = rng.randrange(step, min(extent, ceil_div(bound, step) * step) + 1, step)
    for d in DIMS:
        left = ceil_div(layer.bounds[d], noc[d])
        single = chunk.crossed and d in (R, P)
        rf[d] = rng.randint(1, min(left, 4)) if rng.random() < 0.6 and not single else 1
        left = ceil_div(left, rf[d])
        gb[d] = left if d in (R, S) or rng.random() < 0.4 else rng.randint(1, left)
        if d in (P, Q) and layer.pool_window > 1 and rf[d] * noc[d] * gb[d] % layer.pool_window:
            gb[d] = gb[d] * layer.pool_window
        dram[d] = ceil_div(layer.bounds[d], rf[d] * noc[d] * gb[d])
    mapping = Mapping(rf=tuple(rf), noc=tuple(noc), gb=tuple(gb), dram=tuple(dram), **random_orders(rng))
    return _segmented(layer, mapping) if layer.k_segments > 1 and layer.g > 1 else mapping


def random_assignment(network: NetworkSpec, chunks: int, rng: random.Random, tries: int = 100) -> dict[str, int]:
    """A random chunk for each layer, such that no tensor needs too many copies; chunk 0 for all when `tries` draws find
    none.
    """
    for _ in range(tries):
        assignment = {layer.name: rng.randrange(chunks) for layer in network.layers}
        try:
            pipeline(network, assignment, chunks)
        except InfeasibleDesign:
            continue
        return assignment
    return {layer.name: 0 for layer in network.layers}


def random_orders(rng: random.Random) -> dict[str, tuple[Dim, ...]]:
    """Loop orders of a Mapping, any that the hardware runs."""
    shuffled = lambda dims: tuple(rng.sample(dims, len(dims)))  # noqa: E731
    return {"rf_order": shuffled(DIMS), "gb_order": shuffled(DIMS),
            "dram_order": (C, *shuffled([d for d in DRAM_DIMS if d is not C]))}


def _segmented(layer, mapping):
    """One group and one segment a tile, as a shuffled layer needs; legal when the factors divide the segment."""
    segment = layer.k // layer.k_segments
    gb, dram, rf = list(mapping.gb), list(mapping.dram), list(mapping.rf)
    rf[G], gb[G], dram[G] = 1, 1, layer.g
    gb[K], dram[K] = max(1, segment // (rf[K] * mapping.noc[K])), layer.k_segments
    return replace(mapping, rf=tuple(rf), gb=tuple(gb), dram=tuple(dram))
