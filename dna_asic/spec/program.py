"""A compiled network: instructions, memory image and memory map."""

from dataclasses import dataclass

import numpy as np

from dna_asic.spec.accelerator import Mapping
from dna_asic.spec.instruction import Instruction
from dna_asic.spec.layer import LayerShape
from dna_asic.spec.pipeline import Place


@dataclass(frozen=True, kw_only=True)
class TensorLayout:
    """Where one activation tensor lies: [blocks][height][width][port_bytes] bytes.

    slots: physical channel of each logical channel; unused physical channels hold zeros or are multiplied by
    zero weights. base_select and address as in the instruction. copies: image n lies in copy n mod copies, `pitch`
    bytes from one to the next. The network's input and output have a copy per image (copies 0), and their pitch is
    what the pitch register is to hold.
    """

    name: str
    base_select: int
    address: int
    blocks: int
    height: int
    width: int
    port_bytes: int
    slots: tuple[int, ...]
    pitch: int
    copies: int = 1

    def at(self, image: int) -> int:
        """Address of the tensor of image number `image`, from the base that base_select names."""
        return self.address + (image % self.copies if self.copies else image) * self.pitch

    @property
    def size_bytes(self) -> int:
        """Bytes that one copy of the tensor takes."""
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
    """A layer as the hardware runs it: physical shape, mapping, place in the pipeline, instruction, output tensor."""

    name: str
    shape: LayerShape
    mapping: Mapping
    place: Place
    instruction: Instruction
    output: TensorLayout


@dataclass(frozen=True, kw_only=True)
class ChunkProgram:
    """What one chunk runs: `layers` in program order; `address` of the first instruction in the region."""

    address: int
    layers: tuple[CompiledLayer, ...]


@dataclass(frozen=True, kw_only=True)
class Program:
    """The chunks' programs one after another from offset 0 (instructions INSTRUCTION_BYTES apart, then one zero word
    of the same size), then weights and parameters, then room for intermediate tensors. Addresses with BASE_PROGRAM are
    offsets into this region, whichever chunk uses them; input and output have regions of their own.

    layers: in network order. image: bytes of instructions and weights. size_bytes: the whole region, tensors included.
    """

    chunks: tuple[ChunkProgram, ...]
    layers: tuple[CompiledLayer, ...]
    input: TensorLayout
    output: TensorLayout
    image: bytes
    size_bytes: int
    port_bytes: int
