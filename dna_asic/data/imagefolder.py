"""Images in a folder per class, in a folder or a tar."""

import io
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
from PIL import Image, UnidentifiedImageError

from dna_asic.data.dataset import TEST, TRAIN, VAL, Labelled
from dna_asic.data.files import Entry, Source
from dna_asic.errors import DataError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # Pillow reads others too, some with other programs
MAX_PIXELS = 1 << 26  # of one image
MAX_BYTES = 1 << 32  # of all images in memory
MAX_FAULTS = 5  # unreadable images named in one message
GREY_MODES = frozenset({"1", "L", "LA"})


def load_images_by_class(source: Source, name: str, image_size: int | None) -> Labelled:
    """`CLASS/*`, or `train/CLASS/*` beside `test/CLASS/*` or `val/CLASS/*` (val is the test part where there is no
    test, as in ImageNet, whose test has no labels); grey or RGB.

    Classes are numbered in sorted order of their names; files in other formats are passed over. The images of all
    classes take turns, so that the first ones are of every class. Raises DataError for too few classes or images; so
    does `pixels` for unreadable images (named).
    """
    if image_size is not None and image_size < 1:
        raise DataError(f"Image folder '{source.path}': image_size must be at least 1, not {image_size}.")
    tops = {name.partition("/")[0] for name in source.names if "/" in name}
    apart = {"train": TRAIN} | {top: part for top, part in (("val", VAL), ("test", TEST)) if top in tops}
    if "test" not in apart and "val" in apart:
        apart["val"] = TEST
    if "train" not in tops or len(apart) == 1:
        apart = {"": TRAIN}
    found = {part: _by_class(source, f"{top}/" if top else "") for top, part in apart.items()}
    classes = list(found[TRAIN])
    faults = [*_class_faults(source, found[TRAIN], 4 - len(apart)),
              *(fault for part in (VAL, TEST) if part in found for fault in _held_faults(source, found[part], classes))]
    if faults:
        raise DataError("\n".join(faults))
    files, labels, parts = [], [], []
    for part, by_class in found.items():
        for row in zip_longest(*(by_class.get(c, ()) for c in classes)):
            present = [(file, label) for label, file in enumerate(row) if file is not None]
            files += [file for file, _ in present]
            labels += [label for _, label in present]
            parts += [part] * len(present)
    size = (image_size, image_size) if image_size else None
    return Labelled(name=name, num_classes=len(classes), labels=np.array(labels, dtype=np.int64),
                    parts=np.array(parts), pixels=lambda index: read_images(source, [files[i] for i in index], size))


def _by_class(source: Source, top: str) -> dict[str, list[str]]:
    """{folder below `top`: the images in it}, both sorted."""
    found = {}
    for name in source.names:
        folder, slash, file = name.removeprefix(top).partition("/")
        if name.startswith(top) and slash and folder:
            found.setdefault(folder, []).extend([name] if is_image(file) and "/" not in file else [])
    return found


def is_image(name: str) -> bool:
    """By its suffix."""
    return ("." + name.rpartition(".")[2].lower()) in SUFFIXES


def _class_faults(source: Source, by_class: dict[str, list[str]], minimum: int):
    if len(by_class) < 2:
        yield (f"Image folder '{source.path}' must hold at least 2 class folders, not {len(by_class)}; put the images "
               f"of each class into a folder of its own.")
    for name, files in by_class.items():
        if len(files) < minimum:
            yield (f"Class folder '{name}' must hold at least {minimum} images ({', '.join(sorted(SUFFIXES))}), not "
                   f"{len(files)}; add some or remove the folder.")


def _held_faults(source: Source, by_class: dict[str, list[str]], classes: Sequence[str]):
    for name in by_class:
        if name not in classes:
            yield (f"Class folder '{name}' to validate or test with has no train folder of the same name; train "
                   f"classes are {', '.join(classes)}.")
    if not any(by_class.values()):
        yield f"Image folder '{source.path}' must hold at least 1 image each to validate and to test, not 0; add some."


def read_images(source: Source, names: Sequence[str], size: tuple[int, int] | None) -> np.ndarray:
    """uint8 [N, C, H, W], resized to (width, height), by default the first one's; one channel if every image is grey,
    else three. Raises DataError naming unreadable images, and where all together are too large.
    """
    if size is None:
        size = _read_image(source, next(source.pick(names[:1]))[1]).size
    if (total := len(names) * size[0] * size[1] * 3) > MAX_BYTES:
        raise DataError(f"Dataset '{source.path}' must take at most {MAX_BYTES} bytes of pixels, not {total}; use "
                        f"fewer or smaller images (--train-images, --test-images, --image-size).")
    pixels, grey, faults = np.empty((len(names), size[1], size[0], 3), np.uint8), True, []
    for i, entry in source.pick(names):
        try:
            image = _read_image(source, entry)
        except DataError as error:
            faults.append(str(error))
            if len(faults) == MAX_FAULTS:
                break
            continue
        grey &= image.mode == "L"
        pixels[i] = (image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)).convert("RGB")
    if faults:
        raise DataError("\n".join(faults))
    return np.ascontiguousarray(pixels[..., :1 if grey else 3].transpose(0, 3, 1, 2))


def _read_image(source: Source, entry: Entry) -> Image.Image:
    """Grey ("L") or RGB; its size is checked before it is decoded."""
    try:
        with Image.open(io.BytesIO(entry.read()), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"it has {image.width} x {image.height} pixels, and at most {MAX_PIXELS} are read")
            return image.convert("L" if image.mode in GREY_MODES else "RGB")
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"Image '{source.path / entry.name}' cannot be read: {error}; repair or remove it.") from error
