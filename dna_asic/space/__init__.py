"""The generic search space: named choices, shared by the network space and the accelerator space."""

from dna_asic.space.choice import Choice, Space

__all__ = ["Choice", "Space"]
