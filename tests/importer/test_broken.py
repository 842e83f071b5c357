"""Broken and hostile ONNX files: one clear error each, and no memory for what a file only claims."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import dna_asic
from dna_asic import search as command
from dna_asic.errors import SpecError
from dna_asic.importer import from_onnx
from tests.importer.models import make
from tests.importer.test_operators import W3, node

CONV = [node("Conv", "x", "w", "y")]
SEEDS = 30
HUGE = 800_000_000  # floats: 3.2 GB


def model(shape=(1, 4, 9, 7), **constants) -> onnx.ModelProto:
    return make(CONV, list(shape), {"w": W3} | constants)


def truncated():
    return model().SerializeToString()[:-300]


def no_model():
    return b"PK\x03\x04 this is an archive"


def empty():
    return b""


def unknown_operator():
    return make([node("Convv", "x", "w", "y")], [1, 4, 9, 7], {"w": W3})


def dynamic_shape():
    return model(shape=("batch", 4, "height", "width"))


def old_opset():
    return make(CONV, [1, 4, 9, 7], {"w": W3}, opset=6)


def opset_of_the_future():
    broken = model()
    broken.opset_import[0].version = 999
    return broken


def initialisers_claimed():
    """3.2 GB in the header, nothing behind it."""
    broken = model()
    broken.graph.initializer.append(TensorProto(name="v", data_type=TensorProto.FLOAT, dims=[HUGE]))
    return broken


def constant_of_shape():
    """3.2 GB made by a node from eight bytes."""
    return make([node("ConstantOfShape", "n", "w"), *CONV], [1, 4, 9, 7], {"n": np.array([HUGE // 36, 4, 3, 3])})


def product_of_vectors():
    """3.6 GB made by broadcasting."""
    return make([node("Mul", "a", "b", "w"), *CONV], [1, 4, 9, 7],
                {"a": np.ones((30000, 1, 1, 1), np.float32), "b": np.ones((1, 30000, 1, 1), np.float32)})


def short_constant():
    broken = model()
    broken.graph.initializer[0].dims[0] = 9
    return broken


def negative_dimension():
    broken = model()
    broken.graph.initializer[0].dims[0] = -8
    return broken


def two_inputs():
    broken = make([node("Add", "x", "z", "y")], [1, 4, 9, 7], {})
    broken.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 4, 9, 7]))
    return broken


def batch_of_two():
    return model(shape=(2, 4, 9, 7))


def unknown_tensor():
    broken = model()
    broken.graph.node.insert(0, node("Add", "x", "nowhere", "t"))
    return broken


def large_image():
    return model(shape=(1, 4, 30000, 30000))


def external(location, **extra):
    broken = model()
    tensor = broken.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **extra}.items():
        tensor.external_data.add(key=key, value=str(value))
    return broken


FILES = {
    truncated: "is no whole ONNX file",
    no_model: "is no whole ONNX file",
    empty: "has 0 bytes",
    unknown_operator: r"Convv node 'Convv:y' \(output 'y'\): the chip has no Convv; did you mean Conv",
    dynamic_shape: r"input 'x' has shape \[1, 4, height, width\].*without dynamic axes",
    old_opset: "must have an opset in 7..*, not 6",
    opset_of_the_future: "must have an opset in 7..*, not 999",
    initialisers_claimed: r"claims 3\.2 GB of constants; at most 1\.07 GB are read",
    constant_of_shape: r"claims 6\.4 GB of constants",
    product_of_vectors: r"claims 7\.2 GB of constants",
    short_constant: "is not valid ONNX",
    negative_dimension: r"constant 'w' has type 1 and dimensions \[-8",
    two_inputs: r"has 2 inputs \(x, z\)",
    batch_of_two: "is a batch of 2",
    unknown_tensor: "is not valid ONNX.*nowhere",
    large_image: "must have 1..67108864 elements; reduce the image",
    lambda: external("../w.bin"): "lies in '../w.bin', outside the model's folder",
    lambda: external("/etc/passwd"): "lies in '/etc/passwd', outside",
    lambda: external("link.bin"): "lies in 'link.bin', outside the model's folder or behind a link",
    lambda: external("missing.bin"): "needs 1152 bytes of 'missing.bin'",
    lambda: external("w.bin", offset=8): "gives 1144 of its 1152",
    lambda: external("w.bin", offset=-8): "non-negative",
    lambda: external("w.bin", length=3_000_000_000): "gives 3000000000 of its 1152",
}


def write(made, folder):
    (folder / "w.bin").write_bytes(W3.tobytes())
    (folder / "link.bin").symlink_to("/etc/passwd")
    path = folder / "model.onnx"
    path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    return path


@pytest.mark.parametrize("make_file", FILES, ids=lambda f: f.__name__)
def test_file_wrong(make_file, tmp_path):
    with pytest.raises(SpecError, match=FILES[make_file]):
        from_onnx(write(make_file(), tmp_path))


READ_AND_MEASURE = """
import resource, sys
from dna_asic.errors import SpecError
from dna_asic.importer import from_onnx
peaks = []
for path in sys.argv[1:]:
    try:
        from_onnx(path)
    except SpecError:
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(len(peaks), max(peaks) - peaks[0])
"""


def test_file_wrong_takes_no_memory_for_what_it_claims(tmp_path):
    """In a process of its own: what each claim adds to the peak of reading a file that claims nothing."""
    paths = []
    for make_file in (two_inputs, initialisers_claimed, constant_of_shape, product_of_vectors, large_image):
        paths.append(tmp_path / f"{make_file.__name__}.onnx")
        paths[-1].write_bytes(make_file().SerializeToString())
    done = subprocess.run([sys.executable, "-c", READ_AND_MEASURE, *map(str, paths)], capture_output=True, text=True,
                          check=True, env=os.environ | {"PYTHONPATH": str(Path(dna_asic.__file__).parents[1])})
    read, grown_kib = map(int, done.stdout.split())
    assert read == len(paths) and grown_kib < 100_000


def test_file_with_external_data_beside_it(tmp_path):
    whole, apart = tmp_path / "whole", tmp_path / "apart"
    for folder, made in ((whole, model()), (apart, external("w.bin", length=1152))):
        folder.mkdir()
        write(made, folder)
    expected, got = (from_onnx(folder / "model.onnx").module.folded()["Conv_y"][0] for folder in (whole, apart))
    assert expected.equal(got) and expected.abs().max() > 0


def test_file_wrong_path(tmp_path):
    with pytest.raises(SpecError, match="is not a file"):
        from_onnx(tmp_path / "nowhere.onnx")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_file_wrong_bytes_never_a_traceback(seed, tmp_path):
    """Bytes of a good file changed at random: it is read, or refused as an error of the user's."""
    rng = np.random.default_rng(seed)
    data = np.frombuffer(model(b=W3[:, 0, 0, 0]).SerializeToString(), np.uint8).copy()
    at = rng.integers(0, len(data), 1 + seed % 5)
    data[at] = rng.integers(0, 256, len(at))
    try:
        from_onnx(write(data.tobytes(), tmp_path))
    except SpecError as error:
        assert str(error)


FIVE = [truncated, unknown_operator, dynamic_shape, old_opset, initialisers_claimed]


@pytest.mark.parametrize("make_file", FIVE, ids=lambda f: f.__name__)
def test_command_wrong_file_is_one_error(make_file, tmp_path, capsys):
    path = write(make_file(), tmp_path)
    assert command.main(["--network", str(path), "--calibration", "random", "--runs-dir", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and re.search(FILES[make_file], error)
    assert not (tmp_path / "runs").exists()
