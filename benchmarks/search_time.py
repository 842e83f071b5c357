"""How the time of a joint epoch grows with searched layers, candidates and accelerator choices: prints one JSON line.

Processor seconds of an epoch on digits, mean of `--epochs` after one unmeasured: the supernet's steps; gamma's steps,
in which chips are mapped; prices of all candidates on the best chip. The first case of each table is the digits search.
"""

import argparse
import dataclasses
import json
import time

import torch

from dna_asic.cosearch.das import AcceleratorSearch
from dna_asic.cosearch.dns import DnsSettings, NetworkSearch
from dna_asic.cosearch.joint import JointSearch, JointSettings
from dna_asic.data import DatasetSplits, load_dataset
from dna_asic.gads import GadsSpace
from dna_asic.networks import Macro, load_macro
from dna_asic.technology import load_technology

DIGITS = load_macro("digits")
ONE_CHUNK = ("chunks=1",)
ONE_DATAFLOW = (*ONE_CHUNK, "spatial=K C", "reduction=tree", "delivery=multicast")


class TimedSearch(JointSearch):
    """Adds up the processor seconds of the accelerator's two parts."""

    def __init__(self, *args):
        super().__init__(*args)
        self.gamma_s = self.prices_s = 0.0

    def _search_accelerator(self):
        started = time.process_time()
        stats = super()._search_accelerator()
        self.gamma_s += time.process_time() - started
        return stats

    def candidate_costs(self):
        started = time.process_time()
        costs = super().candidate_costs()
        self.prices_s += time.process_time() - started
        return costs


def epoch_seconds(macro: Macro, space: GadsSpace, splits: DatasetSplits, epochs: int) -> dict[str, float]:
    """Of one joint epoch, by part."""
    technology = load_technology("asic-28nm")
    macro = macro.fitted(splits.input_shape, splits.num_classes)
    search = TimedSearch(macro, splits, NetworkSearch(macro, DnsSettings(epochs=epochs + 1), 0),
                         AcceleratorSearch(space, technology, 0),
                         JointSettings(warmup_epochs=0, joint_epochs=epochs + 1), 0)
    search.run_epoch()
    search.gamma_s = search.prices_s = 0.0
    started = time.process_time()
    for _ in range(epochs):
        search.run_epoch()
    whole = time.process_time() - started
    parts = {"supernet": whole - search.gamma_s - search.prices_s, "gamma": search.gamma_s, "prices": search.prices_s}
    return {name: round(seconds / epochs, 2) for name, seconds in parts.items()}


def with_layers(count: int) -> Macro:
    """Digits with `count` searched layers, a third in each stage."""
    return dataclasses.replace(DIGITS, stages=tuple(
        dataclasses.replace(stage, layers=count // len(DIGITS.stages)) for stage in DIGITS.stages))


def main():
    """Time each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=2, help="measured in each case (default: %(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    splits, space = load_dataset("digits", 0), GadsSpace.load()
    cases = {"layers": {n: (with_layers(n), space) for n in (6, 3, 12)},
             "candidates": {n: (dataclasses.replace(DIGITS, candidates=DIGITS.candidates[:n - 1] + ("skip",)), space)
                            for n in (10, 4)},
             "accelerators": {f"{s.size:.3g}": (DIGITS, s) for s in (
                 space, space.pinned(ONE_CHUNK), space.pinned(ONE_DATAFLOW))}}
    print(json.dumps({"benchmark": "search_time", "epochs": args.epochs} | {
        table: {name: epoch_seconds(*case, splits, args.epochs) for name, case in rows.items()}
        for table, rows in cases.items()}))


if __name__ == "__main__":
    main()
