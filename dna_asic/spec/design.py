"""The searched design: network, accelerator, mappings. What `design.yaml` holds."""

from dataclasses import dataclass, field
from pathlib import Path

import yaml

from dna_asic.errors import SpecError
from dna_asic.spec.accelerator import AcceleratorConfig, Mapping
from dna_asic.spec.layer import NetworkSpec
from dna_asic.spec.pipeline import Pipeline, assignment_faults, pipeline
from dna_asic.spec.record import from_plain, load_yaml, to_plain


@dataclass(frozen=True, kw_only=True)
class Design:
    """A network on an accelerator. mappings: one per hardware layer, by its name (see mapping.layout). assignment:
    the chunk of each layer; may be left out where there is one chunk.

    Raises SpecError for an assignment that does not name a chunk for each layer.
    """

    target: str
    seed: int
    choices: tuple[str, ...]
    network: NetworkSpec
    accelerator: AcceleratorConfig
    mappings: dict[str, Mapping]
    assignment: dict[str, int] = field(default_factory=dict)

    def __post_init__(self):
        faults = list(assignment_faults([x.name for x in self.network.layers], self.assignment,
                                        len(self.accelerator.chunks)))
        if faults:
            raise SpecError("\n".join(faults))

    @property
    def pipeline(self) -> Pipeline:
        """Programs of the chunks; raises InfeasibleDesign for a tensor that needs too many copies."""
        return pipeline(self.network, self.assignment, len(self.accelerator.chunks))


def design_to_yaml(design: Design) -> str:
    """Readable YAML; the same design gives the same bytes."""
    return yaml.safe_dump(to_plain(design), sort_keys=False, width=120, default_flow_style=None)


def accelerator_from_yaml(path: Path) -> AcceleratorConfig:
    """Of a design file, or of a file that holds an accelerator alone; raises SpecError."""
    data = load_yaml(path)
    if isinstance(data, dict) and "accelerator" in data:
        return from_plain(Design, data, f"design '{path}'").accelerator
    return from_plain(AcceleratorConfig, data, f"accelerator '{path}'")


def design_from_yaml(path: Path) -> Design:
    """Strict inverse of `design_to_yaml`; raises SpecError."""
    return from_plain(Design, load_yaml(path), f"design '{path}'")
