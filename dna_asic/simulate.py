"""`python -m dna_asic.simulate`: run networks on a run's Verilog; every byte of every layer against golden."""

import argparse
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dna_asic.command import run_command
from dna_asic.cost import evaluate_design
from dna_asic.data import load_dataset
from dna_asic.errors import SpecError, VerificationError
from dna_asic.golden import run_golden
from dna_asic.layer_kinds import alone, mappings_of, one_of_each
from dna_asic.mapping import simulate as functional
from dna_asic.mapping.compile import compile_program
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.mapper import random_mapping
from dna_asic.own_network import INPUTS
from dna_asic.quantize import load_quant, quantize_input
from dna_asic.report.files import write_json_atomically
from dna_asic.report.tables import format_table
from dna_asic.runs import RunFolder
from dna_asic.spec.accelerator import AcceleratorConfig, Mapping
from dna_asic.spec.design import Design
from dna_asic.spec.program import Program
from dna_asic.spec.quant import QuantSpec
from dna_asic.spec.record import to_plain
from dna_asic.spec.report import CostReport
from dna_asic.technology import load_technology
from flows.openroad.activity import read_activity
from rtl_gen.emit import TOP, emit_run
from sim.all_kinds import all_kinds
from sim.chip import ChipRun, run_chip
from sim.four_layers import four_layers
from sim.integers import random_images
from sim.runner import SIMULATORS, WAIVERS, lint

FIXED = {"all-kinds": all_kinds, "four-layers": four_layers}
LAYER_KINDS = "layer-kinds"
NETWORKS = ("searched", LAYER_KINDS, *FIXED)
FIXED_IMAGES = 2
HANG_FACTOR = 20  # a run that takes so many times the model's cycles is given up


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A compiled network with its images (int8 [N, C, H, W]), golden tensors and the cost model's report."""

    name: str
    quant: QuantSpec
    program: Program
    images: np.ndarray
    golden: dict[str, np.ndarray]
    labels: np.ndarray | None
    report: CostReport


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Of a workload: bytes compared, cycles (of one image, the mean if they differ), mean absolute error in percent
    over layers and images, layer rows for the table.
    """

    layers: int
    images: int
    compared_bytes: int
    cycles_model: int
    cycles_rtl: float
    mean_error_pct: float
    rows: list[tuple]

    def line(self, name: str) -> str:
        """One line of key=value."""
        return (f"{name}: images={self.images} layers={self.layers} bytes={self.compared_bytes} mismatches=0 "
                f"cycles_model={self.cycles_model} cycles_rtl={self.cycles_rtl:.12g} "
                f"mean_error_pct={self.mean_error_pct:.4g}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m dna_asic.simulate", description=__doc__)
    p.add_argument("--run", default="runs/latest", help="run folder (default: %(default)s)")
    p.add_argument("--network", choices=(*NETWORKS, "all"), default="all",
                   help="searched; layer-kinds: one layer of each kind of it, for networks too large to run whole; "
                        "fixed networks that use every part of the chip: all-kinds, four-layers (default: all-kinds, "
                        "then searched)")
    p.add_argument("--images", type=int, default=16, help="test images of the searched network (default: %(default)s)")
    p.add_argument("--simulator", choices=SIMULATORS, default="verilator", help="(default: %(default)s)")
    p.add_argument("--stall-seed", type=int, default=0,
                   help="other than 0: a memory that stalls at random, so that cycles exceed the model's")
    p.add_argument("--seed", type=int, default=0,
                   help="mappings and images of the fixed networks (default: %(default)s)")
    p.add_argument("--no-activity", action="store_true", help="do not record switching activity for `make synth`")
    return p


def main(argv=None) -> int:
    """Exit status 0; 1 for a wrong byte or cycle, naming the layer and the first position; 2 after another error."""
    return run_command(simulate, parser(), argv)


def simulate(args: argparse.Namespace) -> None:
    """The whole job; see the module."""
    if args.images < 1:
        raise SpecError(f"--images must be at least 1, not {args.images}.")
    run = RunFolder.open(args.run)
    design, program, verilog = emit_run(run)
    lint(verilog, TOP)
    print(f"lint: {verilog} is clean under verilator -Wall with the waivers of {WAIVERS.name}", flush=True)
    folder = run.stage("sim")
    (folder / "report.json").unlink(missing_ok=True)
    for workload in workloads(run, design, program, args):
        name = workload.name
        print(f"{name}: {len(workload.program.layers)} layers, {len(workload.images)} images, "
              f"{workload.report.latency_cycles} cycles each by the cost model; {args.simulator}", flush=True)
        waves = args.simulator == "verilator" and not args.no_activity
        runs = run_workload(workload, design.accelerator, verilog, folder / name, args.simulator, args.stall_seed,
                            waves)
        verdict = judge(workload, design.accelerator, runs, exact=args.stall_seed == 0)
        print(format_table(("layer", "bytes", "cycles model", "cycles RTL", "difference"), verdict.rows))
        if workload.labels is not None:
            print(label_line(workload, runs))
        if name == "searched":
            write_json_atomically(folder / "report.json", {
                "simulator": args.simulator, "stall_seed": args.stall_seed, "images": verdict.images,
                "layers": verdict.layers, "bytes": verdict.compared_bytes, "mismatches": 0,
                "cycles_model": verdict.cycles_model, "cycles_rtl": verdict.cycles_rtl,
                "mean_error_pct": verdict.mean_error_pct, "counters": runs[0].counters,
                "layer_cycles": {row[0]: row[3] for row in verdict.rows}})
            if waves:
                keep_activity(folder / name / "activity.vcd", folder / "activity.json", round(verdict.cycles_rtl))
        print(verdict.line("sim" if name == args.network or name == "searched" else name), flush=True)


def workloads(run: RunFolder, design: Design, program: Program, args: argparse.Namespace) -> Iterator[Workload]:
    """The networks that --network names, one after another."""
    for name in ("all-kinds", "searched") if args.network == "all" else (args.network,):
        if name == "searched":
            yield searched_workload(run, design, program, args.images)
        elif name == LAYER_KINDS:
            yield from layer_workloads(run, design, args.seed)
        else:
            yield fixed_workload(name, design, args.seed)


def searched_workload(run: RunFolder, design: Design, program: Program, images: int) -> Workload:
    """The run's network on the first test images of its dataset; one that was brought, on images kept by its search."""
    arguments = run.arguments()
    quant = load_quant(run.path / "quant")
    if arguments.get("network"):
        kept = np.load(run.require(INPUTS, "make search"), allow_pickle=False)[:images]
        return _workload("searched", design, quant, program, kept, design.mappings, None)
    test = load_dataset(arguments["dataset"], design.seed, image_size=arguments["image_size"]).test
    if images > len(test.labels):
        raise SpecError(f"--images must be at most the {len(test.labels)} test images, not {images}.")
    return _workload("searched", design, quant, program, quantize_input(test.images[:images], quant),
                     design.mappings, test.labels[:images].numpy())


def fixed_workload(name: str, design: Design, seed: int) -> Workload:
    """A fixed network with random legal mappings, so that tiles are ragged and every loop runs."""
    quant, accelerator, rng = FIXED[name](seed), design.accelerator, random.Random(seed)
    mappings = {layer: random_mapping(shape, accelerator, accelerator.chunks[0], rng)
                for layer, shape in hardware_shapes(quant.network, accelerator.port_bytes)}
    program = compile_program(accelerator, quant, mappings)
    return _workload(name, design, quant, program, random_images(quant.network, FIXED_IMAGES, seed), mappings, None)


def layer_workloads(run: RunFolder, design: Design, seed: int) -> Iterator[Workload]:
    """One layer of each kind of the searched network, with its own integers and mapping, on a random image."""
    quant, accelerator = load_quant(run.path / "quant"), design.accelerator
    report = evaluate_design(hardware_shapes(quant.network, accelerator.port_bytes), accelerator, design.mappings,
                             load_technology(design.target))
    for layer in one_of_each(quant.network, report):
        single = alone(quant, layer)
        mappings = mappings_of(single.network, accelerator, design.mappings)
        program = compile_program(accelerator, single, mappings)
        yield _workload(layer.name, design, single, program, random_images(single.network, 1, seed), mappings, None)


def _workload(name, design, quant, program, images, mappings: dict[str, Mapping], labels) -> Workload:
    accelerator = design.accelerator
    report = evaluate_design(hardware_shapes(quant.network, accelerator.port_bytes), accelerator, mappings,
                             load_technology(design.target))
    return Workload(name=name, quant=quant, program=program, images=images, golden=run_golden(quant, images),
                    labels=labels, report=report)


def run_workload(workload: Workload, accelerator: AcceleratorConfig, verilog: Path, folder: Path, simulator: str,
                 stall_seed: int = 0, waves: bool = False) -> list[ChipRun]:
    """Run all images on the Verilog; with `waves` those of the last go to `folder`/activity.vcd."""
    program = workload.program
    return run_chip(verilog, program, accelerator, [program.input.pack(x) for x in workload.images],
                    work=folder, build_root=folder.parent / "build", simulator=simulator, stall_seed=stall_seed,
                    waves=waves, record=len(workload.images) - 1 if waves and workload.name == "searched" else None,
                    limit_cycles=HANG_FACTOR * workload.report.latency_cycles + 100_000)


def judge(workload: Workload, accelerator: AcceleratorConfig, runs: list[ChipRun], exact: bool) -> Verdict:
    """Compare every tensor, and with `exact` every cycle count; raises VerificationError at the first difference."""
    costs, compared, rtl = workload.report.layers, 0, np.zeros((len(runs), len(workload.program.layers)), int)
    for n, run in enumerate(runs):
        for i, layer in enumerate(workload.program.layers):
            if i < len(run.layer_cycles):
                _compare(workload, accelerator, n, layer.output, run)
                compared += workload.golden[layer.name][n].size
        if not run.ended or run.error != "none":
            done = len(run.layer_cycles)
            raise VerificationError(
                f"{workload.name}, image {n}: the chip {'stopped with error ' + run.error if run.ended else 'hung'} in "
                f"layer '{workload.program.layers[min(done, len(costs) - 1)].name}' after {done} layers.")
        rtl[n] = np.diff(run.layer_cycles, prepend=0)
    model = np.array([cost.cycles for cost in costs])
    different = np.argwhere(rtl != model)
    if exact and len(different):
        n, i = different[0]
        raise VerificationError(f"{workload.name}, image {n}: layer '{costs[i].name}' took {rtl[n, i]} cycles, and the "
                                f"cost model says {model[i]}.")
    sizes = [workload.golden[layer.name][0].size for layer in workload.program.layers]
    mean = rtl.mean(axis=0)
    return Verdict(
        layers=len(costs), images=len(runs), compared_bytes=compared, cycles_model=workload.report.latency_cycles,
        cycles_rtl=float(np.mean([run.counters["cycles"] for run in runs])),
        mean_error_pct=float((np.abs(rtl - model) / model).mean() * 100),
        rows=[(cost.name, size, cost.cycles, int(m) if m == int(m) else float(m), float(m - cost.cycles))
              for cost, size, m in zip(costs, sizes, mean)])


def _compare(workload, accelerator, n, tensor, run):
    got = tensor.unpack(run.outputs[tensor.name])
    want = workload.golden[tensor.name][n].reshape(got.shape)
    wrong = np.argwhere(got != want)
    if not len(wrong):
        return
    at = tuple(wrong[0])
    packed = workload.program.input.pack(workload.images[n])
    bytes_of = functional.simulate(workload.program, accelerator, packed)[tensor.name]
    sound = np.array_equal(tensor.unpack(bytes_of), want)
    raise VerificationError(
        f"{workload.name}, image {n}: layer '{tensor.name}' has {len(wrong)} wrong bytes of {got.size}; the first at "
        f"channel {at[0]}, row {at[1]}, column {at[2]} is {got[at]}, not {want[at]}. The functional simulation of the "
        f"program {'is right: the Verilog is at fault' if sound else 'is wrong too: the compiler is at fault'}.")


def label_line(workload: Workload, runs: list[ChipRun]) -> str:
    """Labels of the chip's logits, which equal the golden ones, beside the true ones."""
    tensor = workload.program.output
    got = np.array([tensor.unpack(run.outputs[tensor.name]).reshape(-1).argmax() for run in runs])
    golden = workload.golden[tensor.name].reshape(len(workload.images), -1).argmax(1)
    if not np.array_equal(got, golden):
        raise VerificationError(f"{workload.name}: labels {got.tolist()} differ from the golden {golden.tolist()}.")
    return f"labels: {len(got)} equal to golden, {int((got == workload.labels).sum())} of them right"


def keep_activity(waves: Path, record: Path, cycles: int) -> None:
    """Toggles per module instance in the first `cycles` of the waves, for `make synth`; the waves are not kept."""
    write_json_atomically(record, to_plain(read_activity(waves, cycles=cycles)))
    waves.unlink()


if __name__ == "__main__":
    sys.exit(main())
