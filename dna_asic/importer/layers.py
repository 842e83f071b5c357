"""From a graph of nodes to layers that the chip runs.

Batch normalisation, constants, activations, residual adds and pooling fuse into the layer before them where nothing
else reads that layer; otherwise a depthwise layer of ones carries them. Concatenation and other orders of channels are
views: a convolution folds them into its weights, one layer per tensor of the view, joined by residual adds; for other
readers pointwise layers of ones and zeros put the channels in their places.
"""

import dataclasses

import numpy as np

from dna_asic.errors import SpecError
from dna_asic.importer.builder import Builder, refuse_pads
from dna_asic.importer.drafts import Draft, Tensor, Unmade, View, concatenated
from dna_asic.importer.graph import (
    MAX_ELEMENTS,
    NO_PADS,
    Add,
    Clamp,
    Concat,
    Conv,
    Graph,
    Linear,
    Node,
    Pad,
    Pool,
    Quantise,
    Rearrange,
    Scale,
    Softmax,
    Unsupported,
)
from dna_asic.importer.kernels import block_diagonal, embedded, one_stride, scattered, summed_pads
from dna_asic.importer.pooling import lower_pool
from dna_asic.importer.unsupported import listed
from dna_asic.spec.layer import Activation, LayerShape

MAX_PARTS = 4  # tensors of a concatenation that convolutions read one by one; more are put into one tensor
ACTIVATIONS = {(0.0, float("inf")): Activation.RELU, (0.0, 6.0): Activation.RELU6}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layers:
    """What a graph became, in order. notes: what was left to the host."""

    drafts: tuple[Draft, ...]
    input: Tensor
    notes: tuple[str, ...]


def make_layers(graph: Graph) -> Layers:
    """Layers of `graph` in order, the last one giving its output.

    Raises SpecError with every node that cannot become one, with its place and what could replace it.
    """
    _check_sizes(graph)
    builder, faults = Builder(graph), []
    views = {graph.input: _image(builder, graph)}
    for node in graph.nodes:
        try:
            views[node.output] = LOWER[type(node.op)](builder, node, *(views[name] for name in node.inputs))
        except SpecError as error:
            faults.append((node.place, str(error)))
            chw = node.shape[1:] if len(node.shape) == 4 and node.shape[0] == 1 else (int(np.prod(node.shape)), 1, 1)
            views[node.output] = View.of(Unmade(name=node.output, chw=chw)).reshaped(node.shape)
    if faults:
        raise SpecError(listed(faults))
    output = _output(builder, views[graph.output])
    return Layers(drafts=builder.needed(output), input=builder.input, notes=tuple(builder.notes))


def _check_sizes(graph):
    faults = [f"{node.place}: its output {list(node.shape)} must have 1..{MAX_ELEMENTS} elements; reduce the image."
              for node in graph.nodes if not 1 <= np.prod([float(n) for n in node.shape]) <= MAX_ELEMENTS]
    if faults:
        raise SpecError("\n".join(faults))


def _image(builder: Builder, graph: Graph) -> View:
    image = View.of(builder.input).reshaped((1, *graph.input_shape))
    if not graph.channels_last:
        return image
    builder.notes.append(f"input '{graph.input}' has its channels last; the host and --calibration give "
                         f"{list(graph.input_shape)}, channels first.")
    return image.rearranged(image.elements().transpose(0, 2, 3, 1))


def _output(builder: Builder, view: View) -> Draft:
    tensor = view.parts[0] if view.in_order and view.pads == NO_PADS else builder.plain("output", view)
    if tensor is builder.input:
        raise SpecError(f"Output '{builder.output}' is the input; a network needs at least one layer.")
    return tensor


def _unsupported(builder: Builder, node: Node, *_views: View) -> View:
    raise SpecError(node.op.reason)


def _softmax(builder: Builder, node: Node, view: View) -> View:
    if node.output != builder.output:
        raise SpecError("the chip has no exponential; only at the network's end can it be left to the host.")
    builder.notes.append(f"{node.place} is left to the host; the order of the classes is the same without it.")
    return view


def _rearrange(builder: Builder, node: Node, view: View) -> View:
    refuse_pads(view)
    changed = view.rearranged(node.op.index(view.elements()))
    changed = dataclasses.replace(changed, open=view.open and builder.is_open(node))
    groups = _shuffle_groups(changed)
    if groups == 1:
        return changed
    changed.parts[0].shuffle_groups = groups
    return builder.view(changed.parts[0], node)


def _concat(builder: Builder, node: Node, *views: View) -> View:
    for view in views:
        refuse_pads(view)
    if node.op.axis % len(node.shape) != 1:
        raise SpecError(f"it joins along axis {node.op.axis}; only channels (axis 1) can be joined.")
    view = concatenated(list(views), builder.is_open(node))
    if len(view.pieces()) <= MAX_PARTS:
        return view
    return builder.view(builder.plain(node.name, view), node)


def _pad(builder: Builder, node: Node, view: View) -> View:
    pads = summed_pads(view.pads, node.op.pads)
    if min(pads) < 0:
        raise SpecError(f"it crops the map by {list(pads)} (top, left, bottom, right); the chip only pads.")
    return dataclasses.replace(view, pads=pads, open=False)


def _conv(builder: Builder, node: Node, view: View) -> View:
    op, (p, q) = node.op, node.shape[2:]
    weight, pad = embedded(op.weight, summed_pads(view.pads, op.pads), op.dilation)
    view = dataclasses.replace(view, pads=NO_PADS)
    shape = {"p": p, "q": q, "pad": pad, "stride": one_stride(op.stride, p, q)}
    groups, (k, c, r, s) = op.groups, weight.shape
    if groups < 1 or k % groups or c * groups != view.shape[1]:
        raise SpecError(f"its weights {list(op.weight.shape)} in {groups} groups do not go with the {view.shape[1]} "
                        f"channels that it reads.")
    if groups > 1 and not (c == 1 and k > groups):
        source = builder.plain(f"{node.name}_select", view)
        bounds = LayerShape(g=groups, k=k // groups, c=c, r=r, s=s, h=source.chw[1], w=source.chw[2], **shape)
        return builder.view(builder.layer(node.name, source, bounds, weight=weight, bias=op.bias, step=op.step), node)
    weight = block_diagonal(weight, groups)
    pieces = [(t, scattered(weight[:, at], taken, t.chw[0])) for t, at, taken in view.channels()]
    return builder.view(builder.dense(node.name, pieces, shape, op.bias, op.step), node)


def _linear(builder: Builder, node: Node, view: View) -> View:
    refuse_pads(view)
    if len(view.shape) != 2 or view.shape[1] != node.op.weight.shape[1]:
        raise SpecError(f"it reads {list(view.shape)}; a fully connected layer with weights "
                        f"{list(node.op.weight.shape)} reads one vector: flatten before.")
    op = node.op
    pieces = [(t, scattered(op.weight[:, at], taken, t.size).reshape(-1, *t.chw)) for t, at, taken in view.pieces()]
    return builder.view(builder.dense(node.name, pieces, {"p": 1, "q": 1}, op.bias, op.step), node)


def _scale(builder: Builder, node: Node, view: View) -> View:
    if view.shape != node.shape:
        raise SpecError(f"it makes {list(node.shape)} of {list(view.shape)}; constants must keep the shape.")
    view = builder.elementwise(f"{node.name}_select", view)
    tensor = view.parts[0]
    factor, shift = (_of_channels(view, values, node.op.axis) for values in (node.op.factor, node.op.shift))
    if view.open and tensor.foldable:
        tensor.scaled(factor, shift)
    else:
        tensor = builder.per_channel(node.name, tensor, factor, shift)
    return view.onto(tensor, builder.is_open(node))


def _of_channels(view: View, values: np.ndarray, axis: int) -> np.ndarray:
    """`values` along `axis` of the view in the order of its tensor's channels; one number stays one."""
    if len(values) == 1:
        return values
    tensor, elements = view.parts[0], np.empty(view.parts[0].size)
    shape = [-1 if i == axis else 1 for i in range(len(view.shape))]
    elements[view.elements().ravel()] = np.broadcast_to(values.reshape(shape), view.shape).ravel()
    channels = elements.reshape(tensor.chw[0], -1)
    if (channels != channels[:, :1]).any():
        raise SpecError(f"its {len(values)} constants along axis {axis} of {list(view.shape)} are not one per channel "
                        f"of the map that it reads; apply it before flattening.")
    return channels[:, 0]


def _clamp(builder: Builder, node: Node, view: View) -> View:
    activation = ACTIVATIONS.get((node.op.low, node.op.high))
    if activation is None:
        raise SpecError(f"clamping to {node.op.low}..{node.op.high} is not on the chip; use ReLU (0..inf) or ReLU6 "
                        f"(0..6) and train again.")
    view = builder.elementwise(f"{node.name}_select", view)
    tensor = view.parts[0]
    if not (view.open and tensor.clampable):
        tensor = builder.per_channel(node.name, tensor)
    if tensor.activation is not Activation.RELU6:
        tensor.activation = activation
    return view.onto(tensor, builder.is_open(node))


def _add(builder: Builder, node: Node, *views: View) -> View:
    if len({v.shape for v in views}) > 1:
        raise SpecError(f"it adds {' and '.join(str(list(v.shape)) for v in views)}; the chip adds maps of one shape.")
    operands = [v if v.in_order else View.of(builder.plain(f"{node.name}_select", v), open=True) for v in views]
    total = operands[0]
    for view in operands[1:]:
        total = View.of(_sum(builder, node, total, view), open=True)
    return builder.view(total.parts[0], node)


def _sum(builder: Builder, node: Node, a: View, b: View) -> Draft:
    """One of two layers takes up the other's output as its residual, or a new layer adds them."""
    refuse_pads(a), refuse_pads(b)
    for view, other in ((b, a.parts[0]), (a, b.parts[0])):
        draft = view.parts[0]
        if view.open and draft.foldable and draft is not other:
            draft.residual = other
            builder.behind(draft)
            return draft
    draft = builder.per_channel(node.name, a.parts[0])
    draft.residual = b.parts[0]
    return draft


def _quantise(builder: Builder, node: Node, view: View) -> View:
    view, scale = builder.elementwise(f"{node.name}_select", view), node.op.scale
    tensor = view.parts[0]
    if tensor.scale != scale:
        if tensor.scale is not None or not (view.open or tensor is builder.input):
            tensor = builder.per_channel(node.name, tensor)
        tensor.scale = scale
    return view.onto(tensor, builder.is_open(node))


def _shuffle_groups(view: View) -> int:
    """Groups of the channel shuffle that `view` is of the grouped layer that made it; 1 if it is none."""
    draft = view.parts[0]
    if not (view.open and view.index is not None and len(view.shape) == 4 and isinstance(draft, Draft)
            and draft.shape.grouped and draft.shuffle_groups == 1 and view.shape == (1, *draft.chw)):
        return 1
    groups, channels = draft.shape.g, draft.chw[0]
    order = np.arange(channels).reshape(groups, -1).T.ravel()
    (piece,) = view.channels()
    return groups if channels % groups**2 == 0 and np.array_equal(piece.taken, order) else 1


LOWER = {Conv: _conv, Linear: _linear, Scale: _scale, Add: _add, Clamp: _clamp, Pool: lower_pool, Pad: _pad,
         Rearrange: _rearrange, Concat: _concat, Quantise: _quantise, Softmax: _softmax, Unsupported: _unsupported}
