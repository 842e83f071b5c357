"""Four layers written by hand: convolution, depthwise, pointwise with residual, fully connected."""

from dna_asic.spec.layer import Activation, LayerSpec, NetworkSpec
from dna_asic.spec.quant import QuantSpec
from sim.integers import conv_shape, random_quant


def four_layers(seed: int = 0) -> QuantSpec:
    """int8 network on one channel of 8 x 8, ten outputs."""
    layers = (
        LayerSpec(name="conv", shape=conv_shape(8, 8, k=8, c=1, kernel=3, pad=1), source="input",
                  activation=Activation.RELU),
        LayerSpec(name="depthwise", shape=conv_shape(8, 8, g=8, k=1, c=1, kernel=3, pad=1), source="conv",
                  activation=Activation.RELU6),
        LayerSpec(name="pointwise", shape=conv_shape(8, 8, k=8, c=8), source="depthwise", residual="conv"),
        LayerSpec(name="classifier", shape=conv_shape(8, 8, k=10, c=8, kernel=8), source="pointwise"),
    )
    return random_quant(NetworkSpec(name="four-layers", input_shape=(1, 8, 8), layers=layers), seed)
