"""Datasets: contents, splits, and what a broken folder says."""

import numpy as np
import pytest
import torch
from PIL import Image

from dna_asic.data import load_dataset
from dna_asic.errors import DataError


def make_folder(root, classes=("cat", "dog"), count=5, size=(6, 5), mode="RGB", seed=0):
    generator = np.random.default_rng(seed)
    for name in classes:
        (root / name).mkdir(parents=True)
        for i in range(count):
            shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
            Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)).save(root / name / f"{i}.png")
    return f"imagefolder:{root}"


def test_digits_split():
    splits = load_dataset("digits", 0)
    sizes = [len(part.labels) for part in (splits.train, splits.val, splits.test)]
    assert sum(sizes) == 1797 and splits.num_classes == 10 and splits.input_shape == (1, 8, 8)
    assert abs(sizes[1] - 359) < 5 and abs(sizes[2] - 359) < 5
    assert splits.train.images.dtype == torch.float32 and splits.train.labels.dtype == torch.int64
    assert splits.train.images.min() >= 0 and splits.train.images.max() == 1
    assert all(torch.bincount(part.labels).min() > 30 for part in (splits.val, splits.test))


def test_digits_split_is_fixed_by_seed():
    a, b, c = (load_dataset("digits", seed) for seed in (1, 1, 2))
    assert torch.equal(a.test.images, b.test.images) and torch.equal(a.train.labels, b.train.labels)
    assert not torch.equal(a.test.images, c.test.images)


def test_digits_parts_cover_the_dataset_once():
    splits = load_dataset("digits", 0)
    every = torch.cat([part.images.flatten(1) for part in (splits.train, splits.val, splits.test)])
    from sklearn.datasets import load_digits
    whole = torch.from_numpy(load_digits().data / 16).float()
    rows = lambda x: sorted(map(tuple, x.tolist()))  # noqa: E731
    assert rows(every) == rows(whole)


def test_imagefolder_colour_and_resize(tmp_path):
    spec = make_folder(tmp_path / "set")
    splits = load_dataset(spec, 0)
    assert splits.input_shape == (3, 5, 6) and splits.num_classes == 2
    assert [len(p.labels) for p in (splits.train, splits.val, splits.test)] == [6, 2, 2]
    assert splits.train.images.min() >= -1 and splits.train.images.max() <= 1
    assert load_dataset(spec, 0, image_size=16).input_shape == (3, 16, 16)


def test_imagefolder_grey_and_mixed_sizes(tmp_path):
    spec = make_folder(tmp_path / "set", mode="L")
    Image.new("L", (9, 9), 255).save(tmp_path / "set" / "cat" / "big.png")
    (tmp_path / "set" / "cat" / "notes.txt").write_text("not an image")
    assert load_dataset(spec, 0).input_shape == (1, 5, 6)


def test_imagefolder_train_and_test(tmp_path):
    make_folder(tmp_path / "train", count=4)
    make_folder(tmp_path / "test", count=3, seed=1)
    splits = load_dataset(f"imagefolder:{tmp_path}", 0)
    assert [len(p.labels) for p in (splits.train, splits.val, splits.test)] == [6, 2, 6]


def test_dataset_wrong_name():
    with pytest.raises(DataError, match="'digitz' is not known; use 'digits'"):
        load_dataset("digitz", 0)


def test_imagefolder_wrong_missing(tmp_path):
    with pytest.raises(DataError, match="not a readable folder"):
        load_dataset(f"imagefolder:{tmp_path}/none", 0)


def test_imagefolder_wrong_empty(tmp_path):
    with pytest.raises(DataError, match="at least 2 class folders, not 0"):
        load_dataset(f"imagefolder:{tmp_path}", 0)


def test_imagefolder_wrong_class_without_images(tmp_path):
    spec = make_folder(tmp_path / "set")
    (tmp_path / "set" / "emu").mkdir()
    with pytest.raises(DataError, match=r"emu' must hold at least 3 images .*not 0"):
        load_dataset(spec, 0)


def test_imagefolder_wrong_corrupt_image_is_named(tmp_path):
    spec = make_folder(tmp_path / "set")
    (tmp_path / "set" / "dog" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    with pytest.raises(DataError, match="bad.png' cannot be read"):
        load_dataset(spec, 0)


def test_imagefolder_wrong_truncated_image_is_named(tmp_path):
    spec = make_folder(tmp_path / "set", size=(64, 64))
    path = tmp_path / "set" / "dog" / "0.png"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="0.png' cannot be read"):
        load_dataset(spec, 0)


def test_imagefolder_wrong_test_class(tmp_path):
    make_folder(tmp_path / "train")
    make_folder(tmp_path / "test", classes=("cat", "emu"))
    with pytest.raises(DataError, match="no train folder of the same name"):
        load_dataset(f"imagefolder:{tmp_path}", 0)
