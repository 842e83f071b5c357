"""How several chunks share a network: the program of each, at which distance in images, and what waits for what.

A chunk runs its program over and over, one pass an *iteration* i = 0, 1, 2, ... A layer has a *stage* s: in iteration i
it works on image i - s, and is skipped where there is no such image. A layer that reads what its own chunk made has at
least the maker's stage; one that reads what another chunk made, at least one more. So layers of different chunks work
on different images at once. A tensor that is read up to d stages after it is made has 1 + d copies or more, a power of
two; image n has copy n mod copies.

A layer waits, in iteration i, until another chunk has come to position k of iteration i - d (lexicographically): past
the maker of what it reads, and past the last reader of the copy that it overwrites. Every d is at least 1, which is
why no two chunks can wait for each other.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dna_asic.errors import InfeasibleDesign, SpecError
from dna_asic.spec.layer import LayerSpec, NetworkSpec

MAX_COPIES = 8


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Chunk `chunk` must have come to `position` of the iteration that is `distance` before the waiting layer's."""

    chunk: int
    distance: int
    position: int


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and when a layer runs: chunk, position in its program, stage, at most one wait per other chunk, and the
    copies of its output tensor (the network's output has a place of its own per image, and counts as one).
    """

    name: str
    chunk: int
    position: int
    stage: int
    waits: tuple[Wait, ...]
    copies: int


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Places of a network's layers: `layers` by name, in network order; `programs` by chunk, each in program order."""

    layers: dict[str, Place]
    programs: tuple[tuple[Place, ...], ...]


def assignment_faults(layers: Sequence[str], assignment: Mapping[str, int], chunks: int):
    """Yield what is wrong with an assignment of layers to chunks; none at all puts every layer on a single chunk."""
    if not assignment and chunks == 1:
        return
    missing, unknown = [n for n in layers if n not in assignment], [n for n in assignment if n not in layers]
    if missing:
        yield f"Assignment: no chunk for layer {', '.join(missing)}; name one of 0..{chunks - 1}."
    if unknown:
        yield f"Assignment: the network has no layer {', '.join(unknown)}; remove it."
    for name, chunk in assignment.items():
        if not 0 <= chunk < chunks:
            yield f"Assignment: chunk of layer '{name}' must be in 0..{chunks - 1}, not {chunk}."


def pipeline(network: NetworkSpec, assignment: Mapping[str, int], chunks: int) -> Pipeline:
    """Programs of `chunks` chunks; the smallest stages, each program by stage and then in network order.

    Raises SpecError for an assignment that is not one, InfeasibleDesign for a tensor that needs too many copies.
    """
    names = [layer.name for layer in network.layers]
    faults = list(assignment_faults(names, assignment, chunks))
    if faults:
        raise SpecError("\n".join(faults))
    on = {name: assignment.get(name, 0) for name in names}
    stages = _stages(network, on)
    order = sorted(names, key=lambda n: stages[n])  # stable: network order within a stage
    programs = [[n for n in order if on[n] == chunk] for chunk in range(chunks)]
    position = {n: k for program in programs for k, n in enumerate(program)}
    readers = {n: [r.name for r in network.layers if n in _reads(r)] for n in names}
    copies = {n: _copies(network, n, max((stages[r] - stages[n] for r in readers[n]), default=0)) for n in names}
    places = {}
    for layer in network.layers:
        name = layer.name
        full = [(t, stages[name] - stages[t]) for t in _reads(layer) if t in on]
        free = [(r, stages[name] + copies[name] - stages[r]) for r in readers[name]]
        places[name] = Place(name=name, chunk=on[name], position=position[name], stage=stages[name],
                             waits=_waits(full + free, on, position, on[name]), copies=copies[name])
    return Pipeline(layers=places, programs=tuple(tuple(places[n] for n in program) for program in programs))


def passes(program: Sequence[Place], images: int) -> Iterator[tuple[Place, int]]:
    """(place, image) in the order in which a chunk runs them for images 0 .. `images` - 1."""
    last = program[-1].stage + images if program else 0
    for iteration in range(last):
        for place in program:
            if 0 <= iteration - place.stage < images:
                yield place, iteration - place.stage


def _reads(layer: LayerSpec) -> list[str]:
    return [t for t in (layer.source, layer.residual) if t]


def _stages(network, on):
    stages = {}
    for layer in network.layers:
        made = [t for t in _reads(layer) if t in on]
        stages[layer.name] = max((stages[t] + (on[t] != on[layer.name]) for t in made), default=0)
    return stages


def _copies(network, name, distance):
    """Smallest power of two above `distance`."""
    copies = 1 << distance.bit_length()
    if copies > MAX_COPIES:
        raise InfeasibleDesign(f"Network '{network.name}': tensor '{name}' is read {distance} stages after it is made "
                               f"and needs {copies} copies, more than {MAX_COPIES}; put its readers nearer.")
    return copies


def _waits(conditions, on, position, chunk):
    """Of the conditions (layer to be past, distance) on each other chunk the strictest: it implies the rest."""
    strictest = {}
    for name, distance in conditions:
        if on[name] != chunk:
            condition = (-distance, position[name] + 1)
            strictest[on[name]] = max(strictest.get(on[name], condition), condition)
    return tuple(Wait(chunk=c, distance=-d, position=k) for c, (d, k) in sorted(strictest.items()))
