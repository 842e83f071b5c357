"""Datasets, their splits, and images to calibrate with."""

from dna_asic.data.calibration import load_images
from dna_asic.data.dataset import DatasetSplits, Subset, to_float
from dna_asic.data.load import load_dataset

__all__ = ["DatasetSplits", "Subset", "load_dataset", "load_images", "to_float"]
