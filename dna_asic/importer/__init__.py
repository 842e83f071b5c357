"""Networks that the user brings, as layers and weights: from ONNX files and from PyTorch modules."""

from pathlib import Path

from torch import Tensor, nn

from dna_asic.importer.network import ImportedNetwork, build_network

__all__ = ["ImportedNetwork", "build_network", "from_module", "from_onnx"]


def from_onnx(path: Path | str) -> ImportedNetwork:
    """The network of an ONNX file, float or quantised (QDQ).

    Raises SpecError: for a broken file, or with every node that the chip cannot run, its place, and a replacement.
    """
    from dna_asic.importer.onnx_graph import read_onnx
    return build_network(read_onnx(path))


def from_module(module: nn.Module, example: Tensor, name: str = "network") -> ImportedNetwork:
    """The network that `module` computes in evaluation on images like `example` [N, C, H, W]; errors as `from_onnx`."""
    from dna_asic.importer.torch_graph import read_module
    return build_network(read_module(module, example, name))
