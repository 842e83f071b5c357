"""Random small layers of wanted kinds, joined to a network: each reads some tensor that is there."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from dna_asic.errors import InfeasibleDesign, SpecError
from dna_asic.mapping.layout import lay_out
from dna_asic.spec.layer import MAX_KERNEL, Activation, LayerOp, LayerShape, LayerSpec, NetworkSpec, PoolOp, PoolSpec

STRIDES = (1, 2, 3, 4)
MAX_MACS = 20_000
TRIES = 60


@dataclass(frozen=True)
class Tensor:
    """One that a layer may read."""

    name: str
    channels: int
    h: int
    w: int


def draw_input(rng: random.Random) -> Tensor:
    """A network's input, of a size that divides nothing."""
    return Tensor("input", rng.choice((1, 3, 4, 8, 12, 17)), rng.randint(7, 16), rng.choice((5, 7, 9, 13)))


def tensors_of(network: NetworkSpec) -> list[Tensor]:
    """All tensors of a network."""
    return [Tensor("input", *network.input_shape),
            *(Tensor(x.name, x.out_channels, *x.out_hw) for x in network.layers)]


def draw_layer(name: str, kind: str, stride: int, tensors: list[Tensor], rng: random.Random) -> LayerSpec | None:
    """A layer of one of KINDS; None where this draw found none."""
    try:
        layer = KINDS[kind](_Draw(name, stride, tensors, rng))
    except SpecError:
        return None
    small = layer is not None and layer.shape.macs <= MAX_MACS and min(layer.out_hw) >= 1
    return layer if small else None


def extended(network: NetworkSpec, layer: LayerSpec, port_bytes: int) -> NetworkSpec | None:
    """The network with one layer more; None if the hardware cannot lay it out."""
    longer = NetworkSpec(name=network.name, input_shape=network.input_shape, layers=(*network.layers, layer))
    try:
        lay_out(longer, port_bytes)
    except InfeasibleDesign:
        return None
    return longer


@dataclass(frozen=True)
class _Draw:
    """What a kind is drawn from."""

    name: str
    stride: int
    tensors: list[Tensor]
    rng: random.Random

    def source(self, fits: Callable[[Tensor], bool] = lambda t: True) -> Tensor | None:
        """A tensor that fits; the latest have the best chances."""
        fitting = [t for t in self.tensors if fits(t)]
        return self.rng.choice(fitting[-4:] if self.rng.random() < 0.5 else fitting) if fitting else None

    def channels(self) -> int:
        """Output channels: ragged sizes, and any up to 24."""
        return self.rng.choice((1, 30, 257, *(self.rng.randint(1, 24) for _ in range(5))))

    def kernel(self, least: int, most: int) -> tuple[int, int]:
        """Rows and columns, mostly equal."""
        r = self.rng.randint(least, most)
        return r, r if self.rng.random() < 0.7 else self.rng.randint(least, most)

    def window(self, source: Tensor, kernel: tuple[int, int], size: tuple[int, int] | None = None) -> dict:
        """Spatial fields of a shape: some padding and some output size, or that of `size`. Raises SpecError."""
        pad = self.rng.randint(0, min(kernel) - 1)
        most = [(n + 2 * pad - k) // self.stride + 1 for n, k in zip((source.h, source.w), kernel)]
        p, q = size or (n if self.rng.random() < 0.7 else self.rng.randint(1, max(n, 1)) for n in most)
        if p > most[0] or q > most[1]:
            raise SpecError("The source is too small.")
        return {"p": p, "q": q, "r": kernel[0], "s": kernel[1], "stride": self.stride, "pad": pad, "h": source.h,
                "w": source.w}

    def layer(self, source: Tensor, shape: LayerShape, **options) -> LayerSpec:
        """With some activation."""
        return LayerSpec(name=self.name, shape=shape, source=source.name,
                         activation=self.rng.choice(list(Activation)), **options)


def _convolution(draw, kernel, size=None, k=None, source=None, **options):
    source = source or draw.source()
    shape = LayerShape(k=k or draw.channels(), c=source.channels, **draw.window(source, kernel, size))
    return draw.layer(source, shape, **options)


def _dense(draw):
    return _convolution(draw, draw.kernel(2, 7))


def _pointwise(draw):
    return _convolution(draw, (1, 1))


def _grouped(draw):
    source = draw.source(lambda t: t.channels >= 4 and any(t.channels % g == 0 for g in (2, 3, 4)))
    if source is None:
        return None
    g = draw.rng.choice([g for g in (2, 3, 4) if source.channels % g == 0 and source.channels > g])
    shape = LayerShape(g=g, k=draw.rng.randint(2, 12), c=source.channels // g,
                       **draw.window(source, draw.kernel(1, 5)))
    shuffles = g * shape.k % g**2 == 0 and draw.rng.random() < 0.3
    return draw.layer(source, shape, shuffle_groups=g if shuffles else 1)


def _per_channel(draw, kernel, op=LayerOp.MAC, **options):
    source = draw.source()
    shape = LayerShape(g=source.channels, k=1, c=1, op=op, **draw.window(source, kernel))
    return draw.layer(source, shape, **options)


def _depthwise(draw):
    return _per_channel(draw, draw.kernel(1, 7))


def _average(draw):
    return _per_channel(draw, draw.kernel(2, draw.rng.choice((4, MAX_KERNEL))), average=True)


def _max(draw):
    return _per_channel(draw, draw.kernel(2, draw.rng.choice((4, MAX_KERNEL))), op=LayerOp.MAX)


def _whole(draw, most):
    """A source and the window that covers it."""
    source = draw.source(lambda t: max(t.h, t.w) <= most)
    if source is None:
        return None, {}
    return source, {"p": 1, "q": 1, "r": source.h, "s": source.w, "stride": draw.stride, "h": source.h, "w": source.w}


def _fully_connected(draw):
    source, window = _whole(draw, 7)
    return source and draw.layer(source, LayerShape(k=draw.channels(), c=source.channels, **window))


def _global_average(draw):
    source, window = _whole(draw, MAX_KERNEL)
    return source and draw.layer(source, LayerShape(g=source.channels, k=1, c=1, **window), average=True)


def _residual(draw):
    """Some other tensor is added; the source must be large enough for its size."""
    other = draw.source(lambda t: t.channels <= 64)
    size = lambda n: (n - 1) * draw.stride + 1  # noqa: E731 - smallest source without padding
    source = other and draw.source(lambda t: t.h + 4 >= size(other.h) and t.w + 4 >= size(other.w))
    if source is None:
        return None
    return _convolution(draw, draw.kernel(1, 5), (other.h, other.w), other.channels, source, residual=other.name)


def _fused_pooling(draw):
    pool = PoolSpec(op=draw.rng.choice(list(PoolOp)), window=draw.rng.choice((2, 2, 4)))
    return _convolution(draw, draw.kernel(1, 4), pool=pool)


KINDS: dict[str, Callable[[_Draw], LayerSpec | None]] = {
    "dense": _dense, "grouped": _grouped, "depthwise": _depthwise, "pointwise": _pointwise,
    "fully connected": _fully_connected, "average": _average, "max": _max, "global average": _global_average,
    "residual": _residual, "fused pooling": _fused_pooling,
}
