"""The search for a network that is brought: int8 from calibration images or from the model itself, then DAS alone."""

import argparse
import dataclasses
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dna_asic.command import numbers
from dna_asic.cosearch.das import require_chip, search_accelerator
from dna_asic.cosearch.targets import Targets
from dna_asic.data import load_images
from dna_asic.errors import SpecError
from dna_asic.gads import GadsSpace
from dna_asic.goals import targets_of
from dna_asic.golden import run_golden
from dna_asic.importer import ImportedNetwork, from_onnx
from dna_asic.quantize import quantize_at, quantize_input, quantize_network
from dna_asic.report.files import write_atomically
from dna_asic.result import kept_prices, write_design
from dna_asic.runs import RunFolder
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
    group.add_argument("--network", metavar="FILE", help="an ONNX file: only the accelerator is searched")
    group.add_argument("--calibration", metavar="IMAGES",
                       help="images that fix the int8 scales of a float network: a folder of pictures, an .npy or .npz "
                            "file of [N, C, H, W], or 'random' where only the hardware matters")
    for name, what in (("mean", "subtracted from"), ("std", "that then divides")):
        group.add_argument(f"--{name}", type=numbers, default=[0.5], metavar="A,B,C",
                           help=f"number per channel {what} pixels of pictures in 0..1 (default: 0.5)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the arguments name, loaded and checked before anything is written."""

    technology: Technology
    space: GadsSpace
    imported: ImportedNetwork
    images: Tensor
    targets: Targets

    @property
    def network_line(self) -> str:
        """What the accelerator is for."""
        network = self.imported.network
        return (f"network '{network.name}' of {len(network.layers)} layers and {network.macs / 1e6:.3g} million MACs, "
                f"{'quantised' if self.imported.quantised else 'float'}")


def load_inputs(args: argparse.Namespace) -> Inputs:
    """Load every file that the arguments name; raises SpecError, DataError or InfeasibleDesign."""
    technology, space = load_technology(args.target), GadsSpace.load(args.space).pinned(args.pins)
    targets, imported = targets_of(args), from_onnx(args.network)
    if not (args.calibration or imported.quantised):
        raise SpecError(f"Network '{args.network}' is float: give --calibration with images like those that it will "
                        f"see, or '{NOISE}' where only the hardware matters.")
    images = load_images(args.calibration or NOISE, imported.network.input_shape, args.seed, mean=args.mean,
                         std=args.std)
    require_chip(imported.network, space, technology, seed=args.seed, tries=CHIP_TRIES, targets=targets)
    return Inputs(technology=technology, space=space, imported=imported, images=images, targets=targets)


def run_search(args: argparse.Namespace, inputs: Inputs, run: RunFolder, bars: Callable) -> dict:
    """Quantise, search the accelerator, write the records; returns the summary."""
    started, imported = time.monotonic(), inputs.imported
    quant = quantise(imported, inputs.images)
    kept = inputs.images[:KEPT_IMAGES]
    agreement = top1_agreement(imported, quant, kept)
    write_atomically(run.path / INPUTS, lambda part: np.save(part, quantize_input(kept, quant), allow_pickle=False))
    found = search_accelerator(imported.network, inputs.space, inputs.technology, seed=args.seed, steps=args.das_steps,
                               designs=kept_prices(run, inputs, args.seed), progress=bars)
    bars.close()
    for note in imported.notes:
        print(f"note: {note}")
    return write_design(run, args, quant, found, (), {
        "int8_agreement": agreement, "network": args.network, "calibration": args.calibration,
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
