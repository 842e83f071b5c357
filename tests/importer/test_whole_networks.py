"""Whole networks: PyTorch's of the literature and the ONNX project's, to a compiled program."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from dna_asic.cost import evaluate_design
from dna_asic.errors import SpecError
from dna_asic.golden import run_golden
from dna_asic.importer import from_module, from_onnx
from dna_asic.layer_kinds import alone, kind_of, mappings_of, one_of_each
from dna_asic.mapping.compile import compile_program
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.simulate import simulate
from dna_asic.quantize import quantize_network
from dna_asic.technology import load_technology
from tests.chips import make_chip
from tests.importer.models import LIGHT, light, run_onnx
from tests.importer.modules import AlexNet, MobileNetV2, ResNet18, seeded

CHIP = make_chip("kc-tree-4x4")
NETWORKS = [  # kind, image side, layers, kinds of layers
    (ResNet18, 64, 23, 7), pytest.param(MobileNetV2, 64, 54, 6, marks=pytest.mark.slow),
    pytest.param(AlexNet, 224, 11, 5, marks=pytest.mark.slow),
    pytest.param(ResNet18, 224, 23, 7, marks=pytest.mark.slow)]


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def compiled(quant):
    mappings = mappings_of(quant.network, CHIP, {}, {layer.name: 0 for layer in quant.network.layers})
    return mappings, compile_program(CHIP, quant, mappings)


@pytest.mark.parametrize("kind,side,layers,kinds", NETWORKS)
def test_network_from_pytorch_runs(kind, side, layers, kinds):
    """It computes what the module does, compiles whole, and one layer of each kind computes what golden does."""
    module, images = seeded(kind), noise(2, 3, side, side)
    imported = from_module(module, images, kind.__name__)
    with torch.no_grad():
        want, got = module(images), imported.module(images)
    assert want.std() > 0.01 and torch.allclose(got, want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))
    assert len(imported.network.layers) == layers
    quant = quantize_network(imported.module, images)
    mappings, program = compiled(quant)
    assert len(program.layers) == layers
    report = evaluate_design(hardware_shapes(quant.network, CHIP.port_bytes), CHIP, mappings,
                             load_technology("asic-28nm"))
    chosen = one_of_each(quant.network, report)
    assert len(chosen) == len({kind_of(layer) for layer in quant.network.layers}) == kinds
    for layer in chosen:
        if layer.shape.macs < 5e6:
            check_layer(alone(quant, layer))


def check_layer(quant):
    images = np.random.default_rng(0).integers(-128, 128, (1, *quant.network.input_shape)).astype(np.int8)
    _, program = compiled(quant)
    tensor = program.output
    got = tensor.unpack(simulate(program, CHIP, [program.input.pack(images[0])])[0][tensor.name])
    want = run_golden(quant, images)[tensor.name][0]
    assert np.array_equal(got.reshape(want.shape), want) and len(np.unique(want)) > 3, tensor.name


@pytest.mark.parametrize("name,layers", [
    ("squeezenet", 40), pytest.param("resnet50", 56, marks=pytest.mark.slow),
    pytest.param("densenet121", 386, marks=pytest.mark.slow)])
def test_network_of_the_onnx_project_computes_what_onnxruntime_does(name, layers, tmp_path):
    path = light(name, tmp_path)
    imported = from_onnx(path)
    images = noise(1, *imported.network.input_shape).numpy()
    got, want = imported.module(torch.from_numpy(images)).numpy(), run_onnx(path, images)
    if imported.notes:  # the softmax is left to the host
        got = np.exp(got - got.max()) / np.exp(got - got.max()).sum()
    assert want.std() > 1e-3 and got.reshape(want.shape) == pytest.approx(want, rel=1e-3, abs=1e-4 * float(want.max()))
    assert len(imported.network.layers) == layers
    hardware_shapes(imported.network, CHIP.port_bytes)


@pytest.mark.parametrize("name,kind,nodes", [
    ("bvlc_alexnet", "LRN", ["n2", "n6"]), ("zfnet512", "LRN", ["n2", "n6"]),
    ("shufflenet", "AveragePool", ["n14", "n63", "n160"])])
def test_network_of_the_onnx_project_wrong(name, kind, nodes):
    with pytest.raises(SpecError) as caught:
        from_onnx(LIGHT / f"light_{name}.onnx")
    assert re.findall(f"{kind} node '(n[0-9]+)'", str(caught.value)) == nodes and "\n" not in str(caught.value)


@pytest.mark.slow
def test_network_exported_by_pytorch_with_external_data(tmp_path):
    module, images = seeded(MobileNetV2), noise(1, 3, 32, 32)
    batch = torch.export.Dim("batch", min=1, max=64)
    torch.onnx.export(module, (noise(2, 3, 32, 32),), tmp_path / "m.onnx", dynamo=True, verbose=False,
                      dynamic_shapes=({0: batch},))
    assert (tmp_path / "m.onnx.data").exists()
    imported = from_onnx(tmp_path / "m.onnx")
    with torch.no_grad():
        assert torch.allclose(imported.module(images), module(images), atol=1e-5)
    assert len(imported.network.layers) == 54


class Shuffled(nn.Module):
    """ShuffleNetV2's unit: split, one half through a branch, concatenated and shuffled."""

    def __init__(self):
        super().__init__()
        self.stem, self.branch = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.last = nn.Conv2d(8, 5, 3, padding="same", dilation=2)

    def forward(self, x):
        kept, changed = torch.relu(self.stem(x)).chunk(2, dim=1)
        y = torch.cat([kept, self.branch(changed)], dim=1)
        n, c, h, w = y.shape
        y = y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.last(y * 0.5 - 1).amax((2, 3))


class Silly(nn.Module):
    """What the chip lacks."""

    def __init__(self):
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 4, 3, stride=(1, 2)), nn.GELU()

    def forward(self, x):
        return torch.sigmoid(self.act(self.conv(x))) * self.conv(x)


class Branching(nn.Module):
    """Depends on its data."""

    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_module_of_views():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Shuffled().train()
    images = noise(2, 3, 9, 7)
    imported = from_module(module, images)
    assert module.training
    with torch.no_grad():
        assert torch.allclose(imported.module(images), module.eval()(images), atol=1e-5)
    hardware_shapes(imported.network, 8)


def test_module_wrong_operations_all_reported():
    with pytest.raises(SpecError) as caught:
        from_module(Silly(), noise(1, 3, 9, 7))
    lines = str(caught.value).splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["conv2d", "gelu", "sigmoid", "mul"]
    assert lines[0].count("conv2d '") == 2
    assert "in module 'act'" in lines[1] and "use Relu" in lines[1] and "strides 1 and 2" in lines[0]


@pytest.mark.parametrize("module,example,message", [
    (Branching(), noise(1, 3, 4, 4), "torch.export cannot take it"),
    (nn.Conv1d(3, 4, 3), noise(1, 3, 8), "Example must be images"),
    (nn.Identity(), noise(1, 3, 4, 4), "is the input"),
    (nn.Flatten(0), noise(1, 3, 4, 4), "first axis is the batch"),
])
def test_module_wrong(module, example, message):
    with pytest.raises(SpecError, match=message):
        from_module(module, example)
