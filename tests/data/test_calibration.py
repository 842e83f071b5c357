"""Calibration images: pictures, arrays, noise."""

import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from dna_asic.data import load_images
from dna_asic.data.calibration import MAX_IMAGES, NOISE_IMAGES
from dna_asic.errors import DataError

SHAPE = (3, 4, 6)


@pytest.fixture
def pictures(tmp_path):
    """Three pictures, one in a folder below, one grey."""
    (tmp_path / "below").mkdir()
    for name, mode, colour in (("a.png", "RGB", (0, 51, 255)), ("below/b.png", "RGB", (255,) * 3), ("c.png", "L", 0)):
        Image.new(mode, (12, 8), colour).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


@pytest.mark.parametrize("prefix", ["", "imagefolder:"])
def test_images_of_a_folder(pictures, prefix):
    images = load_images(f"{prefix}{pictures}", SHAPE, 0)
    assert images.shape == (3, *SHAPE) and images.dtype == torch.float32
    assert images[0, :, 0, 0].tolist() == pytest.approx([-1, -0.6, 1])
    assert {float(x.mean()) for x in images[1:]} == {1.0, -1.0}


def test_images_normalised_per_channel(pictures):
    images = load_images(str(pictures), SHAPE, 0, mean=(0, 0.2, 0.5), std=(1, 2, 0.25))
    assert images[0, :, 0, 0].tolist() == pytest.approx([0, 0, 2], abs=1e-6)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_images_of_an_array(tmp_path, suffix):
    array = np.random.default_rng(0).normal(size=(300, *SHAPE))
    path = tmp_path / f"images{suffix}"
    np.save(path, array) if suffix == ".npy" else np.savez_compressed(path, images=array)
    images = load_images(str(path), SHAPE, 0)
    assert len(images) == 100 <= MAX_IMAGES and images[1].numpy() == pytest.approx(array[3].astype(np.float32))
    np.save(tmp_path / "flat.npy", array.reshape(300, -1))
    assert load_images(str(tmp_path / "flat.npy"), SHAPE, 0).equal(images)


def test_images_of_noise_depend_on_the_seed():
    a, b, c = (load_images("random", SHAPE, seed) for seed in (0, 0, 1))
    assert a.shape == (NOISE_IMAGES, *SHAPE) and a.equal(b) and not a.equal(c)


def bomb(path):
    """A header that claims 8 TB."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    if path.suffix == ".npy":
        path.write_bytes(header.getvalue())
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("images.npy", header.getvalue())


def pickled(path):
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize("name,write,message", [
    ("a.npy", bomb, "cannot be read"), ("a.npz", bomb, "cannot be read"), ("a.npy", pickled, "cannot be read"),
    ("a.npz", lambda p: p.write_bytes(b"PK"), "cannot be read"),
    ("a.npz", lambda p: np.savez(p, a=1, b=2), "has 2 arrays"),
    ("a.npy", lambda p: np.save(p, np.zeros((5, 3, 4, 5))), r"must be numbers \[N, 3, 4, 6\], not .* \[5, 3, 4, 5"),
    ("a.npy", lambda p: np.save(p, np.zeros((0, *SHAPE))), "must be numbers"),
    ("a.npy", lambda p: np.save(p, np.full((2, *SHAPE), "x")), "must be numbers"),
    ("nowhere", lambda p: None, "give a folder of pictures, an .npy or .npz file of"),
    ("empty", lambda p: p.mkdir(), "holds no pictures"),
])
def test_images_wrong(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(DataError, match=message):
        load_images(str(tmp_path / name), SHAPE, 0)


@pytest.mark.parametrize("shape,options,message", [
    ((1, 8, 12), {}, "have 3 channels, and the network reads 1"),
    (SHAPE, {"mean": (1, 2)}, "must be 1 or 3 numbers"), (SHAPE, {"std": (1, 0, 1)}, "the latter above 0")])
def test_images_wrong_for_the_network(pictures, shape, options, message):
    with pytest.raises(DataError, match=message):
        load_images(str(pictures), shape, 0, **options)
