"""Where networks are trained, and in which arithmetic."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dna_asic.errors import SpecError


@dataclass(frozen=True)
class Compute:
    """A device; `mixed`: convolutions in bfloat16 with channels last, while weights, sums and losses stay float32."""

    device: torch.device = torch.device("cpu")
    mixed: bool = False

    @classmethod
    def named(cls, name: str, dataset: str) -> "Compute":
        """`cpu` in float32, `cuda` in mixed precision, or `auto`: CUDA where it is, but the CPU for `digits`, which are
        too small for it. Raises SpecError where `cuda` is asked for and is not there.
        """
        present = torch.cuda.is_available()
        if name == "cuda" and not present:
            raise SpecError(f"--device must be one that is here, not cuda: PyTorch {torch.__version__} finds none; use "
                            f"cpu, or a PyTorch with CUDA on a machine that has it.")
        if name == "cuda" or (name == "auto" and present and dataset != "digits"):
            return cls(torch.device("cuda"), mixed=True)
        return CPU

    def place(self, module: nn.Module) -> nn.Module:
        """`module`, moved in place."""
        layout = torch.channels_last if self.mixed else torch.contiguous_format
        return module.to(device=self.device, memory_format=layout)

    def autocast(self) -> torch.autocast:
        """The context of a forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed)

    @property
    def captures(self) -> bool:
        """Whether it has graphs of kernels (`captured`), which want batches of one size."""
        return self.device.type == "cuda"

    @contextlib.contextmanager
    def captured(self, module: nn.Module, images: Tensor) -> Iterator[None]:
        """Within it forward and backward of `module` in training mode, of batches shaped as `images`, are CUDA graphs:
        Python does not start their kernels one by one.
        """
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed, cache_enabled=False):
            torch.cuda.make_graphed_callables(module.train(), (images.clone(),))
        try:
            yield
        finally:
            vars(module).pop("forward", None)


CPU = Compute()
