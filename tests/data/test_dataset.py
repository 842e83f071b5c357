"""Datasets: contents, splits, and what a broken folder says."""

import numpy as np
import pytest
import torch
from PIL import Image

from dna_asic.data import load_dataset, to_float
from dna_asic.data.dataset import balanced
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
    assert splits.train.images.stride() == (64, 64, 8, 1)  # of one channel others are as good, but convolve otherwise
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
    assert splits.train.images.dtype == torch.uint8 and to_float(splits.train.images).abs().max() <= 1
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


def test_imagefolder_val_tests_where_there_is_no_test(tmp_path):
    make_folder(tmp_path / "train", count=4)
    make_folder(tmp_path / "val", count=3, seed=1)
    assert part_sizes(load_dataset(f"imagefolder:{tmp_path}", 0)) == [6, 2, 6]
    make_folder(tmp_path / "test", count=1, seed=2)
    assert part_sizes(load_dataset(f"imagefolder:{tmp_path}", 0)) == [8, 6, 2]


def test_imagefolder_classes_take_turns(tmp_path):
    splits = load_dataset(make_folder(tmp_path / "set", classes=("a", "b", "c"), count=10), 0)
    assert all(set(part.labels[:6].tolist()) == {0, 1, 2} for part in (splits.train, splits.test))


def part_sizes(splits):
    return [len(part.labels) for part in (splits.train, splits.val, splits.test)]


def test_to_float():
    assert to_float(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1, 1]
    floats = torch.rand(3)
    assert to_float(floats) is floats


def test_subset_is_balanced_and_seeded():
    splits, again = (load_dataset("digits", 0, train_images=103, test_images=20) for _ in range(2))
    assert part_sizes(splits) == [77, 26, 20]
    for part, least in ((splits.train, 7), (splits.val, 2), (splits.test, 2)):
        counts = torch.bincount(part.labels, minlength=10)
        assert counts.min() == least and counts.max() <= least + 1
    assert all(torch.equal(a.images, b.images) for a, b in ((splits.train, again.train), (splits.test, again.test)))
    other = load_dataset("digits", 0, test_images=20)
    assert torch.equal(other.test.images, splits.test.images)


def test_fewer_images_to_train_with():
    splits = load_dataset("digits", 0)
    fewer, again = (splits.with_train_images(103, 0) for _ in range(2))
    assert part_sizes(fewer) == [103, *part_sizes(splits)[1:]]
    assert set(torch.bincount(fewer.train.labels).tolist()) == {10, 11}
    rows = (splits.train.images.flatten(1)[None] == fewer.train.images.flatten(1)[:, None]).all(dim=2)
    assert rows.any(dim=1).all() and torch.equal(fewer.train.images, again.train.images)


def test_subset_of_all_is_all():
    assert part_sizes(load_dataset("digits", 0, train_images=10**6, test_images=10**6)) == part_sizes(
        load_dataset("digits", 0))


def test_balanced_fills_up_where_a_class_runs_out():
    labels = np.array([0] * 10 + [1] * 2 + [2] * 10)
    chosen = balanced(labels, 12, 0)
    assert np.bincount(labels[chosen]).tolist() == [5, 2, 5] and (np.diff(chosen) > 0).all()


def test_subset_wrong_counts():
    with pytest.raises(DataError, match="--train-images must be at least 20 .*not 19.\n--test-images .* 1 .*not 0"):
        load_dataset("digits", 0, train_images=19, test_images=0)


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


def test_imagefolder_wrong_image_of_too_many_pixels(tmp_path):
    spec = make_folder(tmp_path / "set")
    Image.new("1", (1 << 14, 5000)).save(tmp_path / "set" / "dog" / "bomb.png")
    with pytest.raises(DataError, match="bomb.png' cannot be read: it has 16384 x 5000 pixels"):
        load_dataset(spec, 0)


def test_imagefolder_wrong_size_of_all(tmp_path):
    with pytest.raises(DataError, match="must take at most .* bytes of pixels"):
        load_dataset(make_folder(tmp_path / "set"), 0, image_size=20000)


def test_imagefolder_wrong_format_that_runs_a_program(tmp_path):
    spec = make_folder(tmp_path / "set")
    (tmp_path / "set" / "dog" / "0.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 5\nshowpage\n")
    with pytest.raises(DataError, match="0.png' cannot be read: cannot identify"):
        load_dataset(spec, 0)


def test_imagefolder_wrong_test_class(tmp_path):
    make_folder(tmp_path / "train")
    make_folder(tmp_path / "test", classes=("cat", "emu"))
    with pytest.raises(DataError, match="no train folder of the same name"):
        load_dataset(f"imagefolder:{tmp_path}", 0)
