"""One point through synthesis, simulation and power: what its logic is, block by block."""

import functools
import hashlib
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dna_asic.cost import ChipBatch, LayerBatch, MappingBatch, layer_cycles, schedule_of
from dna_asic.errors import VerificationError
from dna_asic.mapping.compile import compile_program
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.mapper import random_mapping
from dna_asic.silicon.points import assignment, network
from dna_asic.spec.accelerator import AcceleratorConfig, Mapping
from dna_asic.spec.layer import LayerShape
from dna_asic.spec.record import to_plain
from dna_asic.technology import Technology
from flows.openroad.cell_power import cell_power_step
from flows.openroad.floorplan import module_instances
from flows.openroad.platforms import PREDICTIVE, find_library
from flows.openroad.power import design_power
from flows.openroad.steps import run_step
from flows.openroad.synthesis import MAP_DIGEST, synthesis_step
from flows.openroad.waves import read_waves
from rtl_gen.emit import emit_verilog, generator_digest, up_to_date
from sim.chip import run_chip
from sim.integers import random_images, random_quant

_BLOCKS = tuple((re.compile(pattern), block) for pattern, block in (
    (r"^(operand_file|accumulator)_\w+\.rf(_o)?$", "rf"),
    (r"^(pe$|pe_|operand_|feed_|accumulator_|adder_tree_)|\.core\.array$", "pe_array"),
    (r"\.core\.(weight_fill|input_fill|output_drain)\b", "noc"), (r"\.core\.gb_", "psum"),
    (r"\.core\.sequencer\b|\.tiles\b", "sequencer"), (r"\.(reader|writer|read_bus|write_bus)\b", "dma"),
    (r"\.post\b|^requantiser$|^bias_adder$", "postprocess"), (r"", "control")))
MAPPING_DRAWS = 100
FORMAT = 2  # of the record, and of what `measure` does


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A point's logic at the library's node; by block of the cost model, memories left out.

    area_um2, flip_flops: of all instances. clock_mw: what clocks take where gates let them through; idle_mw: the part
    of it that no gate stops; moving_mw: what signals take, as the simulated workload had them. cycles: of the run.
    mean_activity: toggles per pin and cycle.
    """

    key: str
    name: str
    cells: int
    cycles: int
    mean_activity: float
    area_um2: dict[str, float]
    flip_flops: dict[str, int]
    clock_mw: dict[str, float]
    idle_mw: dict[str, float]
    moving_mw: dict[str, float]
    leakage_mw: dict[str, float]


def block_of(module: str) -> str:
    """The block of the cost model that a module belongs to."""
    return next(block for pattern, block in _BLOCKS if pattern.search(module))


@functools.lru_cache(maxsize=256)
def mappings(chip: AcceleratorConfig) -> dict[str, Mapping]:
    """The workload on a chip, each layer as the quickest of some random mappings has it.

    No price plays a part, so that a calibration moves nothing.
    """
    places = assignment(len(chip.chunks))
    return {name: _quickest(shape, chip.alone[places[name]])
            for name, shape in hardware_shapes(network(), chip.port_bytes)}


def _quickest(shape: LayerShape, alone: AcceleratorConfig) -> Mapping:
    rng = random.Random(0)
    drawn = [random_mapping(shape, alone, alone.chunk, rng) for _ in range(MAPPING_DRAWS)]
    cycles = layer_cycles(schedule_of(
        LayerBatch.from_shapes([shape] * len(drawn)), ChipBatch.from_configs([alone] * len(drawn)),
        MappingBatch.from_mappings(drawn)))
    return drawn[int(cycles.argmin())]


def point_key(chip: AcceleratorConfig, technology: Technology, seed: int) -> str:
    """Changes with all that `measure` depends on, apart from the simulator."""
    cells = {name: value.value for name, value in technology.values.items() if name.startswith(("cell_", "supply_"))}
    parts = (FORMAT, to_plain(chip), to_plain(network()), generator_digest(), MAP_DIGEST, cells,
             technology["leakage_mw_per_mm2"], seed)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def measure(chip: AcceleratorConfig, technology: Technology, seed: int, folder: Path, cache: Path,
            progress: Callable[[str], None]) -> Measured:
    """Verilog, cells, workload and power of a point, working in `folder`. Raises ToolError, VerificationError."""
    verilog = (folder / "chip.v").resolve()
    if not up_to_date(chip, verilog):
        emit_verilog(chip, verilog)
    library = find_library(technology, (folder / "library").resolve(), PREDICTIVE)
    common = {"liberty": library.liberty, "platform": library.platform, "clk_period_ns": chip.clk_period_ns,
              "cache": cache.resolve(), "progress": progress}
    mapped = run_step(synthesis_step(rtl=verilog, top="chip", **common), folder.resolve())
    netlist = mapped.folder / "netlist.v"
    charged = run_step(cell_power_step(netlist=netlist, **common), folder.resolve())
    waves, cycles = simulate(chip, seed, verilog, folder)
    modules, text = mapped.metrics["modules"], netlist.read_text()
    power = design_power(text, "chip", library.liberty.read_text(),
                         json.loads((charged.folder / "power.json").read_text()), waves, progress)
    figures = {name: {} for name in ("area_um2", "flip_flops", "clock_mw", "idle_mw", "moving_mw", "leakage_mw")}
    for path, kind in module_instances(text, "chip").items():
        if kind in modules:
            own = {"area_um2": modules[kind]["own_area_um2"], "flip_flops": modules[kind]["flip_flops"]}
            own |= {name: getattr(power, name)[path] for name in figures if name not in own}
            for name, value in own.items():
                figures[name][block_of(kind)] = figures[name].get(block_of(kind), 0) + value
    return Measured(key=point_key(chip, technology, seed), name=chip.name, cells=mapped.metrics["cells"], cycles=cycles,
                    mean_activity=power.mean_activity, **figures)


def simulate(chip: AcceleratorConfig, seed: int, verilog: Path, folder: Path):
    """(waves, cycles) of the workload on the Verilog. Raises VerificationError where it ends in an error."""
    quant = random_quant(network(), seed)
    program = compile_program(chip, quant, mappings(chip), assignment(len(chip.chunks)))
    images = [program.input.pack(image) for image in random_images(network(), 1, seed)]
    work = folder / "work"
    (run,) = run_chip(verilog, program, chip, [images], work=work, build_root=folder / "build", simulator="icarus",
                      waves=True, record=0)
    if run.error != "none":
        raise VerificationError(f"Point '{chip.name}': the workload ended with error '{run.error}'.")
    waves = work / "activity.vcd"
    recorded = read_waves(waves)
    waves.unlink()
    return recorded, run.cycles

