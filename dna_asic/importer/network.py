"""An imported network: its record, its float weights, and what the model says of its integers."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from dna_asic.errors import SpecError
from dna_asic.importer.drafts import Draft
from dna_asic.importer.graph import Graph
from dna_asic.importer.layers import make_layers
from dna_asic.networks.modules import NetworkModule
from dna_asic.spec.layer import LayerOp, NetworkSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class ImportedNetwork:
    """module computes what the model does, layer by layer. notes: what was left to the host.

    scales: float value of one int8 step per tensor ("input" too), steps: of one weight step [G*K] per layer; both are
    empty for a float model.
    """

    module: NetworkModule
    scales: dict[str, float]
    steps: dict[str, np.ndarray]
    notes: tuple[str, ...]

    @property
    def network(self) -> NetworkSpec:
        """The network as a record."""
        return self.module.network

    @property
    def quantised(self) -> bool:
        """The model brings its own integers."""
        return bool(self.scales)


def build_network(graph: Graph) -> ImportedNetwork:
    """Layers and weights of `graph`. Raises SpecError with everything in it that the chip cannot do."""
    layers = make_layers(graph)
    network = NetworkSpec(name=graph.name, input_shape=layers.input.chw,
                          layers=tuple(draft.spec() for draft in layers.drafts))
    with torch.device("meta"):
        module = NetworkModule(network, tuple(draft.name for draft in layers.drafts))
    for draft in layers.drafts:
        if draft.weight is not None:
            conv = module.units[draft.name].conv
            conv.weight, conv.bias = (_parameter(draft, x) for x in (draft.weight, draft.bias))
    steps = {d.name: d.step for d in layers.drafts if d.step is not None}
    return ImportedNetwork(module=module.eval(), scales=_scales(layers), steps=steps, notes=layers.notes)


def _parameter(draft: Draft, values: np.ndarray) -> nn.Parameter:
    if not np.isfinite(values).all():
        raise SpecError(f"Layer '{draft.name}': weights must be finite; train the network with a lower rate.")
    return nn.Parameter(torch.tensor(values, dtype=torch.float32), requires_grad=False)


def _scales(layers) -> dict[str, float]:
    """The model's scales; a layer without one has that of the layer which adds it or maximises over it."""
    tensors = (layers.input, *layers.drafts)
    if not any(t.scale for t in tensors):
        return {}
    for draft in layers.drafts:
        if draft.shape.op is LayerOp.MAX and draft.scale is None:
            draft.scale = draft.source.scale
    for draft in reversed(layers.drafts):
        if draft.residual is not None and draft.residual.scale is None:
            draft.residual.scale = draft.scale
    missing = [t.name for t in tensors if t.scale is None]
    if missing:
        raise SpecError(f"The model quantises some tensors and not {', '.join(missing)}; quantise all activations "
                        f"(QuantizeLinear after each), or none.")
    return {t.name: t.scale for t in tensors}
