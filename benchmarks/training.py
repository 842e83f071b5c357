"""Steps of training on random images, as a search does them: prints one JSON line, seconds a step (median).

`network`: forward and backward of the derived network with the most channels, no skips; `weights`, `alpha`: the
supernet's steps. Each `--device` in a process of its own, as libraries choose their arithmetic once.
"""

import argparse
import json
import statistics
import time

import torch
from torch.nn import functional as F

from dna_asic.cosearch.compute import Compute
from dna_asic.cosearch.dns import DnsSettings, NetworkSearch
from dna_asic.networks import build_network, load_macro
from dna_asic.search import THREADS


def median_seconds(step, count: int) -> float:
    """Of `count` steps; two before them are not counted."""
    seconds = []
    for _ in range(count + 2):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[2:])


def main():
    """One device and macro-architecture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cpu-bf16", "cuda"), default="cpu", help="default: %(default)s")
    parser.add_argument("--macro", default="cifar10-wide", help="default: %(default)s")
    parser.add_argument("--size", type=int, default=32, help="pixels of an image's side (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=256, help="images (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="of each kind (default: %(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    compute = Compute.named(args.device, "random")
    macro = load_macro(args.macro).fitted((3, args.size, args.size), 10)
    search = NetworkSearch(macro, DnsSettings(), 0, compute)
    widest = [[o for o in options if o != "skip"][-1] for options in search.options]
    network = compute.place(build_network(macro, widest, 0)).train()
    generator = torch.Generator().manual_seed(0)
    batch = (torch.randn(args.batch, 3, args.size, args.size, generator=generator).to(compute.device),
             torch.randint(10, (args.batch,), generator=generator).to(compute.device))

    def train():
        with compute.autocast():
            loss = F.cross_entropy(network(batch[0]), batch[1])
        loss.backward()
        return loss.item()

    with compute.busy():
        steps = {"network": train, "weights": lambda: search.train_weights_step(batch),
                 "alpha": lambda: search.arch_step(batch, None, 0.0)}
        print(json.dumps({"benchmark": "training", **vars(args), "threads": torch.get_num_threads(),
                          **{name: round(median_seconds(step, args.steps), 4) for name, step in steps.items()}}))


if __name__ == "__main__":
    main()
