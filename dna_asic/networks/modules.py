"""PyTorch modules that run layer records: one unit per layer, a graph of units."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dna_asic.networks.blocks import expand
from dna_asic.networks.macro import Macro
from dna_asic.spec.layer import Activation, LayerOp, LayerSpec, NetworkSpec, PoolOp


class ConvUnit(nn.Module):
    """One layer: convolution with batch normalisation (`biased`: with a bias instead), or pooling as a layer.

    Input [N, G*C, H, W]; the activation follows the residual add; then fused pooling and channel shuffle.
    """

    def __init__(self, spec: LayerSpec, biased: bool = False):
        super().__init__()
        self.spec, shape = spec, spec.shape
        self.conv, self.norm = None, None
        if shape.op is LayerOp.MAC and not spec.average:
            alike = len(set(_sides(spec))) == 1  # then the convolution pads: faster than beforehand
            self.conv = nn.Conv2d(shape.g * shape.c, spec.out_channels, (shape.r, shape.s), stride=shape.stride,
                                  padding=shape.pad if alike else 0, groups=shape.g, bias=biased)
            nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
            self.norm = None if biased else nn.BatchNorm2d(spec.out_channels)
            if biased:
                nn.init.zeros_(self.conv.bias)
            elif spec.residual:
                nn.init.zeros_(self.norm.weight)  # a residual block starts as the identity: every path trains sooner

    def forward(self, x: Tensor, residual: Tensor | None = None, spec: LayerSpec | None = None) -> Tensor:
        """The layer's output tensor [N, channels, P / window, Q / window]; with the `spec` of a layer of fewer channels
        that layer's, with the first of these weights.
        """
        return self.finish(self.pre_pool(x, residual, spec))

    def pre_pool(self, x: Tensor, residual: Tensor | None = None, spec: LayerSpec | None = None) -> Tensor:
        """Output before fused pooling and channel shuffle: what requantisation produces."""
        if self.conv is None or self.conv.padding == (0, 0):
            x = _pad(x, self.spec)
        y = self._reduce(x) if spec is None else self._reduce_first(x, spec)
        if residual is not None:
            y = y + residual
        if self.spec.activation is Activation.NONE:
            return y
        return F.relu(y) if self.spec.activation is Activation.RELU else F.relu6(y)

    def _reduce_first(self, x, spec):
        """`_reduce` by the first of the weights, as many as the layer `spec` has; layers of different channels share no
        running statistics, so the batch's own are used.
        """
        if self.conv is None:
            return self._reduce(x)
        conv, norm, out = self.conv, self.norm, spec.out_channels
        bias = None if conv.bias is None else conv.bias[:out]
        y = F.conv2d(x, conv.weight[:out, :spec.shape.c], bias, conv.stride, conv.padding, groups=spec.shape.g)
        return y if norm is None else F.batch_norm(y, None, None, norm.weight[:out], norm.bias[:out], training=True,
                                                   eps=norm.eps)

    def _reduce(self, x):
        if self.conv is not None:
            return self.conv(x) if self.norm is None else self.norm(self.conv(x))
        kernel, stride = (self.spec.shape.r, self.spec.shape.s), self.spec.shape.stride
        return F.avg_pool2d(x, kernel, stride) if self.spec.average else F.max_pool2d(x, kernel, stride)

    def finish(self, y: Tensor) -> Tensor:
        """Fused pooling and channel shuffle."""
        if self.spec.pool:
            pool = F.max_pool2d if self.spec.pool.op is PoolOp.MAX else F.avg_pool2d
            y = pool(y, self.spec.pool.window)
        n = self.spec.shuffle_groups
        return y if n == 1 else y.unflatten(1, (n, -1)).transpose(1, 2).flatten(1, 2)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight [G*K, C, R, S] and bias [G*K], float64, batch normalisation folded in by evaluation statistics."""
        with torch.no_grad():
            if self.conv is None:
                s = self.spec.shape
                return torch.ones(s.g, 1, s.r, s.s).double(), torch.zeros(s.g).double()
            weight = self.conv.weight.detach().double()
            if self.norm is None:
                return weight, self.conv.bias.detach().double()
            scale = self.norm.weight.double() / torch.sqrt(self.norm.running_var.double() + self.norm.eps)
            bias = self.norm.bias.double() - self.norm.running_mean.double() * scale
            return weight * scale[:, None, None, None], bias


def _sides(spec: LayerSpec) -> tuple[int, int, int, int]:
    """Zeros left, right, above and below: `pad`, and right and below what q and p ask (negative: cropped)."""
    s = spec.shape
    right, bottom = (s.q - 1) * s.stride + s.s - s.pad - s.w, (s.p - 1) * s.stride + s.r - s.pad - s.h
    return s.pad, right, s.pad, bottom


def _pad(x: Tensor, spec: LayerSpec) -> Tensor:
    return F.pad(x, _sides(spec)) if any(_sides(spec)) else x


class LayerGraph(nn.Module):
    """Units of consecutive layers, keyed by layer name; those `biased` have a bias instead of batch normalisation."""

    def __init__(self, layers: Sequence[LayerSpec], biased: Collection[str] = ()):
        super().__init__()
        self.units = nn.ModuleDict({layer.name: ConvUnit(layer, layer.name in biased) for layer in layers})


def run_layers(units: Mapping[str, ConvUnit], layers: Sequence[LayerSpec], tensors: dict[str, Tensor],
               between: Callable[[Tensor], Tensor] = lambda y: y) -> Tensor | None:
    """The last output of `layers`, each run by the unit of its name, on the named tensors; None without layers.

    Units may be of layers with more channels. between: what is done to every output but the last.
    """
    y, tensors = None, dict(tensors)
    for layer in layers:
        residual = tensors[layer.residual] if layer.residual else None
        y = units[layer.name](tensors[layer.source], residual, layer)
        tensors[layer.name] = y if layer is layers[-1] else between(y)
    return y


class NetworkModule(LayerGraph):
    """A trainable network made from its record; images [N, C, H, W] to logits [N, classes].

    Layers `biased` (the last one, if none are named) have a bias instead of batch normalisation.
    """

    def __init__(self, network: NetworkSpec, biased: Collection[str] = ()):
        super().__init__(network.layers, biased or (network.layers[-1].name,))
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes]."""
        tensors = {"input": images}
        for name, unit in self.units.items():
            residual = tensors[unit.spec.residual] if unit.spec.residual else None
            tensors[name] = unit(tensors[unit.spec.source], residual)
        return tensors[name].flatten(1)

    def trace(self, images: Tensor) -> dict[str, Tensor]:
        """Every layer's output before fused pooling and shuffle (what requantisation has to represent)."""
        tensors, outputs = {"input": images}, {}
        with torch.no_grad():
            for name, unit in self.units.items():
                residual = tensors[unit.spec.residual] if unit.spec.residual else None
                outputs[name] = unit.pre_pool(tensors[unit.spec.source], residual)
                tensors[name] = unit.finish(outputs[name])
        return outputs

    def folded(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Folded weight and bias of every layer; see ConvUnit.folded."""
        return {name: unit.folded() for name, unit in self.units.items()}

    def inherit(self, graphs: Iterable[LayerGraph]) -> None:
        """Copy the parameters and statistics of the units of `graphs` that bear the name of one of this network; of
        their channels the first, where this network has fewer.
        """
        for graph in graphs:
            for name, unit in graph.units.items():
                if name in self.units:
                    theirs = unit.state_dict()
                    self.units[name].load_state_dict({key: theirs[key][tuple(map(slice, mine.shape))]
                                                      for key, mine in self.units[name].state_dict().items()})


def make_module(network: NetworkSpec, seed: int) -> NetworkModule:
    """A network with random weights that depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NetworkModule(network)


def build_network(macro: Macro, choice: Sequence[str], seed: int, supernet=None) -> NetworkModule:
    """The derived network of `choice`; with `supernet` it inherits the weights of the chosen path."""
    module = make_module(expand(macro, choice), seed)
    if supernet is not None:
        module.inherit(supernet.path(choice))
    return module
