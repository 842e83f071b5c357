"""Fixed latencies of the generated hardware, in clock cycles: what the cost model adds, the RTL takes.

A duration a_X of a fill or drain runs from the flip that starts it to the first cycle in which the next flip of
its port group may happen. Each constant is proven by a test that counts cycles in simulation.
"""

import math

from dna_asic.spec.accelerator import ChunkConfig, Delivery, Reduction
from dna_asic.spec.dims import Operand

FILL_CYCLES = 2  # buffer read, delivery register (the register-file write is the beat itself)
PE_CYCLES = 3  # operand, product and accumulator registers: a psum is final this long after its last MAC issues
DRAIN_CYCLES = 1  # sum register, before the buffer write
CORE_CYCLES = 2  # start of a DRAM tile's schedule to its first fill, and its end to done
DMA_JOB_CYCLES = 2  # job set-up of a read; the memory's latency comes on top
STORE_CYCLES = 7  # buffer read, five requantiser stages, pool and pack; to the write engine's last beat
WRITE_RESPONSE_CYCLES = 4  # bus register, write, and the ideal memory's response two cycles later
INSTRUCTION_CYCLES = 4  # decode and set-up of one layer, instruction fetch not counted
DECODE_CYCLES = 1  # an instruction's last beat to the decision that its layer runs or is skipped
SETUP_CYCLES = 1  # that decision to the first cycle in which the layer's waits can hold it up
SYNC_CYCLES = 2  # the end of a layer, or a skip, to the last cycle in which another chunk's layer is held up by it
LAYER_CYCLES = 1  # a layer's last response to the next layer's instruction fetch
RUN_CYCLES = 2  # the start bit itself, and the last layer's end to the interrupt


def tree_depth(width: int) -> int:
    """Register stages of the adder tree over `width` products: one stage per two levels of adders."""
    levels = max(width - 1, 0).bit_length()
    return -(-levels // 2)


def reduction_extent(chunk: ChunkConfig) -> int:
    """PEs joined into one psum."""
    return math.prod(chunk.axes[axis][1] for axis in chunk.reduction_axes)


def hop_axes(chunk: ChunkConfig, operand: Operand) -> tuple[str, ...]:
    """Axes along which words of W or I hop from PE to PE; along their lane axis they are wired to each lane's PEs."""
    if chunk.delivery is Delivery.MULTICAST:
        return ()
    return tuple(axis for axis in chunk.axes if axis != chunk.lane_axis(operand))


def fill_latency(chunk: ChunkConfig, operand: Operand) -> int:
    """Cycles of a W or I fill beyond its beats: as many more as hops to the farthest PE."""
    return FILL_CYCLES + sum(chunk.axes[axis][1] - 1 for axis in hop_axes(chunk, operand))


def drain_latency(chunk: ChunkConfig) -> int:
    """Cycles of an O drain beyond its beats: the pipeline runs empty, then the tree or chain, then the buffer.

    Where both axes reduce, psums are joined along the columns of each row, then over the rows.
    """
    extents = [chunk.axes[axis][1] for axis in chunk.reduction_axes]
    stages = sum(tree_depth(n) if chunk.reduction is Reduction.TREE else n - 1 for n in extents)
    return PE_CYCLES + stages + DRAIN_CYCLES
