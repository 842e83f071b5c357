"""Networks that the user brings, as layers and weights: from ONNX files and from PyTorch modules."""

from dna_asic.importer.network import ImportedNetwork, build_network
from dna_asic.importer.onnx_graph import read_onnx

__all__ = ["ImportedNetwork", "build_network", "read_onnx"]
