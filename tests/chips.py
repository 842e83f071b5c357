"""Small chips of every built kind, one chunk or several side by side."""

import random
from dataclasses import replace

from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.mapper import random_assignment, random_mapping
from dna_asic.spec.accelerator import AcceleratorConfig, ChunkConfig, Reduction
from dna_asic.spec.dims import DIMS
from dna_asic.spec.layer import NetworkSpec

G, K, C, P, Q, R, S = DIMS
CHIPS = {  # rows, cols, pair, reduction, (n_w, n_i, n_o, n_pp), RF words, port bytes
    "kc-tree-4x4": (4, 4, (K, C), "tree", (4, 2, 2, 4), (8, 16, 8), 8),
    "kc-tree-2x3": (2, 3, (K, C), "tree", (1, 1, 2, 1), (4, 8, 1), 8),
    "kc-drain-4x4": (4, 4, (K, C), "drain", (2, 4, 4, 2), (8, 16, 4), 16),
    "kc-drain-3x6": (3, 6, (K, C), "drain", (2, 2, 1, 8), (1, 9, 4), 8),
    "kc-tree-1x8": (1, 8, (K, C), "tree", (8, 8, 1, 2), (2, 4, 16), 8),
    "kc-tree-16x2": (16, 2, (K, C), "tree", (2, 2, 16, 8), (4, 4, 4), 16),
    "kc-tree-1x1": (1, 1, (K, C), "tree", (1, 1, 1, 1), (1, 1, 1), 8),
    "pq-4x4": (4, 4, (P, Q), "tree", (1, 1, 1, 4), (12, 20, 4), 8),
    "pq-3x2": (3, 2, (P, Q), "tree", (1, 1, 1, 16), (4, 25, 9), 16),
}


def make_chip(name: str) -> AcceleratorConfig:
    """The chip of that name."""
    rows, cols, (row_dim, col_dim), reduction, (n_w, n_i, n_o, n_pp), (w, i, o), port = CHIPS[name]
    chunk = ChunkConfig(
        pe_rows=rows, pe_cols=cols, row_dim=row_dim, col_dim=col_dim, reduction=Reduction(reduction),
        n_w=n_w, n_i=n_i, n_o=n_o, n_pp=n_pp, rf_w_words=w, rf_i_words=i, rf_o_words=o,
        gb_w_bytes=16384, gb_i_bytes=8192, gb_o_bytes=8192)
    return AcceleratorConfig(name=name, chunks=(chunk,), port_bytes=port, memory_latency_cycles=8, clk_period_ns=1.0)


def make_chips(*names: str) -> AcceleratorConfig:
    """The chips of those names as the chunks of one, with the widest of their ports."""
    chips = [make_chip(name) for name in names]
    return replace(max(chips, key=lambda chip: chip.port_bytes), name="-".join(names),
                   chunks=tuple(chip.chunk for chip in chips))


def draw_design(chip: AcceleratorConfig, network: NetworkSpec, rng: random.Random):
    """(assignment, mappings): random, the mappings legal on each layer's chunk."""
    assignment = random_assignment(network, len(chip.chunks), rng)
    return assignment, {
        name: random_mapping(shape, alone, alone.chunk, rng)
        for name, shape in hardware_shapes(network, chip.port_bytes) for alone in [chip.alone[assignment[name]]]}
