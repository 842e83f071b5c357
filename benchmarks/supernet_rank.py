"""Whether a supernet ranks networks as training them alone does: prints one JSON line.

Takes the supernet of a finished search (RUN) and its images. Networks are uniform samples of the macro-architecture
and, of each width, the one with that width and the first candidates everywhere; each is trained alone, from random
weights. The line has, for each, its accuracy on the test part and its cross-entropy in the supernet, on the validation
part; and Spearman's correlation of the one with minus the other.
"""

import argparse
import json
import random
from argparse import Namespace

import torch
from tqdm import tqdm

from dna_asic import learning
from dna_asic.cosearch.checkpoints import read_checkpoint
from dna_asic.cosearch.dns import DnsSettings, NetworkSearch
from dna_asic.cosearch.training import evaluate, train_network
from dna_asic.networks import Macro, build_network
from dna_asic.runs import RunFolder
from dna_asic.search import ARGUMENTS, CHECKPOINT, THREADS, load_inputs


def sample_networks(macro: Macro, count: int, seed: int) -> list[list[str]]:
    """One network per width, and so many uniform ones."""
    rng, choices = random.Random(seed), macro.space.choices
    uniform = [[rng.choice(c.options) for c in choices] for _ in range(count)]
    scaled = [[c.options[i if "channels" in c.label else 0] for c in choices] for i in range(len(macro.widths))]
    return scaled + uniform


def spearman(one: list[float], two: list[float]) -> float:
    """Correlation of ranks; ties in the order given."""
    ranks = [torch.tensor(values).argsort().argsort().double() for values in (one, two)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


def main():
    """Train each network alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", metavar="RUN", help="a finished search of a network")
    parser.add_argument("--networks", type=int, default=10, help="uniform samples (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=30, help="that each is trained for (default: %(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    run = RunFolder.open(args.run)
    searched = Namespace(**json.loads(run.require(ARGUMENTS, "make search").read_text(encoding="utf-8")))
    inputs = load_inputs(searched)
    macro, splits = inputs.macro, inputs.splits
    search = NetworkSearch(macro, DnsSettings(), searched.seed)
    with read_checkpoint(run.path / CHECKPOINT, "search anew") as state:
        search.load_state_dict(state["joint"]["network"])
    rows = []
    for choice in tqdm(sample_networks(macro, args.networks, searched.seed), unit="network"):
        module = build_network(macro, choice, searched.seed)
        train_network(module, splits, args.epochs, searched.seed, settings=learning.train_settings(searched))
        rows.append({"choice": choice, "loss": round(search.loss(choice, splits.val, None, 0.0), 4),
                     "accuracy": round(evaluate(module, *splits.test), 4)})
    rank = spearman([-row["loss"] for row in rows], [row["accuracy"] for row in rows])
    print(json.dumps({"benchmark": "supernet_rank", "spearman": round(rank, 3), "networks": rows}))


if __name__ == "__main__":
    main()
