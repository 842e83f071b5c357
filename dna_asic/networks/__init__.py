"""Network spaces (FBNet-style blocks in a macro-architecture, NASAIC's ResNet9), published networks, and the modules
that train them.
"""

from dna_asic.networks.blocks import candidate_layers, expand, part_layers
from dna_asic.networks.known import known_network
from dna_asic.networks.macro import CANDIDATES, SKIP, Macro, load_macro
from dna_asic.networks.modules import NetworkModule, build_network, make_module
from dna_asic.networks.resnet9 import nasaic_resnet9
from dna_asic.networks.supernet import SuperNet

__all__ = ["CANDIDATES", "SKIP", "Macro", "NetworkModule", "SuperNet", "build_network", "candidate_layers", "expand",
           "known_network", "load_macro", "make_module", "nasaic_resnet9", "part_layers"]
