"""Images without labels, to calibrate a quantisation with: pictures, arrays, or noise."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dna_asic.data.files import Source
from dna_asic.data.imagefolder import SUFFIXES, is_image, read_images
from dna_asic.errors import DataError

MAX_IMAGES = 128
FOLDER_PREFIX = "imagefolder:"
NOISE, NOISE_IMAGES = "random", 16
MAX_ARRAY_BYTES = 1 << 32
_MIDDLE = (0.5,)


def load_images(spec: str, input_shape: tuple[int, int, int], seed: int, *, mean: Sequence[float] = _MIDDLE,
                std: Sequence[float] = _MIDDLE) -> Tensor:
    """float32 [N, C, H, W] of at most 128 images for a network that reads `input_shape`.

    spec: a folder of pictures, with `imagefolder:` before it or not (also in folders below it; resized, pixels in 0..1
    less `mean` over `std` per channel), an .npy or .npz file of an array [N, C, H, W] that is taken as it is, or
    `random`: standard normal noise. More images are thinned out evenly. Raises DataError.
    """
    path = Path(spec.removeprefix(FOLDER_PREFIX))
    if spec == NOISE:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn((NOISE_IMAGES, *input_shape), generator=generator)
    if path.suffix in (".npy", ".npz"):
        return torch.from_numpy(_load_array(path, input_shape))
    if path.is_dir():
        return torch.from_numpy(_load_pictures(path, input_shape, mean, std))
    raise DataError(f"Calibration images '{spec}': give a folder of pictures, an .npy or .npz file of [N, "
                    f"{', '.join(map(str, input_shape))}], or '{NOISE}'.")


def _load_pictures(folder: Path, input_shape, mean, std) -> np.ndarray:
    channels, height, width = input_shape
    if any(len(x) not in (1, channels) for x in (mean, std)) or min(std) <= 0:
        raise DataError(f"Mean and standard deviation must be 1 or {channels} numbers, the latter above 0; not "
                        f"{list(mean)} and {list(std)}.")
    source = Source.open(folder)
    files = [name for name in source.names if is_image(name)]
    if not files:
        raise DataError(f"Calibration folder '{folder}' holds no pictures ({', '.join(sorted(SUFFIXES))}); add some.")
    pixels = read_images(source, _thinned(files), (width, height)) / np.float32(255)
    if pixels.shape[1] == 1 < channels:
        pixels = np.repeat(pixels, channels, axis=1)
    if pixels.shape[1] != channels:
        raise DataError(f"Calibration folder '{folder}': pictures have {pixels.shape[1]} channels, and the network "
                        f"reads {channels}; give an .npy file.")
    mean, std = (np.asarray(x, dtype=np.float32)[:, None, None] for x in (mean, std))
    return (pixels - mean) / std


def _load_array(path: Path, input_shape) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False) if path.suffix == ".npy" else _first_array(path)
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise DataError(f"Calibration images '{path}' cannot be read: {error}; save them with numpy.save.") from error
    if array.ndim < 2 or array.shape[1:] not in (input_shape, (int(np.prod(input_shape)),)) or not len(array) or (
            not np.issubdtype(array.dtype, np.number)):
        raise DataError(f"Calibration images '{path}' must be numbers [N, {', '.join(map(str, input_shape))}], not "
                        f"{array.dtype} {list(array.shape)}.")
    return np.array(_thinned(array), dtype=np.float32).reshape(-1, *input_shape)


def _first_array(path: Path) -> np.ndarray:
    """The only array of an .npz file, unpacked to at most MAX_ARRAY_BYTES."""
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MAX_ARRAY_BYTES:
        raise ValueError(f"it unpacks to {size} bytes, and at most {MAX_ARRAY_BYTES} are read")
    with np.load(path, allow_pickle=False) as archive:
        if len(archive.files) != 1:
            raise ValueError(f"it has {len(archive.files)} arrays ({', '.join(archive.files)}), and must have one")
        return archive[archive.files[0]]


def _thinned(items):
    """At most MAX_IMAGES of them, evenly spread."""
    return items[::-(-len(items) // MAX_IMAGES)]
