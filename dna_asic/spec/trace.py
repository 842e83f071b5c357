"""A layer's schedule as steps: what the cost model and a bench of the Verilog both write, to be compared."""

from collections.abc import Iterable
from dataclasses import dataclass

BEGIN, NEXT, OVER, END = "begin", "next", "over", "end"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One boundary. cycle: since the layer's start. level: dram or array; tile: DRAM tile; step: array tile in it (0
    at the DRAM level). event: BEGIN of the first step, begin of the NEXT, the last step is OVER, END of its last drain
    or store. flips: operands that change halves, as "WI". waited: ports that were busy when computing was over, as
    "W+O" or "read", and empty without a wait.
    """

    cycle: int
    level: str
    tile: int
    step: int
    event: str
    flips: str = ""
    waited: str = ""

    @property
    def place(self) -> tuple[str, int, int, str]:
        """What it is, whenever it is."""
        return self.level, self.tile, self.step, self.event

    def text(self) -> str:
        """One line."""
        return (f"{self.cycle} {self.level} tile={self.tile} step={self.step} {self.event} "
                f"flips={self.flips or '-'} waited={self.waited or '-'}")


def first_difference(model: Iterable[Step], rtl: Iterable[Step]) -> tuple[Step | None, Step | None] | None:
    """The earliest step of which the two say different things, as each says it (None: not at all); None without one."""
    ours, theirs = ({step.place: step for step in steps} for steps in (model, rtl))
    pairs = [(ours.get(place), theirs.get(place)) for place in ours | theirs if ours.get(place) != theirs.get(place)]
    return min(pairs, key=lambda pair: min((s.cycle, s.level) for s in pair if s), default=None)
