"""Integer arithmetic of the chip, and a quantised network.

y = clamp(sat16(rshift((acc + bias) * multiplier, shift)) + sat16(rshift(res * res_multiplier, res_shift)), lo, hi)

`acc` is the int32 psum, `rshift` rounds half away from zero, `sat16` saturates to 16 bits signed.
"""

from dataclasses import dataclass

import numpy as np

from dna_asic.spec.layer import NetworkSpec

MULTIPLIER_BITS = 26  # unsigned; shares one 32-bit word with the shift
SHIFT_BITS = 6
PARAM_BYTES = 8  # per channel: bias int32, then multiplier | shift << 26


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantLayer:
    """Integers of one layer, in logical channel order (channel = g * K + k).

    weight: int8 [G*K, C, R, S]; bias: int32 [G*K]; multiplier: int64 [G*K] in 0..2**26-1;
    shift: int64 [G*K] in 0..63. Clamps are int8. `output_scale` is the float value of one output step.
    """

    weight: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    clamp_lo: int = -128
    clamp_hi: int = 127
    res_multiplier: int = 0
    res_shift: int = 0
    output_scale: float = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantSpec:
    """A quantised network: shapes, integers per layer, and the scale of the int8 input."""

    network: NetworkSpec
    layers: dict[str, QuantLayer]
    input_scale: float
