"""The supernet: every candidate of every searched block, one path run at a time; a narrower network has the first
channels of the widest. Where alpha learns, channels beyond a sample's are run and blanked (FBNetV2, arXiv 2004.05565).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dna_asic.networks.blocks import SOURCE, block_layers, candidate_layers, expand, head_layers, stem_layer
from dna_asic.networks.macro import Macro
from dna_asic.networks.modules import LayerGraph, run_layers


class SuperNet(nn.Module):
    """All candidates with shared stem and head; `alpha` [choices, options] are the architecture parameters.

    Choices and options are in the order of `macro.space`; choices that have fewer are padded and masked out.
    """

    def __init__(self, macro: Macro, seed: int):
        super().__init__()
        self.macro = macro
        self.options = [choice.options for choice in macro.space.choices]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.stem = LayerGraph((stem_layer(macro),))
            self.blocks = nn.ModuleList(nn.ModuleList(LayerGraph(layers) for layers in candidates)
                                        for candidates in candidate_layers(macro))
            self.head = LayerGraph(head_layers(macro, SOURCE), biased=("fc",))
        width = max(map(len, self.options))
        self.alpha = nn.Parameter(torch.zeros(len(self.options), width))
        self.register_buffer("valid", torch.tensor([[i < len(o) for i in range(width)] for o in self.options]))
        self._widths, places = len(macro.widths), macro.places
        for i, options in enumerate(macro.channels):
            kept = torch.arange(options[-1]) < torch.tensor(options)[:, None]
            self.register_buffer(f"kept{i}", kept.float(), persistent=False)
        # of each part (`blocks.part_layers`) the choice of widths at its input and output; the last one is no choice
        none = len(macro.channels)
        self._ends = torch.tensor([(none, 0), *((p.source if p.changes_stage else none, p.width) for p in places),
                                   (none - 1, none)])

    @property
    def weight_parameters(self) -> list[nn.Parameter]:
        """Every parameter but alpha."""
        return [p for name, p in self.named_parameters() if name != "alpha"]

    def logits(self) -> Tensor:
        """alpha [choices, options] with minus infinity where a choice has no such option."""
        return self.alpha.masked_fill(~self.valid, -torch.inf)

    def sample_gates(self, temperature: float, generator: torch.Generator) -> Tensor:
        """Hard Gumbel-Softmax sample [choices, options]: one-hot values, the gradient of the soft sample."""
        uniform = torch.rand(self.alpha.shape, generator=generator).to(self.alpha.device).clamp_(1e-9, 1 - 1e-7)
        soft = torch.softmax((self.logits() - torch.log(-torch.log(uniform))) / temperature, dim=1)
        hard = torch.zeros_like(soft).scatter_(1, soft.argmax(dim=1, keepdim=True), 1.0)
        return hard + soft - soft.detach()

    def part_gates(self, gates: Tensor) -> Tensor:
        """[parts, candidates, widths in, widths out] of gates [choices, options]: 1 for what a hard sample consists of.

        See `blocks.part_layers`.
        """
        blocks = len(self.blocks)
        none = torch.zeros_like(gates[:1])
        none[0, 0] = 1.0
        candidates = torch.cat([none, gates[:blocks], none])
        widths = gates[blocks:] if self._widths > 1 else none.expand(len(self.macro.channels), -1)
        ends = torch.cat([widths, none])[self._ends.to(gates.device), :self._widths]
        return torch.einsum("pk,pi,pj->pkij", candidates, ends[:, 0], ends[:, 1])

    def forward(self, images: Tensor, gates: Tensor, backward_paths: int = 1) -> Tensor:
        """Class logits [N, classes] of the path that `gates` [choices, options] select.

        Only that path gives the value. With `backward_paths` = 2 the next likeliest candidate of each block runs too,
        multiplied by its gate of 0, so that its alpha receives a gradient (DNA, arXiv 2010.14778). Channels are run up
        to the next option beyond those selected; what is wider still receives that option's gradient.
        """
        macro = self.macro
        channels = [options[-1] for options in macro.channels]
        for i, sampled in enumerate(gates[len(self.blocks):].argmax(dim=1).tolist()):
            channels[i] = macro.channels[i][min(sampled + 1, self._widths - 1)]
        x = run_layers(self.stem.units, [stem_layer(macro, channels[0])], {"input": images})
        x = self._narrowed(x, gates, 0, channels[0])
        chosen = torch.topk(gates.detach() + 1e-3 * self._rank(), backward_paths, dim=1).indices
        for i, place in enumerate(macro.places_of(channels)):
            outputs = [gates[i, k] * self._run_block(i, k, place, x, gates)
                       for k in chosen[i].tolist() if self.valid[i, k]]
            x = self._narrowed(sum(outputs), gates, place.width, place.c_out)
        return run_layers(self.head.units, head_layers(macro, SOURCE, channels[-1]), {SOURCE: x}).flatten(1)

    def _narrowed(self, x, gates, group, channels):
        """Channels beyond those of the width that is sampled blanked; every width's gate receives a gradient.

        channels: of the group that are run; x may have a multiple of them.
        """
        if self._widths == 1:
            return x
        kept = gates[len(self.blocks) + group, :self._widths] @ getattr(self, f"kept{group}")
        return x * kept[:channels].to(x.dtype).repeat_interleave(x.shape[1] // channels)[:, None, None]

    def _run_block(self, i, k, place, x, gates):
        layers = block_layers(place, self.options[i][k], SOURCE, self.macro.activation)
        y = run_layers(self.blocks[i][k].units, layers, {SOURCE: x},
                       lambda inner: self._narrowed(inner, gates, place.source, place.c_in))
        return x if y is None else y

    def _rank(self):
        return torch.softmax(self.logits().detach(), dim=1)

    def run_path(self, images: Tensor, choice: Sequence[str]) -> Tensor:
        """Class logits [N, classes] of the network of `choice` with the first of these weights, as it would inherit
        them; no channel beyond its own is computed.
        """
        units = [unit for graph in self.path(choice) for unit in graph.units.items()]
        return run_layers(dict(units), expand(self.macro, choice).layers, {"input": images}).flatten(1)

    def path(self, choice: Sequence[str]) -> list[LayerGraph]:
        """Stem, chosen candidates and head, with the most channels."""
        labels, _ = self.macro.split(choice)
        blocks = [self.blocks[i][self.options[i].index(label)] for i, label in enumerate(labels)]
        return [self.stem, *blocks, self.head]
