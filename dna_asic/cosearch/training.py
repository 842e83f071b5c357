"""Training and judging of one network."""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dna_asic.cosearch.checkpoints import read_checkpoint, save_checkpoint
from dna_asic.cosearch.compute import CPU, Compute
from dna_asic.data import DatasetSplits, to_float

# What a teacher's answers are softened by, and their share of the loss (Hinton et al., arXiv 1503.02531).
SOFTENED, TAUGHT = 4.0, 0.9


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """SGD with Nesterov momentum, one linear warm-up epoch, then a cosine to zero. Rates per step.

    cutout: side in pixels of the square that is blanked in each image (DeVries and Taylor, arXiv 1708.04552). cutmix:
    share of steps in which a rectangle of each image is another image's (Yun et al., arXiv 1905.04899).
    """

    batch: int = 32
    rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.05
    gradient_limit: float = 5.0
    cutout: int = 0
    cutmix: float = 0.0


def train_network(module: nn.Module, splits: DatasetSplits, epochs: int, seed: int,
                  progress: Callable[[int, float], None] | None = None,
                  settings: TrainSettings = TrainSettings(), checkpoint: Path | None = None,
                  compute: Compute = CPU, teacher: nn.Module | None = None) -> nn.Module:
    """Train `module` in place on splits.train and leave it in evaluation mode, on the CPU.

    `progress(epoch, mean_loss)` is called after each epoch. The order of images and the augmentation depend on
    `seed` alone; on CUDA, and with several processes, an epoch leaves out what fills no batch. checkpoint: file written
    after each epoch (by the first process) and gone on from where it is there; raises SpecError for a damaged one.
    teacher: a trained network of the same classes, whose answers to the same images are learnt beside the labels.
    """
    for each in filter(None, (module, teacher)):
        compute.place(each)
    images, labels = splits.on(compute.device).train
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(module.parameters(), settings.rate, momentum=settings.momentum, nesterov=True,
                                weight_decay=settings.weight_decay)
    whole = (compute.captures or compute.ranks > 1) and len(labels) >= settings.batch
    steps = steps_per_epoch(len(labels), settings.batch, whole)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: _rate(i, steps, epochs * steps))
    parts, first = {"module": module, "optimizer": optimizer, "schedule": schedule}, 0
    if checkpoint is not None and checkpoint.exists():
        with read_checkpoint(checkpoint, "train anew") as state:
            for name, part in parts.items():
                part.load_state_dict(state[name])
            generator.set_state(state["generator"])
            first = state["epochs"]

    def step(index: Tensor) -> Tensor:
        index = compute.share(index)
        x = augment(to_float(images[index]), generator, mirror=splits.mirrored, cutout=settings.cutout)
        mixed = mix(x, labels[index], generator, settings.cutmix)
        with compute.autocast():
            logits = module(mixed.images)
            loss = sum(share * F.cross_entropy(logits, target, label_smoothing=settings.label_smoothing)
                       for share, target in mixed.targets)
            if teacher is not None:
                loss = (1 - TAUGHT) * loss + TAUGHT * unlike(logits, answers(teacher, mixed.images))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        compute.average(module.parameters())
        nn.utils.clip_grad_norm_(module.parameters(), settings.gradient_limit)
        optimizer.step()
        schedule.step()
        return loss.detach()

    one = to_float(compute.share(images[:settings.batch]))
    captured = compute.captured(module, one) if whole and compute.captures else contextlib.nullcontext()
    with compute.busy(), captured:
        for epoch in range(first, epochs):
            module.train()
            losses = [step(index) for index in batches(len(labels), settings.batch, generator, whole)]
            if checkpoint is not None and compute.rank == 0:
                save_checkpoint(checkpoint, {name: part.state_dict() for name, part in parts.items()} | {
                    "generator": generator.get_state(), "epochs": epoch + 1})
            if progress:
                progress(epoch, float(torch.stack(losses).mean()))
    if teacher is not None:
        CPU.place(teacher)
    return CPU.place(module).eval()


@torch.no_grad()
def answers(teacher: nn.Module, images: Tensor) -> Tensor:
    """Logits [N, classes], by the statistics that the teacher was trained to."""
    return teacher.eval()(images)


def unlike(logits: Tensor, theirs: Tensor) -> Tensor:
    """Divergence of the softened answers `logits` from `theirs`, both [N, classes], as large as a cross-entropy's."""
    own, theirs = (F.log_softmax(x.float() / SOFTENED, dim=1) for x in (logits, theirs))
    return SOFTENED**2 * F.kl_div(own, theirs, reduction="batchmean", log_target=True)


def _rate(step: int, warmup: int, total: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def steps_per_epoch(count: int, batch: int, whole: bool) -> int:
    """Batches of `count` images; see `batches`."""
    return count // batch if whole else math.ceil(count / batch)


def batches(count: int, batch: int, generator: torch.Generator, whole: bool = False) -> list[Tensor]:
    """A random order of `count` images cut into batches; a last batch of one image joins the one before it; `whole`:
    what fills no batch is left out.
    """
    order = torch.randperm(count, generator=generator)
    parts = list(order[:count // batch * batch if whole else count].split(batch))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def augment(images: Tensor, generator: torch.Generator, *, mirror: bool, cutout: int = 0) -> Tensor:
    """Shift each image [N, C, H, W] by up to an eighth of its size, filled from its edge; `mirror` flips half of them;
    `cutout`: then a square of that side around any pixel of each is 0.
    """
    n, c, h, w = images.shape
    reach = max(1, min(h, w) // 8)
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    dy, dx = torch.randint(2 * reach + 1, (2, n), generator=generator)  # on the CPU: alike on every device
    y, x = torch.arange(h), torch.arange(w)
    rows, cols = dy[:, None] + y, dx[:, None] + x
    if mirror:
        flip = torch.rand(n, generator=generator) < 0.5
        cols = torch.where(flip[:, None], cols.flip(1), cols)
    rows, cols = (index.to(images.device) for index in (rows[:, None, :, None], cols[:, None, None, :]))
    item, channel = torch.arange(n)[:, None, None, None], torch.arange(c)[None, :, None, None]
    out = padded[item.to(images.device), channel.to(images.device), rows, cols]
    if cutout:
        top, left = (torch.randint(size, (n, 1), generator=generator) - cutout // 2 for size in (h, w))
        inside_y, inside_x = ((top <= y) & (y < top + cutout)), ((left <= x) & (x < left + cutout))
        blank = inside_y[:, None, :, None] & inside_x[:, None, None, :]
        out = out.masked_fill(blank.to(images.device), 0)
    return out


class Mixed(NamedTuple):
    """images [N, C, H, W]; targets: (share of the loss, labels [N]) of each image that is in them."""

    images: Tensor
    targets: list[tuple[float, Tensor]]


def mix(images: Tensor, labels: Tensor, generator: torch.Generator, share: float) -> Mixed:
    """CutMix: in a `share` of calls one rectangle, of an area uniform in 0..1, shows another image of the batch."""
    if not share or torch.rand((), generator=generator) >= share:
        return Mixed(images, [(1.0, labels)])
    n, (h, w) = len(images), images.shape[2:]
    side = float(torch.rand((), generator=generator)) ** 0.5
    rows, cols = (_part(size, side, generator) for size in (h, w))
    other = torch.randperm(n, generator=generator).to(images.device)
    mixed = images.clone()
    mixed[:, :, rows, cols] = images[other][:, :, rows, cols]
    theirs = len(range(h)[rows]) * len(range(w)[cols]) / (h * w)
    return Mixed(mixed, [(1 - theirs, labels), (theirs, labels[other])])


def _part(size, share, generator):
    """A share of `size` pixels, around any of them, within the image."""
    centre, reach = int(torch.randint(size, (), generator=generator)), round(size * share) // 2
    return slice(max(0, centre - reach), centre + reach)


def evaluate(module: nn.Module, images: Tensor, labels: Tensor, batch: int = 256, compute: Compute = CPU) -> float:
    """Share of right answers of the float network, in evaluation mode and float32; it is left on the CPU."""
    module.eval().to(compute.device)
    with compute.busy(), torch.no_grad():
        parts = zip(images.split(batch), labels.split(batch), strict=True)
        right = [(module(to_float(x.to(compute.device))).argmax(1) == y.to(compute.device)).sum() for x, y in parts]
    module.cpu()
    return int(torch.stack(right).sum()) / len(labels)
