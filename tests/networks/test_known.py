"""Known networks: sizes of published ones as their papers and reference implementations have them."""

import pytest

from dna_asic.errors import SpecError
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.networks import known_network, make_module
from dna_asic.spec.layer import LayerOp


def parameters(network):
    """Weights and biases, batch normalisation folded; ones of pooling are none."""
    shapes = [x.shape for x in network.layers if "pool" not in x.name]
    return sum(s.g * s.k * (s.c * s.r * s.s + 1) for s in shapes)


@pytest.mark.parametrize("name, published, macs, weights", [
    # arXiv 1801.04381, table 4: 300 M multiply-adds, 3.4 M parameters
    ("mobilenet_v2", 300e6, 300_774_272, 3_487_816),
    # arXiv 1512.03385, table 1: 1.8e9 multiply-adds; parameters of torchvision's resnet18 less batch normalisation's
    ("resnet18", 1.8e9, 1_814_073_344, 11_684_712),
])
def test_known_macs_and_parameters(name, published, macs, weights):
    network = known_network(name)
    products = sum(x.shape.macs for x in network.layers if "pool" not in x.name)
    assert products == macs and abs(products / published - 1) < 0.01
    assert parameters(network) == weights


def test_mobilenet_v2_layers():
    network = known_network("mobilenet_v2")
    assert len(network.layers) == 54 and sum(x.shape.depthwise for x in network.layers) == 18
    assert sum(x.residual is not None for x in network.layers) == 10
    assert {x.out_hw for x in network.layers} == {(n, n) for n in (112, 56, 28, 14, 7, 1)}
    assert network.layers[-2].average and network.layers[-1].out_channels == 1000


def test_resnet18_layers():
    network = known_network("resnet18")
    assert len(network.layers) == 1 + 1 + 16 + 3 + 2
    pool = next(x for x in network.layers if x.shape.op is LayerOp.MAX).shape
    assert (pool.g, pool.r, pool.stride, pool.pad, pool.p) == (64, 3, 2, 1, 56)
    residual = {x.name: x.residual for x in network.layers if x.residual}
    assert len(residual) == 8
    assert residual["stage1_block0_conv1"] == "stage1_block0_project"
    assert residual["stage0_block0_conv1"] == "max_pool"


@pytest.mark.parametrize("name", ["digits", "mobilenet_v2", "resnet18"])
def test_known_lays_out_and_becomes_a_module(name):
    network = known_network(name)
    for port in (8, 64):
        assert len(hardware_shapes(network, port)) == len(network.layers)
    assert len(list(make_module(network, 0).parameters())) > 0


def test_known_wrong_name():
    with pytest.raises(SpecError, match="mobilenet_v2, resnet18, not 'vgg'"):
        known_network("vgg")
