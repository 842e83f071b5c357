"""NASAIC's ResNet9 (arXiv 2002.04116): stem filters, then (filters, skip layers) per block."""

from collections.abc import Sequence

from dna_asic.errors import SpecError
from dna_asic.networks.blocks import conv, global_pool
from dna_asic.spec.layer import Activation, LayerOp, NetworkSpec, PoolOp, PoolSpec

_HALVE = PoolSpec(op=PoolOp.MAX, window=2)


def nasaic_resnet9(stem: int, blocks: Sequence[tuple[int, int]], *, input_shape: tuple[int, int, int] = (3, 32, 32),
                   classes: int = 10) -> NetworkSpec:
    """3 x 3 stem; per block a 3 x 3 convolution with 2 x 2 max pooling, then `skip layers` 3 x 3 convolutions around
    which a residual runs (its ReLU follows the add); global max pooling; fully connected.

    Raises SpecError for counts below 1 (skip layers: 0) and an image that the pooling of the blocks would vanish.
    """
    channels, h, w = input_shape
    if stem < 1 or classes < 1 or any(f < 1 or s < 0 for f, s in blocks):
        raise SpecError(f"ResNet9: filters must be at least 1 and skip layers at least 0, not stem={stem}, "
                        f"blocks={list(blocks)}, classes={classes}.")
    if min(h, w) >> len(blocks) < 1:
        raise SpecError(f"ResNet9: {len(blocks)} blocks halve {h}x{w} to nothing; use fewer blocks.")
    relu = Activation.RELU
    layers, c = [conv("stem", "input", channels, stem, (h, w), kernel=3, activation=relu)], stem
    for i, (filters, skips) in enumerate(blocks):
        entry = conv(f"block{i}", layers[-1].name, c, filters, layers[-1].out_hw, kernel=3, activation=relu,
                     pool=_HALVE)
        layers.append(entry)
        for j in range(skips):
            layers.append(conv(f"block{i}_skip{j}", layers[-1].name, filters, filters, entry.out_hw, kernel=3,
                               activation=relu, residual=entry.name if j == skips - 1 else None))
        c = filters
    layers.append(global_pool("pool", layers[-1].name, c, layers[-1].out_hw, LayerOp.MAX))
    layers.append(conv("fc", "pool", c, classes, (1, 1)))
    return NetworkSpec(name="resnet9", input_shape=input_shape, layers=tuple(layers))
