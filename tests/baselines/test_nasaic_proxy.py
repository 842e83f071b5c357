"""Accuracy by a short training, kept."""

import pytest

from dna_asic.baselines.nasaic_proxy import ProxyAccuracy
from dna_asic.baselines.nasaic_space import NasaicSpace
from dna_asic.data import load_dataset
from dna_asic.errors import SpecError

SMALL = (2, 8, 0, 8, 0, 8, 0)


def proxy(folder, seed=0):
    splits = load_dataset("digits", 0)
    return ProxyAccuracy(space=NasaicSpace(input_shape=splits.input_shape, classes=10), splits=splits, epochs=1,
                         seed=seed, folder=folder)


def test_accuracy_is_seeded_and_kept(tmp_path):
    first = proxy(tmp_path / "a")(SMALL)
    assert 0.2 < first < 1 and first == proxy(tmp_path / "b")(SMALL)
    (path,) = (tmp_path / "a").iterdir()
    assert path.name == "2-8-0-8-0-8-0.json"
    path.write_text('{"accuracy": 0.125}')
    assert proxy(tmp_path / "a")(SMALL) == 0.125


def test_accuracy_wrong_file(tmp_path):
    (tmp_path / "2-8-0-8-0-8-0.json").write_text("{")
    with pytest.raises(SpecError, match="is damaged .* remove it to train anew"):
        proxy(tmp_path)(SMALL)
