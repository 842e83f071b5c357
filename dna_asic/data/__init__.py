"""Datasets and their fixed splits."""

from dna_asic.data.dataset import DatasetSplits, Subset, load_dataset

__all__ = ["DatasetSplits", "Subset", "load_dataset"]
