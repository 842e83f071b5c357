"""CIFAR in its versions, of a few images, and what broken and hostile ones say."""

import collections
import os
import pickle
import struct
import tarfile

import numpy as np
import pytest
from PIL import Image

from dna_asic.data import load_dataset
from dna_asic.data.cifar import CIFAR10, CIFAR100, unpickle
from dna_asic.errors import DataError

KINDS = {"cifar10": CIFAR10, "cifar100": CIFAR100}
COUNT = 200  # images per file


def batch(kind, seed):
    """Pixels uint8 [COUNT, 3072] and labels [COUNT], each class alike."""
    pixels = np.random.default_rng(seed).integers(0, 256, (COUNT, 3072), dtype=np.uint8)
    return pixels, np.arange(COUNT) % kind.classes


def binary(kind, pixels, labels):
    coarse = np.full((COUNT, kind.label_bytes - 1), 7)
    return np.concatenate([coarse, labels[:, None], pixels], axis=1).astype(np.uint8).tobytes()


def python2(kind, pixels, labels):
    """As Python 2 wrote the official files: protocol 2, byte strings, NumPy of its day."""
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = (b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01M"
             + struct.pack("<H", COUNT) + b"M\x00\x0c\x86" + dtype + b"\x89T" + struct.pack("<i", pixels.size)
             + pixels.tobytes() + b"tb")
    items = b"".join(b"K" + bytes([x]) for x in labels)
    return b"".join([b"\x80\x02}U\x04data", array, b"sU", bytes([len(kind.key)]), kind.key, b"](", items, b"es."])


def python3(kind, pixels, labels):
    return pickle.dumps({b"data": pixels, kind.key: labels.tolist(), b"batch_label": b"training"}, protocol=4)


VERSIONS = {"binary": (".bin", binary), "python2": ("", python2), "python3": ("", python3)}


def write_set(folder, kind, version):
    """A set of COUNT images a file, in `folder`, which is returned."""
    suffix, encode = VERSIONS[version]
    folder.mkdir(parents=True)
    for seed, name in enumerate(kind.files):
        (folder / f"{name}{suffix}").write_bytes(encode(kind, *batch(kind, seed)))
    (folder / "batches.meta").write_bytes(b"not read")
    return folder


def write_images(folder, classes=10):
    for part, count in (("train", 5), ("test", 2)):
        for label in range(classes):
            path = folder / part / f"class{label}"
            path.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (32, 32), (label, i, part == "test")).save(path / f"{i}.png")
    return folder


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("tar", [False, True])
def test_cifar_official(tmp_path, name, version, tar):
    kind = KINDS[name]
    path = write_set(tmp_path / "official", kind, version)
    if tar:
        with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
            archive.add(path, "batches")
        path = tmp_path / "a.tar.gz"
    splits = load_dataset(f"{name}:{path}", 0)
    assert splits.name == name and splits.num_classes == kind.classes and splits.input_shape == (3, 32, 32)
    pixels, labels = batch(kind, len(kind.files) - 1)
    assert (splits.test.images.numpy() == pixels.reshape(-1, 3, 32, 32)).all()
    assert (splits.test.labels.numpy() == labels).all()
    trained = np.concatenate([batch(kind, seed)[0] for seed in range(len(kind.files) - 1)])
    found = np.concatenate([splits.train.images.flatten(1), splits.val.images.flatten(1)])
    assert sorted(map(bytes, found)) == sorted(map(bytes, trained))
    assert len(splits.val.labels) == len(trained) * (0.2 if name == "cifar10" else 0.5)


@pytest.mark.parametrize("mode", [None, "w", "w:xz"])
def test_cifar_of_images(tmp_path, mode):
    path = write_images(tmp_path / "images")
    if mode:
        with tarfile.open(tmp_path / "a.tar", mode) as archive:
            for part in ("test", "train"):
                archive.add(path / part, part)
        path = tmp_path / "a.tar"
    splits = load_dataset(f"cifar10:{path}", 0, train_images=30, test_images=10)
    assert [len(part.labels) for part in (splits.train, splits.val, splits.test)] == [20, 10, 10]
    for part in (splits.train, splits.val, splits.test):
        assert (part.images[:, 0, 0, 0] == part.labels).all() and (part.images[:, 2] == (part is splits.test)).all()


def test_cifar_wrong_truncated(tmp_path):
    path = write_set(tmp_path / "set", CIFAR10, "binary")
    os.truncate(path / "data_batch_3.bin", 3073 * 7 - 1)
    with pytest.raises(DataError, match="data_batch_3.bin' is not of 'cifar10': it must be a multiple of 3073 b"):
        load_dataset(f"cifar10:{path}", 0)


def test_cifar_wrong_other_set(tmp_path):
    path = write_set(tmp_path / "set", CIFAR100, "python3")
    (path / "train").rename(path / "data_batch_1")
    with pytest.raises(DataError, match="data_batch_2, .*test_batch is missing"):
        load_dataset(f"cifar10:{path}", 0)


def test_cifar_wrong_label(tmp_path):
    path = write_set(tmp_path / "set", CIFAR10, "binary")
    (path / "test_batch.bin").write_bytes(bytes([10]) + bytes(3072))
    with pytest.raises(DataError, match="its labels must be below 10, not 10"):
        load_dataset(f"cifar10:{path}", 0)


def test_cifar_wrong_number_of_classes(tmp_path):
    with pytest.raises(DataError, match="must hold the 10 classes of 'cifar10', not 3"):
        load_dataset(f"cifar10:{write_images(tmp_path, 3)}", 0)


def test_cifar_wrong_image_size(tmp_path):
    with pytest.raises(DataError, match="image_size must not be 64"):
        load_dataset(f"cifar10:{tmp_path}", 0, image_size=64)


class Runs:
    """Unpickled by pickle itself, it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_cifar_wrong_pickle_runs_nothing(tmp_path):
    path = write_set(tmp_path / "set", CIFAR10, "python2")
    (path / "data_batch_2").write_bytes(pickle.dumps({b"data": Runs(tmp_path / "made")}))
    with pytest.raises(DataError, match="data_batch_2' is not of 'cifar10': it names 'posix.mkdir'"):
        load_dataset(f"cifar10:{path}", 0)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content,message", [
    (pickle.dumps(collections.OrderedDict()), "it names 'collections.OrderedDict'"),
    (b"cbuiltins\neval\n(S'1'\ntR.", "it names '(builtins|__builtin__).eval'"),
    (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.", "it names 'os.system'"),
    (pickle.dumps(np.zeros(3)), "an array that is not of uint8"),
    (pickle.dumps(np.array([{}], dtype=object)), "an array that is not of uint8"),
    (pickle.dumps(np.zeros((2, 3), np.uint8, order="F")), "not of uint8 in C order"),
    (b"cnumpy\nndarray\n}X\x04\x00\x00\x00evilK\x01sb.", "no sound pickle"),
    (b"\x80\x04Nr\xff\xff\xff\x7f.", None),  # a place in the memo that would take 16 GB
    (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 50) + b"few.", "no sound pickle"),
    (b"]" * 3_000_000 + b".", "more than 2097152 steps"),
    (b"", "no sound pickle"), (b"\x80\x04", "no sound pickle"), (b"0" * 9, "no sound pickle"),
    (b"\xff" * 9, "no sound pickle"), (b"P1\n.", "persistent"),
])
def test_unpickle_wrong(content, message):
    if message is None:
        assert unpickle(content) is None
        return
    with pytest.raises(ValueError, match=message):
        unpickle(content)


def test_unpickle_wrong_mutations():
    """Whatever byte is changed: something plain, or a ValueError."""
    whole = pickle.dumps({b"data": np.zeros((2, 5), np.uint8), b"labels": [1, 2]}, protocol=2)
    generator = np.random.default_rng(0)
    for _ in range(3000):
        content = bytearray(whole)
        for place in generator.integers(len(content), size=2):
            content[place] = generator.integers(256)
        try:
            unpickle(bytes(content))
        except ValueError:
            continue


@pytest.mark.parametrize("change", [
    {b"labels": [1]}, {b"labels": [True] * COUNT}, {b"labels": [10] * COUNT}, {b"labels": [10**30] * COUNT},
    {b"labels": None}, {b"data": None}, {b"data": np.zeros((COUNT, 3071), np.uint8)}, {b"data": [[0]]}])
def test_cifar_wrong_python_contents(tmp_path, change):
    path = write_set(tmp_path / "set", CIFAR10, "python3")
    pixels, labels = batch(CIFAR10, 0)
    whole = {b"data": pixels, b"labels": labels.tolist()}
    (path / "data_batch_1").write_bytes(pickle.dumps(whole | change, protocol=4))
    with pytest.raises(DataError, match=r"data_batch_1' is not of 'cifar10': it must be a dict with uint8 'data'"):
        load_dataset(f"cifar10:{path}", 0)
