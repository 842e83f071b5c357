"""Co-search of a neural network and its accelerator.

A search must give the same design on every machine, but PyTorch's libraries choose their arithmetic by the CPU, and a
sum in another order leads elsewhere: unless the environment says otherwise all use AVX2, which every x86 of today has.
"""

import os

for _name, _value in (("ATEN_CPU_CAPABILITY", "avx2"), ("ONEDNN_MAX_CPU_ISA", "AVX2"), ("MKL_CBWR", "AVX2")):
    os.environ.setdefault(_name, _value)  # read when torch first computes
