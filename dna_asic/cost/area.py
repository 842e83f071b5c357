"""Area and flip-flops of a chip: counts of what the generated hardware is made of, times the technology's coefficients.

Counts follow from the structure of the hardware (docs/architecture.md, rtl_gen), coefficients from synthesis. Blocks:
pe_array (PEs, trees, chains, selection of the drain's lanes), rf, gb and parameters (memories), psum (logic at the
global buffers), noc (fills and drain), sequencer (of the array and of the tiles), dma, postprocess, control (run
controller, counters, registers). Wires and clock tree are not in it.
"""

import functools
from collections.abc import Mapping as Table

from dna_asic.spec.accelerator import POSITIONED, AcceleratorConfig, ChunkConfig, Reduction
from dna_asic.spec.dims import Dim, Operand
from dna_asic.spec.geometry import param_channels
from dna_asic.spec.instruction import INSTRUCTION_BYTES
from dna_asic.spec.latency import hop_axes, tree_depth
from dna_asic.technology import Technology

W, I, O = Operand  # noqa: E741
WORD_BITS = {W: 8, I: 8, O: 32}
PRODUCT_BITS, PSUM_BITS = 16, 32
PARAM_BANKS, PARAM_BITS = 4, 64
MEMORIES = ("gb", "parameters")

# Flip-flops as counted in chips: of a chunk, of a lane, of a byte of the port. The chip's registers are in its chunks'.
SEQUENCER_FLIP_FLOPS = 865
NOC_FLIP_FLOPS = 178
PSUM_FLIP_FLOPS = 7
ARRAY_FLIP_FLOPS = 20
DMA_FLIP_FLOPS, DMA_BYTE_FLIP_FLOPS = 806, 8
POSTPROCESS_FLIP_FLOPS, LANE_FLIP_FLOPS, POOL_FLIP_FLOPS = 125, 343, 22
CONTROL_FLIP_FLOPS = 2235


# Of these, flip-flops whose clock has no gate, and clock gates; of a chunk, of a lane.
GATE_FLIP_FLOPS = 1.9  # what the clock pin of a gate takes, in flip-flops
CONTROL_UNGATED, CONTROL_GATES = 650, 56
DMA_UNGATED, DMA_GATES = 76, 23
SEQUENCER_UNGATED, SEQUENCER_GATES = 27, 46
NOC_UNGATED, NOC_GATES = 62, 18
PSUM_UNGATED = 6
POSTPROCESS_UNGATED, POSTPROCESS_GATES, LANE_GATES = 4, 9, 2


Terms = dict[str, dict[str, float]]  # {block: {coefficient: how many}}


def area_um2(accelerator: AcceleratorConfig, technology: Technology) -> dict[str, float]:
    """Area per block, over all chunks."""
    logic = {block: sum(n * technology[name] for name, n in terms.items())
             for block, terms in area_terms(accelerator).items()}
    return logic | memory_area_um2(accelerator, technology)


@functools.lru_cache(maxsize=4096)
def area_terms(accelerator: AcceleratorConfig) -> Terms:
    """How many of each coefficient of the technology file the logic of each block takes, over all chunks."""
    total = {}
    for alone in accelerator.alone:
        chunk, port = alone.chunk, alone.port_bytes
        for block, terms in (
                ("pe_array", _pe_array(chunk)), ("rf", {"rf_area_um2": _rf_bits(chunk)}),
                ("psum", _psum(chunk, port)), ("noc", _noc(chunk)), ("sequencer", {"sequencer_area_um2": 1}),
                ("dma", {"dma_area_um2": 1}),
                ("postprocess", _postprocess(chunk, port)),
                ("control", {"control_area_um2": 1, "coordinate_area_um2": chunk.pe_rows + chunk.pe_cols})):
            _add(total.setdefault(block, {}), terms)
    return total


def memory_area_um2(accelerator: AcceleratorConfig, technology: Technology) -> dict[str, float]:
    """Area of the macros: global buffers, and the parameters of post-processing."""
    chips = accelerator.alone
    return {"gb": sum(buffer_area_um2(alone, x, technology) for alone in chips for x in Operand),
            "parameters": sum(PARAM_BANKS * technology.sram_area_um2(param_channels(alone.chunk), PARAM_BITS)
                              for alone in chips)}


def buffer_area_um2(accelerator: AcceleratorConfig, operand: Operand, technology: Technology) -> float:
    """Area of an operand's global buffer in the only chunk."""
    macros, words, bits = buffer_macros(accelerator, operand)
    return macros * technology.sram_area_um2(words, bits)


def buffer_macros(accelerator: AcceleratorConfig, operand: Operand) -> tuple[int, int, int]:
    """(macros, words, bits) of an operand's global buffer in the only chunk: banks of the narrower of its two ports.

    A bank holds both halves of W or I, which are written and read at one place each; O is read and written at both.
    """
    chunk = accelerator.chunk
    word_bytes = WORD_BITS[operand] // 8
    other = chunk.n_pp * word_bytes if operand is O else accelerator.port_bytes
    one = chunk.widths[operand] * word_bytes
    narrow, wide = min(one, other), max(one, other)
    apart = 2 if operand is O else 1
    return apart * (wide // narrow), max(1, _gb_bytes(chunk)[operand] // apart // wide), 8 * narrow


@functools.lru_cache(maxsize=4096)
def flip_flops(accelerator: AcceleratorConfig) -> dict[str, int]:
    """Flip-flops of each block, over all chunks."""
    total = {}
    for alone in accelerator.alone:
        chunk, port = alone.chunk, alone.port_bytes
        tiles, words = _tile_bits(chunk), _word_bits(chunk)
        _add(total, {
            "rf": _rf_bits(chunk),
            "pe_array": (ARRAY_FLIP_FLOPS + chunk.pes * PRODUCT_BITS + _file_bits(chunk)
                         + sum(_array_parts(chunk)[1:]) + _line_flip_flops(chunk)),
            "psum": chunk.n_o * PSUM_BITS + tiles[O] + PSUM_FLIP_FLOPS,
            "noc": _noc(chunk)["ff_area_um2"] + sum(tiles.values()) + NOC_FLIP_FLOPS,
            "sequencer": SEQUENCER_FLIP_FLOPS + sum(words.values()) + sum(tiles.values()),
            "dma": 8 * INSTRUCTION_BYTES + DMA_FLIP_FLOPS + DMA_BYTE_FLIP_FLOPS * port,
            "postprocess": POSTPROCESS_FLIP_FLOPS + LANE_FLIP_FLOPS * chunk.n_pp + POOL_FLIP_FLOPS * port,
            "control": CONTROL_FLIP_FLOPS + chunk.pe_rows + chunk.pe_cols})
    return total


@functools.lru_cache(maxsize=4096)
def clocked_flip_flops(accelerator: AcceleratorConfig) -> dict[str, float]:
    """What the clock of each block moves in a cycle in which nothing happens, in flip-flops, over all chunks."""
    total = {}
    for alone in accelerator.alone:
        chunk, beats = alone.chunk, INSTRUCTION_BYTES // alone.port_bytes
        sets = sum(chunk.sets(x) for x in Operand)
        ungated = {"control": CONTROL_UNGATED, "dma": DMA_UNGATED, "sequencer": SEQUENCER_UNGATED,
                   "postprocess": POSTPROCESS_UNGATED, "psum": PSUM_UNGATED + _tile_bits(chunk)[O],
                   "noc": NOC_UNGATED + _noc(chunk)["ff_area_um2"] - 8 * (chunk.n_w + chunk.n_i), "rf": 0,
                   "pe_array": ARRAY_FLIP_FLOPS + sum(_array_parts(chunk)[1:]) + _line_flip_flops(chunk)}
        gates = {"control": CONTROL_GATES, "dma": DMA_GATES + beats, "sequencer": SEQUENCER_GATES, "psum": 1,
                 "postprocess": POSTPROCESS_GATES + LANE_GATES * chunk.n_pp, "noc": NOC_GATES,
                 "rf": sum(2 * words * chunk.sets(x) for x, words in rf_words(chunk).items()),
                 "pe_array": chunk.pes + sets}
        _add(total, {block: n + GATE_FLIP_FLOPS * gates[block] for block, n in ungated.items()})
    return total


def _add(total, terms: Table[str, float]):
    for name, n in terms.items():
        total[name] = total.get(name, 0) + n


def _gb_bytes(chunk):
    return {W: chunk.gb_w_bytes, I: chunk.gb_i_bytes, O: chunk.gb_o_bytes}


def rf_words(chunk: ChunkConfig) -> dict[Operand, int]:
    """Words of one half of an operand's register file."""
    return {W: chunk.rf_w_words, I: chunk.rf_i_words, O: chunk.rf_o_words}


def _word_bits(chunk):
    """Address bits of the register files."""
    return {x: max(1, (words - 1).bit_length()) for x, words in rf_words(chunk).items()}


def _tile_bits(chunk):
    """Address bits of a half of the global buffers, in the units in which the array's side counts."""
    units = {W: chunk.gb_w_bytes // 2 // chunk.n_w, I: chunk.gb_i_bytes // 2, O: chunk.gb_o_bytes // 8}
    return {x: (n - 1).bit_length() for x, n in units.items()}


def _file_bits(chunk):
    """Bits of the words that stand beside the register files: operands, psums."""
    return sum(WORD_BITS[x] * chunk.sets(x) for x in Operand)


def _rf_bits(chunk):
    return sum(2 * words * WORD_BITS[x] * chunk.sets(x) for x, words in rf_words(chunk).items())


def _line(chunk):
    """(axis along a line of PEs, axis across, PEs of a line, lines)."""
    across = "col" if chunk.line_axis == "row" else "row"
    return chunk.line_axis, across, chunk.axes[chunk.line_axis][1], chunk.axes[across][1]


def tree_bits(terms: int, bits: int = PRODUCT_BITS) -> tuple[int, int, int]:
    """(bits of all adders, flip-flops, bits of the sum) of an adder tree: a register after every two levels."""
    adders = registers = level = 0
    while terms > 1:
        adders += terms // 2 * bits
        terms, bits, level = (terms + 1) // 2, bits + 1, level + 1
        if level % 2 == 0 or terms == 1:
            registers += terms * bits
    return adders, registers, bits


def _array_parts(chunk):
    """(bits of adders between PEs, flip-flops of trees and chains, of hops, of the drain's lanes)."""
    along, across, length, count = _line(chunk)
    adders = joins = 0
    if chunk.reduction is Reduction.TREE:
        bits = PRODUCT_BITS
        if along in chunk.tree_axes:
            adders, joins, bits = tree_bits(length)
            adders, joins = count * adders, count * joins
        if across in chunk.tree_axes:
            more, registers, _ = tree_bits(count, bits)
            adders, joins = adders + more, joins + registers
    else:
        if across in chunk.reduction_axes:
            adders = joins = count * chunk.n_o * PSUM_BITS
        if along in chunk.reduction_axes:
            adders, joins = adders + count * length * PSUM_BITS, joins + count * (length - 1) * PSUM_BITS
    hops = 0
    for x in (W, I):
        moving = hop_axes(chunk, x)
        if along in moving:
            hops += count * (length - 1) * (1 + WORD_BITS[x] + _word_bits(chunk)[x])
        if across in moving:
            hops += (count - 1) * length * (1 + (_word_bits(chunk)[I] if x is I and _moves(chunk, along) else 0))
    return adders, joins, hops, 0 if _chained(chunk) else chunk.n_o * PSUM_BITS


def _line_flip_flops(chunk):
    """Counts of captured words, a strobe, and the drain's word and place along a chain."""
    _, _, length, count = _line(chunk)
    place = _word_bits(chunk)[O] + (length - 1).bit_length()
    return count * (2 * length.bit_length() + 2) + (count - 1) * place * _chained(chunk)


def _chained(chunk):
    """Whether psums are summed from line to line at the drain."""
    return chunk.reduction is Reduction.DRAIN and _line(chunk)[1] in chunk.reduction_axes


def _moves(chunk, axis):
    """Whether a PE's window of the input depends on its coordinate on the axis."""
    return chunk.axes[axis][0] in (Dim.P, Dim.Q, Dim.R)


def _selected_bits(chunk):
    """Bits of the selection of the drain's lanes: in each line among its roots, then among the lines."""
    along, across, length, count = _line(chunk)
    lanes = chunk.n_o if chunk.lane_axis(O) == along else 1
    if across in chunk.tree_axes:
        return 0
    roots = 1 if along in chunk.reduction_axes else length
    bits = count * max(0, roots - lanes) * PSUM_BITS
    return bits if _chained(chunk) else bits + max(0, count * lanes - chunk.n_o) * PSUM_BITS


def _pe_array(chunk):
    adders, joins, hops, lanes = _array_parts(chunk)
    operands = 8 * (chunk.sets(W) + chunk.sets(I))
    return {"mac_area_um2": chunk.pes, "accumulator_area_um2": chunk.sets(O), "adder_area_um2": adders,
            "ff_area_um2": operands + joins + hops + lanes, "mux_area_um2": operands + _selected_bits(chunk)}


def _psum(chunk, port):
    banks, rows = chunk.o_unit, _tile_bits(chunk)[O]
    read = sum(max(0, 8 * port - 8 * width) for width in (chunk.n_w, chunk.n_i))
    old = PSUM_BITS * (banks + banks - 1 + (chunk.n_o - 1) * (banks // chunk.n_o - 1))
    served = PSUM_BITS * (2 * banks - chunk.n_pp)
    return {"psum_area_um2": chunk.n_o, "mux_area_um2": read + old + served + 2 * banks * rows}


def _noc(chunk):
    along, across, length, count = _line(chunk)
    bits = 2 * (length + count)  # masks
    for x in (W, I):
        moving, word = hop_axes(chunk, x), _word_bits(chunk)[x]
        heads = count if across in moving else 1
        bits += heads * (8 * chunk.widths[x] + word)
        bits += sum((chunk.axes[axis][1] - 1) * _beat_bits(chunk, x, axis) for axis in moving)
    windows = sum(extent for axis, (_, extent) in chunk.axes.items() if _moves(chunk, axis))
    stages = 1 + sum(chunk.axes[axis][1] - 1 for axis in chunk.reduction_axes if chunk.reduction is Reduction.DRAIN)
    emptying = sum(tree_depth(chunk.axes[axis][1]) for axis in chunk.tree_axes)
    return {"fill_area_um2": 1, "ff_area_um2": bits + emptying + stages * (1 + _tile_bits(chunk)[O]),
            "coordinate_area_um2": 2 * (length + count), "window_area_um2": windows}


def _beat_bits(chunk, operand, axis):
    """What hops beside the words of W or I for an axis: valid, other axis, word, row, column."""
    dim, across = chunk.axes[axis][0], axis != chunk.line_axis
    bits = across + 6 * (dim in POSITIONED[operand])
    if operand is W:
        return bits + across * _word_bits(chunk)[W]
    row = 10 if chunk.crossed else 13
    return bits + {Dim.Q: 10, Dim.P: row, Dim.R: row}.get(dim, 0) + 12 * across


def _postprocess(chunk, port):
    groups = port // chunk.n_pp
    narrow = max(0, 8 * port - PARAM_BITS * chunk.n_pp) if port > 8 * chunk.n_pp else 0
    return {"postprocess_area_um2": 1, "lane_area_um2": chunk.n_pp, "pool_area_um2": port,
            "mux_area_um2": (8 * port - 8 * chunk.n_pp if groups > 1 else 0) + narrow}
