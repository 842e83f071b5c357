"""Loop dimensions, operands and memory levels of a layer."""

import enum


class Dim(enum.IntEnum):
    """One loop of a convolution; the value is its index in every factor tuple."""

    G = 0  # groups
    K = 1  # output channels per group
    C = 2  # input channels per group
    P = 3  # output rows
    Q = 4  # output columns
    R = 5  # kernel rows
    S = 6  # kernel columns


class Operand(enum.IntEnum):
    """Weights, input activations, outputs (psums on the chip)."""

    W = 0
    I = 1  # noqa: E741 - the field's name
    O = 2  # noqa: E741


class Level(enum.IntEnum):
    """Where a tiling factor lives, innermost first."""

    RF = 0
    NOC = 1
    GB = 2
    DRAM = 3


DIMS = tuple(Dim)
RELEVANT = {
    Operand.W: frozenset({Dim.G, Dim.K, Dim.C, Dim.R, Dim.S}),
    Operand.I: frozenset({Dim.G, Dim.C, Dim.P, Dim.Q, Dim.R, Dim.S}),
    Operand.O: frozenset({Dim.G, Dim.K, Dim.P, Dim.Q}),
}
REDUCTION = frozenset({Dim.C, Dim.R, Dim.S})
DRAM_DIMS = (Dim.G, Dim.K, Dim.C, Dim.P, Dim.Q)  # R and S are whole in every global-buffer tile
