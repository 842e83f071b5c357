"""One small network with every kind of layer that the chip has, on maps whose sizes divide nothing."""

from dna_asic.spec.layer import Activation, LayerOp, LayerSpec, NetworkSpec, PoolOp, PoolSpec
from dna_asic.spec.quant import QuantSpec
from sim.integers import conv_shape, random_quant

_MAX, _AVERAGE = (PoolSpec(op=op, window=2) for op in (PoolOp.MAX, PoolOp.AVERAGE))


def all_kinds(seed: int = 0) -> QuantSpec:
    """int8 network on 3 x 13 x 7, ten outputs: see the layers' names."""
    relu, relu6 = Activation.RELU, Activation.RELU6
    layers = (
        LayerSpec(name="dense3", shape=conv_shape(13, 7, k=16, c=3, kernel=3, pad=1), source="input", activation=relu),
        LayerSpec(name="stride2", shape=conv_shape(13, 7, k=17, c=16, kernel=3, pad=1, stride=2), source="dense3"),
        LayerSpec(name="residual", shape=conv_shape(7, 4, k=17, c=17), source="stride2", residual="stride2"),
        LayerSpec(name="depthwise5", shape=conv_shape(13, 7, g=16, k=1, c=1, kernel=5, pad=2, stride=2),
                  source="dense3", activation=relu6),
        LayerSpec(name="join", shape=conv_shape(7, 4, k=17, c=16), source="depthwise5", residual="residual"),
        LayerSpec(name="widen", shape=conv_shape(7, 4, k=24, c=17), source="join"),
        LayerSpec(name="grouped", shape=conv_shape(7, 4, g=2, k=16, c=12), source="widen", shuffle_groups=2,
                  activation=relu),
        LayerSpec(name="depthwise3", shape=conv_shape(7, 4, g=32, k=1, c=1, kernel=3, pad=1), source="grouped",
                  activation=relu6),
        LayerSpec(name="project", shape=conv_shape(7, 4, g=2, k=12, c=16), source="depthwise3", residual="widen"),
        LayerSpec(name="fused-max", shape=conv_shape(7, 4, k=30, c=24, kernel=3, pad=1), source="project", pool=_MAX),
        LayerSpec(name="max", shape=conv_shape(13, 7, g=16, k=1, c=1, kernel=3, pad=1, stride=2, op=LayerOp.MAX),
                  source="dense3"),
        LayerSpec(name="fused-average", shape=conv_shape(7, 4, k=16, c=16), source="max", pool=_AVERAGE),
        LayerSpec(name="saturating", shape=conv_shape(3, 2, k=16, c=30), source="fused-max", residual="fused-average"),
        LayerSpec(name="covering", shape=conv_shape(3, 2, k=10, c=16, kernel=(3, 2)), source="saturating"),
        LayerSpec(name="global-average", shape=conv_shape(3, 2, g=16, k=1, c=1, kernel=(3, 2)), source="saturating",
                  average=True),
        LayerSpec(name="classifier", shape=conv_shape(1, 1, k=10, c=16), source="global-average", residual="covering"),
    )
    network = NetworkSpec(name="all-kinds", input_shape=(3, 13, 7), layers=layers)
    return random_quant(network, seed, saturating=("saturating",))
