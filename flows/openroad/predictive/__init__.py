"""A predictive cell library: Liberty and abstract LEF written from a technology file; no foundry's data is in it.

    cells     the cells as CMOS topologies
    model     delay, energy, capacitance and area of a topology
    liberty   the Liberty file
    lef       the technology and cell LEF
"""

from flows.openroad.predictive.kit import HEADER, Kit, write_kit

__all__ = ["HEADER", "Kit", "write_kit"]
