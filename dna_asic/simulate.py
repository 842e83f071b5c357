"""`python -m dna_asic.simulate`: run networks on a run's Verilog, or on its cells; every byte of every layer against
golden.
"""

import argparse
import dataclasses
import gzip
import random
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dna_asic.command import add_output_options, going_on, progress, run_command
from dna_asic.cost import Schedule, design_schedule, evaluate_design
from dna_asic.errors import InfeasibleDesign, SpecError, VerificationError
from dna_asic.golden import run_golden
from dna_asic.layer_kinds import alone, mappings_of, one_of_each
from dna_asic.mapping import simulate as functional
from dna_asic.mapping.compile import compile_program
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.mapper import random_assignment, random_mapping
from dna_asic.origin import write_origin
from dna_asic.own_network import workload_images
from dna_asic.quantize import load_quant
from dna_asic.report.files import write_json_atomically
from dna_asic.report.tables import format_table
from dna_asic.runs import RunFolder
from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.design import Design
from dna_asic.spec.latency import RUN_CYCLES
from dna_asic.spec.program import Program
from dna_asic.spec.quant import QuantSpec
from dna_asic.spec.report import CostReport
from dna_asic.technology import load_technology
from flows.openroad.gates import gates_step
from flows.openroad.steps import run_step, unchanged_inputs
from rtl_gen.emit import TOP, emit_run
from sim.all_kinds import all_kinds
from sim.chip import ChipRun, run_chip
from sim.four_layers import four_layers
from sim.gate_kinds import gate_kinds
from sim.integers import random_images
from sim.runner import SIMULATORS, WAIVERS, lint

GATE_KINDS, LAYER_KINDS = "gate-kinds", "layer-kinds"
FIXED = {"all-kinds": all_kinds, "four-layers": four_layers, GATE_KINDS: gate_kinds}
NETWORKS = ("searched", LAYER_KINDS, *FIXED)
FIXED_IMAGES = 2
HANG_FACTOR = 20  # a run that takes so many times the model's cycles is given up


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A compiled network with its images (int8 [N, C, H, W]), golden tensors and the cost model's report. together:
    images of a run after those of one image each, so that all chunks are at work; 0 where there is one chunk.
    """

    name: str
    design: Design
    quant: QuantSpec
    program: Program
    images: np.ndarray
    golden: dict[str, np.ndarray]
    labels: np.ndarray | None
    report: CostReport

    @property
    def together(self) -> int:
        """See above."""
        return len(self.images) if len(self.design.accelerator.chunks) > 1 else 0

    @property
    def runs(self) -> list[range]:
        """Numbers of the images of each run."""
        every = range(len(self.images))
        return [range(n, n + 1) for n in every] + [every] * bool(self.together)

    def times(self, images: int) -> Schedule:
        """The cost model's ends of all layers in a run of so many images."""
        cycles = {cost.name: cost.cycles for cost in self.report.layers}
        return design_schedule(self.design.pipeline.programs, cycles, self.design.accelerator, images)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Of a workload: bytes compared, cycles (of one image, the mean if they differ), mean absolute error in percent
    over layers and images, layer rows for the table. together: with several chunks, (images, cycles by the model,
    cycles of the Verilog) of the run with all images.
    """

    layers: int
    images: int
    compared_bytes: int
    cycles_model: int
    cycles_rtl: float
    mean_error_pct: float
    together: tuple[int, int, int] | None
    rows: list[tuple]

    def line(self, name: str) -> str:
        """One line of key=value."""
        line = (f"{name}: images={self.images} layers={self.layers} bytes={self.compared_bytes} mismatches=0 "
                f"cycles_model={self.cycles_model} cycles_rtl={self.cycles_rtl:.12g} "
                f"mean_error_pct={self.mean_error_pct:.4g}")
        if not self.together:
            return line
        images, model, rtl = self.together
        return f"{line} together={images} together_cycles_model={model} together_cycles_rtl={rtl}"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m dna_asic.simulate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples: python -m dna_asic.simulate --network searched --images 4\n"
               "          python -m dna_asic.simulate --run runs/digits --simulator icarus --stall-seed 7\n"
               "          python -m dna_asic.simulate --gates")
    p.add_argument("--run", default="runs/latest", help="run folder (default: %(default)s)")
    p.add_argument("--gates", action="store_true",
                   help="the cells of `make synth` in place of the Verilog, with random bits in all flip-flops at "
                        "first, in Icarus unless told otherwise: some hundred cycles a second")
    p.add_argument("--network", choices=(*NETWORKS, "all"),
                   help="searched; layer-kinds: one layer of each kind of it, for networks too large to run whole; "
                        "fixed networks that use every part of the chip: all-kinds, four-layers, gate-kinds (default: "
                        "all-kinds, then searched; with --gates gate-kinds: every kind, in few cycles)")
    p.add_argument("--images", type=int, default=16, help="test images of the searched network (default: %(default)s)")
    p.add_argument("--simulator", choices=SIMULATORS, help="(default: verilator)")
    p.add_argument("--stall-seed", type=int, default=0,
                   help="other than 0: a memory that stalls at random, so that cycles exceed the model's")
    p.add_argument("--seed", type=int, default=0,
                   help="mappings and images of the fixed networks (default: %(default)s)")
    p.add_argument("--no-activity", action="store_true", help="do not record switching activity for `make synth`")
    add_output_options(p)
    return p


def main(argv=None, prog=None) -> int:
    """Exit status 0; 1 for a wrong byte or cycle, naming the layer and the first position; 2 after another error."""
    return run_command(simulate, parser(), argv, prog)


def simulate(args: argparse.Namespace) -> dict:
    """The whole job; see the module. Returns the verdict of each network."""
    if args.images < 1:
        raise SpecError(f"--images must be at least 1, not {args.images}.")
    args.network = args.network or (GATE_KINDS if args.gates else "all")
    args.simulator = args.simulator or ("icarus" if args.gates else "verilator")
    run = RunFolder.open(args.run)
    with going_on(f"{args.command_line} (builds are kept)"), run.working("sim") as folder:
        return _simulate(args, run, folder)


def _simulate(args: argparse.Namespace, run: RunFolder, folder: Path) -> dict:
    design, program, verilog = emit_run(run)
    if args.gates:
        verilog = gate_level(run, verilog, folder)
        progress(args, f"gates: {verilog}")
    else:
        lint(verilog, TOP)
        progress(args, f"lint: {verilog} is clean under verilator -Wall with the waivers of {WAIVERS.name}")
    record = folder / ("gates.json" if args.gates else "report.json")
    record.unlink(missing_ok=True)
    verdicts = {}
    for workload in workloads(run, design, program, args):
        name = workload.name
        progress(args, f"{name}: {len(workload.program.layers)} layers, {len(workload.images)} images, "
                       f"{workload.report.latency_cycles} cycles each by the cost model; {args.simulator}")
        waves = args.simulator == "verilator" and not args.no_activity and not args.gates
        runs = run_workload(workload, design.accelerator, verilog, folder / name, args.simulator, args.stall_seed,
                            waves, args.gates)
        verdict = judge(workload, design.accelerator, runs, exact=args.stall_seed == 0)
        print(format_table(("layer", "chunk", "bytes", "cycles model", "cycles RTL", "difference"), verdict.rows))
        if workload.labels is not None:
            print(label_line(workload, runs))
        if name == "searched" and not args.gates:
            write_json_atomically(record, {
                "simulator": args.simulator, "stall_seed": args.stall_seed, "images": verdict.images,
                "layers": verdict.layers, "bytes": verdict.compared_bytes, "mismatches": 0,
                "cycles_model": verdict.cycles_model, "cycles_rtl": verdict.cycles_rtl,
                "together": verdict.together, "mean_error_pct": verdict.mean_error_pct, "counters": runs[0].counters,
                "layer_cycles": {row[0]: row[4] for row in verdict.rows}})
            if waves:
                keep_waves(folder / name / "activity.vcd", folder / "activity.vcd.gz")
            write_origin(folder, args, args.seed, ("cocotb", "verilator"), ("iverilog",))
        verdicts[name] = dataclasses.asdict(verdict) | {"mismatches": 0, "rows": verdict.rows}
        print(verdict.line("sim" if name == args.network or name == "searched" else name), flush=True)
    if args.gates:
        write_json_atomically(record, {"simulator": args.simulator, "stall_seed": args.stall_seed,
                                       "networks": verdicts})
        print(f"gates: networks={len(verdicts)} layers={sum(v['layers'] for v in verdicts.values())} "
              f"bytes={sum(v['compared_bytes'] for v in verdicts.values())} mismatches=0")
    return {"run": str(run.path), "networks": verdicts}


def gate_level(run: RunFolder, verilog: Path, folder: Path) -> Path:
    """The run's netlist as Verilog to simulate. Raises SpecError where there is none of this very Verilog."""
    mapped = run.require("synth/synthesis/netlist.v", "make synth")
    unchanged = unchanged_inputs(mapped.parent)
    liberty = next((path for path in unchanged if path.suffix == ".lib"), None)
    if verilog.resolve() not in unchanged or liberty is None:
        raise SpecError(f"Netlist '{mapped}' was made from another Verilog or library than is there now; make it again "
                        f"with `make synth`.")
    step = gates_step(netlist=mapped.resolve(), rtl=verilog.resolve(), liberty=liberty, top=TOP)
    return run_step(step, folder.resolve()).folder / "gates.v"


def workloads(run: RunFolder, design: Design, program: Program, args: argparse.Namespace) -> Iterator[Workload]:
    """The networks that --network names, one after another."""
    for name in ("all-kinds", "searched") if args.network == "all" else (args.network,):
        if name == "searched":
            yield searched_workload(run, design, program, args.images)
        elif name == LAYER_KINDS:
            yield from layer_workloads(run, design, args.seed)
        else:
            try:
                workload = fixed_workload(name, design, args.seed)
            except InfeasibleDesign as error:
                if args.network == name:
                    raise
                print(f"{name}: not run, this chip cannot hold it: {' '.join(str(error).splitlines())}", flush=True)
                continue
            yield workload


def searched_workload(run: RunFolder, design: Design, program: Program, images: int) -> Workload:
    """The run's network on the first test images of its dataset; one that was brought, on images kept by its search."""
    quant = load_quant(run.path / "quant")
    inputs, labels = workload_images(run, quant, images, design.seed)
    if labels is not None and images > len(labels):
        raise SpecError(f"--images must be at most the {len(labels)} test images, not {images}.")
    return _workload("searched", design, quant, program, inputs, labels)


def fixed_workload(name: str, design: Design, seed: int) -> Workload:
    """A fixed network with random legal mappings, so that tiles are ragged and every loop runs."""
    quant, accelerator, rng = FIXED[name](seed), design.accelerator, random.Random(seed)
    assignment = random_assignment(quant.network, len(accelerator.chunks), rng)
    mappings = {layer: random_mapping(shape, alone, alone.chunk, rng)
                for layer, shape in hardware_shapes(quant.network, accelerator.port_bytes)
                for alone in [accelerator.alone[assignment[layer]]]}
    fixed = dataclasses.replace(design, network=quant.network, mappings=mappings, assignment=assignment)
    program = compile_program(accelerator, quant, mappings, assignment)
    return _workload(name, fixed, quant, program, random_images(quant.network, FIXED_IMAGES, seed), None)


def layer_workloads(run: RunFolder, design: Design, seed: int) -> Iterator[Workload]:
    """One layer of each kind of the searched network, with its own integers and mapping, on a random image."""
    quant, accelerator = load_quant(run.path / "quant"), design.accelerator
    report = evaluate_design(hardware_shapes(quant.network, accelerator.port_bytes), accelerator, design.mappings,
                             load_technology(design.target), design.pipeline)
    for layer in one_of_each(quant.network, report):
        single = alone(quant, layer)
        assignment = {x.name: design.assignment.get(layer.name, 0) for x in single.network.layers}
        mappings = mappings_of(single.network, accelerator, design.mappings, assignment)
        part = dataclasses.replace(design, network=single.network, mappings=mappings, assignment=assignment)
        program = compile_program(accelerator, single, mappings, assignment)
        yield _workload(layer.name, part, single, program, random_images(single.network, 1, seed), None)


def _workload(name, design: Design, quant, program, images, labels) -> Workload:
    accelerator = design.accelerator
    report = evaluate_design(hardware_shapes(quant.network, accelerator.port_bytes), accelerator, design.mappings,
                             load_technology(design.target), design.pipeline)
    return Workload(name=name, design=design, quant=quant, program=program, images=images,
                    golden=run_golden(quant, images), labels=labels, report=report)


def run_workload(workload: Workload, accelerator: AcceleratorConfig, verilog: Path, folder: Path, simulator: str,
                 stall_seed: int = 0, waves: bool = False, gates: bool = False) -> list[ChipRun]:
    """All runs of the workload on the Verilog; with `waves` the run of the last image goes to `folder`/activity.vcd.

    gates: the Verilog is a netlist.
    """
    program, packed = workload.program, [workload.program.input.pack(x) for x in workload.images]
    return run_chip(verilog, program, accelerator, [[packed[n] for n in images] for images in workload.runs],
                    work=folder, build_root=folder.parent / "build", simulator=simulator, stall_seed=stall_seed,
                    waves=waves, gates=gates, record=len(packed) - 1 if waves and workload.name == "searched" else None,
                    limit_cycles=HANG_FACTOR * max(1, workload.together) * workload.report.latency_cycles + 100_000)


def judge(workload: Workload, accelerator: AcceleratorConfig, runs: list[ChipRun], exact: bool) -> Verdict:
    """Compare every tensor that a run left, and with `exact` every end of a layer; raises VerificationError at the
    first difference.
    """
    compared, layers = 0, workload.program.layers
    for run, images in zip(runs, workload.runs):
        compared += sum(_compare(workload, accelerator, images[i], layer.output, outputs)
                        for i, outputs in enumerate(run.outputs) for layer in layers
                        if (layer.name, i) in run.ends and layer.name in outputs)
        if not run.ended or run.error != "none":
            raise VerificationError(
                f"{workload.name}, {_images(images)}: the chip "
                f"{f'stopped with error {run.error} in chunk {run.error_chunk}' if run.ended else 'hung'} after "
                f"{len(run.ends)} of {len(layers) * len(images)} layers{_last(run)}.")
        if exact:
            _compare_ends(workload, run, images)
    alone = runs[:len(workload.images)]
    model = _spent(workload.program, workload.times(1).ends)
    rtl = np.array([_spent(workload.program, run.ends) for run in alone])
    sizes = [workload.golden[layer.name][0].size for layer in layers]
    return Verdict(
        layers=len(layers), images=len(alone), compared_bytes=compared, cycles_model=workload.report.latency_cycles,
        cycles_rtl=float(np.mean([run.cycles for run in alone])),
        mean_error_pct=float((np.abs(rtl - model) / model).mean() * 100),
        together=(workload.together, RUN_CYCLES + workload.times(workload.together).cycles, runs[-1].cycles)
        if workload.together else None,
        rows=[(layer.name, layer.place.chunk, size, int(cycles), int(m) if m == int(m) else float(m), float(m - cycles))
              for layer, size, cycles, m in zip(layers, sizes, model, rtl.mean(axis=0))])


def _images(images):
    return f"image {images[0]}" if len(images) == 1 else f"{len(images)} images at once"


def _last(run):
    if not run.ends:
        return ""
    (layer, image), cycle = max(run.ends.items(), key=lambda item: item[1])
    return f", the last of them '{layer}' of its image {image} in cycle {cycle}"


def _spent(program, ends):
    """Cycles from the end before in the same chunk to each layer's, of a run of one image, in network order."""
    spent = {}
    for chunk in program.chunks:
        names = [layer.name for layer in chunk.layers]
        spent |= zip(names, np.diff([ends[name, 0] for name in names], prepend=0))
    return np.array([spent[layer.name] for layer in program.layers])


def _compare_ends(workload, run, images):
    model = workload.times(len(images)).ends
    wrong = [key for key in model if run.ends[key] != model[key]]
    if wrong:
        layer, image = min(wrong, key=model.get)
        raise VerificationError(f"{workload.name}, {_images(images)}: layer '{layer}' of image {images[image]} ended "
                                f"in cycle {run.ends[layer, image]}, and the cost model says {model[layer, image]}.")


def _compare(workload, accelerator, n, tensor, outputs):
    """Bytes that were compared, and are equal."""
    got = tensor.unpack(outputs[tensor.name])
    want = workload.golden[tensor.name][n].reshape(got.shape)
    wrong = np.argwhere(got != want)
    if not len(wrong):
        return got.size
    at = tuple(wrong[0])
    packed = workload.program.input.pack(workload.images[n])
    bytes_of = functional.simulate(workload.program, accelerator, [packed])[0][tensor.name]
    sound = np.array_equal(tensor.unpack(bytes_of), want)
    raise VerificationError(
        f"{workload.name}, image {n}: layer '{tensor.name}' has {len(wrong)} wrong bytes of {got.size}; the first at "
        f"channel {at[0]}, row {at[1]}, column {at[2]} is {got[at]}, not {want[at]}. The functional simulation of the "
        f"program {'is right: the Verilog is at fault' if sound else 'is wrong too: the compiler is at fault'}.")


def label_line(workload: Workload, runs: list[ChipRun]) -> str:
    """Labels of the chip's logits, which equal the golden ones, beside the true ones."""
    tensor = workload.program.output
    got = np.array([tensor.unpack(outputs[tensor.name]).reshape(-1).argmax()
                    for run in runs[:len(workload.images)] for outputs in run.outputs])
    golden = workload.golden[tensor.name].reshape(len(workload.images), -1).argmax(1)
    if not np.array_equal(got, golden):
        raise VerificationError(f"{workload.name}: labels {got.tolist()} differ from the golden {golden.tolist()}.")
    return f"labels: {len(got)} equal to golden, {int((got == workload.labels).sum())} of them right"


def keep_waves(waves: Path, kept: Path) -> None:
    """Pack the waves, for `make synth`."""
    scratch = kept.with_suffix(".part")
    with waves.open("rb") as source, gzip.open(scratch, "wb", compresslevel=4) as target:
        shutil.copyfileobj(source, target)
    scratch.replace(kept)
    waves.unlink()


if __name__ == "__main__":
    sys.exit(main())
