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
_BLOCK = re.compile(r"c(?P<dense>\d+)(?P<pooled>_max)?|k(?P<depthwise>\d+)_e(?P<expansion>\d+)(?:_g(?P<groups>\d+))?")


@dataclass(frozen=True)
class BlockKind:
    """A candidate block: an inverted residual of a depthwise kernel, expansion of the input channels and groups of its
    pointwise layers; without an expansion one dense convolution of that kernel, `pooled`: that halves rows and columns
    by 2 x 2 maximum pooling instead of a stride.
    """

    kernel: int
    expansion: int | None
    groups: int
    pooled: bool

    @classmethod
    def parse(cls, label: str) -> "BlockKind":
        """`c<odd kernel>[_max]` or `k<odd kernel>_e<expansion>[_g<groups>]`; raises SpecError for anything else."""
        if match := _BLOCK.fullmatch(label):
            dense, pooled, depthwise, expansion, groups = match.groups()
            kernel, expansion, groups = int(dense or depthwise), expansion and int(expansion), int(groups or "1")
            if kernel % 2 and kernel <= MAX_KERNEL and expansion != 0 and groups:
                return cls(kernel, expansion, groups, bool(pooled))
        raise SpecError(f"Candidate must be '{SKIP}', c<kernel>[_max] or k<kernel>_e<expansion>[_g<groups>], kernel "
                        f"odd and at most {MAX_KERNEL - 1}, not '{label}'.")


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
    """Where a searched block sits: its name, channels in and out, input size in pixels, stride.

    keeps_shape: output and input have one shape, whatever the widths: a residual add and `skip` are possible.
    source, width: which of `Macro.groups` its channels in and out are of.
    """

    name: str
    c_in: int
    c_out: int
    h: int
    w: int
    stride: int
    keeps_shape: bool
    source: int
    width: int

    @property
    def changes_stage(self) -> bool:
        """Its channels in and out are chosen apart from each other."""
        return self.source != self.width

    def admits(self, label: str) -> bool:
        """Whether a candidate can stand here."""
        if label == SKIP:
            return self.keeps_shape
        return not BlockKind.parse(label).pooled or (self.stride == 2 and self.h % 2 == self.w % 2 == 0)


@dataclass(frozen=True, kw_only=True)
class Macro:
    """Stem, searched stages, head (pointwise unless head_channels is 0, global average pooling, fully connected).

    widths: shares of the channels of the stem and of each stage among which the search chooses, for each anew, as
    FBNetV2 does (arXiv 2004.05565). Raises SpecError for sizes that are not positive, a malformed candidate, widths or
    groups that do not divide the channels, and a last feature map that global pooling cannot take.
    """

    name: str
    input: InputSize
    stem: Stem
    stages: tuple[Stage, ...]
    head_channels: int
    classes: int
    candidates: tuple[str, ...] = CANDIDATES
    widths: tuple[float, ...] = (1.0,)
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
        if list(self.widths) != sorted({*self.widths, 1.0}) or self.widths[0] <= 0:
            yield f"widths must ascend to 1.0, from above 0, not {list(self.widths)}."
            return
        odd = sorted({(c, w) for c in self._most_channels for w in self.widths if c * w % 1})
        if odd:
            yield "widths must make whole numbers of channels; {} channels x {:g} do not.".format(*odd[0])
            return
        for label in self.candidates:
            if label == SKIP:
                continue
            try:
                kind = BlockKind.parse(label)
            except SpecError as error:
                yield str(error)
                continue
            odd = sorted({c for options in self.channels for c in options if c % kind.groups})
            if odd:
                yield f"candidate '{label}' needs channels divisible by {kind.groups}, not {odd[0]}."

    @property
    def _most_channels(self) -> tuple[int, ...]:
        return self.stem.channels, *(stage.channels for stage in self.stages)

    @property
    def channels(self) -> tuple[tuple[int, ...], ...]:
        """What the search chooses from, for the stem and each stage, ascending."""
        return tuple(tuple(round(c * width) for width in self.widths) for c in self._most_channels)

    @property
    def places(self) -> tuple[BlockPlace, ...]:
        """The searched blocks in order, with the most channels."""
        return self.places_of(self._most_channels)

    def places_of(self, channels: Sequence[int]) -> tuple[BlockPlace, ...]:
        """The searched blocks in order, with these channels of the stem and each stage."""
        places = []
        h, w = (out_size(x, self.stem.kernel, self.stem.stride) for x in (self.input.height, self.input.width))
        for i, stage in enumerate(self.stages):
            alike = len(self.widths) == 1 and stage.channels == self._most_channels[i]
            for j in range(stage.layers):
                stride, source = (1, i + 1) if j else (stage.stride, i)
                places.append(BlockPlace(f"block{len(places)}", channels[source], channels[i + 1], h, w, stride,
                                         stride == 1 and (j > 0 or alike), source, i + 1))
                h, w = out_size(h, 1, stride), out_size(w, 1, stride)
        return tuple(places)

    @property
    def feature_hw(self) -> tuple[int, int]:
        """Rows and columns of the feature map that is pooled at the end."""
        last = self.places[-1]
        return out_size(last.h, 1, last.stride), out_size(last.w, 1, last.stride)

    def options(self, place: BlockPlace) -> tuple[str, ...]:
        """Candidates possible at `place`; `skip`, where it is possible, comes last."""
        ordered = sorted(self.candidates, key=lambda label: label == SKIP)
        return tuple(label for label in ordered if place.admits(label))

    @property
    def space(self) -> Space:
        """One choice per searched block; then, with several widths, the channels of the stem and of each stage."""
        choices = [Choice(p.name, self.options(p)) for p in self.places]
        if len(self.widths) > 1:
            names = ["stem", *(f"stage{i}" for i in range(len(self.stages)))]
            choices += [Choice(f"{name}.channels", tuple(map(str, options)))
                        for name, options in zip(names, self.channels, strict=True)]
        return Space(f"network '{self.name}'", tuple(choices))

    def split(self, choice: Sequence[str]) -> tuple[list[str], tuple[int, ...]]:
        """(candidates of the searched blocks, channels of the stem and each stage) of options of `space`, in order.

        Raises SpecError for a wrong choice.
        """
        names = [c.label for c in self.space.choices]
        if isinstance(choice, str) or len(choice) != len(names):
            raise SpecError(f"Network '{self.name}' needs {len(names)} options, one each of {', '.join(names)}, not "
                            f"{choice!r}.")
        self.space.validate(dict(zip(names, choice, strict=True)))
        blocks = len(self.places)
        return list(choice[:blocks]), tuple(map(int, choice[blocks:])) or self._most_channels

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
