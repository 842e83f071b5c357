"""Seeded integers for test networks: weights, biases and multipliers that use the whole range of int8."""

import numpy as np

from dna_asic.spec.layer import Activation, LayerOp, LayerShape, LayerSpec, NetworkSpec
from dna_asic.spec.quant import MULTIPLIER_BITS, QuantLayer, QuantSpec

_TYPICAL = 40  # magnitude of a typical activation
_SHIFT = 20


def conv_shape(h: int, w: int, *, k: int, c: int, kernel: int | tuple[int, int] = 1, g: int = 1, stride: int = 1,
               pad: int = 0, op: LayerOp = LayerOp.MAC) -> LayerShape:
    """Shape of a convolution over h x w: output size from kernel, stride and pad."""
    r, s = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    return LayerShape(g=g, k=k, c=c, p=(h + 2 * pad - r) // stride + 1, q=(w + 2 * pad - s) // stride + 1, r=r, s=s,
                      stride=stride, pad=pad, h=h, w=w, op=op)


def random_quant(network: NetworkSpec, seed: int, saturating: tuple[str, ...] = ()) -> QuantSpec:
    """Integers for every layer. Layers named in `saturating` get the largest multipliers on every third channel."""
    rng = np.random.default_rng(seed)
    layers = {layer.name: _layer(layer, rng, layer.name in saturating) for layer in network.layers}
    return QuantSpec(network=network, layers=layers, input_scale=1.0)


def random_images(network: NetworkSpec, count: int, seed: int) -> np.ndarray:
    """int8 [count, C, H, W], extremes included."""
    rng = np.random.default_rng(seed)
    images = rng.normal(0, _TYPICAL, (count, *network.input_shape)).round()
    images[rng.random(images.shape) < 0.02] = -128
    images[rng.random(images.shape) < 0.02] = 127
    return images.clip(-128, 127).astype(np.int8)


def _layer(layer: LayerSpec, rng, saturating: bool) -> QuantLayer:
    shape, channels = layer.shape, layer.out_channels
    size = (channels, shape.c, shape.r, shape.s)
    low, high = {Activation.NONE: (-128, 127), Activation.RELU: (0, 127), Activation.RELU6: (0, 96)}[layer.activation]
    residual = {"res_multiplier": int(rng.integers(3 << 17, 1 << 20)), "res_shift": _SHIFT} if layer.residual else {}
    if layer.average or shape.op is LayerOp.MAX:
        scale = 1 / (shape.r * shape.s) if layer.average else 1
        return QuantLayer(weight=np.ones(size, np.int8), bias=np.zeros(channels, np.int32),
                          multiplier=np.full(channels, round(scale * (1 << _SHIFT))),
                          shift=np.full(channels, _SHIFT), clamp_lo=low, clamp_hi=high, **residual)
    weight = rng.integers(-127, 128, size).astype(np.int8)
    spread = 73 * _TYPICAL * (shape.c * shape.r * shape.s) ** 0.5
    multiplier = (_TYPICAL / spread * (1 << _SHIFT) * rng.uniform(0.5, 1.5, channels)).round().astype(np.int64) + 1
    shift = np.full(channels, _SHIFT)
    if saturating:
        multiplier[::3], shift[::3] = (1 << MULTIPLIER_BITS) - 1, rng.integers(0, 20)
        multiplier[1::3], shift[1::3] = 1, 63
    return QuantLayer(weight=weight, bias=rng.integers(-spread, spread, channels).astype(np.int32),
                      multiplier=multiplier, shift=shift, clamp_lo=low, clamp_hi=high, **residual)
