"""What random points are to cover: every value of every parameter, and every pair of values of some."""

import itertools
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from dna_asic.contract.layers import KINDS, STRIDES
from dna_asic.gads import GadsSpace
from dna_asic.gads.space import CHUNK_ENTRIES, WORDS
from dna_asic.spec.accelerator import AcceleratorConfig, ChunkConfig, Reduction, loop_order
from dna_asic.spec.dims import REDUCTION
from dna_asic.spec.layer import MAX_KERNEL, LayerShape

CROSSED = (*WORDS, "kind", "stride")  # of these every pair of values
LATENCIES = (1, 7, 20, 100)  # of the memory, in cycles
LAYER_VALUES = {
    "kind": KINDS, "stride": STRIDES, "kernel": range(1, 8), "pooling kernel": range(2, MAX_KERNEL + 1),
    "pad": range(7), "k": (1, 30, 257), "p": (1, 7, 13),
}
Features = Mapping[str, Hashable]
Target = tuple[tuple[str, Hashable], ...]


def targets(features: Features) -> set[Target]:
    """Single values, and pairs of crossed ones."""
    crossed = [(n, features[n]) for n in CROSSED if n in features]
    return {(item,) for item in features.items()} | set(itertools.combinations(crossed, 2))


def wanted_targets(space: GadsSpace) -> set[Target]:
    """All that points of a space of one-chunk labels (`pinned` to chunks=1) can cover, but the number of chunks."""
    options = {c.label: c.options for c in space.choices if c.label != "chunks"}
    options |= {"memory_latency_cycles": LATENCIES} | LAYER_VALUES
    single = {((name, value),) for name, values in options.items() for value in values}
    pairs = {((a, x), (b, y)) for a, b in itertools.combinations(CROSSED, 2) for x in options[a] for y in options[b]}
    return {t for t in single | pairs if not _impossible(dict(t))}


def _impossible(values):
    """A drain chain needs a dim to reduce along."""
    return (values.get("reduction") == Reduction.DRAIN.value and "spatial" in values
            and not REDUCTION & set(loop_order(values["spatial"])))


def chunk_features(chunk: ChunkConfig) -> dict[str, Hashable]:
    """Values of a chunk, named as the entries of GADS."""
    words = {"spatial": f"{chunk.row_dim.name} {chunk.col_dim.name}", "reduction": chunk.reduction.value,
             "delivery": chunk.delivery.value}
    return words | {name: getattr(chunk, name) for name in CHUNK_ENTRIES if name not in words}


def chip_features(accelerator: AcceleratorConfig) -> dict[str, Hashable]:
    """Values of a chip that are not those of a chunk."""
    return {"port_bytes": accelerator.port_bytes, "memory_latency_cycles": accelerator.memory_latency_cycles,
            "chunks": len(accelerator.chunks)}


def layer_features(kind: str, shape: LayerShape) -> dict[str, Hashable]:
    """Values of a layer, in logical channels."""
    kernel = "pooling kernel" if kind in ("average", "max", "global average") else "kernel"
    return {"kind": kind, "stride": shape.stride, kernel: shape.r, "pad": shape.pad, "k": shape.g * shape.k,
            "p": shape.p}


@dataclass
class Coverage:
    """Targets wanted, and how often points met them."""

    wanted: set[Target]
    met: Counter = field(default_factory=Counter)

    def gain(self, features: Features) -> int:
        """Targets that a point with these features would be the first to meet."""
        return sum(t in self.wanted and t not in self.met for t in targets(features))

    def add(self, features: Features) -> None:
        """A point with these features ran."""
        self.met.update(t for t in targets(features) if t in self.wanted)

    @property
    def missing(self) -> list[str]:
        """Targets not met, in words."""
        return sorted(" with ".join(f"{name}={value}" for name, value in t) for t in self.wanted - set(self.met))

    def line(self) -> str:
        """How much of what was met."""
        kinds = {"values": 1, "pairs": 2}
        return " ".join(f"{name}={sum(len(t) == n for t in self.met)}/{sum(len(t) == n for t in self.wanted)}"
                        for name, n in kinds.items())
