"""What the chip lacks, and what could replace it."""

import difflib

SHOWN = 3  # places of one reason that are named
_TRAIN = "use Relu or Clip(0, 6) and train again"
REPLACEMENTS = {
    **dict.fromkeys(("Celu", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Selu", "Sigmoid",
                     "Silu", "Softplus", "Softsign", "Swish", "Tanh", "ThresholdedRelu"), _TRAIN),
    **dict.fromkeys(("GroupNormalization", "InstanceNormalization", "LRN", "LayerNormalization", "LpNormalization",
                     "MeanVarianceNormalization", "RMSNormalization"), "train with BatchNormalization instead"),
    **dict.fromkeys(("ConvTranspose", "DepthToSpace", "Resize", "SpaceToDepth", "Upsample"),
                    "leave changes of resolution to strides and pooling"),
    **dict.fromkeys(("ConvInteger", "MatMulInteger", "QGemm", "QLinearAdd", "QLinearConv", "QLinearGlobalAveragePool",
                     "QLinearMatMul", "DynamicQuantizeLinear", "Quant", "FloatQuant"),
                    "quantise in the QDQ format (QuantizeLinear and DequantizeLinear around float operators)"),
    **dict.fromkeys(("GRU", "LSTM", "RNN", "Loop", "Scan", "If"), "the chip runs layers in a fixed order: unroll it"),
    **dict.fromkeys(("Attention", "MultiHeadAttention", "Einsum"), "the chip multiplies by constant weights only"),
    **dict.fromkeys(("GlobalLpPool", "LpPool", "MaxUnpool"), "use MaxPool or AveragePool"),
    **dict.fromkeys(("ArgMax", "TopK", "NonMaxSuppression", "Exp", "Log"), "leave it to the host, behind the network"),
}


def lacking(kind: str, known) -> str:
    """Why an operator of that kind is refused; `known` are the operators that are not."""
    remedy = REPLACEMENTS.get(kind)
    if remedy is None:
        close = difflib.get_close_matches(kind, known, n=1)
        remedy = f"did you mean {close[0]}" if close else "the chip has convolutions, pooling, additions and ReLU"
    return f"the chip has no {kind}; {remedy}."


def listed(faults: list[tuple[str, str]]) -> str:
    """One line per reason of the (place, reason), with its first places and the number of the others."""
    places: dict[str, list[str]] = {}
    for place, reason in faults:
        places.setdefault(reason, []).append(place)
    return "\n".join(f"{', '.join(some[:SHOWN])}{f' and {len(some) - SHOWN} more' if some[SHOWN:] else ''}: {reason}"
                     for reason, some in places.items())
