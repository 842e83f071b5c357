"""Small chips: some written by hand, one of every spatial pair, reduction and delivery; chunks side by side."""

import dataclasses
import itertools
import random

from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.mapper import random_assignment, random_mapping
from dna_asic.spec.accelerator import SPATIAL_DIMS, AcceleratorConfig, ChunkConfig, Delivery, Reduction
from dna_asic.spec.dims import DIMS, REDUCTION, Operand
from dna_asic.spec.instruction import INSTRUCTION_BYTES, Instruction
from dna_asic.spec.layer import NetworkSpec
from dna_asic.spec.program import Program

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


KINDS = {f"{row.name}{col.name}-{reduction.value}-{delivery.value}".lower(): (row, col, reduction, delivery)
         for row, col in itertools.permutations(SPATIAL_DIMS, 2) for reduction in Reduction for delivery in Delivery
         if reduction is Reduction.TREE or {row, col} & REDUCTION}
# Each dim on rows and on columns, each reduction on rows, columns and both, each delivery.
QUICK_KINDS = ("rp-drain-systolic", "gc-tree-multicast", "cr-tree-systolic", "pr-tree-multicast", "qg-tree-systolic",
               "kq-tree-multicast", "rc-drain-multicast", "ck-drain-systolic", "kc-drain-systolic")


def kind_chip(name: str, rng: random.Random | None = None) -> AcceleratorConfig:
    """A chip of that kind; array, widths and memories are drawn."""
    rng, (row_dim, col_dim, reduction, delivery) = rng or random.Random(name), KINDS[name]
    rows, cols = rng.choice(((2, 3), (3, 2), (3, 4), (4, 4), (2, 4), (4, 2)))
    port = rng.choice((8, 16))
    narrow = ChunkConfig(
        pe_rows=rows, pe_cols=cols, row_dim=row_dim, col_dim=col_dim, reduction=reduction, delivery=delivery,
        n_w=1, n_i=1, n_o=1, n_pp=rng.choice((1, 2, 8)), rf_w_words=rng.choice((4, 9)), rf_i_words=rng.choice((12, 25)),
        rf_o_words=rng.choice((1, 4, 8)), gb_w_bytes=32768, gb_i_bytes=8192, gb_o_bytes=8192)
    widths = {f"n_{x.name.lower()}": rng.choice([n for n in (1, 2, 4) if narrow.lane_extent(x) % n == 0])
              for x in Operand}
    return AcceleratorConfig(name=name, chunks=(dataclasses.replace(narrow, **widths),), port_bytes=port,
                             memory_latency_cycles=8, clk_period_ns=1.0)


def make_chip(name: str) -> AcceleratorConfig:
    """The chip of that name."""
    if name in KINDS:
        return kind_chip(name)
    rows, cols, (row_dim, col_dim), reduction, (n_w, n_i, n_o, n_pp), (w, i, o), port = CHIPS[name]
    chunk = ChunkConfig(
        pe_rows=rows, pe_cols=cols, row_dim=row_dim, col_dim=col_dim, reduction=Reduction(reduction),
        n_w=n_w, n_i=n_i, n_o=n_o, n_pp=n_pp, rf_w_words=w, rf_i_words=i, rf_o_words=o,
        gb_w_bytes=16384, gb_i_bytes=8192, gb_o_bytes=8192)
    return AcceleratorConfig(name=name, chunks=(chunk,), port_bytes=port, memory_latency_cycles=8, clk_period_ns=1.0)


def make_chips(*names: str) -> AcceleratorConfig:
    """The chips of those names as the chunks of one, with the widest of their ports."""
    chips = [make_chip(name) for name in names]
    return dataclasses.replace(max(chips, key=lambda chip: chip.port_bytes), name="-".join(names),
                               chunks=tuple(chip.chunk for chip in chips))


def draw_design(chip: AcceleratorConfig, network: NetworkSpec, rng: random.Random):
    """(assignment, mappings): random, the mappings legal on each layer's chunk."""
    assignment = random_assignment(network, len(chip.chunks), rng)
    return assignment, {
        name: random_mapping(shape, alone, alone.chunk, rng)
        for name, shape in hardware_shapes(network, chip.port_bytes) for alone in [chip.alone[assignment[name]]]}


def without_waits(program: Program) -> Program:
    """The same, but that no layer waits for another chunk."""
    image = bytearray(program.image)
    for chunk in program.chunks:
        for k, layer in enumerate(chunk.layers):
            blind = {n: 0 if n.startswith("wait") else v for n, v in layer.instruction.values.items()}
            at = chunk.address + k * INSTRUCTION_BYTES
            image[at:at + INSTRUCTION_BYTES] = Instruction(blind).encode()
    return dataclasses.replace(program, image=bytes(image))
