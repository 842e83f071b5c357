"""Random chips with the networks to run on them, drawn so that they cover what is wanted."""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dna_asic.contract.coverage import (
    LATENCIES,
    Coverage,
    chip_features,
    chunk_features,
    layer_features,
    wanted_targets,
)
from dna_asic.contract.layers import (
    KINDS,
    STRIDES,
    TRIES,
    Tensor,
    draw_input,
    draw_layer,
    extended,
    tensors_of,
)
from dna_asic.contract.model import predict_cycles
from dna_asic.errors import InfeasibleDesign
from dna_asic.gads import GadsSpace
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.mapper import random_mapping, random_orders, trivial_mapping
from dna_asic.spec.accelerator import AcceleratorConfig, Mapping, Reduction, loop_order
from dna_asic.spec.design import Design
from dna_asic.spec.dims import REDUCTION
from dna_asic.spec.layer import LayerShape, NetworkSpec
from dna_asic.spec.pipeline import pipeline

TARGET = "asic-28nm"  # prices do not matter here
NETWORK_LAYERS = 10
CHUNK_COUNTS = (2, 1, 3, 2, 4, 1, 2, 2, 3, 1)  # of one design after another
CHUNK_DRAWS = 150
LAYER_DRAWS = 12
MAPPING_DRAWS = 8
MAPPING_TRIES = 300
MAX_CYCLES = 12_000  # of a layer, if one of the mappings drawn can keep it
SMALL_SIDE = 4  # PEs along the other axis of a long array
# What every chunk must be able to run: a probe against buffers too small for anything.
PROBES = (LayerShape(k=4, c=8, p=2, q=2, r=3, s=3, h=4, w=4), LayerShape(g=8, k=1, c=1, p=2, q=2, r=4, s=4, h=5, w=5))


@dataclass(frozen=True, kw_only=True)
class Point:
    """One layer of a design: its kind, the chunk it runs on."""

    design: str
    layer: str
    kind: str
    chunk: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A chip and what runs on it; `points` by network, then by layer."""

    name: str
    designs: tuple[Design, ...]
    points: tuple[Point, ...]

    @property
    def accelerator(self) -> AcceleratorConfig:
        """The chip."""
        return self.designs[0].accelerator


class Planner:
    """Draws plans. `coverage` is what they cover so far. Deterministic in the seed."""

    def __init__(self, space: GadsSpace, seed: int):
        self.seed, self.rng = seed, random.Random(seed)
        self.counts = [c.options for c in space.choices if c.label == "chunks"][0]
        self.space = space.pinned(["chunks=1"])
        self.options = {c.label: c.options for c in self.space.choices}
        self.families = [f for f in itertools.product(*(self.options[n] for n in ("spatial", "reduction", "delivery")))
                         if _possible(*f)]
        self.coverage = Coverage(wanted_targets(self.space) | {(("chunks", n),) for n in self.counts})

    def plans(self, designs: int, points: int) -> Iterator[Plan]:
        """So many chips, with so many points among them."""
        for n in range(designs):
            mine = points * (n + 1) // designs - points * n // designs
            yield self._plan(f"design-{n:03}", CHUNK_COUNTS[n % len(CHUNK_COUNTS)], mine)

    def _plan(self, name, chunks, points):
        accelerator = self._accelerator(name, min(chunks, max(self.counts)))
        designs, planned, wishes = [], [], self._chunks_in_turn(accelerator)
        while len(planned) < points:
            size = min(NETWORK_LAYERS, points - len(planned))
            network = _Network(self, accelerator, f"{name}-{len(designs)}", [next(wishes) for _ in range(size)])
            design, kinds = network.draw()
            planned += [Point(design=network.name, layer=x.name, kind=kinds[x.name], chunk=design.assignment[x.name])
                        for x in design.network.layers]
            designs.append(design)
        return Plan(name=name, designs=tuple(designs), points=tuple(planned))

    def _chunks_in_turn(self, accelerator):
        """Endless: chunks for layers, each as often as the others, in random order."""
        while True:
            yield from self.rng.sample(range(len(accelerator.chunks)), len(accelerator.chunks))

    def _accelerator(self, name, chunks) -> AcceleratorConfig:
        port = self._fresh("port_bytes", self.options["port_bytes"])
        drawn = [self._chunk(port) for _ in range(chunks)]
        return replace(drawn[0], name=name, chunks=tuple(x.chunk for x in drawn),
                       memory_latency_cycles=self._fresh("memory_latency_cycles", LATENCIES))

    def _fresh(self, name, options):
        """A value that was not met yet, or any."""
        return max(options, key=lambda v: (self.coverage.gain({name: v}), self.rng.random()))

    def _chunk(self, port) -> AcceleratorConfig:
        """The chip of one chunk that covers most, of those drawn; smaller ones first."""
        family = dict(zip(("spatial", "reduction", "delivery"), max(
            self.families, key=lambda f: (self._family_gain(f), self.rng.random())), strict=True))
        score = lambda a: self.coverage.gain(chunk_features(a.chunk)) - a.chunk.pes / 10_000  # noqa: E731
        best = max(self._candidates(family, port), key=score)
        self.coverage.add(chunk_features(best.chunk))
        return best

    def _family_gain(self, family):
        return self.coverage.gain(dict(zip(("spatial", "reduction", "delivery"), family, strict=True)))

    def _candidates(self, family, port):
        found = 0
        while found < CHUNK_DRAWS:
            sample = {label: self._drawn(label) for label in self.options}
            sample |= family | {"port_bytes": port, "chunks": 1} | self._sides()
            try:
                accelerator = self.space.build(sample)
                for probe in PROBES:
                    trivial_mapping(probe, accelerator, accelerator.chunk)
            except InfeasibleDesign:
                continue
            found += 1
            yield accelerator

    def _drawn(self, label):
        """A value, with even chances one that was not met yet."""
        fresh = [v for v in self.options[label] if self.coverage.gain({label: v})]
        return self.rng.choice(fresh if fresh and self.rng.random() < 0.5 else self.options[label])

    def _sides(self):
        """PEs of a small array, or of a long one."""
        rows, cols = (self._drawn(n) for n in ("pe_rows", "pe_cols"))
        if rows * cols <= SMALL_SIDE**2:
            return {"pe_rows": rows, "pe_cols": cols}
        short = {n: [v for v in self.options[n] if v <= SMALL_SIDE] or self.options[n] for n in ("pe_rows", "pe_cols")}
        if self.rng.random() < 0.5:
            return {"pe_rows": rows, "pe_cols": self.rng.choice(short["pe_cols"])}
        return {"pe_rows": self.rng.choice(short["pe_rows"]), "pe_cols": cols}


def _possible(spatial, reduction, delivery):
    return reduction == Reduction.TREE.value or bool(REDUCTION & set(loop_order(spatial)))


class _Network:
    """Draws one network with its assignment and mappings; chunks: that of each layer."""

    def __init__(self, planner: Planner, accelerator: AcceleratorConfig, name: str, chunks: Sequence[int]):
        self.rng, self.coverage = planner.rng, planner.coverage
        self.accelerator, self.name, self.chunks, self.seed = accelerator, name, chunks, planner.seed

    def draw(self) -> tuple[Design, dict[str, str]]:
        """The design, and the kind of each layer."""
        network = NetworkSpec(name=self.name, input_shape=self._input(), layers=())
        assignment, kinds = {}, {}
        for n, chunk in enumerate(self.chunks):
            network, kind = self._longer(network, f"layer-{n:02}", chunk, assignment)
            assignment[network.layers[-1].name], kinds[network.layers[-1].name] = chunk, kind
            self.coverage.add(self._features(chunk) | layer_features(kind, network.layers[-1].shape))
        shapes = hardware_shapes(network, self.accelerator.port_bytes)
        mappings = {name: self._mapping(shape, assignment[name]) for name, shape in shapes}
        return Design(target=TARGET, seed=self.seed, choices=(), network=network, accelerator=self.accelerator,
                      mappings=mappings, assignment=assignment), kinds

    def _input(self):
        tensor: Tensor = draw_input(self.rng)
        return tensor.channels, tensor.h, tensor.w

    def _features(self, chunk):
        return chip_features(self.accelerator) | chunk_features(self.accelerator.chunks[chunk])

    def _longer(self, network, name, chunk, assignment):
        """With one layer more, of the kind and stride that cover most among those that can be had."""
        wishes = sorted(itertools.product(KINDS, STRIDES), key=lambda w: -self._gain(chunk, *w) - self.rng.random())
        for kind, stride in wishes:
            drawn = [draw_layer(name, kind, stride, tensors_of(network), self.rng) for _ in range(TRIES)]
            best = sorted((x for x in drawn if x), key=lambda x: -self.coverage.gain(layer_features(kind, x.shape)))
            for layer in best[:LAYER_DRAWS]:
                longer = extended(network, layer, self.accelerator.port_bytes)
                if longer and self._runs(longer, assignment | {name: chunk}):
                    return longer, kind
        raise InfeasibleDesign(f"Design '{self.accelerator.name}': no layer found for chunk {chunk}.")

    def _gain(self, chunk, kind, stride):
        return self.coverage.gain(self._features(chunk) | {"kind": kind, "stride": stride})

    def _runs(self, network, assignment):
        """Whether every layer has a mapping on its chunk, and no tensor needs too many copies."""
        try:
            pipeline(network, assignment, len(self.accelerator.chunks))
            for name, shape in hardware_shapes(network, self.accelerator.port_bytes):
                alone = self.accelerator.alone[assignment[name]]
                trivial_mapping(shape, alone, alone.chunk)
        except InfeasibleDesign:
            return False
        return True

    def _mapping(self, shape: LayerShape, chunk: int) -> Mapping:
        """A random one: the first that is not too slow, or the fastest, the plain one in a random order among them."""
        alone, drawn = self.accelerator.alone[chunk], []
        for _ in range(MAPPING_DRAWS):
            mapping = random_mapping(shape, alone, alone.chunk, self.rng, tries=MAPPING_TRIES)
            drawn.append((predict_cycles([(shape, alone, mapping)])[0], len(drawn), mapping))
            if drawn[-1][0] <= MAX_CYCLES:
                return mapping
        plain = replace(trivial_mapping(shape, alone, alone.chunk), **random_orders(self.rng))
        drawn.append((predict_cycles([(shape, alone, plain)])[0], len(drawn), plain))
        return min(drawn)[2]
