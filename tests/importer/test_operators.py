"""Every operator alone or in its usual company: the imported network computes what onnxruntime does."""

import re

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from dna_asic.errors import SpecError
from dna_asic.importer import from_onnx
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.spec.layer import Activation, LayerOp, PoolOp
from tests.importer.models import run_onnx, save

RNG = np.random.default_rng(0)


def weight(*shape):
    return (RNG.normal(size=shape) / np.prod(shape[1:]) ** 0.5).astype(np.float32)


def node(kind, *tensors, **attributes):
    """`node("Conv", "x", "w", "y")`: the last name is the output."""
    return helper.make_node(kind, list(tensors[:-1]), [tensors[-1]], name=f"{kind}:{tensors[-1]}", **attributes)


W3, W1, W5 = weight(8, 4, 3, 3), weight(8, 4, 1, 1), weight(8, 8, 3, 3)
CASES = {  # nodes from x [1, 4, 9, 7] to y; constants; layers
    "conv": ([node("Conv", "x", "w", "b", "y", pads=[1, 1, 1, 1])], {"w": W3, "b": weight(8, 1)[:, 0]}, 1),
    "conv-asymmetric": ([node("Conv", "x", "w", "y", pads=[0, 1, 2, 0])], {"w": W3}, 1),
    "conv-row": ([node("Conv", "x", "w", "y", pads=[0, 3, 0, 3])], {"w": weight(5, 4, 1, 7)}, 1),
    "conv-wide-padding": ([node("Conv", "x", "w", "y", pads=[2, 2, 2, 2])], {"w": W1}, 1),
    "conv-dilated": ([node("Conv", "x", "w", "y", dilations=[2, 3], pads=[2, 3, 2, 3])], {"w": W3}, 1),
    "conv-same": ([node("Conv", "x", "w", "y", auto_pad="SAME_UPPER", strides=[2, 2])], {"w": W3}, 1),
    "conv-same-lower": ([node("Conv", "x", "w", "y", auto_pad="SAME_LOWER", strides=[2, 2])], {"w": W3}, 1),
    "conv-strides-of-one-row": ([node("Conv", "x", "w", "y", strides=[5, 2])], {"w": weight(3, 4, 9, 1)}, 1),
    "conv-grouped": ([node("Conv", "x", "w", "y", group=2)], {"w": weight(6, 2, 3, 3)}, 1),
    "conv-depthwise": ([node("Conv", "x", "w", "y", group=4, pads=[1, 1, 1, 1])], {"w": weight(4, 1, 3, 3)}, 1),
    "conv-depth-multiplier": ([node("Conv", "x", "w", "y", group=4)], {"w": weight(8, 1, 3, 3)}, 1),
    "pad": ([node("Pad", "x", "p", "t"), node("Conv", "t", "w", "y", pads=[1, 0, 0, 1])],
            {"p": np.array([0, 0, 1, 2, 0, 0, 0, 1]), "w": W3}, 1),
    "norm-relu": ([node("Conv", "x", "w", "t"), node("BatchNormalization", "t", "s", "b", "m", "v", "u"),
                   node("Relu", "u", "y")],
                  {"w": W3, **{n: np.abs(weight(8, 1)[:, 0]) + 0.1 for n in "sbmv"}}, 1),
    "norm-alone": ([node("BatchNormalization", "x", "s", "b", "m", "v", "u"), node("Relu", "u", "y")],
                   {n: np.abs(weight(4, 1)[:, 0]) + 0.1 for n in "sbmv"}, 1),
    "constants": ([node("Sub", "x", "a", "t"), node("Div", "t", "b", "u"), node("Mul", "c", "u", "v"),
                   node("Add", "v", "d", "y")],
                  {"a": weight(4, 1, 1), "b": np.float32(2), "c": weight(1, 4, 1, 1), "d": weight(4, 1, 1)}, 1),
    "constants-of-shuffled-channels": ([node("Gather", "x", "order", "t", axis=1), node("Mul", "t", "a", "u"),
                                        node("Conv", "u", "w", "y")],
                                       {"order": np.array([2, 0, 3, 1]), "a": weight(4, 1, 1), "w": W3}, 2),
    "clip": ([node("Conv", "x", "w", "t"), node("Clip", "t", "lo", "hi", "y")],
             {"w": W3 * 30, "lo": np.float32(0), "hi": np.float32(6)}, 1),
    "residual": ([node("Conv", "x", "w", "t", pads=[1, 1, 1, 1]), node("Relu", "t", "u"),
                  node("Conv", "u", "v", "a", pads=[1, 1, 1, 1]), node("Add", "a", "u", "s"), node("Relu", "s", "y")],
                 {"w": W3, "v": W5}, 2),
    "residual-of-later-branch": ([node("Conv", "x", "w", "a", pads=[1, 1, 1, 1]), node("Conv", "x", "v", "b"),
                                  node("Relu", "b", "c"), node("Add", "a", "c", "y")], {"w": W3, "v": W1}, 2),
    "residual-of-activations": ([node("Conv", "x", "w", "a"), node("Relu", "a", "b"), node("Conv", "x", "v", "c"),
                                 node("Relu", "c", "d"), node("Add", "b", "d", "y")], {"w": W1, "v": -W1}, 3),
    "sum-of-three": ([node("Conv", "x", "w", "a"), node("Conv", "x", "v", "b"), node("Sum", "a", "b", "a", "y")],
                     {"w": W1, "v": -W1}, 3),
    "twice-itself": ([node("Relu", "x", "t"), node("Add", "t", "t", "y")], {}, 2),
    "max-fused": ([node("Conv", "x", "w", "t", pads=[1, 1, 1, 1]), node("Relu", "t", "u"),
                   node("MaxPool", "u", "y", kernel_shape=[2, 2], strides=[2, 2])], {"w": W3}, 1),
    "max-then-relu": ([node("Conv", "x", "w", "t"), node("MaxPool", "t", "u", kernel_shape=[2, 2], strides=[2, 2]),
                       node("Relu", "u", "y")], {"w": W3}, 1),
    "max-padded": ([node("Relu", "x", "t"),
                    node("MaxPool", "t", "y", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])], {}, 2),
    "max-padded-before-relu": ([node("MaxPool", "x", "t", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
                                node("Relu", "t", "y")], {}, 1),
    "max-ceil": ([node("Relu", "x", "t"),
                  node("MaxPool", "t", "y", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)], {}, 2),
    "max-zero-padded": ([node("Pad", "x", "p", "t"), node("MaxPool", "t", "y", kernel_shape=[2, 2])],
                        {"p": np.array([0, 0, 1, 1, 0, 0, 0, 0])}, 1),
    "average-fused": ([node("Conv", "x", "w", "t"),
                       node("AveragePool", "t", "y", kernel_shape=[2, 2], strides=[2, 2])], {"w": W3}, 1),
    "average-then-relu": ([node("Conv", "x", "w", "t"),
                           node("AveragePool", "t", "u", kernel_shape=[2, 2], strides=[2, 2]), node("Relu", "u", "y")],
                          {"w": W3}, 2),
    "average-padded": ([node("AveragePool", "x", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)],
                       {}, 1),
    "average-unevenly-padded": ([node("AveragePool", "x", "y", kernel_shape=[3, 2], pads=[1, 0, 1, 1],
                                      count_include_pad=1)], {}, 1),
    "global": ([node("GlobalAveragePool", "x", "t"), node("Flatten", "t", "u"), node("Gemm", "u", "w", "y", transB=1)],
               {"w": weight(5, 4)}, 2),
    "global-maximum": ([node("GlobalMaxPool", "x", "y")], {}, 1),
    "mean": ([node("ReduceMean", "x", "t", axes=[2, 3], keepdims=0), node("MatMul", "t", "w", "u"),
              node("Add", "u", "b", "v"), node("Relu", "v", "y")], {"w": weight(4, 5), "b": weight(5, 1)[:, 0]}, 2),
    "flatten": ([node("Flatten", "x", "t"), node("Gemm", "t", "w", "b", "y", transB=1, alpha=0.5, beta=2.0)],
                {"w": weight(5, 252), "b": weight(5, 1)[:, 0]}, 1),
    "flatten-channels-last": ([node("Transpose", "x", "t", perm=[0, 2, 3, 1]), node("Reshape", "t", "shape", "u"),
                               node("Gemm", "u", "w", "y")],
                              {"w": weight(252, 5), "shape": np.array([1, -1])}, 1),
    "flatten-by-its-shape": ([node("Shape", "x", "a"), node("Cast", "a", "b", to=TensorProto.FLOAT),
                              node("Slice", "b", "from", "to", "c"), node("Cast", "c", "d", to=TensorProto.INT64),
                              node("Concat", "d", "rest", "e", axis=0), node("Reshape", "x", "e", "t"),
                              node("Gemm", "t", "w", "y", transB=1)],
                             {"w": weight(5, 252), "from": np.array([0]), "to": np.array([1]), "rest": np.array([-1])},
                             1),
    "relu-after-flatten": ([node("Conv", "x", "w", "t"), node("Flatten", "t", "u"), node("Relu", "u", "v"),
                            node("Gemm", "v", "g", "y", transB=1)], {"w": W3, "g": weight(5, 280)}, 2),
    "concat": ([node("Conv", "x", "w", "a"), node("Relu", "a", "b"), node("Concat", "x", "b", "t", axis=1),
                node("Conv", "t", "v", "y", pads=[1, 1, 1, 1])], {"w": W1, "v": weight(6, 12, 3, 3)}, 3),
    "concat-pooled": ([node("Concat", "x", "x", "t", axis=1), node("Relu", "t", "u"),
                       node("MaxPool", "u", "y", kernel_shape=[3, 3])], {}, 2),
    "concat-of-many": ([*(node("Relu", "x", f"t{i}") for i in range(6)),
                        node("Concat", *(f"t{i}" for i in range(6)), "t", axis=1), node("Conv", "t", "w", "y")],
                       {"w": weight(5, 24, 1, 1)}, 13),
    "concat-flat": ([node("GlobalAveragePool", "x", "a"), node("Flatten", "a", "b"), node("Flatten", "x", "c"),
                     node("Concat", "b", "c", "t", axis=1), node("Gemm", "t", "w", "y", transB=1)],
                    {"w": weight(5, 256)}, 3),
    "shuffle-grouped": ([node("Conv", "x", "w", "t", group=2), node("Relu", "t", "u"),
                         node("Reshape", "u", "five", "a"), node("Transpose", "a", "b", perm=[0, 2, 1, 3, 4]),
                         node("Reshape", "b", "four", "c"), node("Conv", "c", "v", "y", group=2)],
                        {"w": weight(8, 2, 1, 1), "v": weight(6, 4, 1, 1), "five": np.array([1, 2, 4, 9, 7]),
                         "four": np.array([1, 8, 9, 7])}, 2),
    "shuffle-and-split": ([node("Concat", "x", "x", "d", axis=1), node("Reshape", "d", "five", "a"),
                           node("Transpose", "a", "b", perm=[0, 2, 1, 3, 4]), node("Reshape", "b", "four", "c"),
                           helper.make_node("Split", ["c"], ["e", "f"], axis=1, name="halves"),
                           node("Conv", "e", "w", "g"), node("MaxPool", "f", "h", kernel_shape=[1, 1]),
                           node("Concat", "g", "h", "y", axis=1)],
                          {"five": np.array([1, 2, 4, 9, 7]), "four": np.array([1, 8, 9, 7]), "w": W1}, 5),
    "slice": ([node("Slice", "x", "from", "to", "axis", "t"), node("Conv", "t", "w", "y")],
              {"from": np.array([1]), "to": np.array([3]), "axis": np.array([1]), "w": weight(5, 2, 3, 3)}, 1),
    "gather": ([node("Gather", "x", "order", "t", axis=1), node("Conv", "t", "w", "y")],
               {"order": np.array([3, 1, 1]), "w": weight(5, 3, 3, 3)}, 1),
    "dropout": ([node("Dropout", "x", "t"), node("Identity", "t", "u"), node("Conv", "u", "w", "y")], {"w": W3}, 1),
}


@pytest.mark.parametrize("name", CASES)
def test_operator_computes_what_onnxruntime_does(name, tmp_path):
    nodes, constants, layers = CASES[name]
    opset = 11 if name in ("shuffle-and-split", "mean") else 17
    path = save(tmp_path / "m.onnx", nodes, [1, 4, 9, 7], constants, opset)
    imported = from_onnx(path)
    images = np.random.default_rng(1).normal(size=(3, 4, 9, 7)).astype(np.float32)
    got = imported.module(torch.from_numpy(images)).numpy()
    want = run_onnx(path, images)
    assert got.reshape(3, -1) == pytest.approx(want.reshape(3, -1), rel=1e-5, abs=1e-5)
    assert len(imported.network.layers) == layers
    hardware_shapes(imported.network, 8)


@pytest.mark.parametrize("name,check", [
    ("residual", lambda a, b: (a.activation, b.residual, b.activation) == (Activation.RELU, a.name, Activation.RELU)),
    ("max-fused", lambda a: (a.pool.op, a.pool.window) == (PoolOp.MAX, 2)),
    ("clip", lambda a: a.activation is Activation.RELU6),
    ("max-padded", lambda a, b: b.shape.op is LayerOp.MAX and b.shape.pad == 1),
    ("shuffle-grouped", lambda a, b: a.shuffle_groups == 2 and b.shape.g == 2),
    ("global", lambda a, b: a.average and a.shape.bounds == (4, 1, 1, 1, 1, 9, 7) and b.source == a.name),
])
def test_operator_becomes_the_hardware_layer_it_should(name, check, tmp_path):
    nodes, constants, _ = CASES[name]
    path = save(tmp_path / "m.onnx", nodes, [1, 4, 9, 7], constants)
    assert check(*from_onnx(path).network.layers)


@pytest.mark.parametrize("batch", [1, "batch", -1])
def test_operator_image_with_channels_last_is_read_channels_first(batch, tmp_path):
    nodes = [node("Sub", "x", "mean", "a"), node("Div", "a", "std", "b"),
             node("Transpose", "b", "c", perm=[0, 3, 1, 2]), node("Conv", "c", "w", "y", pads=[1, 1, 1, 1])]
    path = save(tmp_path / "m.onnx", nodes, [batch, 9, 7, 4],
                {"mean": weight(4, 1)[:, 0], "std": np.float32(2), "w": W3})
    imported = from_onnx(path)
    images = np.random.default_rng(1).normal(size=(3, 4, 9, 7)).astype(np.float32)
    want = run_onnx(path, images.transpose(0, 2, 3, 1))
    assert imported.network.input_shape == (4, 9, 7) and len(imported.network.layers) == 2
    got = imported.module(torch.from_numpy(images)).numpy()
    assert got.reshape(want.shape) == pytest.approx(want, rel=1e-5, abs=1e-5)
    assert "[4, 9, 7], channels first" in imported.notes[0]


@pytest.mark.parametrize("ending", ["Softmax", "LogSoftmax"])
def test_operator_softmax_at_the_end_is_left_to_the_host(ending, tmp_path):
    nodes = [node("Gemm", "x", "w", "t", transB=1), node(ending, "t", "y")]
    imported = from_onnx(save(tmp_path / "m.onnx", nodes, ["batch", 12], {"w": weight(5, 12)}))
    assert imported.network.input_shape == (12, 1, 1) and len(imported.network.layers) == 1
    assert ending in imported.notes[0] and "left to the host" in imported.notes[0]


WRONG = {  # nodes from x [1, 4, 9, 7] to y; constants; message
    "lrn": ([node("LRN", "x", "y", size=5)], {},
            r"LRN node 'LRN:y' \(output 'y'\): the chip has no LRN; train with BatchNormalization"),
    "misspelt": ([node("Convv", "x", "w", "y")], {"w": W3}, "no Convv; did you mean Conv"),
    "custom": ([helper.make_node("Fused", ["x"], ["y"], domain="com.example")], {}, "no Fused; the chip has conv"),
    "strides": ([node("Conv", "x", "w", "y", strides=[1, 2])], {"w": W3}, "its strides 1 and 2 differ"),
    "stride": ([node("Conv", "x", "w", "y", strides=[8, 8], pads=[4, 4, 4, 4])], {"w": weight(3, 4, 5, 5)},
               "stride 8 exceeds 7"),
    "kernel": ([node("Conv", "x", "w", "y", pads=[8, 8, 8, 8])], {"w": weight(2, 4, 17, 3)}, "17x.* at most 16x16"),
    "padded-maximum": ([node("MaxPool", "x", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1])], {}, "put a ReLU before it"),
    "border-average": ([node("AveragePool", "x", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1])], {},
                       "count_include_pad=0"),
    "clip": ([node("Clip", "x", "lo", "hi", "y")], {"lo": np.float32(-1), "hi": np.float32(1)}, "-1.0..1.0 is not on"),
    "constants-along-rows": ([node("Mul", "x", "a", "y")], {"a": weight(9, 1)}, "9 constants along axis 2.*not one"),
    "constants-that-widen": ([node("GlobalAveragePool", "x", "t"), node("Mul", "t", "a", "y")], {"a": weight(9, 1)},
                             r"it makes \[1, 4, 9, 1\] of \[1, 4, 1, 1\]"),
    "constant-of-more-axes": ([node("Flatten", "x", "t"), node("Mul", "t", "a", "y")], {"a": weight(1, 1, 252)},
                              r"it makes \[1, 1, 252\] of \[1, 252\]"),
    "constants-alone": ([node("Relu", "w", "t"), node("Conv", "x", "t", "y")], {"w": W3},
                        r"Relu:t' .*constants alone; simplify"),
    "product": ([node("Relu", "x", "t"), node("Mul", "x", "t", "y")], {}, "no Mul of two maps"),
    "space-to-depth": ([node("Reshape", "x", "s", "t"), node("Conv", "t", "w", "y")],
                       {"s": np.array([1, 2, 18, 7]), "w": weight(2, 2, 1, 1)}, "reads pixels in another order"),
    "batch": ([node("Reshape", "x", "s", "y")], {"s": np.array([4, 9, 7, 1])}, "first axis is the batch"),
    "middle-softmax": ([node("Flatten", "x", "t"), node("Softmax", "t", "u"), node("Gemm", "u", "w", "y")],
                       {"w": weight(252, 2)}, "no exponential; only at the network's end"),
    "rows": ([node("ReduceMean", "x", "y", axes=[1])], {}, r"reduces axes \[1\]"),
    "reflection": ([node("Pad", "x", "p", "t", mode="reflect"), node("Conv", "t", "w", "y")],
                   {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "w": W3}, "pads with zeros only"),
    "nothing": ([node("Flatten", "x", "y")], {}, "Output 'y' is the input"),
    "infinite": ([node("Conv", "x", "w", "y")], {"w": W3 * np.float32(np.inf)}, "weights must be finite"),
    "broadcast": ([node("GlobalAveragePool", "x", "t"), node("Add", "x", "t", "y")], {}, "adds maps of one shape"),
}


@pytest.mark.parametrize("name", WRONG)
def test_operator_wrong(name, tmp_path):
    nodes, constants, message = WRONG[name]
    path = save(tmp_path / "m.onnx", nodes, [1, 4, 9, 7], constants, 17)
    with pytest.raises(SpecError, match=message):
        from_onnx(path)


def test_operator_wrong_all_reported_together(tmp_path):
    nodes = [node("Conv", "x", "w", "a", strides=[1, 2]), node("LRN", "a", "b", size=3), node("Sigmoid", "b", "c"),
             node("Conv", "c", "v", "d"), node("HardSwish", "d", "y")]
    path = save(tmp_path / "m.onnx", nodes, [1, 4, 9, 7], {"w": W3, "v": W5})
    with pytest.raises(SpecError) as caught:
        from_onnx(path)
    lines = str(caught.value).splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["Conv", "LRN", "Sigmoid", "HardSwish"]
    assert "output 'c'" in lines[2] and "use Relu" in lines[2]


def test_operator_wrong_many_times_is_one_line(tmp_path):
    names = ["x", "a", "b", "c", "d", "y"]
    nodes = [node("HardSwish", *pair) for pair in zip(names, names[1:])]
    with pytest.raises(SpecError) as caught:
        from_onnx(save(tmp_path / "m.onnx", nodes, [1, 4, 9, 7], {}))
    assert re.fullmatch(".*output 'a'.*output 'b'.*output 'c'.* and 2 more: the chip has no HardSwish; .*",
                        str(caught.value))
