"""The macro-architecture: what of a network is fixed, and which blocks are searched."""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dna_asic.errors import SpecError
from dna_asic.space import Choice, Space
from dna_asic.spec.layer import MAX_KERNEL, Activation
from dna_asic.spec.record import from_plain, load_yaml

SKIP = "skip"
CANDIDATES = ("c3", "k3_e1", "k3_e3", "k3_e6", "k5_e1", "k5_e3", "k5_e6", "k3_e1_g2", "k5_e1_g2", SKIP)
MACRO_FOLDER = Path(__file__).parent / "macros"
_BLOCK = re.compile(r"c(?P<dense>\d+)|k(?P<depthwise>\d+)_e(?P<expansion>\d+)(?:_g(?P<groups>\d+))?")


@dataclass(frozen=True)
class BlockKind:
    """A candidate block: an inverted residual of a depthwise kernel, expansion of the input channels and groups of its
    pointwise layers; without an expansion one dense convolution of that kernel.
    """

    kernel: int
    expansion: int | None
    groups: int

    @classmethod
    def parse(cls, label: str) -> "BlockKind":
        """`c<odd kernel>` or `k<odd kernel>_e<expansion>[_g<groups>]`; raises SpecError for anything else."""
        if match := _BLOCK.fullmatch(label):
            dense, depthwise, expansion, groups = (x and int(x) for x in match.groups())
            kernel, groups = dense or depthwise or 0, 1 if groups is None else groups
            if kernel % 2 and kernel <= MAX_KERNEL and expansion != 0 and groups:
                return cls(kernel, expansion, groups)
        raise SpecError(f"Candidate must be '{SKIP}', c<kernel> or k<kernel>_e<expansion>[_g<groups>], kernel odd and "
                        f"at most {MAX_KERNEL - 1}, not '{label}'.")


@dataclass(frozen=True, kw_only=True)
class InputSize:
    """Channels and pixels of the image."""

    channels: int
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class Stem:
    """The first convolution: output channels, odd kernel, stride."""

    channels: int
    kernel: int
    stride: int


@dataclass(frozen=True, kw_only=True)
class Stage:
    """`layers` searched blocks of `channels` outputs; the first has `stride`, the rest 1."""

    channels: int
    layers: int
    stride: int


@dataclass(frozen=True)
class BlockPlace:
    """Where a searched block sits: its name, channels in and out, input size in pixels, stride."""

    name: str
    c_in: int
    c_out: int
    h: int
    w: int
    stride: int

    @property
    def keeps_shape(self) -> bool:
        """Output and input have one shape: a residual add and `skip` are possible."""
        return self.stride == 1 and self.c_in == self.c_out


@dataclass(frozen=True, kw_only=True)
class Macro:
    """Stem, searched stages, head (pointwise unless head_channels is 0, global average pooling, fully connected).

    Raises SpecError for sizes that are not positive, a malformed candidate, groups that do not divide the
    channels, and a last feature map that global pooling cannot take.
    """

    name: str
    input: InputSize
    stem: Stem
    stages: tuple[Stage, ...]
    head_channels: int
    classes: int
    candidates: tuple[str, ...] = CANDIDATES
    activation: Activation = Activation.RELU

    def __post_init__(self):
        faults = list(self._faults())
        if faults:
            raise SpecError("\n".join(f"Macro '{self.name}': {fault}" for fault in faults))

    def _faults(self):
        records = {"input": self.input, "stem": self.stem} | {f"stages[{i}]": s for i, s in enumerate(self.stages)}
        sizes = {f"{where}.{key}": value for where, record in records.items()
                 for key, value in dataclasses.asdict(record).items()}
        sizes |= {"classes": self.classes}
        small = {key: value for key, value in sizes.items() if value < 1}
        if self.head_channels < 0:
            yield f"head_channels must be at least 1, or 0 for no such layer, not {self.head_channels}."
        yield from (f"{key} must be at least 1, not {value}." for key, value in small.items())
        if not self.stages:
            yield "stages must not be empty; add one."
        if small or not self.stages:
            return
        if not self.stem.kernel % 2 or self.stem.kernel > MAX_KERNEL:
            yield f"stem.kernel must be odd and at most {MAX_KERNEL - 1}, not {self.stem.kernel}."
        if max(self.feature_hw) > MAX_KERNEL:
            yield (f"the last feature map is {self.feature_hw[0]}x{self.feature_hw[1]}, but global pooling takes at "
                   f"most {MAX_KERNEL}x{MAX_KERNEL}; use a smaller image or more stages of stride 2.")
        if len(set(self.candidates)) < max(1, len(self.candidates)):
            yield "candidates must be distinct and not empty."
        yield from self._candidate_faults()

    def _candidate_faults(self):
        for label in self.candidates:
            if label == SKIP:
                continue
            try:
                kind = BlockKind.parse(label)
            except SpecError as error:
                yield str(error)
                continue
            odd = sorted({c for p in self.places for c in (p.c_in, p.c_out) if c % kind.groups})
            if odd:
                yield f"candidate '{label}' needs channels divisible by {kind.groups}, not {odd[0]}."

    @property
    def places(self) -> tuple[BlockPlace, ...]:
        """The searched blocks in order."""
        places, c = [], self.stem.channels
        h, w = (out_size(x, self.stem.kernel, self.stem.stride) for x in (self.input.height, self.input.width))
        for stage in self.stages:
            for i in range(stage.layers):
                stride = stage.stride if i == 0 else 1
                places.append(BlockPlace(f"block{len(places)}", c, stage.channels, h, w, stride))
                c, h, w = stage.channels, out_size(h, 1, stride), out_size(w, 1, stride)
        return tuple(places)

    @property
    def feature_hw(self) -> tuple[int, int]:
        """Rows and columns of the feature map that is pooled at the end."""
        last = self.places[-1]
        return out_size(last.h, 1, last.stride), out_size(last.w, 1, last.stride)

    def options(self, place: BlockPlace) -> tuple[str, ...]:
        """Candidates possible at `place`; `skip`, where it is possible, comes last."""
        blocks = tuple(label for label in self.candidates if label != SKIP)
        return blocks + ((SKIP,) if SKIP in self.candidates and place.keeps_shape else ())

    @property
    def space(self) -> Space:
        """One choice per searched block."""
        return Space(f"network '{self.name}'", tuple(Choice(p.name, self.options(p)) for p in self.places))

    def fitted(self, input_shape: Sequence[int], classes: int) -> "Macro":
        """The same macro for images of (channels, height, width) and another number of classes."""
        channels, height, width = input_shape
        size = InputSize(channels=channels, height=height, width=width)
        return dataclasses.replace(self, input=size, classes=classes)


def out_size(size: int, kernel: int, stride: int) -> int:
    """Pixels after an odd kernel with padding kernel // 2."""
    return (size + 2 * (kernel // 2) - kernel) // stride + 1


def load_macro(name_or_path: str | Path) -> Macro:
    """Read a macro-architecture: a bundled one, such as `digits` or `cifar10`, or the path of a YAML file.

    Raises SpecError naming every unknown, missing or duplicate key and wrong value.
    """
    bundled = {p.stem: p for p in sorted(MACRO_FOLDER.glob("*.yaml"))}
    path = bundled.get(str(name_or_path), Path(name_or_path))
    if not path.is_file():
        raise SpecError(f"Macro-architecture '{name_or_path}' is not known; use {', '.join(bundled)} or a YAML file.")
    return from_plain(Macro, load_yaml(path), f"macro '{path.name}'")
