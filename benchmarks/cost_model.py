"""Evaluations per second of the cost model (layer x mapping x chip): prints one JSON line."""

import argparse
import json
import time

import torch

from dna_asic.cost import ChipBatch, LayerBatch, MappingBatch, Prices, evaluate
from dna_asic.cost.nest import OrderBatch
from dna_asic.spec.accelerator import ALL_ORDERS, ORDERS, AcceleratorConfig, ChunkConfig, Reduction
from dna_asic.spec.dims import DIMS
from dna_asic.spec.layer import LayerShape
from dna_asic.technology import load_technology

G, K, C, P, Q, R, S = DIMS
LAYERS = (
    LayerShape(k=64, c=32, p=16, q=16, r=3, s=3, pad=1, h=16, w=16),
    LayerShape(g=64, k=1, c=1, p=16, q=16, r=5, s=5, pad=2, h=16, w=16),
    LayerShape(k=128, c=64, p=8, q=8, h=8, w=8, has_residual=True),
)


def chips(count: int, generator: torch.Generator) -> list[AcceleratorConfig]:
    """Chips of random widths."""
    pick = lambda options: options[int(torch.randint(len(options), (), generator=generator))]  # noqa: E731
    return [AcceleratorConfig(
        name="bench", port_bytes=pick((8, 16)), memory_latency_cycles=20, clk_period_ns=1.0, chunks=(ChunkConfig(
            pe_rows=pick((4, 8)), pe_cols=pick((4, 8)), row_dim=K, col_dim=C, reduction=Reduction.TREE,
            n_w=pick((1, 4)), n_i=pick((1, 4)), n_o=pick((1, 2)), n_pp=pick((2, 8)), rf_w_words=8,
            rf_i_words=8, rf_o_words=8, gb_w_bytes=8192, gb_i_bytes=8192, gb_o_bytes=8192),),
    ) for _ in range(count)]


def random_tilings(rows: int, generator: torch.Generator) -> MappingBatch:
    """Factors of 1 to 3, any of the loop orders; legal or not."""
    options = {name: getattr(ALL_ORDERS, name) for name in ORDERS}
    return MappingBatch.from_tensor(
        torch.randint(1, 4, (rows, 4, 7), generator=generator),
        {name: OrderBatch(table, torch.randint(len(table), (rows,), generator=generator))
         for name, table in options.items()})


def main():
    """Time random tilings on random chips."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=16384, help="candidates per call (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=20, help="timed calls per layer (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="torch threads (default: %(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    generator = torch.Generator().manual_seed(0)
    accelerators = chips(64, generator)
    index = torch.randint(64, (args.rows,), generator=generator)
    batch = ChipBatch.from_configs(accelerators).take(index)
    prices = Prices.of(accelerators, load_technology("asic-28nm")).take(index)
    mapping = random_tilings(args.rows, generator)
    layers = [LayerBatch.from_shapes([layer]) for layer in LAYERS]
    evaluate(layers[0], batch, mapping, prices)
    start = time.perf_counter()
    for _ in range(args.calls):
        for layer in layers:
            evaluate(layer, batch, mapping, prices)
    seconds = time.perf_counter() - start
    print(json.dumps({
        "benchmark": "cost_model", "evaluations_per_s": round(args.calls * len(LAYERS) * args.rows / seconds),
        "rows": args.rows, "threads": args.threads, "seconds": round(seconds, 3)}))


if __name__ == "__main__":
    main()
