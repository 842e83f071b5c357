"""CIFAR-10 and CIFAR-100: the official binary and Python versions, or images by class; 3 x 32 x 32 pixels."""

import io
import pickle
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import numpy as np

from dna_asic.data.dataset import TEST, TRAIN, Labelled
from dna_asic.data.files import Source
from dna_asic.data.imagefolder import load_images_by_class
from dna_asic.errors import DataError

SIDE, PIXEL_BYTES = 32, 3 * 32 * 32
MAX_STEPS = 1 << 21  # of a pickle; that of CIFAR-100 takes some 300,000


@dataclass(frozen=True, kw_only=True)
class Cifar:
    """One of the two. files: {name without suffix: part}; label_bytes: before an image's pixels in the binary
    version, the label wanted last; key: of the labels in the Python version.
    """

    name: str
    classes: int
    files: dict[str, int]
    label_bytes: int
    key: bytes


CIFAR10 = Cifar(name="cifar10", classes=10, label_bytes=1, key=b"labels",
                files={f"data_batch_{i}": TRAIN for i in range(1, 6)} | {"test_batch": TEST})
CIFAR100 = Cifar(name="cifar100", classes=100, label_bytes=2, key=b"fine_labels",
                 files={"train": TRAIN, "test": TEST})


def load_cifar(kind: Cifar, path: str, image_size: int | None) -> Labelled:
    """Whichever version `path`, a folder or a tar, holds. Raises DataError where it is none, or damaged."""
    if image_size not in (None, SIDE):
        raise DataError(f"Images of '{kind.name}' have {SIDE} pixels a side, and image_size must not be {image_size}; "
                        f"leave it out.")
    source = Source.open(path)
    for suffix, decode in ((".bin", _from_binary), ("", _from_python)):
        names = [name + suffix for name in kind.files]
        if missing := [name for name in names if name not in source.names]:
            if len(missing) < len(names):
                raise DataError(f"Dataset '{path}' must hold {', '.join(names)}; {', '.join(missing)} is missing.")
            continue
        return _load_files(kind, source, names, decode)
    found = load_images_by_class(source, kind.name, SIDE)
    if found.num_classes != kind.classes:
        raise DataError(f"Dataset '{path}' must hold the {kind.classes} classes of '{kind.name}', not "
                        f"{found.num_classes}; other images are read by imagefolder:PATH.")
    return found


def _load_files(kind: Cifar, source: Source, names: list[str],
                decode: Callable[[Cifar, bytes], tuple[np.ndarray, np.ndarray]]) -> Labelled:
    """The files `names`, in the order of `kind.files`; decode: to pixels uint8 [N, 3072] and labels [N]."""
    found = {}
    for i, entry in source.pick(names):
        try:
            found[i] = decode(kind, entry.read())
        except ValueError as error:
            raise DataError(f"File '{source.path / entry.name}' is not of '{kind.name}': {error}; fetch it "
                            f"anew.") from error
    images, labels = (np.concatenate([found[i][j] for i in range(len(names))]) for j in (0, 1))
    parts = np.repeat(list(kind.files.values()), [len(found[i][1]) for i in range(len(names))])
    return Labelled(name=kind.name, num_classes=kind.classes, labels=labels, parts=parts,
                    pixels=images.reshape(-1, 3, SIDE, SIDE).__getitem__)


def _from_binary(kind: Cifar, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 [N, 3072] and labels int64 [N] of records of labels and pixels; raises ValueError."""
    record = kind.label_bytes + PIXEL_BYTES
    if len(content) % record:
        raise ValueError(f"it must be a multiple of {record} bytes, not {len(content)}")
    rows = np.frombuffer(content, np.uint8).reshape(-1, record)
    labels = rows[:, kind.label_bytes - 1].astype(np.int64)
    if labels.max(initial=0) >= kind.classes:
        raise ValueError(f"its labels must be below {kind.classes}, not {labels.max()}")
    return rows[:, kind.label_bytes:], labels


def _from_python(kind: Cifar, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 [N, 3072] and labels int64 [N] of a pickled dict; raises ValueError."""
    batch = unpickle(content)
    pixels, labels = (batch.get(key, batch.get(key.decode())) if isinstance(batch, dict) else None
                      for key in (b"data", kind.key))
    pixels = getattr(pixels, "array", None)
    if pixels is None or pixels.shape[1:] != (PIXEL_BYTES,) or not isinstance(labels, list) or (
            len(labels) != len(pixels) or not all(type(x) is int and 0 <= x < kind.classes for x in labels)):
        raise ValueError(f"it must be a dict with uint8 'data' [N, {PIXEL_BYTES}] and '{kind.key.decode()}', a list of "
                         f"N integers below {kind.classes}")
    return pixels, np.array(labels, dtype=np.int64)


def unpickle(content: bytes):
    """What a pickle holds, of plain containers, numbers, text and arrays of uint8 (as `_Array`), by no code but that
    of this module; raises ValueError for anything else, by name.
    """
    try:
        if sum(1 for _ in islice(pickletools.genops(content), MAX_STEPS + 1)) > MAX_STEPS:
            raise pickle.UnpicklingError(f"it has more than {MAX_STEPS} steps")
        return _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except pickle.UnpicklingError as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # a malformed pickle lets the machine that runs it stumble in any way
        raise ValueError(f"it is no sound pickle ({type(error).__name__}: {error})") from error


class _Array:
    """Stands for numpy.ndarray and its maker: numpy's own would run on whatever a file says."""

    array = None

    def __init__(self, *_):
        pass

    def __setstate__(self, state):
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, _DType) or dtype.name not in ("u1", b"u1") or fortran or not isinstance(data, bytes):
            raise pickle.UnpicklingError("it holds an array that is not of uint8 in C order")
        self.array = np.frombuffer(data, np.uint8).reshape(shape)


class _DType:
    """Stands for numpy.dtype."""

    def __init__(self, name, *_):
        self.name = name

    def __setstate__(self, state):
        pass


class _Unpickler(pickle._Unpickler):
    """The one written in Python: the other allocates what a file says it will need."""

    admitted = {("numpy", "ndarray"): _Array, ("numpy", "dtype"): _DType} | {
        (f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")}

    def find_class(self, module, name):
        """A stand-in of this module's; raises UnpicklingError for a global that has none."""
        if (module, name) not in self.admitted:
            raise pickle.UnpicklingError(f"it names '{module}.{name}', and only arrays and plain containers are read")
        return self.admitted[module, name]
