"""The generic accelerator design space."""

from dna_asic.gads.space import GadsSpace

__all__ = ["GadsSpace"]
