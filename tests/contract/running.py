"""A chip of one or several chunks, run in a simulator on random layers' mappings, beside what the cost model says."""

import random
from dataclasses import dataclass

import numpy as np
from chips import draw_design

from dna_asic.cost import Schedule, design_schedule, evaluate_design
from dna_asic.golden import run_golden
from dna_asic.mapping.compile import compile_program
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.dims import Operand
from dna_asic.spec.instruction import INSTRUCTION_BYTES
from dna_asic.spec.latency import RUN_CYCLES
from dna_asic.spec.pipeline import Pipeline, pipeline
from dna_asic.spec.program import Program
from dna_asic.spec.report import CostReport
from dna_asic.technology import load_technology
from rtl_gen.emit import chip_verilog
from sim.chip import ChipRun, run_chip
from sim.integers import random_images

W, I, O = Operand  # noqa: E741


@dataclass(frozen=True, kw_only=True)
class Point:
    """A program on a chip, with the golden tensors of its images."""

    chip: AcceleratorConfig
    places: Pipeline
    program: Program
    golden: dict[str, np.ndarray]
    report: CostReport

    def times(self, images: int) -> Schedule:
        """What the model says of a run of so many images."""
        return design_schedule(self.places.programs, {c.name: c.cycles for c in self.report.layers}, self.chip, images)

    def counters(self, chunk: int, images: int) -> dict[str, int]:
        """A chunk's counters as the cost model predicts them."""
        times, port = self.times(images), self.chip.port_bytes
        costs = [c for c in self.report.layers if self.places.layers[c.name].chunk == chunk]

        def total(of):
            return images * sum(of(layer.counts) for layer in costs)

        counters = {"cycles": RUN_CYCLES + times.chunk_cycles[chunk], "macs": total(lambda c: c.macs),
                    "layer": images * len(costs)}
        for x in Operand:
            for level in ("rf", "gb"):
                for access in ("reads", "writes"):
                    counters[f"{level}_{x.name.lower()}_{access}"] = total(lambda c: getattr(c, f"{level}_{access}")[x])  # noqa: B023
        return counters | {
            "dram_i_beats": total(lambda c: c.dram_reads[I]) // port,
            "dram_r_beats": total(lambda c: c.dram_reads[O]) // port,
            "dram_o_beats": total(lambda c: c.dram_writes[O]) // port,
            "dram_w_and_p_beats": (total(lambda c: c.dram_reads[W])
                                   + times.idle_fetches[chunk] * INSTRUCTION_BYTES) // port,
        }


def run(chip, quant, seed, batches, tmp_path_factory, change=lambda program: program,
        **options) -> tuple[Point, list[ChipRun]]:
    """Runs of so many images each, with random mappings on a random assignment; `change`: of the program."""
    print(f"seed {seed}")
    shapes = hardware_shapes(quant.network, chip.port_bytes)
    assignment, mappings = draw_design(chip, quant.network, random.Random(seed))
    program = change(compile_program(chip, quant, mappings, assignment))
    x = random_images(quant.network, sum(batches), seed)
    build = tmp_path_factory.getbasetemp() / f"build-{chip.name}"
    build.mkdir(exist_ok=True)
    verilog = build / "chip.v"
    if not verilog.exists():
        verilog.write_text(chip_verilog(chip))
    places = pipeline(quant.network, assignment, len(chip.chunks))
    report = evaluate_design(shapes, chip, mappings, load_technology("asic-28nm"), places)
    packed = iter([program.input.pack(i) for i in x])
    runs = run_chip(verilog, program, chip, [[next(packed) for _ in range(n)] for n in batches],
                    work=tmp_path_factory.mktemp("work"), build_root=build,
                    limit_cycles=20 * max(batches) * report.latency_cycles, **options)
    assert len(runs) == len(batches)
    return Point(chip=chip, places=places, program=program, golden=run_golden(quant, x), report=report), runs


def assert_golden(point, runs):
    """Every tensor that is left after a run."""
    first = 0
    for result in runs:
        assert result.ended and result.error == "none"
        for n, outputs in enumerate(result.outputs):
            assert point.program.output.name in outputs
            for layer in point.program.layers:
                if layer.name in outputs:
                    got = layer.output.unpack(outputs[layer.name])
                    want = point.golden[layer.name][first + n].reshape(got.shape)
                    np.testing.assert_array_equal(got, want, err_msg=f"{layer.name} of image {first + n}")
        assert set(result.outputs[-1]) == {layer.name for layer in point.program.layers}
        first += len(result.outputs)


def assert_modelled(point, runs):
    """Ends of all layers, and every counter of every chunk."""
    for result in runs:
        images = len(result.outputs)
        assert result.ends == point.times(images).ends
        for chunk, counters in enumerate(result.counters):
            got = dict(counters)
            got["dram_w_and_p_beats"] = got.pop("dram_w_beats") + got.pop("dram_p_beats")
            if point.program.chunks[chunk].layers:
                assert got == point.counters(chunk, images)
