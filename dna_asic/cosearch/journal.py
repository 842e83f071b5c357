"""Prices that outlive their process: an interrupted search, begun again, finds them and soon stands where it stood."""

import hashlib
from pathlib import Path

import torch

from dna_asic.cosearch.checkpoints import read_checkpoint, save_checkpoint
from dna_asic.cosearch.pricing import LayerPricer, dataflow


class JournalledPricer(LayerPricer):
    """A LayerPricer that leaves the outcome of every question, and its own state after it, in a folder.

    A question's file is named by a digest of it, of all questions before it and of the state before the first: an
    outcome is found only where the same search asks the same again. key: changes with whatever else prices depend on.
    Raises SpecError for a damaged file.
    """

    def __init__(self, *args, folder: Path, key: str, **options):
        super().__init__(*args, **options)
        self.folder, self._key, self._digest = folder, key, None

    def _search(self, pairs, chips, prices):
        if self._digest is None:
            start = f"{self._key} {self.evaluations} {len(self._costs)} {self.generator.get_state().tolist()}"
            self._digest = hashlib.sha256(start.encode())
        self._digest.update(repr(pairs).encode())
        path = self.folder / f"{self._digest.hexdigest()[:20]}.pt"
        genes = list(dict.fromkeys((shape, dataflow(chip)) for chip, shape in pairs))
        if path.exists():
            with read_checkpoint(path, "price anew") as state:
                self._take(state, pairs, genes)
            return
        super()._search(pairs, chips, prices)
        save_checkpoint(path, self._outcome(pairs, genes))

    def _outcome(self, pairs, genes):
        return {"evaluations": self.evaluations, "generator": self.generator.get_state(),
                "costs": torch.tensor([self._costs[p] for p in pairs], dtype=torch.float64),
                "genes": torch.stack([self._genes[g] for g in genes])}

    def _take(self, state, pairs, genes):
        self.evaluations = state["evaluations"]
        self.generator.set_state(state["generator"])
        self._costs |= zip(pairs, map(tuple, state["costs"].tolist()), strict=True)
        self._genes |= zip(genes, state["genes"], strict=True)
