"""One layer of each kind of a network, each as a network of its own: what a large network can be simulated by."""

import dataclasses

import numpy as np

from dna_asic.errors import InfeasibleDesign
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.mapper import trivial_mapping
from dna_asic.spec.accelerator import AcceleratorConfig, Mapping
from dna_asic.spec.geometry import check_mapping
from dna_asic.spec.layer import LayerShape, LayerSpec, NetworkSpec
from dna_asic.spec.quant import QuantLayer, QuantSpec
from dna_asic.spec.report import CostReport

RESIDUAL = "residual"


def kind_of(layer: LayerSpec) -> tuple:
    """What tells layers apart: shape class, kernel, stride, and what is done to the sum."""
    s = layer.shape
    kernel = "pointwise" if (s.r, s.s) == (1, 1) else "covering" if (s.p, s.q) == (1, 1) else "kernel"
    return (s.depthwise, s.grouped, s.op, layer.average, kernel, s.stride > 1, layer.residual is not None,
            layer.pool and layer.pool.op, layer.shuffle_groups > 1)


def one_of_each(network: NetworkSpec, report: CostReport) -> list[LayerSpec]:
    """The layer of each kind that takes the fewest cycles, in the order of the network."""
    cycles = {cost.name: cost.cycles for cost in report.layers}
    best = {}
    for layer in sorted(network.layers, key=lambda layer: cycles[layer.name]):
        best.setdefault(kind_of(layer), layer.name)
    return [layer for layer in network.layers if layer.name in best.values()]


def alone(quant: QuantSpec, layer: LayerSpec) -> QuantSpec:
    """`layer` with its own integers as a network that reads its source.

    A residual is the source too where the shapes are one, else channels of it that a pointwise layer takes.
    """
    shape, layers, integers = layer.shape, [], {layer.name: quant.layers[layer.name]}
    channels = shape.g if shape.depthwise else shape.g * shape.c
    residual = RESIDUAL if layer.residual else None
    if residual and (channels, shape.h, shape.w) == (layer.out_channels, shape.p, shape.q):
        residual = "input"
    elif residual:
        layers.append(LayerSpec(name=RESIDUAL, source="input", shape=LayerShape(
            k=layer.out_channels, c=channels, p=shape.p, q=shape.q, stride=shape.stride, h=shape.h, w=shape.w)))
        integers[RESIDUAL] = _taking(layer.out_channels, channels)
    layers.append(dataclasses.replace(layer, source="input", residual=residual))
    network = NetworkSpec(name=layer.name, input_shape=(channels, shape.h, shape.w), layers=tuple(layers))
    return QuantSpec(network=network, layers=integers, input_scale=1.0)


def _taking(count: int, channels: int) -> QuantLayer:
    """Integers of a pointwise layer that passes channels on, again from the first where there are too few."""
    weight = np.eye(channels, dtype=np.int8)[np.arange(count) % channels][:, :, None, None]
    return QuantLayer(weight=weight, bias=np.zeros(count, np.int32), multiplier=np.ones(count, np.int64),
                      shift=np.zeros(count, np.int64))


def mappings_of(network: NetworkSpec, accelerator: AcceleratorConfig, known: dict[str, Mapping],
                assignment: dict[str, int]) -> dict[str, Mapping]:
    """The design's mapping of each layer where it still fits the chunk that `assignment` names, else a plain one."""
    mappings = {}
    for name, shape in hardware_shapes(network, accelerator.port_bytes):
        chunk = accelerator.chunks[assignment[name]]
        try:
            check_mapping(shape, accelerator, chunk, known[name])
            mappings[name] = known[name]
        except (KeyError, InfeasibleDesign):
            mappings[name] = trivial_mapping(shape, accelerator, chunk)
    return mappings
