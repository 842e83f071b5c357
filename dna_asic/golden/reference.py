"""A quantised network in plain integers, written from the rules of `spec.quant`; it knows nothing of tiles.

Sums of products run as convolutions in float64, or in float32 where the weights leave every partial sum below 2**24:
integers that the format holds, so they are exact in any order. Everything after them is int64.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dna_asic.errors import SpecError
from dna_asic.spec.layer import LayerOp, LayerSpec, PoolOp
from dna_asic.spec.quant import QuantLayer, QuantSpec

_INT32 = 1 << 31
_BATCH, _BATCH_CPU = 256, 32  # images at a time: a CPU's caches hold the tensors of few


def run_golden(quant: QuantSpec, x: np.ndarray, device: torch.device | str = "cpu") -> dict[str, np.ndarray]:
    """Output tensor of every layer, int8 [N, C, H, W], after fused pooling and channel shuffle.

    x: int8 [N, C, H, W], the quantised input. device: where it runs, with the same outcome. Order in a layer: sum (or
    maximum), bias and requantisation, rescaled residual, clamp, pooling, shuffle. Zero padding takes part in a maximum,
    as the hardware zero-fills.
    Raises SpecError for a wrong input and for a sum that leaves int32 (no network from `quantize` makes one).
    """
    x = np.asarray(x)
    if x.dtype != np.int8 or x.ndim != 4 or x.shape[1:] != tuple(quant.network.input_shape):
        raise SpecError(f"Golden input must be int8 [N, {', '.join(map(str, quant.network.input_shape))}], "
                        f"not {x.dtype} {list(x.shape)}; see quantize.quantize_input.")
    parts = [_run(quant, torch.from_numpy(part).to(device, torch.int64)) for part in _parts(x, device)]
    return {name: np.concatenate([p[name].to("cpu", torch.int8).numpy() for p in parts]) for name in parts[0]}


def accuracy(quant: QuantSpec, x: np.ndarray, labels: np.ndarray, device: torch.device | str = "cpu") -> float:
    """Share of int8 images [N, C, H, W] whose largest logit (the first of equals) is the label's."""
    last = quant.network.layers[-1].name
    logits = np.concatenate([run_golden(quant, part, device)[last] for part in _parts(x, device)])
    return float((logits.reshape(len(logits), -1).argmax(1) == np.asarray(labels)).mean())


def _parts(x: np.ndarray, device: torch.device | str) -> list[np.ndarray]:
    batch = _BATCH_CPU if torch.device(device).type == "cpu" else _BATCH
    return [x[i:i + batch] for i in range(0, max(1, len(x)), batch)]


def _run(quant: QuantSpec, x: Tensor) -> dict[str, Tensor]:
    tensors = {"input": x}
    for layer in quant.network.layers:
        residual = tensors[layer.residual] if layer.residual else None
        tensors[layer.name] = run_layer(layer, quant.layers[layer.name], tensors[layer.source], residual)
    del tensors["input"]
    return tensors


def run_layer(layer: LayerSpec, q: QuantLayer, x: Tensor, residual: Tensor | None = None) -> Tensor:
    """One layer on int64 tensors [N, C, H, W] that hold int8 values."""
    psum = _max(layer, x) if layer.shape.op is LayerOp.MAX else _mac(layer, q, x)
    acc = psum + _channels(q.bias, x.device)
    for name, value in (("psum", psum), ("psum + bias", acc)):
        if value.numel() and (value.min() < -_INT32 or value.max() >= _INT32):
            raise SpecError(f"Layer '{layer.name}': {name} must fit int32, not {int(value.min())}..{int(value.max())}.")
    y = requantise(acc, _channels(q.multiplier, x.device), _channels(q.shift, x.device))
    if residual is not None:
        y = y + requantise(residual, torch.tensor(q.res_multiplier), torch.tensor(q.res_shift))
    return _finish(layer, y.clamp(q.clamp_lo, q.clamp_hi))


def requantise(value: Tensor, multiplier: Tensor, shift: Tensor) -> Tensor:
    """sat16(rshift(value * multiplier, shift)) on int64; the shift rounds half away from zero."""
    return _round_shift(value * multiplier, shift).clamp(-(1 << 15), (1 << 15) - 1)


def _round_shift(value: Tensor, shift: Tensor) -> Tensor:
    half = torch.where(shift > 0, torch.ones_like(shift) << (shift - 1).clamp(min=0), 0)
    return value.sign() * ((value.abs() + half) >> shift)


def _channels(values, device) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.int64)).to(device)[None, :, None, None]


def _pad(layer: LayerSpec, x: Tensor) -> Tensor:
    s = layer.shape
    right, bottom = (s.q - 1) * s.stride + s.s - s.pad - s.w, (s.p - 1) * s.stride + s.r - s.pad - s.h
    return F.pad(x, (s.pad, right, s.pad, bottom))


def _mac(layer: LayerSpec, q: QuantLayer, x: Tensor) -> Tensor:
    largest = 128 * np.abs(np.asarray(q.weight, dtype=np.int64)).sum(axis=(1, 2, 3)).max(initial=0)
    sums = torch.float32 if largest < 1 << 24 else torch.float64
    weight = torch.from_numpy(np.asarray(q.weight)).to(x.device, sums)
    with torch.backends.cudnn.flags(enabled=False):  # which may take a transform, and so round
        return F.conv2d(_pad(layer, x).to(sums), weight, stride=layer.shape.stride, groups=layer.shape.g).long()


def _max(layer: LayerSpec, x: Tensor) -> Tensor:
    s = layer.shape
    windows = _pad(layer, x).unfold(2, s.r, s.stride).unfold(3, s.s, s.stride)
    return windows.amax(dim=(4, 5))


def _finish(layer: LayerSpec, y: Tensor) -> Tensor:
    if layer.pool:
        n = layer.pool.window
        windows = y.unfold(2, n, n).unfold(3, n, n)
        if layer.pool.op is PoolOp.MAX:
            y = windows.amax(dim=(4, 5))
        else:
            y = _round_shift(windows.sum(dim=(4, 5)), torch.tensor(2 * (n.bit_length() - 1)))
    groups = layer.shuffle_groups
    return y if groups == 1 else y.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)
