"""From logical to physical channels: where each channel of each tensor lies in memory.

A tensor is plain (channels in order), grouped ([group][channels of the group, padded to a block]) or shuffled
([consumer group][producer group][channels, padded to a block]): a grouped layer reads each group's channels as whole
blocks. Tensors joined by a residual add or by a depthwise layer share one layout; unused places hold zeros.
"""

import dataclasses
from dataclasses import dataclass

from dna_asic.errors import InfeasibleDesign
from dna_asic.spec.geometry import round_up
from dna_asic.spec.layer import LayerShape, LayerSpec, NetworkSpec


@dataclass(frozen=True)
class ChannelLayout:
    """Physical place of each logical channel. groups > 1: a grouped layer may write or read it group by group."""

    slots: tuple[int, ...]
    physical: int
    groups: int = 1
    segments: int = 1

    @classmethod
    def plain(cls, channels: int) -> "ChannelLayout":
        """Channels in order."""
        return cls(tuple(range(channels)), channels)

    @classmethod
    def grouped(cls, channels: int, groups: int, block: int) -> "ChannelLayout":
        """[group][channels of the group]."""
        each = channels // groups
        pitch = round_up(each, block)
        return cls(tuple(c // each * pitch + c % each for c in range(channels)), groups * pitch, groups)

    @classmethod
    def shuffled(cls, channels: int, groups: int, block: int) -> "ChannelLayout":
        """[consumer group][producer group][channels], for `groups` of either, in logical order after the shuffle."""
        each = channels // groups**2
        pitch = round_up(each, block)
        slots = []
        for c in range(channels):
            within, producer = divmod(c, groups)
            consumer, place = divmod(within, each)
            slots.append((consumer * groups + producer) * pitch + place)
        return cls(tuple(slots), groups**2 * pitch, groups, groups)


@dataclass(frozen=True, kw_only=True)
class PhysicalLayer:
    """A layer as the hardware runs it. source, output: layouts of the tensors; the residual's is the output's."""

    spec: LayerSpec
    shape: LayerShape
    source: ChannelLayout
    output: ChannelLayout


def _is_grouped(shape: LayerShape) -> bool:
    return shape.g > 1 and not shape.depthwise


class _Classes:
    """Union-find over tensor names."""

    def __init__(self):
        self.parent = {}

    def find(self, name):
        while self.parent.setdefault(name, name) != name:
            name = self.parent[name]
        return name

    def join(self, a, b):
        self.parent[self.find(a)] = self.find(b)


def _layouts(network: NetworkSpec, block: int) -> dict[str, ChannelLayout]:
    classes, channels = _Classes(), {"input": network.input_shape[0]}
    wishes = {}  # class -> set of (groups, shuffled)
    for layer in network.layers:
        channels[layer.name] = layer.out_channels
        if layer.residual:
            classes.join(layer.name, layer.residual)
        if layer.shape.depthwise and layer.shape.g > 1:
            classes.join(layer.name, layer.source)
    for layer in network.layers:
        if _is_grouped(layer.shape):
            wishes.setdefault(classes.find(layer.source), set()).add((layer.shape.g, False))
            shuffled = layer.shuffle_groups > 1
            wishes.setdefault(classes.find(layer.name), set()).add((layer.shape.g, shuffled))
    return {name: _layout(network, name, count, wishes.get(classes.find(name), set()), block)
            for name, count in channels.items()}


def _layout(network, name, channels, wishes, block):
    groups = {g for g, _ in wishes}
    if not wishes:
        return ChannelLayout.plain(channels)
    if len(groups) > 1:
        raise InfeasibleDesign(f"Network '{network.name}': tensor '{name}' is read or written in "
                               f"{sorted(groups)} groups; use one number of groups between residual adds.")
    (count,) = groups
    if any(shuffled for _, shuffled in wishes):
        if channels % count**2:
            raise InfeasibleDesign(f"Network '{network.name}': shuffled tensor '{name}' needs channels divisible by "
                                   f"{count**2}, not {channels}.")
        return ChannelLayout.shuffled(channels, count, block)
    return ChannelLayout.grouped(channels, count, block)


def lay_out(network: NetworkSpec, port_bytes: int) -> tuple[PhysicalLayer, ...]:
    """Physical layers of `network` in order, for blocks of `port_bytes` channels.

    Raises InfeasibleDesign, naming the tensor, for what the hardware cannot lay out.
    """
    layouts = _layouts(network, port_bytes)
    return tuple(_physical(network, layer, layouts) for layer in network.layers)


def _physical(network, layer, layouts):
    shape, source, output = layer.shape, layouts[layer.source], layouts[layer.name]
    where = f"Network '{network.name}': layer '{layer.name}'"
    if layer.residual and layer.pool:
        raise InfeasibleDesign(f"{where} has a residual and fused pooling; pool in a layer of its own.")
    if shape.k > 1 and shape.c == 1 and shape.g > 1:
        raise InfeasibleDesign(f"{where} has one input and {shape.k} output channels per group; use a dense layer.")
    changes = {"pool_window": layer.pool.window if layer.pool else 1, "has_residual": bool(layer.residual)}
    if shape.depthwise:
        changes["g"] = output.physical
    elif _is_grouped(shape):
        if layer.shuffle_groups == 1 and output.segments > 1 or layer.shuffle_groups not in (1, shape.g):
            raise InfeasibleDesign(f"{where}: a grouped layer writes its groups in order or shuffled by its own "
                                   f"{shape.g}; tensor '{layer.name}' needs another order.")
        changes |= {"c": source.physical // shape.g, "k_segments": output.segments}
        if output.segments > 1:
            changes["k"] = output.physical // shape.g
    else:
        if layer.shuffle_groups > 1:
            raise InfeasibleDesign(f"{where}: only grouped layers may shuffle their channels.")
        changes |= {"c": source.physical, "k": output.physical}
    return PhysicalLayer(spec=layer, shape=dataclasses.replace(shape, **changes), source=source, output=output)


def hardware_shapes(network: NetworkSpec, port_bytes: int) -> list[tuple[str, LayerShape]]:
    """(name, shape) of every layer as the hardware runs it: what the cost model prices."""
    return [(layer.spec.name, layer.shape) for layer in lay_out(network, port_bytes)]
