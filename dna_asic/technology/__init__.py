"""Energy, area and delay coefficients of a process, each with unit and source."""

from dna_asic.technology.scaling import scaling_table
from dna_asic.technology.table import Technology, Value, load_technology, targets

__all__ = ["Technology", "Value", "load_technology", "scaling_table", "targets"]
