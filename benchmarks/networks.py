"""Mapping of whole published networks on one chip: prints one JSON line per network and chip.

`edp_ratio` is the EDP over that of a search with a hundred times the effort; `worst_to_enumerated` of the last line is
the mapper's worst EDP over the enumerated optimum of small layers (`mapping.exhaustive`).
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence

import torch

from dna_asic.mapping.exhaustive import exhaust
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.optimise import MappedNetwork, Mapper
from dna_asic.mapping.tilings import Effort
from dna_asic.networks import known_network
from dna_asic.networks.known import NETWORKS
from dna_asic.spec.accelerator import AcceleratorConfig, ChunkConfig, Reduction
from dna_asic.spec.dims import DIMS
from dna_asic.spec.latency import RUN_CYCLES
from dna_asic.spec.layer import LayerShape
from dna_asic.technology import load_technology

G, K, C, P, Q, R, S = DIMS
TECHNOLOGY = load_technology("asic-28nm")
SMALL_LAYERS = (
    LayerShape(k=6, c=10, p=3, q=2, h=3, w=2),
    LayerShape(k=5, c=3, p=2, q=2, r=2, s=2, h=3, w=3),
    LayerShape(g=10, k=1, c=1, p=3, q=3, r=2, s=2, stride=2, h=6, w=6),
    LayerShape(k=20, c=33, p=1, q=1, h=1, w=1),
)


def chip(name: str, port_bytes: int, **chunk) -> AcceleratorConfig:
    """One chunk at 1 GHz."""
    return AcceleratorConfig(name=name, port_bytes=port_bytes, memory_latency_cycles=20, clk_period_ns=1.0,
                             chunks=(ChunkConfig(reduction=Reduction.TREE, **chunk),))


CHIPS = {c.name: c for c in (
    chip("kc-16x16", 16, row_dim=K, col_dim=C, pe_rows=16, pe_cols=16, n_w=16, n_i=16, n_o=8, n_pp=16, rf_w_words=4,
         rf_i_words=16, rf_o_words=16, gb_w_bytes=1 << 17, gb_i_bytes=1 << 17, gb_o_bytes=1 << 17),
    chip("pq-14x14", 16, row_dim=P, col_dim=Q, pe_rows=14, pe_cols=14, n_w=1, n_i=1, n_o=1, n_pp=16, rf_w_words=9,
         rf_i_words=16, rf_o_words=4, gb_w_bytes=1 << 17, gb_i_bytes=1 << 17, gb_o_bytes=1 << 17),
    chip("kc-4x4", 8, row_dim=K, col_dim=C, pe_rows=4, pe_cols=4, n_w=4, n_i=4, n_o=2, n_pp=8, rf_w_words=8,
         rf_i_words=16, rf_o_words=8, gb_w_bytes=1 << 15, gb_i_bytes=1 << 15, gb_o_bytes=1 << 15))}


def hundredfold(effort: Effort) -> Effort:
    """A hundred times as many candidates, with more survivors."""
    return dataclasses.replace(effort, width=effort.width * 20, rounds=effort.rounds * 5, keep=effort.keep * 8)


def edp_js(mapped: MappedNetwork, accelerator: AcceleratorConfig) -> float:
    """Of one inference."""
    return sum(mapped.energy_pj) * 1e-12 * (sum(mapped.cycles) + RUN_CYCLES) * accelerator.clk_period_ns * 1e-9


def measure(network: str, accelerator: AcceleratorConfig, seed: int, compare: bool) -> dict:
    """One line."""
    shapes = [shape for _, shape in hardware_shapes(known_network(network), accelerator.port_bytes)]
    start = time.perf_counter()
    mapped = Mapper(accelerator, TECHNOLOGY, seed=seed).network(shapes)
    seconds, edp = time.perf_counter() - start, edp_js(mapped, accelerator)
    line = {"benchmark": "networks", "network": network, "chip": accelerator.name, "seconds": round(seconds, 2),
            "layers": len(shapes), "shapes": len(set(shapes)), "evaluations": mapped.evaluations, "edp_js": edp}
    if compare:
        start = time.perf_counter()
        longer = Mapper(accelerator, TECHNOLOGY, effort=hundredfold(Effort()), seed=seed + 1).network(shapes)
        line |= {"edp_ratio": round(edp / edp_js(longer, accelerator), 5), "longer_evaluations": longer.evaluations,
                 "longer_seconds": round(time.perf_counter() - start, 1)}
    return line


def small_layers(chips: Sequence[AcceleratorConfig], seed: int) -> dict:
    """The mapper against the enumerated optimum."""
    ratios = []
    for accelerator in chips:
        best = [exhaust(layer, accelerator, TECHNOLOGY).score for layer in SMALL_LAYERS]
        found = Mapper(accelerator, TECHNOLOGY, seed=seed).costs(SMALL_LAYERS).prod(dim=1).tolist()
        ratios += [f / b for f, b in zip(found, best, strict=True)]
    return {"benchmark": "small_layers", "layers": len(ratios), "worst_to_enumerated": max(ratios)}


def main():
    """All networks on all chips, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=list(NETWORKS), action="append", help="default: all")
    parser.add_argument("--chip", choices=list(CHIPS), action="append", help="default: all")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="torch threads (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="without the search of a hundred times the effort")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    chips = [CHIPS[name] for name in args.chip or CHIPS]
    for network in args.network or NETWORKS:
        for accelerator in chips:
            print(json.dumps(measure(network, accelerator, args.seed, not args.quick)), flush=True)
    print(json.dumps(small_layers(chips, args.seed)), flush=True)


if __name__ == "__main__":
    main()
