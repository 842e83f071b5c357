"""When every layer ends where several chunks work at once: the recurrence that the run controllers of the chip follow.

Cycles count from the start bit. A controller fetches an instruction, steps its image back to the layer's stage (a cycle
per stage), and then skips the layer (its image is past the last), ends its pass early (there is no such image yet, and
none of what follows has one), or runs it as soon as its waits allow. Rules: `spec.pipeline`.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from dna_asic.spec.latency import SETUP_CYCLES, SYNC_CYCLES
from dna_asic.spec.pipeline import Place


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """ends: cycle in which a layer ended, by (layer, image), in the order of each chunk's program. cycles: the last
    one. chunk_cycles: each chunk's last one. idle_fetches: of each chunk, instructions fetched for no image.
    """

    ends: dict[tuple[str, int], int]
    chunk_cycles: tuple[int, ...]
    idle_fetches: tuple[int, ...]

    @property
    def cycles(self) -> int:
        """Cycle in which the last layer ended."""
        return max(self.chunk_cycles)


def schedule(programs: Sequence[Sequence[Place]], cycles: dict[str, int], fetch_cycles: int, images: int) -> Schedule:
    """Ends of all layers for images 0 .. `images` - 1, with the ideal memory.

    cycles: of each layer, from the end of the one before to its own, if nothing holds it up. fetch_cycles: of those,
    from the end before to the decision what becomes of the layer.
    """
    chunks = [_Chunk(program, cycles, fetch_cycles, images) for program in programs]
    iteration, ends = 0, {}
    while not all(chunk.finished for chunk in chunks):  # every wait is for an earlier iteration
        for chunk in chunks:
            if not chunk.finished:
                ends |= chunk.run(iteration, chunks)
        iteration += 1
    return Schedule(ends=ends, chunk_cycles=tuple(c.now for c in chunks),
                    idle_fetches=tuple(c.idle_fetches for c in chunks))


def period_cycles(programs: Sequence[Sequence[Place]], cycles: dict[str, int]) -> int:
    """Cycles from one image to the next when many follow each other: a pass of the slowest chunk."""
    return max(sum(cycles[place.name] for place in program) + program[-1].stage for program in programs if program)


@dataclass
class _Chunk:
    """One controller. now: end of what it did last. first: position before which all is over for good. log: what it
    has come to, as (iteration, position), rising, and when.
    """

    program: Sequence[Place]
    cycles: dict[str, int]
    fetch_cycles: int
    images: int
    now: int = 0
    first: int = 0
    idle_fetches: int = 0
    finished: bool = False
    log: list[tuple[tuple[float, int], int]] = field(default_factory=lambda: [((0, 0), 0)])

    def __post_init__(self):
        if not self.program or not self.images:
            self._come_to(math.inf, 0)
            self.finished = True

    def run(self, iteration: int, chunks: "Sequence[_Chunk]") -> dict[tuple[str, int], int]:
        """One pass; the ends of its layers."""
        ends, stage = {}, 0
        for position in range(self.first, len(self.program)):
            place = self.program[position]
            if place.stage > iteration:  # steps until there is no image any more
                self._skip(iteration + 1 - stage)
                break
            image, steps, stage = iteration - place.stage, place.stage - stage, place.stage
            if image >= self.images:
                self._skip(steps)
                self.first = position + 1
            else:
                self.now = self._end(place, steps, iteration, chunks)
                ends[place.name, image] = self.now
            self._come_to(iteration, position + 1)
        else:
            self.finished = iteration - self.program[-1].stage == self.images - 1
        self._come_to(math.inf if self.finished else iteration + 1, self.first)
        return ends

    def when(self, iteration: int, position: int) -> int:
        """First cycle at whose end the chunk had come so far."""
        return self.log[bisect.bisect_left(self.log, ((iteration, position), 0))][1]

    def _skip(self, steps):
        self.now += self.fetch_cycles + steps
        self.idle_fetches += 1

    def _end(self, place, steps, iteration, chunks):
        ready = self.now + self.fetch_cycles + steps + SETUP_CYCLES
        held = [chunks[w.chunk].when(iteration - w.distance, w.position) + SYNC_CYCLES
                for w in place.waits if w.distance <= iteration]
        return max([ready, *held]) + self.cycles[place.name] - self.fetch_cycles - SETUP_CYCLES

    def _come_to(self, iteration, position):
        self.log.append(((iteration, position), self.now))
