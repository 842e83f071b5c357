"""Named categorical choices and their product."""

import difflib
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from dna_asic.errors import SpecError


@dataclass(frozen=True)
class Choice:
    """One categorical: `label` and its distinct `options`. Raises SpecError when empty or when one stands twice."""

    label: str
    options: tuple[Hashable, ...]

    def __post_init__(self):
        object.__setattr__(self, "options", tuple(self.options))
        if not self.options:
            raise SpecError(f"Choice '{self.label}' has no options; give at least one.")
        twice = sorted({str(o) for o in self.options if self.options.count(o) > 1})
        if twice:
            raise SpecError(f"Choice '{self.label}': option {', '.join(twice)} stands twice; keep one.")

    def index(self, option) -> int:
        """Position of `option`; raises SpecError if it is none of the options."""
        if option not in self.options:
            raise SpecError(f"Choice '{self.label}' must be one of {', '.join(map(str, self.options))}, "
                            f"not {option!r}{_hint(option, self.options)}")
        return self.options.index(option)


@dataclass(frozen=True)
class Space:
    """Ordered choices; a sample maps each label to one option.

    `build` turns a valid sample into a concrete record (and may raise InfeasibleDesign); without it `freeze`
    gives the sample itself, read-only.
    """

    name: str
    choices: tuple[Choice, ...]
    build: Callable[[Mapping[str, Any]], Any] | None = None

    def __post_init__(self):
        object.__setattr__(self, "choices", tuple(self.choices))
        labels = [c.label for c in self.choices]
        for label in sorted({x for x in labels if labels.count(x) > 1}):
            raise SpecError(f"Space '{self.name}': choice '{label}' stands twice; rename one.")

    @property
    def size(self) -> int:
        """Number of samples."""
        return math.prod(len(c.options) for c in self.choices)

    def __getitem__(self, label: str) -> Choice:
        for choice in self.choices:
            if choice.label == label:
                return choice
        raise SpecError(f"Space '{self.name}' has no choice '{label}'{_hint(label, [c.label for c in self.choices])}")

    def validate(self, sample: Mapping[str, Any]) -> None:
        """Raise SpecError with every unknown label, missing label and wrong option of `sample`."""
        labels = [c.label for c in self.choices]
        faults = [f"Unknown choice '{x}' in {self.name}{_hint(x, labels)}" for x in sample if x not in labels]
        for choice in self.choices:
            if choice.label not in sample:
                faults.append(f"Missing choice '{choice.label}' in {self.name}; add it.")
                continue
            try:
                choice.index(sample[choice.label])
            except SpecError as error:
                faults.append(f"{self.name}: {error}")
        if faults:
            raise SpecError("\n".join(faults))

    def sample(self, generator: torch.Generator) -> dict[str, Any]:
        """One sample, uniform per choice."""
        return {c.label: c.options[int(torch.randint(len(c.options), (), generator=generator))] for c in self.choices}

    def freeze(self, sample: Mapping[str, Any]):
        """Validate `sample` and turn it into its concrete record."""
        self.validate(sample)
        return self.build(sample) if self.build else MappingProxyType(dict(sample))


def _hint(value, names) -> str:
    close = difflib.get_close_matches(str(value), [str(n) for n in names], n=1)
    return f"; did you mean '{close[0]}'?" if close else "."
