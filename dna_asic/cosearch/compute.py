"""Where networks are trained, and in which arithmetic; and by how many processes, as `torchrun` starts them."""

import contextlib
import datetime
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn

from dna_asic.errors import SpecError

_searches = 1  # that share the cores of this machine


def started_as() -> tuple[int, int]:
    """(rank, ranks) of this process, by the variables of the environment that `torchrun` sets."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def require_one_process(what: str) -> None:
    """Raise SpecError under `torchrun`."""
    if started_as()[1] > 1:
        raise SpecError(f"{what} is work of one process, not of {started_as()[1]}; start it without torchrun.")


def share_cores(searches: int) -> None:
    """From now on this process trains as one of so many that work at once here."""
    global _searches
    _searches = searches


@dataclass(frozen=True)
class Compute:
    """A device; `mixed`: convolutions in bfloat16 with channels last, while weights, sums and losses stay float32, and
    a CPU takes all cores.

    rank, ranks: this is one of so many processes that train alike, each with its share of every batch; the first of
    them says what is not learnt.
    """

    device: torch.device = torch.device("cpu")
    mixed: bool = False
    rank: int = 0
    ranks: int = 1

    @classmethod
    def named(cls, name: str, dataset: str) -> "Compute":
        """`cpu` in float32, `cpu-bf16` and `cuda` in mixed precision, or `auto`: CUDA where it is, but the CPU for
        `digits`, which are too small for it. Raises SpecError for what is not there.
        """
        rank, ranks = started_as()
        present = torch.cuda.is_available()
        if name == "cuda" and not present:
            raise SpecError(f"--device must be one that is here, not cuda: PyTorch {torch.__version__} finds none; use "
                            f"cpu, or a PyTorch with CUDA on a machine that has it.")
        if name == "cuda" or (name == "auto" and present and dataset != "digits"):
            own = f"cuda:{os.environ['LOCAL_RANK']}" if ranks > 1 else "cuda"
            return cls(torch.device(own), True, rank, ranks)
        mixed = name == "cpu-bf16"
        if mixed:
            has = torch.cpu.get_capabilities()
            if not any(has.get(instructions) for instructions in BF16_INSTRUCTIONS):
                raise SpecError(f"--device must be one that is here, not cpu-bf16: PyTorch {torch.__version__} finds "
                                f"none of {', '.join(BF16_INSTRUCTIONS)} in this processor; use cpu.")
            os.environ["ONEDNN_MAX_CPU_ISA"] = "ALL"  # which has no bfloat16 below; read at the first convolution
        return cls(CPU.device, mixed, rank, ranks)

    def place(self, module: nn.Module) -> nn.Module:
        """`module`, moved in place."""
        layout = torch.channels_last if self.mixed else torch.contiguous_format
        return module.to(device=self.device, memory_format=layout)

    def autocast(self) -> torch.autocast:
        """The context of a forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed)

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Within it PyTorch has the threads that training takes here; before and after, those that all else does."""
        before = torch.get_num_threads()
        if self.mixed and self.device.type == "cpu":
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // (self.ranks * _searches)))
        try:
            yield
        finally:
            torch.set_num_threads(before)

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """Within it the processes reach each other."""
        if self.ranks == 1:
            yield
            return
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        distributed.init_process_group("nccl" if self.device.type == "cuda" else "gloo", timeout=LONGEST_WAIT)
        try:
            yield
        finally:
            distributed.destroy_process_group()

    def share(self, index: Tensor) -> Tensor:
        """This process's part of a batch."""
        return index[self.rank::self.ranks]

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Gradients become their means over the processes."""
        if self.ranks > 1:
            gradients = [p.grad for p in parameters if p.grad is not None]
            flat = torch.cat([g.flatten() for g in gradients])
            distributed.all_reduce(flat)
            means = flat.div_(self.ranks).split([g.numel() for g in gradients])
            for gradient, mean in zip(gradients, means, strict=True):
                gradient.copy_(mean.view_as(gradient))

    def told(self, value: Any = None) -> Any:
        """What the first process calls this with."""
        said = [value]
        if self.ranks > 1:
            distributed.broadcast_object_list(said, device=self.device)
        return said[0]

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


LONGEST_WAIT = datetime.timedelta(hours=12)  # of the others, while the first searches the accelerator
BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")
CPU = Compute()
