"""A compiled network: instructions, memory image and memory map."""

from dataclasses import dataclass

import numpy as np

from dna_asic.spec.accelerator import Mapping
from dna_asic.spec.instruction import Instruction
from dna_asic.spec.layer import LayerShape


@dataclass(frozen=True, kw_only=True)
class TensorLayout:
    """Where one activation tensor lies: [blocks][height][width][port_bytes] bytes.

    slots: physical channel of each logical channel; unused physical channels hold zeros or are multiplied by
    zero weights. base_select and address as in the instruction.
    """

    name: str
    base_select: int
    address: int
    blocks: int
    height: int
    width: int
    port_bytes: int
    slots: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes the tensor takes."""
        return self.blocks * self.height * self.width * self.port_bytes

    def pack(self, values: np.ndarray) -> bytes:
        """Memory bytes of an int8 tensor [channels, height, width]; unused places are zero."""
        physical = np.zeros((self.blocks * self.port_bytes, self.height, self.width), np.int8)
        physical[list(self.slots)] = values
        blocks = physical.reshape(self.blocks, self.port_bytes, self.height, self.width)
        return blocks.transpose(0, 2, 3, 1).tobytes()

    def unpack(self, data: bytes) -> np.ndarray:
        """Inverse of `pack`: int8 [channels, height, width]."""
        blocks = np.frombuffer(data, np.int8).reshape(self.blocks, self.height, self.width, self.port_bytes)
        return blocks.transpose(0, 3, 1, 2).reshape(-1, self.height, self.width)[list(self.slots)]


@dataclass(frozen=True, kw_only=True)
class CompiledLayer:
    """A layer as the hardware runs it: physical shape, mapping, and its place in the program."""

    name: str
    shape: LayerShape
    mapping: Mapping
    output: TensorLayout


@dataclass(frozen=True, kw_only=True)
class Program:
    """Instructions at offset 0 (INSTRUCTION_BYTES apart, then one zero word of the same size), then weights and
    parameters, then room for intermediate tensors. Addresses with BASE_PROGRAM are offsets into this region;
    input and output have regions of their own.

    image: bytes of instructions and weights. size_bytes: the whole region, tensors included.
    """

    instructions: tuple[Instruction, ...]
    layers: tuple[CompiledLayer, ...]
    input: TensorLayout
    output: TensorLayout
    image: bytes
    size_bytes: int
    port_bytes: int
