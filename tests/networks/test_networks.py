"""Network spaces: macro-architectures, blocks, supernet, derived networks."""

import dataclasses

import pytest
import torch

from dna_asic.errors import SpecError
from dna_asic.networks import (
    SuperNet,
    build_network,
    candidate_layers,
    expand,
    load_macro,
    make_module,
    nasaic_resnet9,
    part_layers,
)
from dna_asic.networks.macro import InputSize, Macro, Stage, Stem
from dna_asic.spec.layer import Activation, LayerOp, PoolOp, PoolSpec
from dna_asic.spec.record import from_plain, to_plain

DIGITS = load_macro("digits")
CHOICE = ["skip", "k3_e1", "k5_e6", "k3_e1_g2", "k5_e3", "k5_e1_g2"]
WIDE = Macro(name="wide", input=InputSize(channels=1, height=8, width=8), stem=Stem(channels=4, kernel=3, stride=1),
             stages=(Stage(channels=8, layers=2, stride=1), Stage(channels=16, layers=2, stride=2)), head_channels=0,
             classes=3, candidates=("c3", "c3_max", "k3_e3", "skip"), widths=(0.5, 1.0))
YAML = """name: toy
input: {channels: 1, height: 8, width: 8}
stem: {channels: 4, kernel: 3, stride: 1}
stages:
  - {channels: 4, layers: 1, stride: 2}
head_channels: 8
classes: 3
"""


@pytest.mark.parametrize("name, blocks, feature", [
    ("digits", 6, (4, 4)), ("cifar10", 22, (4, 4)), ("cifar10-small", 6, (4, 4)), ("cifar10-large", 9, (4, 4)),
    ("imagenet", 22, (7, 7))])
def test_macro_bundled(name, blocks, feature):
    macro = load_macro(name)
    assert len(macro.places) == blocks and macro.feature_hw == feature
    assert all(options[-1] == "skip" for p in macro.places if (options := macro.options(p)) and p.keeps_shape)


def test_macro_of_cifar_is_the_published_one():
    """FBNet's 22 searched blocks (arXiv 1812.03443, table 1), with strides for 32 x 32 images."""
    macro = load_macro("cifar10")
    assert [(s.channels, s.layers, s.stride) for s in macro.stages] == [
        (16, 1, 1), (24, 4, 1), (32, 4, 2), (64, 4, 2), (112, 4, 1), (184, 4, 2), (352, 1, 1)]
    assert len(macro.candidates) == 10 and macro.stem.channels == 16 and macro.stem.stride == 1


def test_macro_space_of_digits():
    sizes = [len(c.options) for c in DIGITS.space.choices]
    assert sizes == [10, 10, 9, 10, 10, 10] and DIGITS.space.size == 10**5 * 9


def test_macro_fitted():
    macro = load_macro("cifar10").fitted((1, 28, 28), 4)
    assert expand(macro, ["k3_e1"] * 22).layers[-1].out_channels == 4


@pytest.mark.parametrize("edit, text", [
    (("stride: 1}", "strid: 1}"), "did you mean 'stride'"),
    (("classes: 3", "classes: 0"), "classes must be at least 1, not 0"),
    (("kernel: 3", "kernel: 4"), "stem.kernel must be odd"),
    (("height: 8", "height: 80"), "last feature map is 40x4"),
    (("classes: 3", "classes: 3\ncandidates: [k3_e1, k4_e1]"), "not 'k4_e1'"),
    (("classes: 3", "classes: 3\ncandidates: [c4]"), "kernel odd .* not 'c4'"),
    (("head_channels: 8", "head_channels: -1"), "head_channels must be at least 1, or 0"),
    (("classes: 3", "classes: 3\ncandidates: [k3_e1_g3]"), "divisible by 3, not 4"),
    (("classes: 3", "classes: 3\nclasses: 4"), "stands twice"),
    (("  - {channels: 4, layers: 1, stride: 2}", "  []"), "stages must not be empty"),
])
def test_macro_wrong_file(tmp_path, edit, text):
    path = tmp_path / "toy.yaml"
    path.write_text(YAML)
    load_macro(path)
    path.write_text(YAML.replace(*edit))
    with pytest.raises(SpecError, match=text):
        load_macro(path)


def test_macro_wrong_name():
    known = "'digitz' is not known; use cifar10-large, cifar10-small, cifar10-wide, cifar10, digits"
    with pytest.raises(SpecError, match=known):
        load_macro("digitz")


def test_expand_hand_computed():
    network = expand(DIGITS, CHOICE)
    names = [layer.name for layer in network.layers]
    assert names[:3] == ["stem", "block1_depthwise", "block1_project"] and names[-3:] == ["head", "pool", "fc"]
    by_name = {layer.name: layer for layer in network.layers}
    project = by_name["block1_project"]
    assert project.residual == "stem" and project.shape.macs == 16 * 16 * 64
    wide = by_name["block2_depthwise"].shape
    assert (wide.g, wide.p, wide.q, wide.r, wide.stride, wide.pad) == (96, 4, 4, 5, 2, 2)
    assert by_name["block2_project"].residual is None
    grouped = by_name["block3_expand"]
    assert grouped.shuffle_groups == 2 and grouped.shape.g == 2 and grouped.shape.k == 16
    assert by_name["pool"].average and by_name["pool"].shape.r == 4
    assert network.layers[0].shape.macs == 16 * 9 * 64


def test_expand_survives_plain_data():
    network = expand(DIGITS, CHOICE)
    assert from_plain(type(network), to_plain(network), "network") == network


@pytest.mark.parametrize("choice, text", [
    (CHOICE[:-1], "needs 6 options"),
    (["k3_e1"] * 2 + ["skip"] + ["k3_e1"] * 3, "'block2' must be one of"),
    (["k3_e2"] + CHOICE[1:], "did you mean"),
])
def test_expand_wrong_choice(choice, text):
    with pytest.raises(SpecError, match=text):
        expand(DIGITS, choice)


def test_candidate_layers_agree_with_expand():
    candidates, parts = candidate_layers(DIGITS), part_layers(DIGITS)
    for column in range(8):
        choice = [DIGITS.options(p)[column] for p in DIGITS.places]
        layers = [c[column] for c in candidates]
        flat = parts[0, 0, 0, 0] + sum(layers, ()) + parts[7, 0, 0, 0]
        assert [layer.shape for layer in flat] == [layer.shape for layer in expand(DIGITS, choice).layers]
    assert candidates[0][9] == () and len(candidates[2]) == 9


def test_dense_candidate_is_one_layer():
    network = expand(DIGITS, ["c3"] + CHOICE[1:2] + ["c3"] + CHOICE[3:])
    same, wider = (next(x for x in network.layers if x.name == f"block{i}_conv") for i in (0, 2))
    assert same.residual == same.source == "stem" and same.activation is Activation.RELU
    assert wider.residual is None and wider.out_channels == 32 and wider.out_hw == (4, 4)
    assert wider.shape.macs == 32 * 16 * 9 * 4 * 4


def test_head_without_its_convolution():
    layers = expand(dataclasses.replace(DIGITS, head_channels=0), CHOICE).layers
    assert [x.name for x in layers[-3:]] == ["block5_project", "pool", "fc"] and layers[-1].shape.c == 32


def test_module_matches_spec_shapes():
    module = build_network(DIGITS, CHOICE, 0)
    x = torch.rand(3, 1, 8, 8)
    assert module(x).shape == (3, 10)
    for layer in module.network.layers:
        y = module.eval().trace(x)[layer.name]
        assert y.shape == (3, layer.out_channels, layer.shape.p, layer.shape.q)


def test_module_is_seeded():
    a, b, c = (build_network(DIGITS, CHOICE, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["units.stem.conv.weight"], c["units.stem.conv.weight"])


def test_module_shuffle_is_shufflenets():
    module = build_network(DIGITS, ["k3_e1_g2"] * 6, 0)
    unit = module.units["block0_expand"]
    y = torch.arange(16.0).reshape(1, 16, 1, 1)
    out = unit.finish(y).flatten().tolist()
    assert out == [0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15]
    assert all(out[j * 2 + i] == i * 8 + j for i in range(2) for j in range(8))


def test_supernet_path_equals_derived_network():
    supernet = SuperNet(DIGITS, 0)
    for parameter in supernet.weight_parameters:
        torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(parameter.numel()))
    derived = build_network(DIGITS, CHOICE, 5, supernet)
    gates = torch.zeros(6, 10)
    for i, label in enumerate(CHOICE):
        gates[i, supernet.options[i].index(label)] = 1
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(supernet(x, gates), derived(x))
    torch.testing.assert_close(supernet(x, gates, backward_paths=2), derived(x))


def wide_samples(count):
    """(choice, gates) of a macro with widths, its supernet and its random weights."""
    supernet, generator = SuperNet(WIDE, 0), torch.Generator().manual_seed(0)
    for parameter in supernet.weight_parameters:
        torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(parameter.numel()))
    for _ in range(count):
        gates = supernet.sample_gates(5.0, generator).detach()
        yield supernet, [o[i] for o, i in zip(supernet.options, gates.argmax(dim=1).tolist(), strict=True)], gates


def test_supernet_of_widths_equals_derived_network():
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for supernet, choice, gates in wide_samples(8):
        derived = build_network(WIDE, choice, 5, supernet)
        torch.testing.assert_close(supernet(x, gates), derived(x))


@pytest.mark.parametrize("candidates", [WIDE.candidates, ("c3", "k3_e3_g2", "skip")])
def test_path_alone_equals_derived_network(candidates):
    macro = dataclasses.replace(WIDE, candidates=candidates, widths=(0.5, 1.0))
    supernet, generator = SuperNet(macro, 0), torch.Generator().manual_seed(0)
    for parameter in supernet.weight_parameters:
        torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(parameter.numel()))
    statistics = {name: buffer.clone() for name, buffer in supernet.named_buffers()}
    x = torch.rand(4, 1, 8, 8, generator=generator)
    for _ in range(8):
        gates = supernet.sample_gates(5.0, generator)
        choice = [o[i] for o, i in zip(supernet.options, gates.argmax(dim=1).tolist(), strict=True)]
        alone = supernet.run_path(x, choice)
        torch.testing.assert_close(alone, build_network(macro, choice, 5, supernet)(x))
    alone.square().sum().backward()
    assert all(torch.equal(statistics[name], buffer) for name, buffer in supernet.named_buffers())


def test_channels_that_do_not_count_are_not_run():
    """A network alone runs its own; where alpha learns, up to the next option: the wider have that one's gradient."""
    macro, ran = dataclasses.replace(WIDE, widths=(0.25, 0.5, 0.75, 1.0)), {}
    supernet, x = SuperNet(macro, 0), torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for parameter in supernet.weight_parameters:
        torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(parameter.numel()))
    for graph in (supernet.stem, *(g for block in supernet.blocks for g in block), supernet.head):
        for name, unit in graph.units.items():
            unit.register_forward_hook(lambda unit, x, y, name=name: ran.update({name: y.shape[1]}))
    choice = ["c3"] * 4 + ["1", "2", "4"]
    supernet.run_path(x, choice)
    assert ran == {layer.name: layer.out_channels for layer in expand(macro, choice).layers}
    gates = torch.zeros_like(supernet.alpha)
    for row, options, label in zip(gates, supernet.options, choice, strict=True):
        row[options.index(label)] = 1
    gates.requires_grad_()
    supernet(x, gates).square().sum().backward()
    next_wider = expand(macro, ["c3"] * 4 + ["2", "4", "8"]).layers
    assert ran == {layer.name: layer.out_channels for layer in next_wider}
    grad = gates.grad[4:7]
    assert (grad[:, 1] != grad[:, 0]).all() and torch.equal(grad[:, 1:2].expand(-1, 3), grad[:, 1:4])


def test_every_width_gets_gradient():
    supernet, _, gates = next(iter(wide_samples(1)))
    gates.requires_grad_()
    supernet(torch.rand(4, 1, 8, 8), gates).square().sum().backward()
    assert (gates.grad[4:7, :2] != 0).all()


def test_parts_of_a_sample_are_its_network():
    parts = part_layers(WIDE)
    for supernet, choice, gates in wide_samples(8):
        chosen = supernet.part_gates(gates).round().nonzero().tolist()
        shapes = [layer.shape for at in chosen for layer in parts[tuple(at)]]
        assert shapes == [layer.shape for layer in expand(WIDE, choice).layers] and len(chosen) == 6


def test_choices_of_channels():
    assert [c.options for c in WIDE.space.choices] == [
        ("c3", "k3_e3"), ("c3", "k3_e3", "skip"), ("c3", "c3_max", "k3_e3"), ("c3", "k3_e3", "skip"),
        ("2", "4"), ("4", "8"), ("8", "16")]
    network = expand(WIDE, ["c3", "skip", "c3_max", "c3", "2", "8", "8"])
    assert [(x.shape.c, x.out_channels, x.out_hw, x.residual) for x in network.layers[:4]] == [
        (1, 2, (8, 8), None), (2, 8, (8, 8), None), (8, 8, (4, 4), None), (8, 8, (4, 4), "block2_conv")]
    assert network.layers[2].pool == PoolSpec(op=PoolOp.MAX, window=2) and network.layers[-1].shape.c == 8


@pytest.mark.parametrize("widths, text", [
    ((0.3, 1.0), "whole numbers of channels; 4 channels x 0.3"), ((0.5,), r"ascend to 1.0, from above 0, not \[0.5\]"),
    ((1.0, 0.5), "must ascend"), ((0.0, 1.0), "must ascend"), ((0.25, 1.0), "divisible by 2, not 1")])
def test_wrong_widths(widths, text):
    with pytest.raises(SpecError, match=text):
        dataclasses.replace(WIDE, candidates=("k3_e3_g2",), widths=widths)


def test_supernet_gates_are_one_hot_and_valid():
    supernet, generator = SuperNet(DIGITS, 0), torch.Generator().manual_seed(0)
    for _ in range(50):
        gates = supernet.sample_gates(5.0, generator)
        assert torch.allclose(gates.sum(1), torch.ones(6))
        assert torch.equal(gates.detach().round().amax(1), torch.ones(6))
        assert gates[2, 9].item() == 0
    gates.square().sum().backward()
    assert torch.isfinite(supernet.alpha.grad).all() and supernet.alpha.grad.abs().sum() > 0


def test_supernet_second_path_gets_gradient():
    supernet, x = SuperNet(DIGITS, 0), torch.rand(4, 1, 8, 8)
    counts = []
    for paths in (1, 2):
        gates = supernet.sample_gates(1.0, torch.Generator().manual_seed(1)).detach().requires_grad_()
        supernet(x, gates, paths).square().sum().backward()
        counts.append(int((gates.grad != 0).sum(1).max()))
    assert counts == [1, 2]


def test_resnet9_of_nasaic():
    network = nasaic_resnet9(32, [(64, 1), (128, 0), (256, 2)])
    assert [layer.name for layer in network.layers] == [
        "stem", "block0", "block0_skip0", "block1", "block2", "block2_skip0", "block2_skip1", "pool", "fc"]
    pool = network.layers[-2]
    assert pool.shape.op is LayerOp.MAX and (pool.shape.r, pool.shape.g) == (4, 256)
    assert network.layers[0].shape.macs == 3 * 32 * 9 * 32 * 32
    assert make_module(network, 0)(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_resnet9_wrong_sizes():
    with pytest.raises(SpecError, match="filters must be at least 1"):
        nasaic_resnet9(0, [(64, 1)])
    with pytest.raises(SpecError, match="halve 8x8 to nothing"):
        nasaic_resnet9(8, [(8, 0)] * 4, input_shape=(3, 8, 8))
