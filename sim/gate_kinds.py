"""A network of every kind of layer, so small that a netlist of cells runs it in a minute."""

from dna_asic.spec.layer import Activation, LayerOp, LayerSpec, NetworkSpec, PoolOp, PoolSpec
from dna_asic.spec.quant import QuantSpec
from sim.integers import conv_shape, random_quant

_MAX, _AVERAGE = (PoolSpec(op=op, window=2) for op in (PoolOp.MAX, PoolOp.AVERAGE))


def gate_kinds(seed: int = 0) -> QuantSpec:
    """int8 network on 3 x 4 x 4, five outputs: see the layers' names."""
    layers = (
        LayerSpec(name="dense", shape=conv_shape(4, 4, k=8, c=3, kernel=3, pad=1, stride=2), source="input"),
        LayerSpec(name="depthwise", shape=conv_shape(2, 2, g=8, k=1, c=1, kernel=3, pad=1), source="dense",
                  activation=Activation.RELU6),
        LayerSpec(name="grouped", shape=conv_shape(2, 2, g=2, k=6, c=4), source="depthwise", shuffle_groups=2),
        LayerSpec(name="pointwise", shape=conv_shape(2, 2, k=8, c=12), source="grouped", residual="dense"),
        LayerSpec(name="max", shape=conv_shape(2, 2, g=8, k=1, c=1, kernel=3, pad=1, op=LayerOp.MAX),
                  source="pointwise"),
        LayerSpec(name="fused-max", shape=conv_shape(2, 2, k=5, c=8), source="max", pool=_MAX),
        LayerSpec(name="fused-average", shape=conv_shape(2, 2, k=5, c=8), source="pointwise", pool=_AVERAGE),
        LayerSpec(name="global-average", shape=conv_shape(2, 2, g=8, k=1, c=1, kernel=2), source="pointwise",
                  average=True),
        LayerSpec(name="covering", shape=conv_shape(2, 2, k=5, c=8, kernel=2), source="max", residual="fused-max"),
        LayerSpec(name="classifier", shape=conv_shape(1, 1, k=5, c=8), source="global-average", residual="covering"),
    )
    return random_quant(NetworkSpec(name="gate-kinds", input_shape=(3, 4, 4), layers=layers), seed)
