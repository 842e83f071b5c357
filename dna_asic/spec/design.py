"""The searched design: network, accelerator, mappings. What `design.yaml` holds."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from dna_asic.spec.accelerator import AcceleratorConfig, Mapping
from dna_asic.spec.layer import NetworkSpec
from dna_asic.spec.record import from_plain, load_yaml, to_plain


@dataclass(frozen=True, kw_only=True)
class Design:
    """A network on an accelerator. mappings: one per hardware layer, by its name (see mapping.layout)."""

    target: str
    seed: int
    choices: tuple[str, ...]
    network: NetworkSpec
    accelerator: AcceleratorConfig
    mappings: dict[str, Mapping]


def design_to_yaml(design: Design) -> str:
    """Readable YAML; the same design gives the same bytes."""
    return yaml.safe_dump(to_plain(design), sort_keys=False, width=120, default_flow_style=None)


def design_from_yaml(path: Path) -> Design:
    """Strict inverse of `design_to_yaml`; raises SpecError."""
    return from_plain(Design, load_yaml(path), f"design '{path}'")
