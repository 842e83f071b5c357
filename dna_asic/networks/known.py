"""Known networks as the hardware runs them, published ones and a small one: pooling as depthwise layers, batch
normalisation folded.
"""

from dna_asic.errors import SpecError
from dna_asic.networks.blocks import conv, expand, global_pool
from dna_asic.networks.macro import load_macro, out_size
from dna_asic.spec.layer import Activation, LayerOp, LayerShape, LayerSpec, NetworkSpec

RESNET18_STAGES = (64, 128, 256, 512)  # channels; two blocks of two 3 x 3 convolutions each


def digits() -> NetworkSpec:
    """For 8 x 8 images: MobileNetV2's block of expansion 3 at every place of the digits space, a stand-in for what a
    search finds there.
    """
    macro = load_macro("digits")
    return expand(macro, ["k3_e3"] * len(macro.places))


def mobilenet_v2() -> NetworkSpec:
    """MobileNetV2 of width 1.0 for 224 x 224 images: Sandler et al., arXiv 1801.04381, table 2."""
    macro = load_macro("mobilenet_v2")
    return expand(macro, ["k3_e1"] + ["k3_e6"] * (len(macro.places) - 1))


def resnet18() -> NetworkSpec:
    """ResNet-18 for 224 x 224 images: He et al., arXiv 1512.03385, table 1, with projections where the shape changes.

    A block's last ReLU follows the residual add; the pooling's padding is zero, which is neutral after a ReLU.
    """
    relu = Activation.RELU
    stem = conv("stem", "input", 3, 64, (224, 224), kernel=7, stride=2, activation=relu)
    layers = [stem, _max_pool("max_pool", "stem", 64, stem.out_hw)]
    for i, channels in enumerate(RESNET18_STAGES):
        for j in range(2):
            layers += _basic_block(f"stage{i}_block{j}", layers[-1], channels, stride=1 + (j == 0 < i))
    layers.append(global_pool("pool", layers[-1].name, channels, layers[-1].out_hw))
    layers.append(conv("fc", "pool", channels, 1000, (1, 1)))
    return NetworkSpec(name="resnet18", input_shape=(3, 224, 224), layers=tuple(layers))


def _max_pool(name: str, source: str, channels: int, hw: tuple[int, int]) -> LayerSpec:
    """3 x 3 of stride 2."""
    h, w = hw
    return LayerSpec(name=name, source=source, shape=LayerShape(
        g=channels, k=1, c=1, p=out_size(h, 3, 2), q=out_size(w, 3, 2), r=3, s=3, stride=2, pad=1, h=h, w=w,
        op=LayerOp.MAX))


def _basic_block(name: str, source: LayerSpec, channels: int, stride: int) -> list[LayerSpec]:
    """Two 3 x 3 convolutions and, where the shape changes, the 1 x 1 projection that is added instead of `source`."""
    c_in, hw, relu = source.out_channels, source.out_hw, Activation.RELU
    layers, shortcut = [], source.name
    if stride > 1 or c_in != channels:
        shortcut = f"{name}_project"
        layers.append(conv(shortcut, source.name, c_in, channels, hw, stride=stride))
    first = conv(f"{name}_conv0", source.name, c_in, channels, hw, kernel=3, stride=stride, activation=relu)
    second = conv(f"{name}_conv1", first.name, channels, channels, first.out_hw, kernel=3, activation=relu,
                  residual=shortcut)
    return [*layers, first, second]


NETWORKS = {"digits": digits, "mobilenet_v2": mobilenet_v2, "resnet18": resnet18}


def known_network(name: str) -> NetworkSpec:
    """A known network by name; raises SpecError for one that is not here."""
    if name not in NETWORKS:
        raise SpecError(f"Network must be one of {', '.join(NETWORKS)}, not '{name}'.")
    return NETWORKS[name]()
