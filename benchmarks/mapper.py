"""Tilings per second of the cost model and mapper, batched against one at a time: prints one JSON line."""

import argparse
import json
import time
from collections.abc import Callable

import torch

from benchmarks.cost_model import LAYERS, chips, random_tilings
from dna_asic.cost import ChipBatch, LayerBatch, MappingBatch, Prices, evaluate
from dna_asic.mapping.tilings import OBJECTIVES, QUICK, search_tilings
from dna_asic.technology import load_technology

SCORE = OBJECTIVES["edp"]


def rate(work: Callable[[], int], seconds: float) -> float:
    """Tilings per second of `work`, which returns how many it priced; called once unmeasured, then for `seconds`."""
    work()
    priced, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        priced += work()
    return priced / elapsed


def pricing(layers: LayerBatch, batch: ChipBatch, prices: Prices, tilings: MappingBatch) -> Callable[[], int]:
    """Price `tilings`, legal or not, one per pair."""
    def work() -> int:
        evaluate(layers, batch, tilings, prices)
        return len(batch)
    return work


def mapping(layers: LayerBatch, batch: ChipBatch, prices: Prices) -> Callable[[], int]:
    """Search tilings of all pairs; only legal ones are priced and counted."""
    return lambda: search_tilings(layers, batch, prices, SCORE, torch.Generator().manual_seed(0), QUICK).evaluations


def main():
    """Time both, for `--pairs` (layer, chip) pairs together and for one pair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=256, help="pairs mapped together (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=8192, help="tilings priced together (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="time of each measurement (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default: %(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    generator = torch.Generator().manual_seed(0)
    accelerators = chips(64, generator)
    batch, layer = ChipBatch.from_configs(accelerators), LayerBatch.from_shapes([LAYERS[0]])
    prices = Prices.of(accelerators, load_technology("asic-28nm"))

    def rows(count):
        index = torch.arange(count)
        return layer.take(index * 0), batch.take(index % 64), prices.take(index % 64)

    rates = {"price_batched": rate(pricing(*rows(args.rows), random_tilings(args.rows, generator)), args.seconds),
             "price_single": rate(pricing(*rows(1), random_tilings(1, generator)), args.seconds),
             "map_batched": rate(mapping(*rows(args.pairs)), args.seconds),
             "map_single": rate(mapping(*rows(1)), args.seconds)}
    print(json.dumps({
        "benchmark": "mapper", "tilings_per_s": {name: round(value) for name, value in rates.items()},
        "price_ratio": round(rates["price_batched"] / rates["price_single"], 1),
        "map_ratio": round(rates["map_batched"] / rates["map_single"], 1),
        "pairs": args.pairs, "rows": args.rows, "threads": args.threads}))


if __name__ == "__main__":
    main()
