"""Int8 export: against fake-quantised float PyTorch, multipliers, files."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dna_asic.errors import SpecError
from dna_asic.golden import run_golden
from dna_asic.networks import build_network, load_macro, make_module
from dna_asic.networks.blocks import conv, global_pool
from dna_asic.quantize import encode_multiplier, load_quant, quantize_input, quantize_network, save_quant
from dna_asic.quantize.export import CALIBRATION_VALUES, draw_values, tensor_scale
from dna_asic.spec.layer import Activation, LayerOp, NetworkSpec, PoolOp, PoolSpec
from dna_asic.spec.quant import QuantSpec

RELU, RELU6 = Activation.RELU, Activation.RELU6


def kinds_network():
    """Dense, stride, depthwise, groups with shuffle, residual, average and max pooling, fully connected."""
    layers = (
        conv("stem", "input", 3, 8, (9, 11), kernel=3, activation=RELU6),
        conv("down", "stem", 8, 12, (9, 11), kernel=3, stride=2, activation=RELU),
        conv("group", "down", 12, 12, (5, 6), groups=2, activation=RELU, shuffle=2),
        conv("depth", "group", 12, 12, (5, 6), kernel=5, groups=12, activation=RELU),
        conv("add", "depth", 12, 12, (5, 6), groups=3, residual="down"),
        conv("halve", "add", 12, 10, (5, 6), kernel=3, activation=RELU, pool=PoolSpec(op=PoolOp.MAX, window=2)),
        conv("mean", "halve", 10, 10, (2, 3), pool=PoolSpec(op=PoolOp.AVERAGE, window=2)),
        global_pool("most", "halve", 10, (2, 3), LayerOp.MAX),
        conv("both", "most", 10, 10, (1, 1), residual="mean", activation=RELU),
        global_pool("pool", "both", 10, (1, 1)),
        conv("fc", "pool", 10, 5, (1, 1)),
    )
    return NetworkSpec(name="kinds", input_shape=(3, 9, 11), layers=layers)


def trained_like(module, seed=0):
    """Give batch normalisation statistics and parameters that a trained network could have."""
    generator = torch.Generator().manual_seed(seed)
    for unit in module.units.values():
        if unit.norm is not None:
            n = unit.norm.num_features
            unit.norm.running_mean.copy_(torch.randn(n, generator=generator) * 0.2)
            unit.norm.running_var.copy_(torch.rand(n, generator=generator) + 0.5)
            with torch.no_grad():
                unit.norm.weight.copy_(torch.rand(n, generator=generator) + 0.5)
                unit.norm.bias.copy_(torch.randn(n, generator=generator) * 0.2)
    return module.eval()


def images(shape, count=12, seed=0):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


def snap(y, step, lo=-128, hi=127):
    """Round half away from zero to multiples of `step`, saturating."""
    return (torch.sign(y) * torch.floor(y.abs() / step + 0.5 + 1e-9)).clamp(lo, hi) * step


def fake_quantised(module, quant: QuantSpec, golden):
    """Each layer in float64 PyTorch with rounded weights and activations, on the golden tensors that it reads;
    independent of the integer arithmetic of golden."""
    scales = {"input": quant.input_scale} | {n: q.output_scale for n, q in quant.layers.items()}
    tensors = {name: torch.from_numpy(golden[name]).double() * scales[name] for name in scales}
    outputs = {}
    for layer in quant.network.layers:
        unit, q, s = module.units[layer.name].double(), quant.layers[layer.name], scales[layer.name]
        weight, bias = unit.folded()
        step = weight.abs().amax(dim=(1, 2, 3), keepdim=True) / 127
        source = tensors[layer.source]
        if unit.conv is None:
            y = F.avg_pool2d(source, source.shape[2:]) if layer.average else F.max_pool2d(source, source.shape[2:])
        else:
            weight = (weight / step).round() * step
            y = F.conv2d(source, weight, bias, layer.shape.stride, layer.shape.pad, groups=layer.shape.g)
        y = snap(y, s, -32768, 32767)
        if layer.residual:
            y = y + snap(tensors[layer.residual], s, -32768, 32767)
        y = snap(y, s, q.clamp_lo, q.clamp_hi)
        outputs[layer.name] = snap(unit.finish(y), s)
    return outputs


@pytest.mark.parametrize("make", [
    lambda: make_module(kinds_network(), 0),
    lambda: build_network(load_macro("digits"), ["k3_e1", "k5_e3", "k3_e6", "k3_e1_g2", "skip", "k5_e1_g2"], 0),
], ids=["kinds", "digits"])
def test_golden_matches_fake_quantised_float(make):
    module = trained_like(make())
    x = images(module.network.input_shape)
    quant = quantize_network(module, x)
    integers = quantize_input(x, quant)
    golden = run_golden(quant, integers)
    fake = fake_quantised(module, quant, golden | {"input": integers})
    for layer in module.network.layers:
        steps = fake[layer.name].numpy() / quant.layers[layer.name].output_scale
        difference = np.abs(golden[layer.name] - np.rint(steps))
        assert difference.max() <= 1 and (difference > 0).mean() < 0.01, layer.name
        assert len(np.unique(golden[layer.name])) > 5


def test_quantised_network_stays_near_float():
    module = trained_like(make_module(kinds_network(), 0))
    x = images(module.network.input_shape)
    quant = quantize_network(module, x)
    golden, traced = run_golden(quant, quantize_input(x, quant)), module.trace(x)
    for name, unit in module.units.items():
        real = unit.finish(traced[name]).numpy()
        error = golden[name] * quant.layers[name].output_scale - real
        assert np.sqrt((error**2).mean()) < 0.06 * np.sqrt((real**2).mean()), name


def test_export_ranges_and_ones():
    module = trained_like(make_module(kinds_network(), 0))
    quant = quantize_network(module, images(module.network.input_shape))
    for layer in quant.network.layers:
        q = quant.layers[layer.name]
        assert q.weight.dtype == np.int8 and q.weight.min() >= -127 and q.bias.dtype == np.int32
        assert (q.multiplier >= 1 << 25).all() and (q.multiplier < 1 << 26).all() and (q.shift < 64).all()
        assert q.weight.shape == (layer.out_channels, layer.shape.c, layer.shape.r, layer.shape.s)
        assert (q.res_multiplier > 0) == (layer.residual is not None)
    assert (quant.layers["pool"].weight == 1).all() and (quant.layers["most"].weight == 1).all()
    assert quant.layers["most"].output_scale == quant.layers["halve"].output_scale
    stem = quant.layers["stem"]
    assert stem.clamp_lo == 0 and stem.clamp_hi == min(127, round(6 / stem.output_scale))
    assert quant.layers["add"].clamp_lo == -128


def test_export_of_a_dead_channel():
    module = trained_like(make_module(kinds_network(), 0))
    with torch.no_grad():
        module.units["down"].norm.weight[3] = 0
        module.units["down"].norm.bias[3] = 0.5
    x = images(module.network.input_shape)
    quant = quantize_network(module, x)
    out = run_golden(quant, quantize_input(x, quant))["down"][:, 3] * quant.layers["down"].output_scale
    assert np.abs(out - 0.5).max() <= quant.layers["down"].output_scale


def test_average_layer_divides_by_its_taps():
    layers = (global_pool("pool", "input", 4, (3, 5)),)
    module = make_module(NetworkSpec(name="mean", input_shape=(4, 3, 5), layers=layers), 0)
    x = images((4, 3, 5))
    quant = quantize_network(module, x)
    real = run_golden(quant, quantize_input(x, quant))["pool"] * quant.layers["pool"].output_scale
    np.testing.assert_allclose(real[..., 0, 0], x.mean(dim=(2, 3)).numpy(), atol=quant.layers["pool"].output_scale)


@pytest.mark.parametrize("value", [2**-38, 1e-9, 0.003, 0.5, 1.0, 1 - 2**-40, 1.5, 12345.678, 2.0**26 * (1 - 2**-26)])
def test_multiplier_is_close_and_normal(value):
    multiplier, shift = encode_multiplier(value)
    assert 1 << 25 <= multiplier < 1 << 26 and 0 <= shift <= 63
    assert abs(multiplier / 2**shift - value) <= value * 2**-25


def test_multiplier_small_values():
    assert encode_multiplier(0.0) == (0, 0)
    assert encode_multiplier(2.0**-60) == (8, 63) and encode_multiplier(2.0**-70) == (0, 63)


@pytest.mark.parametrize("value", [-0.1, 2.0**26, float("nan"), float("inf")])
def test_multiplier_wrong_value(value):
    with pytest.raises(SpecError, match="Requantisation factor"):
        encode_multiplier(value)


def test_scale_sees_every_column():
    values = torch.zeros(1 << 13, 16, 8, 8)
    values[..., 3] = torch.rand(1 << 13, 16, 8, generator=torch.Generator().manual_seed(0)) * 4
    drawn = draw_values(values, CALIBRATION_VALUES)
    assert len(drawn) == CALIBRATION_VALUES and 0.1 < (drawn != 0).mean() < 0.15
    assert tensor_scale("x", drawn, 4.0) == pytest.approx(4 / 127, rel=0.05)


def test_quantize_input_rounds_and_saturates():
    module = trained_like(make_module(kinds_network(), 0))
    quant = quantize_network(module, images(module.network.input_shape))
    s = quant.input_scale
    small = quantize_input(np.full((1, 3, 9, 11), 3.4 * s), quant)
    large = quantize_input(torch.full((1, 3, 9, 11), -1e3), quant)
    assert (small == 3).all() and (large == -127).all() and small.dtype == np.int8


def test_calibration_in_batches_sees_the_largest_value():
    module = trained_like(make_module(kinds_network(), 0))
    x = images(module.network.input_shape, count=130)
    x[129] *= 3
    whole = quantize_network(module, x)
    assert whole.input_scale > 1.9 / 127 and quantize_network(module, x[:128]).input_scale < 1.01 / 127


def test_quantize_wrong_calibration():
    module = make_module(kinds_network(), 0)
    with pytest.raises(SpecError, match="at least 1 calibration image"):
        quantize_network(module, torch.empty(0, 3, 9, 11))
    module.units["stem"].conv.weight.data.fill_(float("nan"))
    with pytest.raises(SpecError, match="must be finite"):
        quantize_network(module, images((3, 9, 11)))


def saved(tmp_path):
    module = trained_like(make_module(kinds_network(), 0))
    quant = quantize_network(module, images(module.network.input_shape))
    save_quant(quant, tmp_path / "quant")
    return quant, tmp_path / "quant"


def test_files_round_trip_and_are_reproducible(tmp_path):
    quant, folder = saved(tmp_path)
    loaded = load_quant(folder)
    assert loaded.network == quant.network and loaded.input_scale == quant.input_scale
    for name, q in quant.layers.items():
        for field in dataclasses.fields(q):
            np.testing.assert_array_equal(getattr(loaded.layers[name], field.name), getattr(q, field.name))
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    save_quant(loaded, folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before and set(before) == {"quant.json", "quant.npz"}


def test_files_wrong_contents(tmp_path):
    quant, folder = saved(tmp_path)
    q = quant.layers["stem"]
    broken = dataclasses.replace(quant, layers=quant.layers | {"stem": dataclasses.replace(q, shift=q.shift + 64)})
    save_quant(broken, folder)
    with pytest.raises(SpecError, match=r"stem.shift must be in 0..63"):
        load_quant(folder)
    short = dataclasses.replace(q, bias=q.bias[1:])
    save_quant(dataclasses.replace(quant, layers=quant.layers | {"stem": short}), folder)
    with pytest.raises(SpecError, match=r"stem.bias must be int32 \[8\], not int32 \[7\]"):
        load_quant(folder)


def test_files_wrong_or_missing(tmp_path):
    with pytest.raises(SpecError, match="cannot be read"):
        load_quant(tmp_path)
    _, folder = saved(tmp_path)
    (folder / "quant.npz").write_bytes(b"half a file")
    with pytest.raises(SpecError, match="quantise again"):
        load_quant(folder)
    (folder / "quant.json").write_text("{}")
    with pytest.raises(SpecError):
        load_quant(folder)
