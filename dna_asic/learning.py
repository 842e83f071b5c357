"""What `search` and `nasaic` share: the options of images and training, and how a trained network is judged."""

import argparse
import math
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dna_asic.cosearch.compute import Compute
from dna_asic.cosearch.training import TrainSettings, evaluate
from dna_asic.data import DatasetSplits, Subset, load_dataset, to_float
from dna_asic.errors import SpecError
from dna_asic.golden import accuracy
from dna_asic.networks import NetworkModule, make_module
from dna_asic.quantize import quantize_input
from dna_asic.runs import RunFolder
from dna_asic.spec.design import design_from_yaml
from dna_asic.spec.quant import QuantSpec

WEIGHTS = "weights.safetensors"  # of a searched network, in its run
RANGES = {"image_size": (1, math.inf), "train_images": (1, math.inf), "test_images": (1, math.inf),
          "batch": (2, math.inf), "learning_rate": (1e-9, math.inf), "label_smoothing": (0, 1),
          "cutout": (0, math.inf), "cutmix": (0, 1)}
CALIBRATION_IMAGES = 512


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is trained with, where, and how."""
    group = parser.add_argument_group("images and training")
    group.add_argument("--dataset", default="digits",
                       help="'digits', 'cifar10:PATH', 'cifar100:PATH' or 'imagefolder:PATH'; PATH is a folder or a "
                            "tar (default: %(default)s)")
    group.add_argument("--image-size", type=int, help="side in pixels that the images of a folder are resized to")
    group.add_argument("--train-images", type=int, metavar="N",
                       help="use N images to train and validate with, as many of each class (default: all)")
    group.add_argument("--test-images", type=int, metavar="N", help="use N images to test with (default: all)")
    group.add_argument("--batch", type=int, default=TrainSettings.batch, help="images a step (default: %(default)s)")
    group.add_argument("--learning-rate", type=float, default=TrainSettings.rate, metavar="RATE",
                       help="of the derived network, at its highest (default: %(default)s)")
    group.add_argument("--label-smoothing", type=float, default=TrainSettings.label_smoothing,
                       help="of the derived network's cross-entropy, 0..1 (default: %(default)s)")
    group.add_argument("--cutout", type=int, default=TrainSettings.cutout, metavar="PIXELS",
                       help="side of the square that is blanked in each image that the derived network trains with "
                            "(default: %(default)s)")
    group.add_argument("--cutmix", type=float, default=TrainSettings.cutmix, metavar="SHARE",
                       help="share of its steps in which a rectangle of each image is another's: for large networks "
                            "that train long (default: %(default)s)")
    group.add_argument("--teacher", metavar="RUN",
                       help="a finished search with images of this size and these classes, from whose trained network "
                            "the derived one learns beside the labels: a larger and more accurate one")
    group.add_argument("--device", choices=("auto", "cpu", "cpu-bf16", "cuda"), default="auto",
                       help="cpu: float32 on one core; cpu-bf16: bfloat16 on all cores of a processor that has it; "
                            "cuda: bfloat16; with these two a seed need not give one network; auto: cuda where it is, "
                            "but the CPU for digits (default: %(default)s)")


def load_splits(args: argparse.Namespace) -> DatasetSplits:
    """The dataset that the arguments name; raises DataError."""
    return load_dataset(args.dataset, args.seed, image_size=args.image_size, train_images=args.train_images,
                        test_images=args.test_images)


def train_settings(args: argparse.Namespace) -> TrainSettings:
    """Of the derived network."""
    return TrainSettings(batch=args.batch, rate=args.learning_rate, label_smoothing=args.label_smoothing,
                         cutout=args.cutout, cutmix=args.cutmix)


def load_weights(module: NetworkModule, path: Path, remedy: str) -> NetworkModule:
    """`module` with the weights of a file, in evaluation mode; raises SpecError, which ends with the remedy."""
    try:
        module.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise SpecError(f"Weights '{path}' cannot be read: {error}; {remedy}.") from error
    return module.eval()


def load_teacher(args: argparse.Namespace, splits: DatasetSplits) -> NetworkModule | None:
    """The trained network of the run that --teacher names; raises SpecError for what is none, or of other images."""
    if args.teacher is None:
        return None
    run = RunFolder.open(args.teacher)
    weights = run.require(WEIGHTS, "make search")
    network = design_from_yaml(run.require("design.yaml", "make search")).network
    last = network.layers[-1].shape
    of, asked = (network.input_shape, last.g * last.k), (splits.input_shape, splits.num_classes)
    if of != asked:
        raise SpecError(f"--teacher must be of the same images, {asked[0]} in {asked[1]} classes, not of {of[0]} in "
                        f"{of[1]} as '{run.path}' is; search one with the same --dataset and --image-size.")
    return load_weights(make_module(network, 0), weights, "name another --teacher")


def calibration_images(splits: DatasetSplits) -> Tensor:
    """float32 [N, C, H, W] that fix the int8 scales."""
    return to_float(splits.train.images[:CALIBRATION_IMAGES])


def int8_accuracy(quant: QuantSpec, part: Subset, compute: Compute) -> float:
    """Share of a part's images that the golden model has right."""
    return accuracy(quant, quantize_input(to_float(part.images), quant), part.labels.numpy(), compute.device)


def judge_on_test(module: NetworkModule, quant: QuantSpec, splits: DatasetSplits, compute: Compute) -> dict:
    """Of the float network and of its integers, on the test part; printed too."""
    found = {"float_test_accuracy": evaluate(module, *splits.test, compute=compute),
             "int8_test_accuracy": int8_accuracy(quant, splits.test, compute)}
    print("accuracy on test: float {float_test_accuracy:.4f}, int8 {int8_test_accuracy:.4f}\n".format(**found))
    return found
