"""Integers of imported networks: trained float ones calibrated here, and models that bring their own (QDQ)."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import nn
from torch.nn import functional as F

from dna_asic.data import load_dataset
from dna_asic.errors import SpecError
from dna_asic.golden import run_golden
from dna_asic.golden.reference import run_layer
from dna_asic.importer import from_module, from_onnx
from dna_asic.quantize import quantize_at, quantize_input, quantize_network
from tests.importer.models import run_onnx
from tests.importer.modules import conv_norm


class Small(nn.Module):
    """A stem, a residual pair, depthwise and pointwise, pooling of both kinds."""

    def __init__(self, residual: bool):
        super().__init__()
        self.stem, self.pair = conv_norm(1, 16, 3), nn.Sequential(conv_norm(16, 16, 3), conv_norm(16, 16, 3))
        self.depth, self.point, self.fc = conv_norm(16, 16, 3, 1, 16), conv_norm(16, 32, 1), nn.Linear(32, 10)
        self.residual = residual

    def forward(self, x):
        x = self.stem(x)
        x = F.max_pool2d(self.pair(x) + x if self.residual else self.pair(x), 2)
        return self.fc(self.point(self.depth(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits", 0)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "residual"])
def trained(request, digits):
    """A network trained for some seconds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Small(request.param)
        optimiser = torch.optim.Adam(module.parameters(), 5e-3)
        for _ in range(5):
            for batch in torch.randperm(len(digits.train.labels)).split(64):
                optimiser.zero_grad()
                F.cross_entropy(module(digits.train.images[batch]), digits.train.labels[batch]).backward()
                optimiser.step()
    return module.eval()


def test_float_network_keeps_its_labels_in_int8(trained, digits):
    imported = from_module(trained, digits.test.images)
    quant = quantize_network(imported.module, digits.train.images[:128])
    with torch.no_grad():
        expected = trained(digits.test.images).argmax(1).numpy()
    logits = run_golden(quant, quantize_input(digits.test.images, quant))["fc"]
    assert (expected == digits.test.labels.numpy()).mean() > 0.9
    assert (logits.reshape(len(logits), -1).argmax(1) == expected).mean() >= 0.98


class _Images(CalibrationDataReader):
    def __init__(self, name, images):
        self.feeds = iter([{name: image[None]} for image in images])

    def get_next(self):
        return next(self.feeds, None)


def quantised_by_onnxruntime(plain, images, path, symmetric=True, per_channel=True):
    """Write a QDQ model of the float model `plain`; returns its path."""
    name = onnx.load(plain).graph.input[0].name
    quantize_static(plain, path, _Images(name, images[:64]), quant_format=QuantFormat.QDQ, per_channel=per_channel,
                    activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
                    extra_options={"ActivationSymmetric": symmetric})
    return path


@pytest.fixture(scope="module")
def plain(trained, tmp_path_factory):
    """The trained network as a float ONNX file."""
    path = tmp_path_factory.mktemp("onnx") / "plain.onnx"
    torch.onnx.export(trained, (torch.zeros(1, 1, 8, 8),), path, dynamo=False)
    return path


@pytest.fixture(scope="module")
def qdq(plain, digits):
    """Its QDQ model."""
    return quantised_by_onnxruntime(plain, digits.test.images.numpy(), plain.with_name("qdq.onnx"))


def integers_of(path, images):
    """(scale, int8 [N, ...]) of every quantised tensor of a QDQ model as onnxruntime computes it."""
    model = onnx.load(path)
    made = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    scales = {t.name: float(numpy_helper.to_array(t)) for t in model.graph.initializer if t.name.endswith("_scale")
              and not t.dims}
    names = [node.output[0] for node in made]
    model.graph.output.extend(helper.make_tensor_value_info(n, onnx.TensorProto.INT8, None) for n in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    name = session.get_inputs()[0].name
    runs = [session.run(names, {name: image[None]}) for image in images]
    return [(scales[node.input[1]], np.concatenate(parts)) for node, parts in zip(made, zip(*runs, strict=True),
                                                                                 strict=True)]


def test_quantised_network_reproduces_its_integers(qdq, digits):
    """From onnxruntime's integers of a layer's inputs each layer comes within one step of its integers."""
    images = digits.test.images[:40].numpy()
    imported = from_onnx(qdq)
    assert imported.quantised
    quant, theirs = quantize_at(imported.module, imported.scales, imported.steps), integers_of(qdq, images)
    tensors = {"input": quantize_input(images, quant)}
    for layer in quant.network.layers:
        inputs = [torch.from_numpy(tensors[n].astype(np.int64)) for n in (layer.source, layer.residual) if n]
        ours = run_layer(layer, quant.layers[layer.name], *inputs).numpy()
        same = [v.reshape(ours.shape) for scale, v in theirs if scale == imported.scales[layer.name]
                and v.size == ours.size]
        tensors[layer.name] = min(same, key=lambda v: np.abs(ours - v).sum())
        assert np.abs(ours - tensors[layer.name]).max() <= 1 and ours.any(), layer.name
    assert len(quant.network.layers) >= 7


@pytest.mark.parametrize("per_channel", [True, False])
def test_quantised_network_as_a_whole(trained, plain, qdq, digits, tmp_path, per_channel):
    """Without a residual (two roundings here, one there) whole networks come within one step too."""
    images = digits.test.images.numpy()
    path = qdq if per_channel else quantised_by_onnxruntime(plain, images, tmp_path / "m.onnx", per_channel=False)
    imported = from_onnx(path)
    quant = quantize_at(imported.module, imported.scales, imported.steps)
    last = quant.network.layers[-1].name
    ours = run_golden(quant, quantize_input(images, quant))[last].reshape(len(images), -1)
    theirs = run_onnx(path, images) / imported.scales[last]
    assert np.abs(ours - theirs).max() <= (4.01 if trained.residual else 1.01)
    assert (ours.argmax(1) == theirs.argmax(1)).mean() >= 0.98
    assert (ours.argmax(1) == digits.test.labels.numpy()).mean() > 0.9


def test_quantised_network_wrong_zero_point(plain, digits, tmp_path):
    path = quantised_by_onnxruntime(plain, digits.test.images.numpy(), tmp_path / "m.onnx", symmetric=False)
    with pytest.raises(SpecError, match="QuantizeLinear node .*its zero point is .*ActivationSymmetric"):
        from_onnx(path)


def test_quantised_network_wrong_by_half(qdq, tmp_path):
    """The output without a scale."""
    model = onnx.load(qdq)
    last = [n for n in model.graph.node if n.op_type == "QuantizeLinear"][-1]
    (after,) = [n for n in model.graph.node if last.output[0] in n.input]
    next(n for n in model.graph.node if last.input[0] in n.output).output[0] = after.output[0]
    model.graph.node.remove(last)
    model.graph.node.remove(after)
    onnx.save(model, tmp_path / "half.onnx")
    with pytest.raises(SpecError, match="quantises some tensors and not fc_Gemm; quantise all activations"):
        from_onnx(tmp_path / "half.onnx")
