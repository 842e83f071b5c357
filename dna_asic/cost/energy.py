"""Energy per event and area per block of a chip: what the technology's coefficients make of a configuration.

Gate counts named here are structural (how many gates or flip-flops the generated hardware has); everything
physical comes from the technology file. The clock of every register runs always: the hardware has no clock gates.
Wires between blocks and the buffers of the clock tree are not in it.
"""

import functools
import math

from dna_asic.spec.accelerator import AcceleratorConfig, Reduction
from dna_asic.spec.dims import Dim, Operand
from dna_asic.spec.geometry import param_channels
from dna_asic.spec.instruction import FIELDS, INSTRUCTION_BYTES
from dna_asic.spec.latency import STORE_CYCLES, hop_axes, reduction_extent
from dna_asic.spec.quant import MULTIPLIER_BITS
from dna_asic.technology import Technology

WORD_BITS = {Operand.W: 8, Operand.I: 8, Operand.O: 32}
PRODUCT_BITS = 16  # register in each PE; the words that it works on stand in one beside each register file
BEAT_BITS = {Operand.W: 13, Operand.I: 33}  # what places a beat: valid; other axis and word, or row, column, other axis
LANE_REGISTER_BITS = 48 * STORE_CYCLES  # of a post-processing lane
CONTROL_REGISTER_BITS = 4800  # of a chunk: nests, walks, counters, bus: as counted in a chip, instruction apart
FULL_ADDER_GATES = 6
MUX_GATES_PER_BIT = 2  # read multiplexer of a register file, load enable
NEST_GATES_PER_BIT = 6  # odometer: compare, increment, select; address: add
PARAM_BANKS, PARAM_BITS = 4, 64
FIFO_BEATS = 4

EVENTS = ("macs", "postprocess", *(f"{kind}.{x.name}" for kind in (
    "rf_reads", "rf_writes", "noc", "gb_reads", "gb_writes", "dram_reads", "dram_writes") for x in Operand))
LEVEL_OF = {"macs": "mac", "postprocess": "postprocess", "rf_reads": "rf", "rf_writes": "rf", "noc": "noc",
            "gb_reads": "gb", "gb_writes": "gb", "dram_reads": "dram", "dram_writes": "dram"}
LEVELS = ("mac", "rf", "noc", "gb", "dram", "postprocess", "clock", "leakage")


def event_energies_pj(accelerator: AcceleratorConfig, technology: Technology,
                      area: dict[str, float] | None = None) -> dict[str, float]:
    """pJ of one event of each kind of EVENTS on the only chunk; an event is what `Counts` counts (DRAM: a byte).

    area: `area_um2` of the chip where it is at hand.
    """
    chunk = accelerator.chunk
    table = {"macs": technology["mac_pj"], "postprocess": technology["postprocess_pj"]}
    pitch_mm = _pe_pitch_mm(accelerator, area or area_um2(accelerator, technology))
    wire_pj_per_bit = technology["noc_pj_per_bit_mm"] * pitch_mm
    dram_pj = 8 * technology["dram_pj_per_bit"]
    for x, words in _rf_words(chunk).items():
        rf_pj = WORD_BITS[x] * technology.rf_pj_per_bit(2 * words * WORD_BITS[x] / 8)
        table |= {f"rf_reads.{x.name}": rf_pj, f"rf_writes.{x.name}": rf_pj,
                  f"noc.{x.name}": WORD_BITS[x] * wire_pj_per_bit * _span_pes(chunk, x),
                  f"dram_reads.{x.name}": dram_pj, f"dram_writes.{x.name}": dram_pj}
        _, depth, bits = buffer_macros(accelerator, x)
        table |= {f"gb_reads.{x.name}": WORD_BITS[x] / bits * technology.sram_read_pj(depth, bits),
                  f"gb_writes.{x.name}": WORD_BITS[x] / bits * technology.sram_write_pj(depth, bits)}
    return table


def idle_pj_per_cycle(accelerator: AcceleratorConfig, technology: Technology,
                      area: dict[str, float] | None = None) -> dict[str, float]:
    """What a cycle costs whatever happens in it: the clock of all registers, and leakage. area: as above."""
    leakage_mw = technology.leakage_mw(sum((area or area_um2(accelerator, technology)).values()))
    return {"clock": register_bits(accelerator) * technology["ff_write_pj"],
            "leakage": leakage_mw * accelerator.clk_period_ns}


def idle_pj(accelerator: AcceleratorConfig, technology: Technology) -> float:
    """Sum of `idle_pj_per_cycle`."""
    return sum(idle_pj_per_cycle(accelerator, technology).values())


def register_bits(accelerator: AcceleratorConfig) -> int:
    """Flip-flops of the chip."""
    return sum(_register_bits(chunk) for chunk in accelerator.chunks)


def _register_bits(chunk):
    return (_rf_bits(chunk) + _word_bits(chunk) + _join_bits(chunk) + _hop_bits(chunk)
            + chunk.n_pp * LANE_REGISTER_BITS + 8 * INSTRUCTION_BYTES + CONTROL_REGISTER_BITS)


def buffer_macros(accelerator: AcceleratorConfig, operand: Operand) -> tuple[int, int, int]:
    """(macros, words, bits) of an operand's global buffer in the only chunk: banks of the narrower of its two ports.

    A bank holds both halves of W or I, which are written and read at one place each; O is read and written at both.
    """
    chunk = accelerator.chunk
    size = {Operand.W: chunk.gb_w_bytes, Operand.I: chunk.gb_i_bytes, Operand.O: chunk.gb_o_bytes}[operand]
    word_bytes = WORD_BITS[operand] // 8
    other = chunk.n_pp * word_bytes if operand is Operand.O else accelerator.port_bytes
    one = chunk.widths[operand] * word_bytes
    narrow, wide = min(one, other), max(one, other)
    apart = 2 if operand is Operand.O else 1
    return apart * (wide // narrow), max(1, size // apart // wide), 8 * narrow


def _pe_pitch_mm(accelerator, area):
    """Side of a PE with its register files, being square."""
    return math.sqrt((area["pe_array"] + area["rf"]) / accelerator.chunk.pes) * 1e-3


def _span_pes(chunk, operand):
    """PEs along the wire that a word drives: half of each axis on average, all of one along which it hops."""
    hops = hop_axes(chunk, operand) if operand is not Operand.O else ()
    return sum(extent if axis in hops else extent / 2 for axis, (_, extent) in chunk.axes.items())


def area_um2(accelerator: AcceleratorConfig, technology: Technology) -> dict[str, float]:
    """Area per block, over all chunks."""
    total = {}
    for alone in accelerator.alone:
        for block, um2 in _chunk_area_um2(alone, technology).items():
            total[block] = total.get(block, 0.0) + um2
    return total


def buffer_area_um2(accelerator: AcceleratorConfig, operand: Operand, technology: Technology) -> float:
    """Area of an operand's global buffer in the only chunk."""
    macros, words, bits = buffer_macros(accelerator, operand)
    return macros * technology.sram_area_um2(words, bits)


def _chunk_area_um2(accelerator, technology):
    chunk, port = accelerator.chunk, accelerator.port_bytes
    return {
        "pe_array": _pe_array_um2(chunk, technology),
        "rf": _rf_bits(chunk) * _register(technology, MUX_GATES_PER_BIT),
        "gb": sum(buffer_area_um2(accelerator, x, technology) for x in Operand),
        "noc": (2 * (8 * chunk.n_w + 8 * chunk.n_i + 32 * chunk.n_o)) * _register(technology, MUX_GATES_PER_BIT)
        + _fields(("wf_", "if_", "od_")) * _register(technology, NEST_GATES_PER_BIT),
        "sequencer": 8 * INSTRUCTION_BYTES * _register(technology, 1)
        + _fields(("rf_", "gb_", "dram_")) * _register(technology, NEST_GATES_PER_BIT),
        "dma": 2 * FIFO_BEATS * 8 * port * _register(technology, MUX_GATES_PER_BIT)
        + _fields(("i_", "it_", "o_", "w_", "r_")) * _register(technology, NEST_GATES_PER_BIT),
        "postprocess": _postprocess_um2(chunk, technology),
        "parameters": PARAM_BANKS * technology.sram_area_um2(param_channels(chunk), PARAM_BITS),
    }


def _rf_words(chunk):
    return {Operand.W: chunk.rf_w_words, Operand.I: chunk.rf_i_words, Operand.O: chunk.rf_o_words}


def _rf_bits(chunk):
    return sum(2 * words * WORD_BITS[x] * chunk.sets(x) for x, words in _rf_words(chunk).items())


def _word_bits(chunk):
    """Registers of the words that the PEs work on, and of their products."""
    return chunk.pes * PRODUCT_BITS + sum(WORD_BITS[x] * chunk.sets(x) for x in Operand)


def _joins(chunk):
    """Adders that join psums of PEs: all but one of those that a tree joins; one a stage and lane of a chain."""
    if chunk.reduction is Reduction.TREE:
        return chunk.pes - chunk.pes // reduction_extent(chunk)
    if len(chunk.reduction_axes) == 2:  # along the columns of each row, then down the rows
        return chunk.pes - 1
    return chunk.n_o * (reduction_extent(chunk) - 1)


def _join_bits(chunk):
    """Registers of the joins: after every second level of a tree, after every stage of a chain."""
    return (16 if chunk.reduction is Reduction.TREE else 32) * _joins(chunk)


def _hop_bits(chunk):
    """Registers through which words of W and I hop. From line to line: all lanes, indices of the beat, and of every
    place its mask and offset; from place to place in a line: a word, its place in the register file, its mask.
    """
    bits = 0
    for x in (Operand.W, Operand.I):
        address = (_rf_words(chunk)[x] - 1).bit_length()
        for axis in hop_axes(chunk, x):
            hops, beside = chunk.axes[axis][1] - 1, chunk.pes // chunk.axes[axis][1]
            if axis == chunk.line_axis:
                bits += hops * (BEAT_BITS[x] + beside * (WORD_BITS[x] + address + 1))
            else:
                offsets = address if x is Operand.I and chunk.axes[chunk.line_axis][0] in (Dim.P, Dim.Q, Dim.R) else 0
                bits += hops * (BEAT_BITS[x] + chunk.widths[x] * WORD_BITS[x] + beside * (1 + offsets))
    return bits


def _register(technology, gates):
    """Area of a flip-flop with `gates` NAND2 of logic."""
    return technology["ff_area_um2"] + gates * technology["gate_area_um2"]


@functools.cache
def _fields(prefixes):
    """Bits of the state that walks the nests with these field names: as many as their jumps and last indices."""
    return sum(f.width for f in FIELDS if f.name.startswith(prefixes)) // 4


def _pe_array_um2(chunk, technology):
    adder = 32 * FULL_ADDER_GATES * technology["gate_area_um2"]
    words = _word_bits(chunk) * _register(technology, MUX_GATES_PER_BIT)
    registers = words + _join_bits(chunk) * technology["ff_area_um2"] + _hop_bits(chunk) * _register(technology, 1)
    return chunk.pes * technology["mac_area_um2"] + _joins(chunk) * adder + registers


def _postprocess_um2(chunk, technology):
    multiplier = 32 * MULTIPLIER_BITS * FULL_ADDER_GATES * technology["gate_area_um2"]
    lane = 2 * multiplier + LANE_REGISTER_BITS * technology["ff_area_um2"]  # own product and the residual's
    return chunk.n_pp * lane
