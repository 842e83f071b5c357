"""From a choice of blocks to layers.

A block is FBNet's inverted residual (arXiv 1812.03443, figure 3): pointwise expansion (grouped, then channel
shuffle), depthwise k x k, linear pointwise projection (grouped), residual where input and output have one shape.
Expansion 1 without groups drops the expansion layer, as MobileNetV2 does: it would be a square pointwise layer.
Or it is one dense convolution, as in ResNets, whose activation follows the residual: fewer tensors go through memory.
"""

from collections.abc import Sequence

from dna_asic.errors import SpecError
from dna_asic.networks.macro import SKIP, BlockKind, BlockPlace, Macro, out_size
from dna_asic.spec.layer import Activation, LayerOp, LayerShape, LayerSpec, NetworkSpec, PoolSpec


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
        return (conv(f"{name}_conv", source, place.c_in, place.c_out, hw, kernel=kind.kernel, stride=place.stride,
                     activation=activation, residual=residual),)
    mid = place.c_in * kind.expansion
    if kind.expansion > 1 or kind.groups > 1:
        layers.append(conv(f"{name}_expand", source, place.c_in, mid, hw, groups=kind.groups,
                           activation=activation, shuffle=kind.groups))
    layers.append(conv(f"{name}_depthwise", layers[-1].name if layers else source, mid, mid, hw, kernel=kind.kernel,
                       stride=place.stride, groups=mid, activation=activation))
    layers.append(conv(f"{name}_project", layers[-1].name, mid, place.c_out, layers[-1].out_hw, groups=kind.groups,
                       residual=residual))
    return tuple(layers)


def stem_layer(macro: Macro) -> LayerSpec:
    """The first convolution."""
    hw = (macro.input.height, macro.input.width)
    return conv("stem", "input", macro.input.channels, macro.stem.channels, hw, kernel=macro.stem.kernel,
                stride=macro.stem.stride, activation=macro.activation)


def head_layers(macro: Macro, source: str) -> tuple[LayerSpec, ...]:
    """Pointwise head if the macro has one, global average pooling, fully connected."""
    hw, c, layers = macro.feature_hw, macro.places[-1].c_out, []
    if macro.head_channels:
        layers.append(conv("head", source, c, macro.head_channels, hw, activation=macro.activation))
        source, c = "head", macro.head_channels
    return *layers, global_pool("pool", source, c, hw), conv("fc", "pool", c, macro.classes, (1, 1))


def nominal_source(macro: Macro, index: int) -> str:
    """The tensor that block `index` reads when no block before it is `skip`."""
    return f"{macro.places[index - 1].name}_project" if index else "stem"


def candidate_layers(macro: Macro) -> list[list[tuple[LayerSpec, ...]]]:
    """Layers of each candidate of each searched block, in the order of `macro.options`, for pricing.

    Sources are nominal (no block before is `skip`); shapes do not depend on them.
    """
    return [[block_layers(place, label, nominal_source(macro, i), macro.activation) for label in macro.options(place)]
            for i, place in enumerate(macro.places)]


def fixed_layers(macro: Macro) -> tuple[LayerSpec, ...]:
    """Stem and head: what every network of `macro` has."""
    return stem_layer(macro), *head_layers(macro, nominal_source(macro, len(macro.places)))


def expand(macro: Macro, choice: Sequence[str]) -> NetworkSpec:
    """The network with candidate `choice[i]` in searched block i. Raises SpecError for a wrong choice."""
    if isinstance(choice, str) or len(choice) != len(macro.places):
        raise SpecError(f"Network '{macro.name}' needs {len(macro.places)} candidates, one per searched block, "
                        f"not {choice!r}.")
    macro.space.validate(dict(zip((p.name for p in macro.places), choice, strict=True)))
    layers = [stem_layer(macro)]
    for place, label in zip(macro.places, choice, strict=True):
        layers += block_layers(place, label, layers[-1].name, macro.activation)
    layers += head_layers(macro, layers[-1].name)
    size = macro.input
    return NetworkSpec(name=macro.name, input_shape=(size.channels, size.height, size.width), layers=tuple(layers))
