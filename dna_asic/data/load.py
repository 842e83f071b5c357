"""Datasets by name."""

import numpy as np

from dna_asic.data.cifar import CIFAR10, CIFAR100, load_cifar
from dna_asic.data.dataset import TRAIN, DatasetSplits, Labelled, split_dataset
from dna_asic.data.files import Source
from dna_asic.data.imagefolder import load_images_by_class
from dna_asic.errors import DataError

FOLDER = "imagefolder"
CIFAR = {kind.name: kind for kind in (CIFAR10, CIFAR100)}


def load_dataset(spec: str, seed: int, *, image_size: int | None = None, train_images: int | None = None,
                 test_images: int | None = None) -> DatasetSplits:
    """Load `digits` (scikit-learn's 1,797 8 x 8 handwritten digits), `cifar10:PATH`, `cifar100:PATH` or
    `imagefolder:PATH`, where PATH is a folder or a tar.

    image_size: the side that images of an image folder are resized to (default: the size of the first one).
    train_images, test_images: see `split_dataset`. A dataset without a test part of its own gives about 60 % train,
    20 % val, 20 % test, one with it 80 % train and 20 % val of the rest. Raises DataError for an unknown name and for
    files that are missing, damaged or too large.
    """
    name, _, path = spec.partition(":")
    if spec == "digits":
        whole = _digits()
    elif path and name in CIFAR:
        whole = load_cifar(CIFAR[name], path, image_size)
    elif path and name == FOLDER:
        source = Source.open(path)
        whole = load_images_by_class(source, f"{FOLDER}:{source.path.name}", image_size)
    else:
        raise DataError(f"Dataset '{spec}' is not known; use 'digits', 'cifar10:PATH', 'cifar100:PATH' or "
                        f"'{FOLDER}:PATH'.")
    return split_dataset(whole, seed, train_images=train_images, test_images=test_images)


def _digits() -> Labelled:
    from sklearn.datasets import load_digits
    bunch = load_digits()
    images = (bunch.images / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    return Labelled(name="digits", num_classes=10, labels=bunch.target.astype(np.int64),
                    parts=np.full(len(images), TRAIN), pixels=images.__getitem__)
