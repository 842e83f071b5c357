"""The search for a network that is brought: int8 from calibration images, from the model itself or from the run that
made it, then DAS alone.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dna_asic.command import numbers
from dna_asic.cosearch.compute import require_one_process
from dna_asic.cosearch.das import require_chip, search_accelerator
from dna_asic.cosearch.targets import Targets
from dna_asic.data import load_dataset, load_images, to_float
from dna_asic.errors import SpecError
from dna_asic.gads import GadsSpace
from dna_asic.goals import targets_of
from dna_asic.golden import run_golden
from dna_asic.importer import ImportedNetwork, from_onnx
from dna_asic.quantize import load_quant, quantize_at, quantize_input, quantize_network
from dna_asic.report.files import write_atomically
from dna_asic.result import kept_prices, write_design
from dna_asic.runs import RunFolder
from dna_asic.spec.design import design_from_yaml
from dna_asic.spec.layer import NetworkSpec
from dna_asic.spec.quant import QuantSpec
from dna_asic.spec.record import to_plain
from dna_asic.technology import Technology, load_technology

INPUTS = "inputs.npy"  # int8 images that `make sim` runs
KEPT_IMAGES = 16
CHIP_TRIES = 4  # steps of the search in which a chip that runs the network must be found
NOISE = "random"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of a network that is brought."""
    group = parser.add_argument_group("a network of your own")
    group.add_argument("--network", metavar="FILE", help="an ONNX file, or a run folder whose network is taken: "
                                                         "only the accelerator is searched")
    group.add_argument("--calibration", metavar="IMAGES",
                       help="images that fix the int8 scales of a float network: a folder of pictures, an .npy or .npz "
                            "file of [N, C, H, W], or 'random' where only the hardware matters")
    for name, what in (("mean", "subtracted from"), ("std", "that then divides")):
        group.add_argument(f"--{name}", type=numbers, default=[0.5], metavar="A,B,C",
                           help=f"number per channel {what} pixels of pictures in 0..1 (default: 0.5)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the arguments name, loaded and checked before anything is written.

    integers: the int8 network, images int8 [N, C, H, W] to simulate it with, and what the summary says of it.
    """

    technology: Technology
    space: GadsSpace
    targets: Targets
    network: NetworkSpec
    origin: str
    integers: Callable[[], tuple[QuantSpec, np.ndarray, dict]]
    notes: tuple[str, ...] = ()

    @property
    def network_line(self) -> str:
        """What the accelerator is for."""
        return (f"network '{self.network.name}' of {len(self.network.layers)} layers and {self.network.macs / 1e6:.3g} "
                f"million MACs, {self.origin}")


def load_inputs(args: argparse.Namespace) -> Inputs:
    """Load every file that the arguments name; raises SpecError, DataError or InfeasibleDesign."""
    require_one_process("A search with --network")
    technology, space = load_technology(args.target), GadsSpace.load(args.space).pinned(args.pins)
    targets = targets_of(args)
    brought = (_of_run if Path(args.network).is_dir() else _of_file)(args)
    require_chip(brought["network"], space, technology, seed=args.seed, tries=CHIP_TRIES, targets=targets)
    return Inputs(technology=technology, space=space, targets=targets, **brought)


def _of_file(args) -> dict:
    imported = from_onnx(args.network)
    if not (args.calibration or imported.quantised):
        raise SpecError(f"Network '{args.network}' is float: give --calibration with images like those that it will "
                        f"see, or '{NOISE}' where only the hardware matters.")
    images = load_images(args.calibration or NOISE, imported.network.input_shape, args.seed, mean=args.mean,
                         std=args.std)

    def integers():
        quant, kept = quantise(imported, images), images[:KEPT_IMAGES]
        return quant, quantize_input(kept, quant), {"int8_agreement": top1_agreement(imported, quant, kept)}

    return {"network": imported.network, "origin": "quantised" if imported.quantised else "float",
            "integers": integers, "notes": tuple(imported.notes)}


def _of_run(args) -> dict:
    run = RunFolder.open(args.network)
    quant = load_quant(run.require("quant/quant.json", "make search").parent)
    summary = run.summary()
    seed = design_from_yaml(run.require("design.yaml", "make search")).seed
    known = {key: summary[key] for key in ("float_test_accuracy", "int8_test_accuracy", "int8_agreement", "dataset")
             if key in summary}
    images, _ = workload_images(run, quant, KEPT_IMAGES, seed)
    return {"network": quant.network, "origin": f"of run {run.path}", "integers": lambda: (quant, images, known)}


def workload_images(run: RunFolder, quant: QuantSpec, count: int, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """int8 [N, C, H, W] and labels [N]: the first test images of the run's dataset, `count` at most; of a network that
    was brought, images kept by its search, without labels.
    """
    arguments = run.arguments()
    if arguments.get("network"):
        return np.load(run.require(INPUTS, "make search"), allow_pickle=False)[:count], None
    test = load_dataset(arguments["dataset"], seed, image_size=arguments["image_size"],
                        train_images=arguments.get("train_images"), test_images=arguments.get("test_images")).test
    return quantize_input(to_float(test.images[:count]), quant), test.labels[:count].numpy()


def run_search(args: argparse.Namespace, inputs: Inputs, run: RunFolder, bars: Callable) -> dict:
    """Quantise, search the accelerator, write the records; returns the summary."""
    started = time.monotonic()
    quant, kept, facts = inputs.integers()
    write_atomically(run.path / INPUTS, lambda part: np.save(part, kept, allow_pickle=False))
    found = search_accelerator(quant.network, inputs.space, inputs.technology, seed=args.seed, steps=args.das_steps,
                               designs=kept_prices(run, inputs, args.seed), progress=bars)
    bars.close()
    for note in inputs.notes:
        print(f"note: {note}")
    return write_design(run, args, quant, found, (), facts | {
        "network": args.network, "calibration": args.calibration,
        "search_seconds": time.monotonic() - started, "targets": to_plain(inputs.targets.judged(found.report))})


def quantise(imported: ImportedNetwork, images: Tensor) -> QuantSpec:
    """The model's own integers where it has them, else int8 calibrated with `images`."""
    if imported.quantised:
        return quantize_at(imported.module, imported.scales, imported.steps)
    return quantize_network(imported.module, images)


def top1_agreement(imported: ImportedNetwork, quant: QuantSpec, images: Tensor) -> float:
    """Share of images for which the int8 network has its largest output where the float one has it."""
    with torch.no_grad():
        expected = imported.module(images).argmax(1).numpy()
    logits = run_golden(quant, quantize_input(images, quant))[quant.network.layers[-1].name]
    return float((logits.reshape(len(logits), -1).argmax(1) == expected).mean())
