"""Energy of events and of idle cycles: what the technology's coefficients make of a configuration.

Registers behind clock gates take their clock with the event that opens the gate, all others always. Wires count in the
NoC only; those between blocks and the buffers of the clock tree are not in it.
"""

import math

from dna_asic.cost.area import WORD_BITS, area_um2, buffer_macros, clocked_flip_flops, rf_words
from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.dims import Operand
from dna_asic.spec.latency import hop_axes
from dna_asic.technology import Technology

EVENTS = ("macs", "postprocess", *(f"{kind}.{x.name}" for kind in (
    "rf_reads", "rf_writes", "noc", "gb_reads", "gb_writes", "dram_reads", "dram_writes") for x in Operand))
LEVEL_OF = {"macs": "mac", "postprocess": "postprocess", "rf_reads": "rf", "rf_writes": "rf", "noc": "noc",
            "gb_reads": "gb", "gb_writes": "gb", "dram_reads": "dram", "dram_writes": "dram"}
LOGIC_LEVELS = ("mac", "rf", "noc", "postprocess", "control", "clock")  # what synthesis measures: no macros, no DRAM


def event_energies_pj(accelerator: AcceleratorConfig, technology: Technology,
                      area: dict[str, float] | None = None) -> dict[str, float]:
    """pJ of one event of each kind of EVENTS on the only chunk; an event is what `Counts` counts (DRAM: a byte).

    area: `area_um2` of the chip where it is at hand.
    """
    chunk = accelerator.chunk
    psums = chunk.sets(Operand.O) / chunk.pes  # that a MAC of every PE adds to, each
    table = {"macs": technology["mac_pj"] + psums * technology["accumulation_pj"],
             "postprocess": technology["postprocess_pj"]}
    pitch_mm = _pe_pitch_mm(accelerator, area or area_um2(accelerator, technology))
    wire_pj_per_bit = technology["noc_pj_per_bit_mm"] * pitch_mm
    dram_pj = 8 * technology["dram_pj_per_bit"]
    logic_pj_per_bit = technology["noc_pj_per_bit"]
    for x, words in rf_words(chunk).items():
        rf_pj = WORD_BITS[x] * technology.rf_pj_per_bit(2 * words * WORD_BITS[x] / 8)
        table |= {f"rf_reads.{x.name}": rf_pj,
                  f"rf_writes.{x.name}": rf_pj + WORD_BITS[x] * technology["ff_write_pj"],
                  f"noc.{x.name}": WORD_BITS[x] * (logic_pj_per_bit + wire_pj_per_bit * _span_pes(chunk, x)),
                  f"dram_reads.{x.name}": dram_pj, f"dram_writes.{x.name}": dram_pj}
        _, depth, bits = buffer_macros(accelerator, x)
        table |= {f"gb_reads.{x.name}": WORD_BITS[x] / bits * technology.sram_read_pj(depth, bits),
                  f"gb_writes.{x.name}": WORD_BITS[x] / bits * technology.sram_write_pj(depth, bits)}
    return table


def idle_pj_per_cycle(accelerator: AcceleratorConfig, technology: Technology,
                      area: dict[str, float] | None = None) -> dict[str, float]:
    """What a cycle costs whatever happens in it: sequencers, DMA and control, the clock that no gate stops, leakage.

    area: as above.
    """
    leakage_mw = technology.leakage_mw(sum((area or area_um2(accelerator, technology)).values()))
    return {"control": len(accelerator.chunks) * technology["control_pj"],
            "clock": sum(clocked_flip_flops(accelerator).values()) * technology["ff_write_pj"],
            "leakage": leakage_mw * accelerator.clk_period_ns}


def idle_pj(accelerator: AcceleratorConfig, technology: Technology) -> float:
    """Sum of `idle_pj_per_cycle`."""
    return sum(idle_pj_per_cycle(accelerator, technology).values())


def _pe_pitch_mm(accelerator, area):
    """Side of a PE with its register files, being square."""
    return math.sqrt((area["pe_array"] + area["rf"]) / accelerator.chunk.pes) * 1e-3


def _span_pes(chunk, operand):
    """PEs along the wire that a word drives: half of each axis on average, all of one along which it hops."""
    hops = hop_axes(chunk, operand) if operand is not Operand.O else ()
    return sum(extent if axis in hops else extent / 2 for axis, (_, extent) in chunk.axes.items())
