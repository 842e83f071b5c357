"""The form between a file and layers: nodes on named tensors, batch 1. Readers make it, `layers` turns it into layers.

Arrays are floating; pads are (top, left, bottom, right) in pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dna_asic.spec.layer import PoolOp

Pads = tuple[int, int, int, int]
NO_PADS: Pads = (0, 0, 0, 0)
MAX_ELEMENTS = 1 << 26  # of one activation tensor
MAX_CONSTANT_BYTES = 1 << 30  # of all constants of a network, as the file types them


@dataclass(frozen=True, kw_only=True, eq=False)
class Conv:
    """Convolution. weight [K, C / groups, R, S]; bias [K]; step: float value [K] of one weight step, if quantised."""

    weight: np.ndarray
    bias: np.ndarray
    stride: tuple[int, int] = (1, 1)
    pads: Pads = NO_PADS
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    step: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Linear:
    """Fully connected. weight [K, F]; bias [K]; step as in Conv."""

    weight: np.ndarray
    bias: np.ndarray
    step: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Scale:
    """x * factor + shift, both [n] along `axis` or [1]: batch normalisation, or arithmetic with constants."""

    factor: np.ndarray
    shift: np.ndarray
    axis: int = 1


@dataclass(frozen=True)
class Add:
    """Sum of the inputs, all of one shape."""


@dataclass(frozen=True)
class Clamp:
    """Saturation to low..high."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Maximum or average over windows; counts_padding: an average divides by the whole kernel at the border too."""

    op: PoolOp
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: Pads = NO_PADS
    counts_padding: bool = False


@dataclass(frozen=True)
class Pad:
    """Zeros around the map."""

    pads: Pads


@dataclass(frozen=True)
class Rearrange:
    """The same elements in another order or shape, or some of them: reshape, transpose, slice, split.

    `index` does to an integer array what the node does to its input.
    """

    index: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Concat:
    """The inputs one behind the other along `axis`."""

    axis: int


@dataclass(frozen=True)
class Quantise:
    """int8 with `scale` per step: what a pair of QuantizeLinear and DequantizeLinear does."""

    scale: float


@dataclass(frozen=True)
class Softmax:
    """Keeps the order of the classes; the host's to compute."""


@dataclass(frozen=True)
class Unsupported:
    """What the chip lacks: `reason` says so and names a replacement."""

    reason: str


Op = (Conv | Linear | Scale | Add | Clamp | Pool | Pad | Rearrange | Concat | Quantise | Softmax | Unsupported)


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """One operation. place: how messages name it; shape: of the output, batch first."""

    name: str
    place: str
    op: Op
    inputs: tuple[str, ...]
    output: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """Nodes in the order of execution. input_shape: of one image, without the batch, channels first.

    channels_last: the first nodes read the image as [1, H, W, C].
    """

    name: str
    input: str
    input_shape: tuple[int, ...]
    nodes: tuple[Node, ...]
    output: str
    channels_last: bool = False
