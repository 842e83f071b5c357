"""The accuracy that NASAIC's flows see: a short training, each network once."""

import json
from dataclasses import dataclass
from pathlib import Path

from dna_asic.baselines.nasaic_space import NasaicSpace, Values
from dna_asic.cosearch.compute import CPU, Compute
from dna_asic.cosearch.training import TrainSettings, evaluate, train_network
from dna_asic.data import DatasetSplits
from dna_asic.errors import SpecError
from dna_asic.networks import make_module
from dna_asic.report.files import write_json_atomically


@dataclass(frozen=True, kw_only=True)
class ProxyAccuracy:
    """Of a network of the space: the share of validation images that it gets right after `epochs` of training.

    A function of network and seed, kept in `folder`. Raises SpecError for a damaged file there.
    """

    space: NasaicSpace
    splits: DatasetSplits
    epochs: int
    seed: int
    folder: Path
    settings: TrainSettings = TrainSettings()
    compute: Compute = CPU

    def __call__(self, network: Values) -> float:
        """0..1."""
        path = self.folder / f"{'-'.join(map(str, network))}.json"
        if path.is_file():
            try:
                return float(json.loads(path.read_text(encoding="utf-8"))["accuracy"])
            except (ValueError, KeyError, TypeError) as error:
                raise SpecError(f"File '{path}' is damaged ({error}); remove it to train anew.") from error
        module = make_module(self.space.network(network), self.seed)
        train_network(module, self.splits, self.epochs, self.seed, settings=self.settings, compute=self.compute)
        accuracy = evaluate(module, *self.splits.val, compute=self.compute)
        write_json_atomically(path, {"network": network, "epochs": self.epochs, "accuracy": accuracy})
        return accuracy
