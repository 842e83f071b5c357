"""The points: the presets, and random ones from 2 x 2 PEs on; and the small network that runs on each of them."""

import dataclasses
import itertools
import random
from collections.abc import Sequence

from dna_asic.errors import InfeasibleDesign
from dna_asic.gads.presets import presets
from dna_asic.spec.accelerator import SPATIAL_DIMS, AcceleratorConfig, ChunkConfig, Delivery, Reduction
from dna_asic.spec.dims import REDUCTION, Operand
from dna_asic.spec.layer import LayerSpec, NetworkSpec
from sim.integers import conv_shape

ARRAYS = ((2, 2), (4, 4), (2, 4), (4, 2), (3, 4), (8, 4), (4, 8), (2, 8), (8, 8), (6, 4), (4, 6), (16, 4), (8, 2))
MOST_RF_BITS = 30_000  # of a random point, all PEs together: synthesis in a minute
CHUNKS = (1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1)  # of one random point after another
MEMORY_LATENCY_CYCLES = 8
BEFORE_PRESETS = 20


def network() -> NetworkSpec:
    """The workload of every point: layers that fill arrays of any dims, and one that has its reductions apart."""
    layers = (LayerSpec(name="dense", shape=conv_shape(5, 5, k=16, c=4, kernel=3), source="input"),
              LayerSpec(name="pointwise", shape=conv_shape(3, 3, k=16, c=16), source="dense"),
              LayerSpec(name="pointwise_2", shape=conv_shape(3, 3, k=16, c=16), source="pointwise"),
              LayerSpec(name="depthwise", shape=conv_shape(3, 3, g=16, k=1, c=1, kernel=3, pad=1),
                        source="pointwise_2"))
    return NetworkSpec(name="silicon", input_shape=(4, 5, 5), layers=layers)


def assignment(chunks: int) -> dict[str, int]:
    """The chunk of each layer: in turn."""
    return {layer.name: n % chunks for n, layer in enumerate(network().layers)}


def points(count: int, seed: int, clk_period_ns: float) -> list[AcceleratorConfig]:
    """20 random points, the presets, more random ones; the first points are the same whatever the count."""
    rng, drawn = random.Random(f"silicon {seed}"), []
    named = [p.accelerator(name, clk_period_ns) for name, p in presets().items()]
    pairs = list(itertools.permutations(SPATIAL_DIMS, 2))
    rng.shuffle(pairs)
    for n in range(max(count - len(named), BEFORE_PRESETS)):
        port = rng.choice((8, 16))
        pair = pairs[n % len(pairs)]
        chunks = tuple(_draw(rng, pair if k == 0 else rng.choice(pairs), ARRAYS[(n + k) % len(ARRAYS)], port)
                       for k in range(CHUNKS[n % len(CHUNKS)]))
        drawn.append(AcceleratorConfig(name=f"point_{n:02}", chunks=chunks, port_bytes=port,
                                       clk_period_ns=clk_period_ns, memory_latency_cycles=MEMORY_LATENCY_CYCLES))
    return [*drawn[:BEFORE_PRESETS], *named, *drawn[BEFORE_PRESETS:]][:count]


def is_training(number: int) -> bool:
    """Whether the fit sees point `number` (from 0): two of three do."""
    return number % 3 != 2


def _draw(rng: random.Random, pair, array: Sequence[int], port: int) -> ChunkConfig:
    """A chunk with that pair and array; registers, widths, reduction, delivery and memories are drawn."""
    while True:
        reducing = set(pair) & REDUCTION
        narrow = {
            "pe_rows": array[0], "pe_cols": array[1], "row_dim": pair[0], "col_dim": pair[1],
            "reduction": rng.choice(tuple(Reduction)) if reducing else Reduction.TREE,
            "delivery": rng.choice(tuple(Delivery)), "n_w": 1, "n_i": 1, "n_o": 1, "n_pp": rng.choice((2, 4, 8)),
            "rf_w_words": rng.choice((1, 3, 4, 8, 12)), "rf_i_words": rng.choice((4, 6, 9, 16)),
            "rf_o_words": rng.choice((1, 2, 4, 8)), "gb_w_bytes": rng.choice((8192, 32768)),
            "gb_i_bytes": rng.choice((8192, 16384)), "gb_o_bytes": 16384}
        chunk = ChunkConfig(**narrow)
        words = chunk.pes * (8 * chunk.rf_w_words + 8 * chunk.rf_i_words + 32 * chunk.rf_o_words)
        if 2 * words > MOST_RF_BITS:
            continue
        widths = {f"n_{x.name.lower()}": rng.choice([w for w in (1, 2, 4, 8) if chunk.lane_extent(x) % w == 0])
                  for x in Operand}
        try:
            return dataclasses.replace(chunk, **widths)
        except InfeasibleDesign:
            continue
