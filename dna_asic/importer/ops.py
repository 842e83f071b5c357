"""What both readers make in the same way."""

import numpy as np

from dna_asic.errors import SpecError
from dna_asic.importer.graph import Rearrange, Scale

SAME = Rearrange(lambda index: index)


def batch_norm(weight, bias, mean, variance, epsilon: float) -> Scale:
    """Batch normalisation with fixed statistics [C]."""
    factor = weight.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    return Scale(factor=factor, shift=bias - mean * factor)


def arithmetic(kind: str, value: np.ndarray, shape: tuple[int, ...]) -> Scale:
    """x `kind` value (add, sub, mul, div) for x of `shape`. Raises SpecError unless it is one number per channel."""
    value = _per_channel(np.asarray(value, dtype=np.float64), shape)
    one, zero = np.ones_like(value), np.zeros_like(value)
    if kind == "div":
        if not value.all():
            raise SpecError("it divides by zero.")
        return Scale(factor=1 / value, shift=zero)
    return {"add": Scale(factor=one, shift=value), "sub": Scale(factor=one, shift=-value),
            "mul": Scale(factor=value, shift=zero)}[kind]


def _per_channel(value, shape):
    whole = value.reshape((1,) * (len(shape) - value.ndim) + value.shape)
    if whole.size == 1:
        return whole.reshape(1)
    if whole.shape != (1, shape[1], *(1,) * (len(shape) - 2)):
        raise SpecError(f"its constant has shape {list(value.shape)}; the chip has one number per channel.")
    return whole.ravel()


def reshape(shape: tuple[int, ...]) -> Rearrange:
    """Reshape to `shape`, the batch of 1 included. Raises SpecError if the batch moves."""
    if not shape or shape[0] != 1:
        raise SpecError(f"it makes {list(shape)}; the first axis is the batch and stays 1.")
    return Rearrange(lambda index: index.reshape(shape))


def cut(axis: int, start: int | None, end: int | None, step: int = 1) -> Rearrange:
    """Elements start..end of one axis, counted from the front."""
    return Rearrange(lambda index: index[(slice(None),) * axis + (slice(start, end, step),)])
