"""Energy, area and delay coefficients of a process, each with unit and source."""

from dna_asic.technology.table import Technology, Value, load_technology, targets

__all__ = ["Technology", "Value", "load_technology", "targets"]
