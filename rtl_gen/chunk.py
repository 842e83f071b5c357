"""The compute side of a chunk: global buffers, NoC, PE array and their sequencer."""

from amaranth.lib.wiring import In, Out

from dna_asic.spec.accelerator import AcceleratorConfig, ChunkConfig
from rtl_gen.buffer import address_bits
from rtl_gen.fields import InstructionLayout

COUNT_BITS = {  # increment of each event counter in this cycle
    "macs": 13, "rf_w_reads": 13, "rf_i_reads": 13, "rf_o_reads": 13, "rf_w_writes": 13, "rf_i_writes": 13,
    "rf_o_writes": 13, "gb_w_reads": 7, "gb_i_reads": 7, "gb_o_reads": 7, "gb_w_writes": 7, "gb_i_writes": 7,
    "gb_o_writes": 7,
}


def core_ports(config: AcceleratorConfig, chunk: ChunkConfig) -> dict:
    """Ports of `ChunkCore`.

    start: pulse, with w_half, i_half, o_half (the global-buffer halves to use) and first_reduction (first DRAM tile
    along C) held until done. done: pulse. gb_w_write_*, gb_i_write_*: a row of port_bytes bytes of a half.
    gb_o_read_*: n_pp words of a half (address in units of n_pp words), data one cycle later; not the half in use by
    the drain. count_*: what happened in this cycle, to be added up.
    """
    port = config.port_bytes
    ports = {
        "instruction": In(InstructionLayout),
        "start": In(1), "w_half": In(1), "i_half": In(1), "o_half": In(1), "first_reduction": In(1),
        "done": Out(1),
        "gb_o_read_en": In(1), "gb_o_read_half": In(1),
        "gb_o_read_address": In(address_bits(chunk.gb_o_bytes // 8 // chunk.n_pp)),
        "gb_o_read_data": Out(32 * chunk.n_pp),
    }
    for name, size in (("w", chunk.gb_w_bytes), ("i", chunk.gb_i_bytes)):
        ports |= {f"gb_{name}_write_en": In(1), f"gb_{name}_write_half": In(1),
                  f"gb_{name}_write_row": In(address_bits(size // 2 // port)), f"gb_{name}_write_data": In(8 * port)}
    return ports | {f"count_{name}": Out(bits) for name, bits in COUNT_BITS.items()}
