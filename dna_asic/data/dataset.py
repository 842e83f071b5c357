"""The dataset record, and how a dataset is split."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dna_asic.errors import DataError

TRAIN, VAL, TEST = range(3)
VAL_FRACTION = TEST_FRACTION = 0.2


class Subset(NamedTuple):
    """images: uint8 or float32 [N, C, H, W], see `to_float`; labels: int64 [N]."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class DatasetSplits:
    """A dataset in three disjoint parts; the search sees train and val only."""

    name: str
    num_classes: int
    train: Subset
    val: Subset
    test: Subset

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        return tuple(self.train.images.shape[1:])

    @property
    def mirrored(self) -> bool:
        """An image seen in a mirror is as good as itself: of all but digits."""
        return self.name != "digits"

    def on(self, device: torch.device) -> "DatasetSplits":
        """The same with train and val in the memory of `device`."""
        train, val = (Subset(*(tensor.to(device) for tensor in part)) for part in (self.train, self.val))
        return dataclasses.replace(self, train=train, val=val)

    def with_val_in_train(self) -> "DatasetSplits":
        """The same where train has the images of val too, after its own."""
        parts = zip(self.train, self.val, strict=True)
        return dataclasses.replace(self, train=Subset(*(torch.cat(part) for part in parts)))

    def with_train_images(self, count: int, seed: int) -> "DatasetSplits":
        """The same with at most `count` images to train with, drawn by `seed`, as many of each class."""
        index = torch.from_numpy(balanced(self.train.labels.numpy(), count, seed))
        return dataclasses.replace(self, train=Subset(*(tensor[index] for tensor in self.train)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """A dataset before it is split.

    labels: int64 [N]; parts: [N], TRAIN, VAL or TEST, as the dataset itself has it; pixels: of indices [n], images
    [n, C, H, W], uint8 or float32.
    """

    name: str
    num_classes: int
    labels: np.ndarray
    parts: np.ndarray
    pixels: Callable[[np.ndarray], np.ndarray]


def to_float(images: Tensor) -> Tensor:
    """float32: pixels of uint8 in [-1, 1]; what is float32 as it is."""
    return images if images.is_floating_point() else images.float().div_(127.5).sub_(1)


def split_dataset(whole: Labelled, seed: int, *, train_images: int | None = None,
                  test_images: int | None = None) -> DatasetSplits:
    """Train, val and test: stratified shares of the training part stand for a val or test that `whole` lacks.

    train_images, test_images: at most so many for train and val together, and for test, as many of each class. The
    split depends on `seed` alone, and test not on train_images. Raises DataError for numbers below what the classes
    need, and for a part without images.
    """
    least = {"--train-images": (train_images, 2 * whole.num_classes), "--test-images": (test_images, 1)}
    faults = [f"{option} must be at least {bound} for the {whole.num_classes} classes of '{whole.name}', not {count}."
              for option, (count, bound) in least.items() if count is not None and count < bound]
    if faults:
        raise DataError("\n".join(faults))
    train, val, test = _split(whole, seed)
    if train_images is not None:
        val_images = max(whole.num_classes, round(train_images * len(val) / (len(train) + len(val))))
        train = train[balanced(whole.labels[train], train_images - val_images, seed)]
        val = val[balanced(whole.labels[val], val_images, seed)]
    if test_images is not None:
        test = test[balanced(whole.labels[test], test_images, seed)]
    sizes = [len(train), len(val), len(test)]
    if not all(sizes):
        raise DataError(f"Dataset '{whole.name}' must have images to train, to validate and to test, not "
                        f"{', '.join(map(str, sizes))}; add some.")
    index = np.concatenate([train, val, test])
    images, labels = (torch.from_numpy(x).split(sizes) for x in (whole.pixels(index), whole.labels[index]))
    parts = [Subset(*part) for part in zip(images, labels, strict=True)]
    return DatasetSplits(name=whole.name, num_classes=whole.num_classes, train=parts[0], val=parts[1], test=parts[2])


def _split(whole: Labelled, seed: int) -> list[np.ndarray]:
    """Indices of train, val and test."""
    given = [np.flatnonzero(whole.parts == part) for part in (TRAIN, VAL, TEST)]
    absent = {part: share for part, share in ((VAL, VAL_FRACTION), (TEST, TEST_FRACTION)) if not len(given[part])}
    shares = stratified_split(whole.labels[given[TRAIN]], tuple(absent.values()), seed)
    drawn = {part: given[TRAIN][share] for part, share in zip((TRAIN, *absent), shares, strict=True)}
    return [drawn.get(part, indices) for part, indices in enumerate(given)]


def stratified_split(labels: np.ndarray, shares: tuple[float, ...], seed: int) -> list[np.ndarray]:
    """Indices of the rest, then of each share: at least one of every class in each; sorted within a part."""
    generator = np.random.Generator(np.random.PCG64(seed))
    parts = [[] for _ in range(len(shares) + 1)]
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        start = 0
        for part, share in zip(parts[1:], shares, strict=True):
            count = max(1, round(len(members) * share))
            part.extend(members[start:start + count])
            start += count
        parts[0].extend(members[start:])
    return [np.sort(np.array(part, dtype=np.int64)) for part in parts]


def balanced(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Indices of `count` images drawn by `seed`, sorted: of each class as many, to one, while it has them."""
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    _, starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(starts, sizes)
    return np.sort(order[np.argsort(rank, kind="stable")[:count]])
