"""The supernet: every candidate of every searched block, one path run at a time."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dna_asic.networks.blocks import candidate_layers, head_layers, nominal_source, stem_layer
from dna_asic.networks.macro import Macro
from dna_asic.networks.modules import LayerGraph


class SuperNet(nn.Module):
    """All candidates with shared stem and head; `alpha` [layers, candidates] are the architecture parameters.

    Candidates are in the order of `macro.options`; places that have fewer are padded and masked out.
    """

    def __init__(self, macro: Macro, seed: int):
        super().__init__()
        self.macro = macro
        self.options = [macro.options(place) for place in macro.places]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.stem = LayerGraph((stem_layer(macro),))
            self.blocks = nn.ModuleList(nn.ModuleList(LayerGraph(layers) for layers in candidates)
                                        for candidates in candidate_layers(macro))
            self.head = LayerGraph(head_layers(macro, nominal_source(macro, len(self.blocks))), biased=("fc",))
        width = max(map(len, self.options))
        self.alpha = nn.Parameter(torch.zeros(len(self.options), width))
        self.register_buffer("valid", torch.tensor([[i < len(o) for i in range(width)] for o in self.options]))

    @property
    def weight_parameters(self) -> list[nn.Parameter]:
        """Every parameter but alpha."""
        return [p for name, p in self.named_parameters() if name != "alpha"]

    def logits(self) -> Tensor:
        """alpha [layers, candidates] with minus infinity where a place has no such candidate."""
        return self.alpha.masked_fill(~self.valid, -torch.inf)

    def sample_gates(self, temperature: float, generator: torch.Generator) -> Tensor:
        """Hard Gumbel-Softmax sample [layers, candidates]: one-hot values, the gradient of the soft sample."""
        uniform = torch.rand(self.alpha.shape, generator=generator).to(self.alpha.device).clamp_(1e-9, 1 - 1e-7)
        soft = torch.softmax((self.logits() - torch.log(-torch.log(uniform))) / temperature, dim=1)
        hard = torch.zeros_like(soft).scatter_(1, soft.argmax(dim=1, keepdim=True), 1.0)
        return hard + soft - soft.detach()

    def forward(self, images: Tensor, gates: Tensor, backward_paths: int = 1) -> Tensor:
        """Class logits [N, classes] of the path that `gates` select.

        Only that path gives the value. With `backward_paths` = 2 the next likeliest candidate of each block runs
        too, multiplied by its gate of 0, so that its alpha receives a gradient (DNA, arXiv 2010.14778).
        """
        x = self.stem.run({"input": images})
        chosen = torch.topk(gates.detach() + 1e-3 * self._rank(), backward_paths, dim=1).indices
        for i, candidates in enumerate(self.blocks):
            outputs = [(gates[i, k], candidates[k]) for k in chosen[i].tolist() if self.valid[i, k]]
            x = sum(gate * self._run_block(i, graph, x) for gate, graph in outputs)
        return self.head.run({nominal_source(self.macro, len(self.blocks)): x}).flatten(1)

    def _rank(self):
        return torch.softmax(self.logits().detach(), dim=1)

    def _run_block(self, index, graph, x):
        y = graph.run({nominal_source(self.macro, index): x})
        return x if y is None else y

    def path(self, choice: Sequence[str]) -> list[LayerGraph]:
        """Stem, chosen candidates and head."""
        blocks = [self.blocks[i][self.options[i].index(label)] for i, label in enumerate(choice)]
        return [self.stem, *blocks, self.head]
