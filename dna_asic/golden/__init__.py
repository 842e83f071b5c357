"""The bit-exact integer reference."""

from dna_asic.golden.reference import accuracy, requantise, run_golden

__all__ = ["accuracy", "requantise", "run_golden"]
