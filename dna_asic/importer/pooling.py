"""Pooling: fused into the layer before it, or a depthwise layer of its own."""

import dataclasses

import numpy as np

from dna_asic.errors import SpecError
from dna_asic.importer.builder import Builder
from dna_asic.importer.drafts import Draft, Tensor, View
from dna_asic.importer.graph import NO_PADS, Clamp, Node, Pool
from dna_asic.importer.kernels import embedded, one_stride, summed_pads
from dna_asic.spec.layer import LayerOp, LayerShape, PoolOp, PoolSpec

FUSED_WINDOWS = (2, 4, 8)


def lower_pool(builder: Builder, node: Node, view: View) -> View:
    """Raises SpecError for padding that the chip would treat in another way."""
    op, (p, q) = node.op, node.shape[2:]
    tensor = builder.plain(f"{node.name}_select", dataclasses.replace(view, pads=NO_PADS))
    pads = summed_pads(view.pads, op.pads)
    if _fuses(op, tensor, view, (p, q)):
        tensor.fuse_pool(PoolSpec(op=op.op, window=op.kernel[0]))
        return builder.view(tensor, node)
    stride, (_, h, w) = one_stride(op.stride, p, q), tensor.chw
    overhang = ((p - 1) * stride + op.kernel[0] > h + pads[0] + pads[2]
                or (q - 1) * stride + op.kernel[1] > w + pads[1] + pads[3])
    padded = dataclasses.replace(op, pads=pads, stride=(stride, stride))
    if op.op is PoolOp.MAX:
        if (overhang or op.pads != NO_PADS) and not (tensor.nonnegative or _clamped(builder, node)):
            raise SpecError("it pads a map that may hold values below zero, and the chip pads with zeros; put a ReLU "
                            "before it, or pool without padding.")
        return builder.view(_maximum(builder, node, padded, tensor), node)
    if overhang or op.pads != NO_PADS and not op.counts_padding:
        raise SpecError("its windows at the border have fewer pixels (count_include_pad=0 or ceil_mode=1), and the "
                        "chip divides all by one number; count the padding, or pool without.")
    return builder.view(_average(builder, node, padded, tensor), node)


def _fuses(op: Pool, tensor: Tensor, view: View, hw) -> bool:
    """Whether post-processing can pool: window = stride, a power of two, no padding, no residual."""
    window = op.kernel[0]
    if not (op.kernel == op.stride == (window, window) and window in FUSED_WINDOWS and op.pads == view.pads == NO_PADS):
        return False
    fitting = hw == (tensor.chw[1] // window, tensor.chw[2] // window) and view.open and view.index is None
    return (fitting and isinstance(tensor, Draft) and tensor.residual is None and tensor.pool is None
            and (tensor.scale is None or op.op is PoolOp.MAX))  # an average of integers would be rounded once more


def _clamped(builder: Builder, node: Node) -> bool:
    """Whether all that follows is a ReLU: it takes the maximum with zero as well."""
    return builder.is_open(node) and isinstance(builder.readers[node.output][0].op, Clamp)


def _maximum(builder: Builder, node: Node, op: Pool, tensor: Tensor) -> Draft:
    if op.pads[0] != op.pads[1]:
        raise SpecError(f"its padding of {op.pads[0]} rows above and {op.pads[1]} columns before the map must be "
                        f"equal.")
    return builder.layer(node.name, tensor, _bounds(op, tensor, node, op.kernel, op.pads[0], LayerOp.MAX))


def _average(builder: Builder, node: Node, op: Pool, tensor: Tensor) -> Draft:
    if op.pads[0] == op.pads[1] < min(op.kernel):
        return builder.layer(node.name, tensor, _bounds(op, tensor, node, op.kernel, op.pads[0]))
    channels, (r, s) = tensor.chw[0], op.kernel
    weight, pad = embedded(np.full((channels, 1, r, s), 1 / (r * s)), op.pads, (1, 1))
    return builder.layer(node.name, tensor, _bounds(op, tensor, node, weight.shape[2:], pad), weight=weight,
                         bias=np.zeros(channels))


def _bounds(op: Pool, tensor: Tensor, node: Node, kernel, pad: int, kind: LayerOp = LayerOp.MAC) -> LayerShape:
    """A depthwise layer."""
    (channels, h, w), (r, s) = tensor.chw, kernel
    return LayerShape(g=channels, k=1, c=1, p=node.shape[2], q=node.shape[3], r=r, s=s, h=h, w=w, stride=op.stride[0],
                      pad=pad, op=kind)
