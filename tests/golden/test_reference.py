"""The integer reference against loops written from the rules, and against hand-computed extremes."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from dna_asic.errors import SpecError
from dna_asic.golden import accuracy, requantise, run_golden
from dna_asic.spec.layer import LayerOp, LayerShape, LayerSpec, NetworkSpec, PoolOp, PoolSpec
from dna_asic.spec.quant import QuantLayer, QuantSpec


def shape(**sizes):
    """LayerShape with p and q of a symmetric padding unless given."""
    full = {"g": 1, "k": 1, "c": 1, "r": 1, "s": 1, "stride": 1, "pad": 0} | sizes
    full.setdefault("p", (full["h"] + 2 * full["pad"] - full["r"]) // full["stride"] + 1)
    full.setdefault("q", (full["w"] + 2 * full["pad"] - full["s"]) // full["stride"] + 1)
    return LayerShape(**full)


def random_layer(layer, generator):
    """Integers with a requantisation that neither saturates always nor gives zeros."""
    s, n = layer.shape, layer.out_channels
    taps = 1 if s.op is LayerOp.MAX else s.c * s.r * s.s
    return QuantLayer(
        weight=generator.integers(-127, 128, (n, s.c, s.r, s.s)).astype(np.int8),
        bias=generator.integers(-3000, 3000, n).astype(np.int32),
        multiplier=generator.integers(1 << 25, 1 << 26, n),
        shift=generator.integers(30, 34, n) + taps.bit_length() // 2,
        clamp_lo=-128 if generator.random() < 0.5 else 0, clamp_hi=int(generator.integers(90, 128)),
        res_multiplier=int(generator.integers(1 << 25, 1 << 26)), res_shift=26)


def scalar_requantise(value, multiplier, shift):
    product = value * multiplier
    magnitude = (abs(product) + (1 << shift >> 1)) >> shift
    return max(-32768, min(32767, magnitude if product >= 0 else -magnitude))


def psum(layer, weight, x, channel, row, col):
    """One output of one layer by loops; x is int [C, H, W]."""
    s = layer.shape
    group, taps = channel // s.k, []
    for c, r, t in itertools.product(range(s.c), range(s.r), range(s.s)):
        y, z = row * s.stride + r - s.pad, col * s.stride + t - s.pad
        inside = 0 <= y < s.h and 0 <= z < s.w
        pixel = int(x[group * s.c + c, y, z]) if inside else 0
        taps.append(pixel if s.op is LayerOp.MAX else pixel * int(weight[channel, c, r, t]))
    return max(taps) if s.op is LayerOp.MAX else sum(taps)


def naive(layer, q, x, residual):
    """int [C, P/window, Q/window] of one image, by loops."""
    s, n = layer.shape, layer.out_channels
    y = np.zeros((n, s.p, s.q), dtype=np.int64)
    for k, p, z in itertools.product(range(n), range(s.p), range(s.q)):
        acc = psum(layer, q.weight, x, k, p, z) + int(q.bias[k])
        value = scalar_requantise(acc, int(q.multiplier[k]), int(q.shift[k]))
        if residual is not None:
            value += scalar_requantise(int(residual[k, p, z]), q.res_multiplier, q.res_shift)
        y[k, p, z] = max(q.clamp_lo, min(q.clamp_hi, value))
    return shuffle(layer, pool(layer, y))


def pool(layer, y):
    if layer.pool is None:
        return y
    n, (height, width) = layer.pool.window, layer.out_hw
    out = np.zeros((len(y), height, width), dtype=np.int64)
    for k, p, z in itertools.product(range(len(y)), range(height), range(width)):
        window = [int(v) for v in y[k, p * n:p * n + n, z * n:z * n + n].flatten()]
        total = sum(window)
        average = (abs(total) + n * n // 2) // (n * n) * (1 if total >= 0 else -1)
        out[k, p, z] = max(window) if layer.pool.op is PoolOp.MAX else average
    return out


def shuffle(layer, y):
    n, c = layer.shuffle_groups, len(y)
    out = y.copy()
    for i, j in itertools.product(range(n), range(c // n)):
        out[j * n + i] = y[i * (c // n) + j]
    return out


CASES = {
    "dense": dict(shape=shape(k=5, c=3, h=7, w=6, r=3, s=3, pad=1)),
    "dense_stride": dict(shape=shape(k=3, c=2, h=7, w=8, r=3, s=3, stride=2, pad=1)),
    "no_pad": dict(shape=shape(k=2, c=3, h=6, w=6, r=2, s=3)),
    "ragged_right": dict(shape=shape(k=2, c=2, h=5, w=5, r=3, s=3, stride=2, pad=1, p=4, q=2)),
    "depthwise": dict(shape=shape(g=5, h=6, w=6, r=5, s=5, pad=2)),
    "depthwise_stride": dict(shape=shape(g=4, h=7, w=7, r=3, s=3, stride=2, pad=1)),
    "pointwise_grouped": dict(shape=shape(g=2, k=4, c=3, h=4, w=4), shuffle_groups=2),
    "grouped_shuffle_of_4": dict(shape=shape(g=4, k=3, c=2, h=3, w=3, r=3, s=3, pad=1), shuffle_groups=4),
    "fully_connected": dict(shape=shape(k=7, c=3, h=4, w=5, r=4, s=5)),
    "average_layer": dict(shape=shape(g=6, h=4, w=4, r=4, s=4), average=True),
    "max_layer_padded": dict(shape=shape(g=3, h=6, w=6, r=3, s=3, stride=2, pad=1, op=LayerOp.MAX)),
    "fused_max": dict(shape=shape(k=3, c=2, h=8, w=8, r=3, s=3, pad=1), pool=PoolSpec(op=PoolOp.MAX, window=2)),
    "fused_average": dict(shape=shape(k=3, c=2, h=8, w=8, r=3, s=3, pad=1), pool=PoolSpec(op=PoolOp.AVERAGE, window=4)),
    "residual": dict(shape=shape(k=3, c=3, h=5, w=5, r=3, s=3, pad=1), residual="input"),
    "residual_pool_shuffle": dict(shape=shape(g=2, k=2, c=2, h=4, w=4), residual="input", shuffle_groups=2,
                                  pool=PoolSpec(op=PoolOp.AVERAGE, window=2)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_layer_matches_loops(case, seed):
    generator = np.random.default_rng(seed)
    layer = LayerSpec(name="layer", source="input", **CASES[case])
    s = layer.shape
    network = NetworkSpec(name=case, input_shape=(s.g * s.c, s.h, s.w), layers=(layer,))
    q = random_layer(layer, generator)
    x = generator.integers(-128, 128, (2, *network.input_shape)).astype(np.int8)
    out = run_golden(QuantSpec(network=network, layers={"layer": q}, input_scale=1.0), x)["layer"]
    assert out.dtype == np.int8 and len(np.unique(out)) > 3, "the case must not be trivial"
    for image, got in zip(x, out, strict=True):
        np.testing.assert_array_equal(got, naive(layer, q, image, image if layer.residual else None))


def test_requantise_rounds_half_away_from_zero():
    values = torch.tensor([-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5])
    out = requantise(values, torch.tensor(1), torch.tensor(1)).tolist()
    assert out == [-3, -2, -2, -1, -1, 0, 1, 1, 2, 2, 3]
    assert requantise(values, torch.tensor(3), torch.tensor(0)).tolist() == [3 * v for v in values.tolist()]


@pytest.mark.parametrize("value, multiplier, shift", [
    (2**31 - 1, 2**26 - 1, 0), (-2**31, 2**26 - 1, 0), (2**31 - 1, 2**26 - 1, 57), (-2**31, 2**26 - 1, 57),
    (2**31 - 1, 2**26 - 1, 63), (-2**31, 2**26 - 1, 63), (1, 2**25, 26), (-1, 2**25, 26), (1, 0, 63)])
def test_requantise_extremes(value, multiplier, shift):
    out = requantise(torch.tensor([value]), torch.tensor(multiplier), torch.tensor(shift))
    assert out.item() == scalar_requantise(value, multiplier, shift)


def extreme(c, weight, bias=0):
    layer = LayerSpec(name="fc", source="input", shape=shape(k=1, c=c, h=16, w=16, r=16, s=16))
    network = NetworkSpec(name="extreme", input_shape=(c, 16, 16), layers=(layer,))
    q = QuantLayer(weight=np.full((1, c, 16, 16), weight, np.int8), bias=np.array([bias], np.int32),
                   multiplier=np.array([2**26 - 1]), shift=np.array([50]))
    return QuantSpec(network=network, layers={"fc": q}, input_scale=1.0)


def test_largest_reduction_is_exact():
    quant = extreme(519, 127)  # C*R*S = 132,864 of at most 133,000
    x = np.full((1, 519, 16, 16), 127, np.int8)
    total = 519 * 256 * 127 * 127
    assert run_golden(quant, x)["fc"].item() == min(127, scalar_requantise(total, 2**26 - 1, 50))


@pytest.mark.parametrize("c", [4, 5])  # sums in float32, and in float64: the first that float32 would round
def test_large_sums_are_exact_to_the_last_bit(c):
    quant = extreme(c, 127)
    x = np.full((1, c, 16, 16), 127, np.int8)
    x[0, 0, 0, 0] = 126
    total = 127 * int(x.astype(np.int64).sum())
    layer = dataclasses.replace(quant.layers["fc"], bias=np.array([5 - total], np.int32), multiplier=np.array([1]),
                                shift=np.array([0]))
    assert total % 2 == 1 and (total > 2**24) == (c == 5)
    assert run_golden(dataclasses.replace(quant, layers={"fc": layer}), x)["fc"].item() == 5


def test_golden_wrong_bias_overflows():
    with pytest.raises(SpecError, match=r"Layer 'fc': psum \+ bias must fit int32"):
        run_golden(extreme(519, 127, bias=2**31 - 1), np.full((1, 519, 16, 16), 127, np.int8))


@pytest.mark.parametrize("x", [
    np.zeros((1, 1, 16, 16)), np.zeros((1, 2, 16, 16), np.int8), np.zeros((1, 16, 16), np.int8)])
def test_golden_wrong_input(x):
    with pytest.raises(SpecError, match="Golden input must be int8"):
        run_golden(extreme(1, 1), x)


def test_golden_batches_agree_with_single_images():
    generator = np.random.default_rng(3)
    layer = LayerSpec(name="layer", source="input", **CASES["dense"])
    network = NetworkSpec(name="n", input_shape=(3, 7, 6), layers=(layer,))
    quant = QuantSpec(network=network, layers={"layer": random_layer(layer, generator)}, input_scale=1.0)
    x = generator.integers(-128, 128, (300, 3, 7, 6)).astype(np.int8)
    whole = run_golden(quant, x)["layer"]
    assert all(np.array_equal(whole[i:i + 1], run_golden(quant, x[i:i + 1])["layer"]) for i in (0, 255, 256, 299))


def test_accuracy_takes_the_first_of_equal_logits():
    layer = LayerSpec(name="fc", source="input", shape=shape(k=3, c=1, h=1, w=1))
    q = QuantLayer(weight=np.array([1, 2, 2], np.int8).reshape(3, 1, 1, 1), bias=np.zeros(3, np.int32),
                   multiplier=np.ones(3, np.int64), shift=np.zeros(3, np.int64))
    network = NetworkSpec(name="n", input_shape=(1, 1, 1), layers=(layer,))
    quant = QuantSpec(network=network, layers={"fc": q}, input_scale=1.0)
    x = np.array([3, -3], np.int8).reshape(2, 1, 1, 1)
    assert accuracy(quant, x, np.array([1, 0])) == 1.0 and accuracy(quant, x, np.array([2, 0])) == 0.5
