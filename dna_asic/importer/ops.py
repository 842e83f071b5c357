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
    """x `kind` value (add, sub, mul, div) for x of `shape`. Raises SpecError unless it differs along one axis only."""
    value, axis = _along_one_axis(np.asarray(value, dtype=np.float64), len(shape))
    one, zero = np.ones_like(value), np.zeros_like(value)
    if kind == "div":
        if not value.all():
            raise SpecError("it divides by zero.")
        return Scale(factor=1 / value, shift=zero, axis=axis)
    factor, shift = {"add": (one, value), "sub": (one, -value), "mul": (value, zero)}[kind]
    return Scale(factor=factor, shift=shift, axis=axis)


def _along_one_axis(value, rank):
    whole = value.reshape((1,) * (rank - value.ndim) + value.shape)
    axes = [axis for axis, count in enumerate(whole.shape) if count > 1]
    if len(axes) > 1:
        raise SpecError(f"its constant has shape {list(value.shape)}; the chip has one number per channel.")
    return whole.ravel(), axes[0] if axes else 1


def reshape(shape: tuple[int, ...]) -> Rearrange:
    """Reshape to `shape`, the batch of 1 included. Raises SpecError if the batch moves."""
    if not shape or shape[0] != 1:
        raise SpecError(f"it makes {list(shape)}; the first axis is the batch and stays 1.")
    return Rearrange(lambda index: index.reshape(shape))


def cut(axis: int, start: int | None, end: int | None, step: int = 1) -> Rearrange:
    """Elements start..end of one axis, counted from the front."""
    return Rearrange(lambda index: index[(slice(None),) * axis + (slice(start, end, step),)])
