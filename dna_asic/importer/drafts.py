"""Layers while a network is read: tensors, drafts of layers, and views of tensors that no layer makes by itself."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from dna_asic.errors import SpecError
from dna_asic.importer.graph import NO_PADS, Pads
from dna_asic.spec.layer import Activation, LayerOp, LayerShape, LayerSpec, PoolOp, PoolSpec


@dataclass(kw_only=True, eq=False)
class Tensor:
    """A map of (channels, rows, columns) in memory. scale: float value of one int8 step, where the model says it."""

    name: str
    chw: tuple[int, int, int]
    scale: float | None = None

    @property
    def size(self) -> int:
        """Elements."""
        return int(np.prod(self.chw))

    @property
    def reads(self) -> tuple["Tensor", ...]:
        """The tensors that it is made from."""
        return ()

    @property
    def nonnegative(self) -> bool:
        """No element can be below zero."""
        return False

    @property
    def foldable(self) -> bool:
        """A multiply-accumulate layer to whose sum nothing has been done yet."""
        return False

    @property
    def clampable(self) -> bool:
        """A layer that can clamp what it gives, before or after it is quantised."""
        return False


@dataclass(kw_only=True, eq=False)
class Unmade(Tensor):
    """Stands for what a faulty node would give, so that the nodes behind it are checked too."""

    @property
    def nonnegative(self) -> bool:
        return True


@dataclass(kw_only=True, eq=False)
class Draft(Tensor):
    """A layer that later nodes may still fuse into: the mutable form of LayerSpec, and its float weights.

    weight [G*K, C, R, S] and bias [G*K] are None for maximum and average pooling. step: float value [G*K] of one weight
    step where the model is quantised.
    """

    shape: LayerShape
    source: Tensor
    weight: np.ndarray | None = None
    bias: np.ndarray | None = None
    step: np.ndarray | None = None
    residual: Tensor | None = None
    activation: Activation = Activation.NONE
    pool: PoolSpec | None = None
    shuffle_groups: int = 1

    @property
    def reads(self) -> tuple[Tensor, ...]:
        return (self.source,) if self.residual is None else (self.source, self.residual)

    @property
    def average(self) -> bool:
        """Average pooling."""
        return self.weight is None and self.shape.op is LayerOp.MAC

    @property
    def foldable(self) -> bool:
        return (self.weight is not None and self.residual is None and self.activation is Activation.NONE
                and self.pool is None and self.shuffle_groups == 1 and self.scale is None)

    @property
    def clampable(self) -> bool:
        return self.pool is None or self.pool.op is PoolOp.MAX

    @property
    def nonnegative(self) -> bool:
        if self.activation is not Activation.NONE:
            return True
        positive = self.weight is None or (self.weight.min() >= 0 and self.bias.min() >= 0)
        return bool(positive) and all(t.nonnegative for t in self.reads)

    def scaled(self, factor: np.ndarray, shift: np.ndarray) -> None:
        """Multiply what the layer gives by `factor` and add `shift`, both [G*K] or [1]."""
        factor = np.broadcast_to(factor, self.bias.shape)
        self.weight, self.bias = self.weight * factor[:, None, None, None], self.bias * factor + shift
        self.step = None if self.step is None else self.step * np.abs(factor)

    def fuse_pool(self, pool: PoolSpec) -> None:
        """Pool in post-processing."""
        self.pool = pool
        channels, h, w = self.chw
        self.chw = (channels, h // pool.window, w // pool.window)

    def spec(self) -> LayerSpec:
        """The layer as a record."""
        return LayerSpec(name=self.name, shape=self.shape, source=self.source.name, activation=self.activation,
                         residual=self.residual.name if self.residual else None, pool=self.pool,
                         shuffle_groups=self.shuffle_groups, average=self.average)


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """What a node gives: a tensor as it is (index is None), or elements of `parts` in the order of `index`.

    index counts the elements of the parts one behind the other. shape: with the batch of 1. pads: zeros around it that
    its reader must bring. open: nothing else reads what it was made from.
    """

    parts: tuple[Tensor, ...]
    shape: tuple[int, ...]
    index: np.ndarray | None = None
    pads: Pads = NO_PADS
    open: bool = False

    @classmethod
    def of(cls, tensor: Tensor, open: bool = False) -> "View":
        """The tensor as it is."""
        return cls(parts=(tensor,), shape=(1, *tensor.chw), open=open)

    def elements(self) -> np.ndarray:
        """`index`, made where it is None."""
        if self.index is not None:
            return self.index
        return np.arange(self.parts[0].size, dtype=np.int32).reshape(self.shape)

    def rearranged(self, index: np.ndarray) -> "View":
        """The same parts seen through another index."""
        part = self.parts[0]
        natural = len(self.parts) == 1 and index.shape == (1, *part.chw) and _counts_up(index)
        return replace(self, shape=index.shape, index=None if natural else index)

    def reshaped(self, shape: tuple[int, ...]) -> "View":
        """The same elements in another shape."""
        return self if self.shape == shape else self.rearranged(self.elements().reshape(shape))

    def onto(self, tensor: Tensor, open: bool) -> "View":
        """Another tensor of the part's size, seen in the same order."""
        return replace(self, parts=(tensor,), open=open)

    @property
    def whole(self) -> bool:
        """Every element of one tensor, each once."""
        if len(self.parts) > 1:
            return False
        return self.index is None or (self.index.size == self.parts[0].size
                                      and np.unique(self.index).size == self.index.size)

    @property
    def in_order(self) -> bool:
        """Every element of one tensor in its order, whatever the shape."""
        return len(self.parts) == 1 and (self.index is None or self.index.size == self.parts[0].size
                                         and _counts_up(self.index))

    def pieces(self) -> list["Piece"]:
        """Element by element, of the view and the parts flattened."""
        return self._split(self.elements().ravel(), 1)

    def channels(self) -> list["Piece"]:
        """Channel by channel. Raises SpecError if rows or columns are not where the parts have them."""
        if self.index is None:
            every = np.arange(self.shape[1])
            return [Piece(self.parts[0], every, every)]
        flat = len(self.shape) == 2 and all(t.chw[1:] == (1, 1) for t in self.parts)
        index = self.index.reshape(*self.shape, 1, 1) if flat else self.index
        if index.ndim != 4 or any(t.chw[1:] != index.shape[2:] for t in self.parts) or not _whole_channels(index):
            raise SpecError("it reads pixels in another order than the map's; only channels may be rearranged, and all "
                            "before a fully connected layer.")
        return self._split(index[0, :, 0, 0], index[0, 0].size)

    def _split(self, flat, unit):
        start, pieces = 0, []
        for part in self.parts:
            at = np.flatnonzero((flat >= start) & (flat < start + part.size))
            if len(at):
                pieces.append(Piece(part, at, (flat[at] - start) // unit))
            start += part.size
        return pieces


class Piece(NamedTuple):
    """Where a view takes what from: places of the view, and places of the tensor that they come from."""

    tensor: Tensor
    at: np.ndarray
    taken: np.ndarray


def _whole_channels(index: np.ndarray) -> bool:
    first, pixels = index[:, :, :1, :1], index[0, 0].size
    return not (first % pixels).any() and bool((index - first == np.arange(pixels).reshape(index.shape[2:])).all())


def _counts_up(index: np.ndarray) -> bool:
    return np.array_equal(index.ravel(), np.arange(index.size, dtype=index.dtype))


def concatenated(views: list[View], open: bool) -> View:
    """The channels of the views one behind the other."""
    starts: dict[Tensor, int] = {}
    for part in (part for view in views for part in view.parts):
        starts.setdefault(part, sum(t.size for t in starts))
    arrays = []
    for view in views:
        sizes = [part.size for part in view.parts]
        shifts = [starts[part] - own for part, own in zip(view.parts, np.cumsum([0, *sizes[:-1]]), strict=True)]
        index = view.elements()
        arrays.append(index + np.repeat(np.array(shifts, np.int32), sizes)[index])
    index = np.concatenate(arrays, axis=1)
    return View(parts=tuple(starts), shape=index.shape, index=index, open=open)
