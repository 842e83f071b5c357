"""From a choice of blocks to layers.

A block is FBNet's inverted residual (arXiv 1812.03443, figure 3): pointwise expansion (grouped, then channel
shuffle), depthwise k x k, linear pointwise projection (grouped), residual where input and output have one shape.
Expansion 1 without groups drops the expansion layer, as MobileNetV2 does: it would be a square pointwise layer.
Or it is one dense convolution, as in ResNets, whose activation follows the residual: fewer tensors go through memory.
"""

import dataclasses
import itertools
from collections.abc import Sequence

from dna_asic.networks.macro import SKIP, BlockKind, BlockPlace, Macro, out_size
from dna_asic.spec.layer import Activation, LayerOp, LayerShape, LayerSpec, NetworkSpec, PoolOp, PoolSpec

SOURCE = "features"  # what a block or head apart from a network reads


def conv(name: str, source: str, c_in: int, c_out: int, hw: tuple[int, int], *, kernel: int = 1, stride: int = 1,
         groups: int = 1, activation: Activation = Activation.NONE, residual: str | None = None,
         shuffle: int = 1, pool: PoolSpec | None = None) -> LayerSpec:
    """A convolution of odd `kernel` padded by kernel // 2; depthwise when groups = c_in = c_out."""
    h, w = hw
    shape = LayerShape(g=groups, k=c_out // groups, c=c_in // groups, h=h, w=w, p=out_size(h, kernel, stride),
                       q=out_size(w, kernel, stride), r=kernel, s=kernel, stride=stride, pad=kernel // 2)
    return LayerSpec(name=name, shape=shape, source=source, residual=residual, activation=activation,
                     shuffle_groups=shuffle, pool=pool)


def global_pool(name: str, source: str, channels: int, hw: tuple[int, int], op: LayerOp = LayerOp.MAC) -> LayerSpec:
    """Average (MAC) or maximum over the whole map, as a depthwise layer of ones."""
    h, w = hw
    shape = LayerShape(g=channels, k=1, c=1, p=1, q=1, r=h, s=w, h=h, w=w, op=op)
    return LayerSpec(name=name, shape=shape, source=source, average=op is LayerOp.MAC)


def block_layers(place: BlockPlace, label: str, source: str, activation: Activation) -> tuple[LayerSpec, ...]:
    """Layers of candidate `label` at `place`, reading `source`; none for `skip`."""
    if label == SKIP:
        return ()
    kind = BlockKind.parse(label)
    name, hw, layers = place.name, (place.h, place.w), []
    residual = source if place.keeps_shape else None
    if kind.expansion is None:
        stride, pool = (1, PoolSpec(op=PoolOp.MAX, window=2)) if kind.pooled else (place.stride, None)
        return (conv(f"{name}_conv", source, place.c_in, place.c_out, hw, kernel=kind.kernel, stride=stride,
                     activation=activation, residual=residual, pool=pool),)
    mid = place.c_in * kind.expansion
    if kind.expansion > 1 or kind.groups > 1:
        layers.append(conv(f"{name}_expand", source, place.c_in, mid, hw, groups=kind.groups,
                           activation=activation, shuffle=kind.groups))
    layers.append(conv(f"{name}_depthwise", layers[-1].name if layers else source, mid, mid, hw, kernel=kind.kernel,
                       stride=place.stride, groups=mid, activation=activation))
    layers.append(conv(f"{name}_project", layers[-1].name, mid, place.c_out, layers[-1].out_hw, groups=kind.groups,
                       residual=residual))
    return tuple(layers)


def stem_layer(macro: Macro, channels: int | None = None) -> LayerSpec:
    """The first convolution, with so many channels (default: the most)."""
    hw = (macro.input.height, macro.input.width)
    return conv("stem", "input", macro.input.channels, channels or macro.stem.channels, hw, kernel=macro.stem.kernel,
                stride=macro.stem.stride, activation=macro.activation)


def head_layers(macro: Macro, source: str, channels: int | None = None) -> tuple[LayerSpec, ...]:
    """Pointwise head if the macro has one, global average pooling, fully connected; channels: of `source` (default: the
    most).
    """
    hw, c, layers = macro.feature_hw, channels or macro.places[-1].c_out, []
    if macro.head_channels:
        layers.append(conv("head", source, c, macro.head_channels, hw, activation=macro.activation))
        source, c = "head", macro.head_channels
    return *layers, global_pool("pool", source, c, hw), conv("fc", "pool", c, macro.classes, (1, 1))


def candidate_layers(macro: Macro) -> list[list[tuple[LayerSpec, ...]]]:
    """Layers of each candidate of each searched block, in the order of `macro.options`, with the most channels, reading
    SOURCE.
    """
    return [[block_layers(place, label, SOURCE, macro.activation) for label in macro.options(place)]
            for place in macro.places]


def part_layers(macro: Macro) -> dict[tuple[int, int, int, int], tuple[LayerSpec, ...]]:
    """Layers of every part (0 is the stem, then the searched blocks, last the head), candidate, width at its input and
    width at its output, by these four numbers.

    The input's is 0 where there is no choice of its own: at the stem, and in a block whose input is of its own stage;
    likewise the head's output.
    """
    parts, widths = {}, range(len(macro.widths))
    for j in widths:
        parts[0, 0, 0, j] = (stem_layer(macro, macro.channels[0][j]),)
        parts[len(macro.places) + 1, 0, j, 0] = head_layers(macro, SOURCE, macro.channels[-1][j])
    for index, place in enumerate(macro.places, 1):
        for i, j in itertools.product(widths if place.changes_stage else (0,), widths):
            c_in = macro.channels[place.source][i if place.changes_stage else j]
            sized = dataclasses.replace(place, c_in=c_in, c_out=macro.channels[place.width][j])
            for k, label in enumerate(macro.options(place)):
                parts[index, k, i, j] = block_layers(sized, label, SOURCE, macro.activation)
    return parts


def expand(macro: Macro, choice: Sequence[str]) -> NetworkSpec:
    """The network of one option per choice of `macro.space`. Raises SpecError for a wrong choice."""
    labels, channels = macro.split(choice)
    layers = [stem_layer(macro, channels[0])]
    for place, label in zip(macro.places_of(channels), labels, strict=True):
        layers += block_layers(place, label, layers[-1].name, macro.activation)
    layers += head_layers(macro, layers[-1].name, channels[-1])
    size = macro.input
    return NetworkSpec(name=macro.name, input_shape=(size.channels, size.height, size.width), layers=tuple(layers))
