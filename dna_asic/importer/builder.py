"""Layers in the making: names, the layers that a view needs before it can be read, and their order."""

import re

import numpy as np
from torch import nn

from dna_asic.errors import SpecError
from dna_asic.importer.drafts import Draft, Tensor, View
from dna_asic.importer.graph import NO_PADS, Graph, Node
from dna_asic.importer.kernels import scattered
from dna_asic.spec.layer import LayerShape


class Builder:
    """The drafts so far, in order, and who reads each named tensor of the graph."""

    def __init__(self, graph: Graph):
        self.output, shape = graph.output, graph.input_shape
        self.input = Tensor(name="input", chw=shape if len(shape) == 3 else (int(np.prod(shape)), 1, 1))
        self.drafts: list[Draft] = []
        self.notes: list[str] = []
        self.readers: dict[str, list[Node]] = {}
        self._names = {"input", *dir(nn.ModuleDict())}  # a layer is a module of that name
        for node in graph.nodes:
            for tensor in node.inputs:
                self.readers.setdefault(tensor, []).append(node)

    def view(self, tensor: Tensor, node: Node) -> View:
        """`tensor` as the output of `node`."""
        return View.of(tensor, self.is_open(node)).reshaped(node.shape)

    def is_open(self, node: Node) -> bool:
        """Whether the output of `node` is read once, and nothing else takes it."""
        return len(self.readers.get(node.output, ())) == 1 and node.output != self.output

    def layer(self, name: str, source: Tensor, shape: LayerShape, **fields) -> Draft:
        """A new layer behind all others."""
        draft = Draft(name=self._unique(name), chw=(shape.g * shape.k, shape.p, shape.q), shape=shape, source=source,
                      **fields)
        self.drafts.append(draft)
        return draft

    def _unique(self, wish):
        base = re.sub(r"[^A-Za-z0-9_-]+", "_", wish).strip("_") or "layer"
        name, number = base, 2
        while name in self._names:
            name, number = f"{base}-{number}", number + 1
        self._names.add(name)
        return name

    def dense(self, name: str, pieces: list[tuple[Tensor, np.ndarray]], shape: dict, bias: np.ndarray,
              step: np.ndarray | None = None) -> Draft:
        """One layer per (tensor, weight [K, C, R, S]), each adding to the one before; the last bears the name."""
        draft = None
        for left, (tensor, weight) in zip(reversed(range(len(pieces))), pieces, strict=True):
            k, c, r, s = weight.shape
            bounds = LayerShape(k=k, c=c, r=r, s=s, h=tensor.chw[1], w=tensor.chw[2], **shape)
            draft = self.layer(f"{name}_part{left}" if left else name, tensor, bounds, weight=weight, step=step,
                               bias=np.zeros(k) if left else bias, residual=draft)
        return draft

    def per_channel(self, name: str, source: Tensor, factor: np.ndarray | None = None,
                    shift: np.ndarray | None = None) -> Draft:
        """A depthwise layer of one pixel: ones, or a factor and a shift ([C] or [1])."""
        channels, h, w = source.chw
        shape = LayerShape(g=channels, k=1, c=1, p=h, q=w, h=h, w=w)
        if factor is None:
            return self.layer(name, source, shape)
        weight, bias = (np.broadcast_to(x, (channels,)).copy() for x in (factor, shift))
        return self.layer(name, source, shape, weight=weight[:, None, None, None], bias=bias)

    def plain(self, name: str, view: View) -> Tensor:
        """The view as one tensor; pointwise layers put channels from elsewhere in their places. Raises SpecError."""
        refuse_pads(view)
        pieces = view.channels()
        tensor, at, taken = pieces[0]
        if len(pieces) == 1 and len(at) == tensor.chw[0] and np.array_equal(at, taken):
            return tensor
        channels = view.shape[1]
        weights = [(p.tensor, scattered(np.eye(channels)[:, p.at, None, None], p.taken, p.tensor.chw[0]))
                   for p in pieces]
        return self.dense(name, weights, {"p": tensor.chw[1], "q": tensor.chw[2]}, np.zeros(channels))

    def elementwise(self, name: str, view: View) -> View:
        """The view if it has every element of one tensor once, in whatever order; else one that has."""
        refuse_pads(view)
        return view if view.whole else View.of(self.plain(name, view), open=True).reshaped(view.shape)

    def behind(self, draft: Draft) -> None:
        """Move a draft that nothing reads yet behind all others."""
        self.drafts.remove(draft)
        self.drafts.append(draft)

    def needed(self, output: Draft) -> tuple[Draft, ...]:
        """Drafts that `output` follows from, in order; it comes last."""
        reached, found = [output], {output}
        for tensor in reached:
            fresh = [t for t in tensor.reads if t not in found]
            reached += fresh
            found |= set(fresh)
        return *(d for d in self.drafts if d in found and d is not output), output


def refuse_pads(view: View) -> None:
    """Raise SpecError for padding that no convolution or pooling takes up."""
    if view.pads != NO_PADS:
        raise SpecError("the padding before it can only be taken up by a convolution or pooling.")
