"""From a trained float network to the integers of `spec.quant`."""

import math
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from torch import Tensor

from dna_asic.errors import SpecError
from dna_asic.spec.layer import Activation, LayerOp, LayerSpec, NetworkSpec
from dna_asic.spec.quant import MULTIPLIER_BITS, SHIFT_BITS, QuantLayer, QuantSpec

INT8_MAX = 127
RELU6_MAX = 6.0
CLIP_STEPS = np.linspace(1.0, 0.5, 26)  # clipping points tried, as shares of the largest magnitude
CALIBRATION_VALUES = 1 << 17  # values of a tensor that the error is summed over, drawn by a fixed seed
CALIBRATION_BATCH, CALIBRATION_PIXELS = 64, 1 << 20  # images, and their values, traced at a time, to bound memory
BIAS_STEPS = 1 << 24  # a bias is at most so many steps of its psum, far from int32's end
_SMALLEST_SCALE = 1e-12


class FloatNetwork(Protocol):
    """What the export reads of a trained network."""

    network: NetworkSpec

    def trace(self, images: Tensor) -> dict[str, Tensor]:
        """Every layer's float output before fused pooling and shuffle."""

    def folded(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Weight [G*K, C, R, S] and bias [G*K] of every layer, batch normalisation folded in."""

    def eval(self):
        """Switch to evaluation statistics."""


def quantize_network(module: FloatNetwork, calibration_images: Tensor) -> QuantSpec:
    """Symmetric int8: weights per output channel by their largest magnitude, activations per tensor.

    An activation's scale is the one of least squared error over `calibration_images` [N, C, H, W]. Raises
    SpecError when there are none or when the network does not give finite numbers.
    """
    if not len(calibration_images):
        raise SpecError("Quantisation needs at least 1 calibration image, not 0.")
    module.eval()
    observed = _observe(module, calibration_images)
    scales = {"input": tensor_scale("input", *observed["input"])}
    for layer in module.network.layers:
        if layer.shape.op is LayerOp.MAX and layer.residual is None:
            scales[layer.name] = scales[layer.source]
        else:
            scales[layer.name] = tensor_scale(layer.name, *observed[layer.name])
    return quantize_at(module, scales, {})


def quantize_at(module: FloatNetwork, scales: Mapping[str, float], steps: Mapping[str, np.ndarray]) -> QuantSpec:
    """int8 at given scales: of every tensor ("input" too) and, by layer, the float value [G*K] of one weight step.

    A layer without steps gets its own, by its largest weights. Raises SpecError for weights that are not finite.
    """
    folded = module.folded()
    layers = {layer.name: _quantize_layer(layer, *folded[layer.name], scales, steps.get(layer.name))
              for layer in module.network.layers}
    return QuantSpec(network=module.network, layers=layers, input_scale=scales["input"])


def quantize_input(images: Tensor | np.ndarray, quant: QuantSpec) -> np.ndarray:
    """Float images [N, C, H, W] to the int8 that the chip reads: round half to even, saturate at +-127."""
    steps = np.rint(np.asarray(images, dtype=np.float64) / quant.input_scale)
    return np.clip(steps, -INT8_MAX, INT8_MAX).astype(np.int8)


def _observe(module: FloatNetwork, images: Tensor) -> dict[str, tuple[np.ndarray, float]]:
    """Of every tensor: values drawn at random (float64), and the largest magnitude of all."""
    parts = images.split(max(1, min(CALIBRATION_BATCH, CALIBRATION_PIXELS // images[0].numel())))
    values, largest = {}, {}
    for part in parts:
        for name, tensor in ({"input": part} | module.trace(part)).items():
            values.setdefault(name, []).append(draw_values(tensor, -(-CALIBRATION_VALUES // len(parts))))
            largest[name] = np.maximum(largest.get(name, 0.0), float(tensor.abs().max()))  # keeps a NaN
    return {name: (np.concatenate(values[name]), float(largest[name])) for name in values}


def draw_values(tensor: Tensor, count: int) -> np.ndarray:
    """`count` values of `tensor` drawn by a fixed seed (all of them if it has no more), float64."""
    flat = tensor.detach().flatten().numpy()
    if flat.size > count:
        flat = flat[np.random.Generator(np.random.PCG64(0)).integers(flat.size, size=count)]
    return flat.astype(np.float64)


def tensor_scale(name: str, values: np.ndarray, largest: float) -> float:
    """Float value of one int8 step with the least squared error over `values`, of a tensor up to +-`largest`."""
    if not math.isfinite(largest):
        raise SpecError(f"Tensor '{name}' must be finite, not {largest}; train the network with a lower rate.")
    if largest < _SMALLEST_SCALE:
        return 1.0
    candidates = [largest * share / INT8_MAX for share in CLIP_STEPS]
    errors = [np.square(np.clip(np.rint(values / s), -INT8_MAX, INT8_MAX) * s - values).sum() for s in candidates]
    return candidates[int(np.argmin(errors))]


def encode_multiplier(value: float) -> tuple[int, int]:
    """(multiplier, shift) with value ~ multiplier / 2**shift, multiplier in [2**25, 2**26) where that is possible.

    Relative error at most 2**-26, but for values below 2**-38 (the shift ends at 63). Raises SpecError for a
    negative value and for one of 2**26 and above.
    """
    if not 0 <= value < 1 << MULTIPLIER_BITS:
        raise SpecError(f"Requantisation factor must be in 0..2**{MULTIPLIER_BITS}, not {value}; rescale the layer.")
    if value == 0:
        return 0, 0
    fraction, exponent = math.frexp(value)  # fraction in [0.5, 1)
    shift = min(MULTIPLIER_BITS - exponent, (1 << SHIFT_BITS) - 1)
    multiplier = round(math.ldexp(fraction, exponent + shift))
    if multiplier >> MULTIPLIER_BITS:
        multiplier, shift = (multiplier >> 1, shift - 1) if shift else (multiplier - 1, 0)
    return multiplier, shift


def _quantize_layer(layer: LayerSpec, weight: Tensor, bias: Tensor, scales: Mapping[str, float],
                    steps: np.ndarray | None = None) -> QuantLayer:
    s_in, s_out = scales[layer.source], scales[layer.name]
    weight, bias = weight.numpy(), bias.numpy()
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise SpecError(f"Layer '{layer.name}': weights must be finite; train the network with a lower rate.")
    if layer.average or layer.shape.op is LayerOp.MAX:
        taps = layer.shape.r * layer.shape.s if layer.average else 1
        w_int, s_w = np.ones_like(weight), np.full(len(weight), 1 / taps)
    else:
        s_w = _weight_steps(weight, bias, s_in) if steps is None else steps
        w_int = np.clip(np.rint(weight / s_w[:, None, None, None]), -INT8_MAX - 1, INT8_MAX)
    codes = [encode_multiplier(s_in * s / s_out) for s in s_w]
    residual = encode_multiplier(scales[layer.residual] / s_out) if layer.residual else (0, 0)
    lo, hi = _clamps(layer.activation, s_out)
    return QuantLayer(weight=w_int.astype(np.int8), bias=np.rint(bias / (s_in * s_w)).astype(np.int32),
                      multiplier=np.array([m for m, _ in codes], dtype=np.int64),
                      shift=np.array([s for _, s in codes], dtype=np.int64), clamp_lo=lo, clamp_hi=hi,
                      res_multiplier=residual[0], res_shift=residual[1], output_scale=s_out)


def _weight_steps(weight: np.ndarray, bias: np.ndarray, s_in: float) -> np.ndarray:
    """Float value of one weight step per output channel: no weight beyond +-127, no bias beyond BIAS_STEPS."""
    steps = np.maximum(np.abs(weight).max(axis=(1, 2, 3)) / INT8_MAX, np.abs(bias) / (s_in * BIAS_STEPS))
    return np.maximum(steps, _SMALLEST_SCALE)


def _clamps(activation: Activation, scale: float) -> tuple[int, int]:
    if activation is Activation.NONE:
        return -INT8_MAX - 1, INT8_MAX
    return 0, min(INT8_MAX, round(RELU6_MAX / scale)) if activation is Activation.RELU6 else INT8_MAX
