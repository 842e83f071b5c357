"""Images in a folder per class."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from dna_asic.data.dataset import DatasetSplits, split_dataset
from dna_asic.errors import DataError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
MIN_IMAGES = 3  # per class: one each for train, val and test
MAX_FAULTS = 5  # unreadable images named in one message
GREY_MODES = frozenset({"1", "L", "LA"})


def load_folder(folder: str, seed: int, image_size: int | None) -> DatasetSplits:
    """Read `DIR/CLASS/*` or `DIR/train/CLASS/*` with `DIR/test/CLASS/*`; pixels in [-1, 1], grey or RGB.

    Classes are numbered in sorted order of their names; files in other formats and hidden ones are passed over.
    Raises DataError for a missing or empty folder, too few classes or images, and unreadable images (named).
    """
    root = Path(folder)
    if not folder or not root.is_dir():
        raise DataError(f"Image folder '{folder}' is not a readable folder; give a folder with one folder per class.")
    if image_size is not None and image_size < 1:
        raise DataError(f"Image folder '{folder}': image_size must be at least 1, not {image_size}.")
    apart = (root / "train").is_dir() and (root / "test").is_dir()
    files, classes = _list_classes(root / "train" if apart else root, MIN_IMAGES - apart)
    test_files = _list_test(root / "test", classes) if apart else []
    images = read_images([path for path, _ in files + test_files], (image_size, image_size) if image_size else None)
    labels = np.array([label for _, label in files + test_files], dtype=np.int64)
    cut = len(files)
    test = (images[cut:], labels[cut:]) if apart else None
    return split_dataset(f"imagefolder:{root.name}", images[:cut], labels[:cut], seed, test)


def _list_dir(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    except OSError as error:
        raise DataError(f"Image folder '{folder}' cannot be read: {error.strerror}; check its permissions.") from error


def _class_files(folder: Path) -> list[Path]:
    return [p for p in _list_dir(folder) if p.suffix.lower() in SUFFIXES and p.is_file()]


def _list_classes(root: Path, minimum: int) -> tuple[list[tuple[Path, int]], list[str]]:
    folders = [p for p in _list_dir(root) if p.is_dir()]
    if len(folders) < 2:
        raise DataError(f"Image folder '{root}' must hold at least 2 class folders, not {len(folders)}; "
                        f"put the images of each class into a folder of its own.")
    files, faults = [], []
    for label, folder in enumerate(folders):
        members = _class_files(folder)
        if len(members) < minimum:
            faults.append(f"Class folder '{folder}' must hold at least {minimum} images "
                          f"({', '.join(sorted(SUFFIXES))}), not {len(members)}; add some or remove the folder.")
        files += [(path, label) for path in members]
    if faults:
        raise DataError("\n".join(faults))
    return files, [folder.name for folder in folders]


def _list_test(root: Path, classes: list[str]) -> list[tuple[Path, int]]:
    files = []
    for folder in (p for p in _list_dir(root) if p.is_dir()):
        if folder.name not in classes:
            raise DataError(f"Test class folder '{folder}' has no train folder of the same name; "
                            f"train classes are {', '.join(classes)}.")
        files += [(path, classes.index(folder.name)) for path in _class_files(folder)]
    if not files:
        raise DataError(f"Image folder '{root}' must hold at least 1 test image, not 0; add some.")
    return files


def read_images(paths: list[Path], size: tuple[int, int] | None) -> np.ndarray:
    """float32 [N, C, H, W] in [-1, 1], resized to (width, height), by default the first one's; one channel if every
    image is grey, else three. Raises DataError naming unreadable images.
    """
    arrays, faults = [], []
    for path in paths:
        try:
            array = _read_image(path, size)
        except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            faults.append(f"Image '{path}' cannot be read: {error}; repair or remove it.")
            if len(faults) == MAX_FAULTS:
                break
            continue
        size = size or (array.shape[1], array.shape[0])
        arrays.append(array)
    if faults:
        raise DataError("\n".join(faults))
    if any(array.ndim == 3 for array in arrays):
        arrays = [a if a.ndim == 3 else np.repeat(a[..., None], 3, axis=2) for a in arrays]
        pixels = np.stack(arrays).transpose(0, 3, 1, 2)
    else:
        pixels = np.stack(arrays)[:, None]
    return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)


def _read_image(path: Path, size: tuple[int, int] | None) -> np.ndarray:
    """uint8 [H, W] of a grey image, else [H, W, 3]; `size` is (width, height)."""
    with Image.open(path) as image:
        grey = image.mode in GREY_MODES
        pixels = image.convert("L" if grey else "RGB")
    if size and pixels.size != size:
        pixels = pixels.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(pixels)
