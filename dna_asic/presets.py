"""`python -m dna_asic.presets`: presets on layers of ResNet-18 and MobileNetV2, simulated: utilisation and area."""

import argparse
import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dna_asic.command import add_output_options, going_on, run_command
from dna_asic.cost import area_um2, evaluate_design
from dna_asic.errors import SpecError, VerificationError
from dna_asic.gads.presets import Preset, preset, presets
from dna_asic.golden import run_golden
from dna_asic.mapping.compile import compile_program
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.optimise import Mapper
from dna_asic.networks.known import known_network
from dna_asic.report.files import write_json_atomically
from dna_asic.report.tables import format_table
from dna_asic.runs import only_one
from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.layer import LayerSpec, NetworkSpec
from dna_asic.spec.quant import QuantSpec
from dna_asic.technology import load_technology
from rtl_gen.emit import chip_verilog, emit_verilog, verilog_digest
from sim.chip import run_chip
from sim.integers import random_images, random_quant

FED = ("resnet18", "stage0_block0_conv0")  # dense 3 x 3; its dims divide every preset's array
LAYERS = (FED, ("resnet18", "stage1_block0_conv0"), ("mobilenet_v2", "block4_expand"),
          ("mobilenet_v2", "block4_depthwise"), ("mobilenet_v2", "block3_project"))
HEADERS = ("preset", "layer", "MACs", "cycles model", "cycles RTL", "utilisation", "um2 per PE", "of it PE and RF")


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One layer on one preset. utilisation: useful MACs per PE and simulated cycle. `*_um2`: per PE, cost model."""

    preset: str
    layer: str
    macs: int
    cycles_model: int
    cycles_rtl: int
    utilisation: float
    area_um2: float
    pe_um2: float


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m dna_asic.presets", description=__doc__,
                                epilog="example: python -m dna_asic.presets --preset nvdla_like")
    p.add_argument("--preset", action="append", metavar="NAME", help="one preset (default: all); may be repeated")
    p.add_argument("--list", action="store_true", help="say what the presets are and whether they are verified; end")
    p.add_argument("--target", default="asic-28nm", help="technology of the areas (default: %(default)s)")
    p.add_argument("--seed", type=int, default=0, help="weights, images and mapper (default: %(default)s)")
    p.add_argument("--out", type=Path, default=Path("runs/presets"), help="folder (default: %(default)s)")
    add_output_options(p)
    return p


def main(argv=None, prog=None) -> int:
    """Exit status 0; 1 for a wrong byte, cycle or utilisation; 2 after another error."""
    return run_command(run, parser(), argv, prog)


def run(args: argparse.Namespace) -> dict:
    """The whole job; see the module. Returns the figures."""
    if args.seed < 0:
        raise SpecError(f"--seed must be at least 0, not {args.seed}.")
    chosen = {name: preset(name) for name in args.preset or presets()}
    if args.list:
        status = {name: e.status(verilog_digest(chip_verilog(chip_of(name, e, args)))) for name, e in chosen.items()}
        print(format_table(("preset", "PEs", "status", "about"), [
            (name, f"{e.chunk.pe_rows} x {e.chunk.pe_cols}", status[name], e.about) for name, e in chosen.items()]))
        return {"presets": status}
    figures = []
    with going_on(f"{args.command_line} (builds are kept)"), only_one(args.out, "presets"), tqdm(
            total=len(chosen) * len(LAYERS), desc="presets", unit="layer", disable=args.quiet, file=sys.stderr) as bar:
        for name, entry in chosen.items():
            for layer in LAYERS:
                figures.append(measure(name, entry, layer, args))
                bar.update()
    write_json_atomically(args.out / "presets.json", [dataclasses.asdict(f) for f in figures])
    print(format_table(HEADERS, [dataclasses.astuple(f) for f in figures]))
    fed = {f.preset: f.utilisation for f in figures if f.layer == ".".join(FED)}
    low = [f"preset '{n}' reaches {u:.3f} on {'.'.join(FED)}, less than {chosen[n].least_utilisation}"
           for n, u in fed.items() if u < chosen[n].least_utilisation]
    if low:
        raise VerificationError("Utilisation: " + "; ".join(low) + ".")
    for name in chosen:
        print(f"verified: {name} {verilog_digest((args.out / name / 'chip.v').read_text(encoding='utf-8'))}")
    print(f"presets: presets={len(chosen)} layers={len(figures)} bit_exact={len(figures)} cycles_equal={len(figures)} "
          f"least_utilisation={min(fed.values()):.3f}")
    return {"figures": [dataclasses.asdict(f) for f in figures]}


def measure(name: str, entry: Preset, layer: tuple[str, str], args: argparse.Namespace) -> Figures:
    """Map for latency, simulate, compare. Raises VerificationError for a wrong byte or cycle."""
    technology, chip = load_technology(args.target), chip_of(name, entry, args)
    quant = single_layer(layer, args.seed)
    shapes = hardware_shapes(quant.network, chip.port_bytes)
    mapping = Mapper(chip, technology, "latency", seed=args.seed).layer(shapes[0][1])
    mappings = {shapes[0][0]: mapping}
    report = evaluate_design(shapes, chip, mappings, technology)
    cycles = simulated_cycles(chip, quant, mappings, args)
    if cycles != report.latency_cycles:
        raise VerificationError(f"Preset '{name}', layer {'.'.join(layer)}: {report.latency_cycles} cycles by the cost "
                                f"model, {cycles} by the Verilog.")
    area, macs = area_um2(chip, technology), quant.network.macs
    return Figures(preset=name, layer=".".join(layer), macs=macs, cycles_model=report.latency_cycles, cycles_rtl=cycles,
                   utilisation=macs / (chip.pes * cycles), area_um2=sum(area.values()) / chip.pes,
                   pe_um2=(area["pe_array"] + area["rf"]) / chip.pes)


def chip_of(name: str, entry: Preset, args: argparse.Namespace) -> AcceleratorConfig:
    """At the clock of the technology."""
    return entry.accelerator(name, load_technology(args.target).clk_period_ns)


def single_layer(layer: tuple[str, str], seed: int) -> QuantSpec:
    """A layer of a published network as a network of its own, with random integers."""
    network, name = layer
    spec: LayerSpec = next(x for x in known_network(network).layers if x.name == name)
    shape = (spec.shape.g * spec.shape.c, spec.shape.h, spec.shape.w)
    only = dataclasses.replace(spec, source="input", residual=None)
    return random_quant(NetworkSpec(name=name, input_shape=shape, layers=(only,)), seed)


def simulated_cycles(chip: AcceleratorConfig, quant: QuantSpec, mappings, args: argparse.Namespace) -> int:
    """Cycles of one image on the Verilog, whose output is that of golden."""
    folder = args.out / chip.name
    verilog = folder / "chip.v"
    emit_verilog(chip, verilog)
    program, images = compile_program(chip, quant, mappings), random_images(quant.network, 1, args.seed)
    (result,) = run_chip(verilog, program, chip, [[program.input.pack(images[0])]], work=folder / "work",
                         build_root=folder / "build")
    name = quant.network.layers[-1].name
    got = program.output.unpack(result.outputs[0][name])
    if result.error != "none" or not np.array_equal(got, run_golden(quant, images)[name][0].reshape(got.shape)):
        raise VerificationError(f"Preset '{chip.name}', layer '{name}': the Verilog's output is not that of golden "
                                f"(error: {result.error}).")
    return result.cycles


if __name__ == "__main__":
    sys.exit(main())
