"""A layer and a network, as shapes."""

import enum
from dataclasses import dataclass

from dna_asic.errors import SpecError
from dna_asic.spec.dims import DIMS, Dim

MAX_KERNEL = 16
MAX_STRIDE = 7
MAX_REDUCTION = 133_000  # C*R*S beyond this could overflow an int32 psum of int8 products


class LayerOp(enum.Enum):
    """What a PE does with its two operands."""

    MAC = "mac"
    MAX = "max"  # depthwise maximum of the inputs; weights are ones


class Activation(enum.Enum):
    """Clamp applied after requantisation."""

    NONE = "none"
    RELU = "relu"
    RELU6 = "relu6"


class PoolOp(enum.Enum):
    """Pooling fused into post-processing: window = stride."""

    MAX = "max"
    AVERAGE = "average"


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """Loop bounds of one layer (batch 1). All counts; stride and pad in pixels.

    Input height is `h`, width `w`; `pad` is the zero padding on the top and left (bottom and right follow
    from p, q). Depthwise means k == c == 1: the channel axis of input and output is G. A fully connected
    layer has p == q == 1 and a kernel that covers its input. `k_segments` > 1 asks that the output channels
    of a group are stored as that many segments interleaved with the other groups' (channel shuffle): the
    layout is [segment][group][k / k_segments]. `pool_window` and `has_residual` say what post-processing
    fuses; like `k_segments` they are set when a network is laid out for the hardware (mapping.layout).

    Raises SpecError for a bound that is not positive or out of the hardware's range.
    """

    g: int = 1
    k: int
    c: int
    p: int
    q: int
    r: int = 1
    s: int = 1
    stride: int = 1
    pad: int = 0
    h: int
    w: int
    op: LayerOp = LayerOp.MAC
    k_segments: int = 1
    pool_window: int = 1
    has_residual: bool = False

    def __post_init__(self):
        for name in ("g", "k", "c", "p", "q", "r", "s", "stride", "h", "w", "k_segments", "pool_window"):
            if getattr(self, name) < 1:
                raise SpecError(f"LayerShape: {name} must be at least 1, not {getattr(self, name)}.")
        if self.r > MAX_KERNEL or self.s > MAX_KERNEL:
            raise SpecError(f"LayerShape: kernel {self.r}x{self.s} exceeds {MAX_KERNEL}x{MAX_KERNEL}; split it.")
        if self.stride > MAX_STRIDE:
            raise SpecError(f"LayerShape: stride {self.stride} exceeds {MAX_STRIDE}; reduce it.")
        if not 0 <= self.pad < min(self.r, self.s) + (self.r == 1 or self.s == 1):
            raise SpecError(f"LayerShape: pad must be in 0..{min(self.r, self.s) - 1}, not {self.pad}.")
        if self.c * self.r * self.s > MAX_REDUCTION:
            raise SpecError(f"LayerShape: C*R*S = {self.c * self.r * self.s} exceeds {MAX_REDUCTION} (int32 psum).")
        if self.k % self.k_segments:
            raise SpecError(f"LayerShape: k_segments={self.k_segments} must divide k={self.k}.")

    @property
    def bounds(self) -> tuple[int, ...]:
        """Bounds in the order of `Dim`."""
        return (self.g, self.k, self.c, self.p, self.q, self.r, self.s)

    @property
    def depthwise(self) -> bool:
        """Channel axis is G."""
        return self.k == 1 and self.c == 1

    @property
    def grouped(self) -> bool:
        """More than one group, of more than one channel."""
        return self.g > 1 and not self.depthwise

    @property
    def maximum(self) -> bool:
        """A PE takes the maximum of its inputs."""
        return self.op is LayerOp.MAX

    @property
    def macs(self) -> int:
        """Useful multiply-accumulates, padding of tiles not counted."""
        product = 1
        for d in DIMS:
            product *= self.bounds[d]
        return product

    def bound(self, dim: Dim) -> int:
        """Loop bound of `dim`."""
        return self.bounds[dim]


@dataclass(frozen=True, kw_only=True)
class PoolSpec:
    """Pooling fused into the store: `window` x `window`, stride equal to the window (a power of two)."""

    op: PoolOp
    window: int


@dataclass(frozen=True, kw_only=True)
class LayerSpec:
    """One layer of a network in *logical* channels.

    `source` and `residual` name the tensor read: "input" or an earlier layer. The shape's p, q are before
    fused pooling. `shuffle_groups` > 1 shuffles this layer's output channels as ShuffleNet does:
    out[j * n + i] = y[i * (C / n) + j]. `average` makes a depthwise MAC layer an average pooling: its weights are
    ones and 1 / (R * S) goes into the requantisation.
    """

    name: str
    shape: LayerShape
    source: str
    residual: str | None = None
    activation: Activation = Activation.NONE
    pool: PoolSpec | None = None
    shuffle_groups: int = 1
    average: bool = False

    def __post_init__(self):
        if self.average and not (self.shape.depthwise and self.shape.op is LayerOp.MAC):
            raise SpecError(f"Layer '{self.name}': average pooling must be a depthwise MAC layer (k = c = 1).")
        if self.out_channels % self.shuffle_groups:
            raise SpecError(f"Layer '{self.name}': shuffle_groups={self.shuffle_groups} must divide its "
                            f"{self.out_channels} output channels.")

    @property
    def out_channels(self) -> int:
        """Logical channels of the output tensor."""
        return self.shape.g * self.shape.k

    @property
    def out_hw(self) -> tuple[int, int]:
        """Rows and columns of the output tensor, after fused pooling."""
        window = self.pool.window if self.pool else 1
        return self.shape.p // window, self.shape.q // window


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A network as an ordered list of layers; the last layer's output is the network's.

    `input_shape` is (channels, height, width).
    """

    name: str
    input_shape: tuple[int, int, int]
    layers: tuple[LayerSpec, ...]

    def __post_init__(self):
        known = {"input"}
        for layer in self.layers:
            for tensor in filter(None, (layer.source, layer.residual)):
                if tensor not in known:
                    raise SpecError(f"Network '{self.name}': layer '{layer.name}' reads '{tensor}', "
                                    f"which no earlier layer makes.")
            if layer.name in known:
                raise SpecError(f"Network '{self.name}': layer name '{layer.name}' stands twice.")
            known.add(layer.name)

    @property
    def macs(self) -> int:
        """Useful multiply-accumulates of one inference."""
        return sum(layer.shape.macs for layer in self.layers)
