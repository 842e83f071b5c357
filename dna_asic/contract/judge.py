"""Run designs on their Verilog and compare every layer with the integer reference and with the cost model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dna_asic.contract.model import design_rows, design_times, evaluate_rows
from dna_asic.golden import run_golden
from dna_asic.mapping.compile import compile_program
from dna_asic.spec.design import Design
from rtl_gen.emit import emit_verilog, up_to_date
from sim.chip import ChipRun, run_chip
from sim.integers import random_images, random_quant

HANG_FACTOR = 20  # a run that takes so many times the model's cycles is given up
SPARE_CYCLES = 100_000
_FETCHES = "dram_p_beats"  # also of instructions that no layer runs by: compared per chunk, told with its last layer


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One point. cycles of the layer by model and Verilog (none if it did not end); counts: (model, Verilog) of each
    counter that differs. parted: where steps of the two part, in words, if they were compared and do.
    """

    design: str
    layer: str
    bit_exact: bool
    cycles_model: int
    cycles_rtl: int | None
    counts: dict[str, tuple[int, int | None]]
    parted: str = ""

    @property
    def cycles_equal(self) -> bool:
        """Of model and Verilog."""
        return self.cycles_model == self.cycles_rtl

    @property
    def holds(self) -> bool:
        """The contract, at this point."""
        return self.bit_exact and self.cycles_equal and not self.counts and not self.parted

    @property
    def error_pct(self) -> float:
        """Of the model's cycles; infinite where the Verilog did not end."""
        if self.cycles_rtl is None:
            return float("inf")
        return abs(self.cycles_model - self.cycles_rtl) / self.cycles_rtl * 100

    def text(self) -> str:
        """What differs, in words."""
        faults = [] if self.bit_exact else ["bytes differ from golden"]
        if not self.cycles_equal:
            faults.append(f"{self.cycles_rtl} cycles, and the cost model says {self.cycles_model}")
        faults += [f"{name}={rtl}, and the cost model says {model}" for name, (model, rtl) in self.counts.items()]
        faults += [self.parted] * bool(self.parted)
        return "; ".join(faults) or "bytes, cycles and counts are equal"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where a chip is built and run. verilog: may have been edited, and is made afresh only for another design."""

    verilog: Path
    work: Path
    build_root: Path

    def make(self, design: Design) -> "Bench":
        """With the Verilog of the design's chip."""
        if not up_to_date(design.accelerator, self.verilog):
            emit_verilog(design.accelerator, self.verilog)
        return self


def judge(design: Design, bench: Bench, seed: int, steps: bool = False) -> list[Verdict]:
    """A verdict per layer, in network order, after one image; weights, image and all from the seed. steps: see
    `run_chip`.
    """
    quant = random_quant(design.network, seed)
    images = random_images(design.network, 1, seed)
    program = compile_program(design.accelerator, quant, design.mappings, design.assignment)
    rows = design_rows(design)
    model = dict(zip(rows, evaluate_rows(list(rows.values())), strict=True))
    times = design_times(design, {name: cycles for name, (cycles, _) in model.items()})
    ends = {name: end for (name, _), end in times.ends.items()}
    (run,) = run_chip(bench.verilog, program, design.accelerator, [[program.input.pack(x) for x in images]],
                      work=bench.work, build_root=bench.build_root, quick=True, steps=steps,
                      limit_cycles=HANG_FACTOR * max(ends.values()) + SPARE_CYCLES)
    golden = {name: tensor[0] for name, tensor in run_golden(quant, images).items()}
    exact = {x.name: _same(x.output, run, golden[x.name]) for x in program.layers}
    predicted = _durations(design, ends)
    measured = _durations(design, {name: cycle for (name, _), cycle in run.ends.items()})
    mine = {name: {n: v for n, v in model[name][1].items() if n != _FETCHES} for name in rows}
    counts = {name: _differences(mine[name], run.events.get((name, 0))) for name in rows}
    for program, counters, idle in zip(design.pipeline.programs, run.counters, times.idle_fetches):
        if program:
            fetched = {_FETCHES: (len(program) + idle) * model[program[0].name][1][_FETCHES]}
            counts[program[-1].name] |= _differences(fetched, counters)
    return [Verdict(design=design.network.name, layer=name, bit_exact=exact[name] and name in measured,
                    cycles_model=predicted[name], cycles_rtl=measured.get(name), counts=counts[name]) for name in rows]


def _same(tensor, run: ChipRun, golden) -> bool:
    got = tensor.unpack(run.outputs[0][tensor.name])
    return np.array_equal(got, golden.reshape(got.shape))


def _durations(design: Design, ends: dict[str, int]) -> dict[str, int]:
    """Cycles of each layer that ended: from the end before on its chunk."""
    durations = {}
    for program in design.pipeline.programs:
        names = [place.name for place in program if place.name in ends]
        durations |= dict(zip(names, np.diff([ends[n] for n in names], prepend=0).tolist()))
    return durations


def _differences(model: dict[str, int], rtl: dict[str, int] | None) -> dict[str, tuple[int, int]]:
    rtl = rtl or {}
    return {name: (value, rtl.get(name)) for name, value in model.items() if rtl.get(name) != value}


def totals(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Of the last line."""
    errors = [v.error_pct for v in verdicts]
    return {"points": len(verdicts), "bit_exact": sum(v.bit_exact for v in verdicts),
            "cycles_equal": sum(v.cycles_equal for v in verdicts), "counts_equal": sum(not v.counts for v in verdicts),
            "mean_error_pct": float(np.mean(errors)), "worst_error_pct": float(max(errors))}


def summary_line(verdicts: Sequence[Verdict]) -> str:
    """The last line of the command."""
    return "contract: " + " ".join(f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
                                   for name, value in totals(verdicts).items())
