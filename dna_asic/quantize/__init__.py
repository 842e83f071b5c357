"""Int8 export of a trained network."""

from dna_asic.quantize.export import encode_multiplier, quantize_at, quantize_input, quantize_network
from dna_asic.quantize.files import load_quant, save_quant

__all__ = ["encode_multiplier", "load_quant", "quantize_at", "quantize_input", "quantize_network", "save_quant"]
