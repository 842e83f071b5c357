"""The dataset record, its stratified split, and the lookup by name."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dna_asic.errors import DataError

FOLDER_PREFIX = "imagefolder:"
VAL_FRACTION = TEST_FRACTION = 0.2


class Subset(NamedTuple):
    """images: float32 [N, C, H, W]; labels: int64 [N]."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class DatasetSplits:
    """A dataset in three disjoint parts; the search sees train and val only. Pixels lie in [-1, 1] or [0, 1]."""

    name: str
    num_classes: int
    train: Subset
    val: Subset
    test: Subset

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        return tuple(self.train.images.shape[1:])


def load_dataset(spec: str, seed: int, *, image_size: int | None = None) -> DatasetSplits:
    """Load `digits` (scikit-learn's 1,797 8 x 8 handwritten digits) or `imagefolder:DIR`.

    The split is stratified by class and depends on `seed` alone: about 60 % train, 20 % val, 20 % test. DIR holds a
    folder per class, or `train` and `test` folders that do; `image_size` is the side that its images are resized to
    (default: the size of the first image). Raises DataError for an unknown name or an unreadable folder.
    """
    if spec == "digits":
        return _load_digits(seed)
    if spec.startswith(FOLDER_PREFIX):
        from dna_asic.data.imagefolder import load_folder
        return load_folder(spec.removeprefix(FOLDER_PREFIX), seed, image_size)
    raise DataError(f"Dataset '{spec}' is not known; use 'digits' or '{FOLDER_PREFIX}DIR'.")


def _load_digits(seed: int) -> DatasetSplits:
    from sklearn.datasets import load_digits
    bunch = load_digits()
    images = (bunch.images / 16.0).astype(np.float32)[:, None]
    return split_dataset("digits", images, bunch.target.astype(np.int64), seed)


def split_dataset(name: str, images: np.ndarray, labels: np.ndarray, seed: int,
                  test: tuple[np.ndarray, np.ndarray] | None = None) -> DatasetSplits:
    """Split arrays [N, C, H, W] and [N] into train, val and test; `test` given apart is kept as it is."""
    shares = (VAL_FRACTION,) if test else (VAL_FRACTION, TEST_FRACTION)
    train, *held = stratified_split(labels, shares, seed)
    arrays = [(images[index], labels[index]) for index in (train, *held)] + ([test] if test else [])
    parts = [Subset(torch.from_numpy(x.copy()), torch.from_numpy(y.copy())) for x, y in arrays]
    return DatasetSplits(name=name, num_classes=int(labels.max()) + 1, train=parts[0], val=parts[1], test=parts[2])


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
