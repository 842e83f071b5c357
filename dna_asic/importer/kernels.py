"""Weights in the form that a layer takes: one padding, no dilation, channels where the tensor has them."""

import numpy as np

from dna_asic.errors import SpecError
from dna_asic.importer.graph import Pads
from dna_asic.spec.layer import MAX_KERNEL


def embedded(weight: np.ndarray, pads: Pads, dilation: tuple[int, int]) -> tuple[np.ndarray, int]:
    """(weight [K, C, R', S'], pad): the same convolution without dilation, and with one padding at the top and left.

    Zeros around the kernel make up for what differs; padding at the bottom and right follows from the output's size.
    Raises SpecError when the kernel would exceed the hardware's.
    """
    (top, left, *_), (r, s) = pads, weight.shape[2:]
    pad, (dr, ds) = max(top, left), dilation
    above, before = pad - top, pad - left
    rows, columns = max(above + (r - 1) * dr + 1, pad + (pad > 0)), max(before + (s - 1) * ds + 1, pad + (pad > 0))
    if max(rows, columns) > MAX_KERNEL:
        raise SpecError(f"its kernel {r}x{s} (dilation {dr}x{ds}, padding {top} and {left}) takes {rows}x{columns} "
                        f"pixels of at most {MAX_KERNEL}x{MAX_KERNEL}; use a smaller one, or pool before.")
    if (rows, columns) == (r, s):
        return weight, pad
    kernel = np.zeros((*weight.shape[:2], rows, columns), weight.dtype)
    kernel[:, :, above:above + (r - 1) * dr + 1:dr, before:before + (s - 1) * ds + 1:ds] = weight
    return kernel, pad


def scattered(weight: np.ndarray, channels: np.ndarray, count: int) -> np.ndarray:
    """Weight [K, C, ...] that reads channel `channels[c]` of `count`: [K, count, ...]; what is read twice adds up."""
    if len(channels) == count and np.array_equal(channels, np.arange(count)):
        return weight
    whole = np.zeros((count, len(weight), *weight.shape[2:]), weight.dtype)
    np.add.at(whole, channels, weight.swapaxes(0, 1))
    return np.ascontiguousarray(whole.swapaxes(0, 1))


def block_diagonal(weight: np.ndarray, groups: int) -> np.ndarray:
    """The dense weight [K, C, R, S] of a grouped one [K, C / groups, R, S]."""
    k, c = len(weight) // groups, weight.shape[1]
    dense = np.zeros((len(weight), groups * c, *weight.shape[2:]), weight.dtype)
    for g in range(groups):
        dense[g * k:(g + 1) * k, g * c:(g + 1) * c] = weight[g * k:(g + 1) * k]
    return dense


def summed_pads(a: Pads, b: Pads) -> Pads:
    """Padding around padding."""
    return tuple(x + y for x, y in zip(a, b, strict=True))


def one_stride(stride: tuple[int, int], p: int, q: int) -> int:
    """The stride of rows and columns; along an axis with one output any will do. Raises SpecError if they differ."""
    if p == q == 1:
        return 1
    if p > 1 and q > 1 and stride[0] != stride[1]:
        raise SpecError(f"its strides {stride[0]} and {stride[1]} differ; the chip has one for rows and columns.")
    return stride[0] if p > 1 else stride[1]
