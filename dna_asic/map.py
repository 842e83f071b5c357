"""`python -m dna_asic.map`: the best mapping found of a network on a given accelerator, layer by layer.

Writes a design file, which `rtl --design` and `contract --design` take. With several chunks each layer is placed for
the least EDP of the whole.
"""

import argparse
import contextlib
import math
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from dna_asic.command import add_output_options, run_command
from dna_asic.cosearch.das import place_layers
from dna_asic.cost import Cause, cycles_by_cause, evaluate_design
from dna_asic.errors import InfeasibleDesign, SpecError
from dna_asic.gads.presets import preset
from dna_asic.importer import from_onnx
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.mapper import trivial_mapping
from dna_asic.mapping.optimise import Mapper
from dna_asic.mapping.tilings import OBJECTIVES
from dna_asic.networks.known import NETWORKS, known_network
from dna_asic.report.files import write_text_atomically
from dna_asic.report.tables import format_table
from dna_asic.runs import RunFolder
from dna_asic.spec.accelerator import AcceleratorConfig, Mapping
from dna_asic.spec.design import Design, accelerator_from_yaml, design_from_yaml, design_to_yaml
from dna_asic.spec.layer import LayerShape, NetworkSpec
from dna_asic.spec.pipeline import Pipeline
from dna_asic.technology import Technology, load_technology

HEADERS = ("layer", "chunk", "MACs", "cycles", "utilisation %", "waits most for", "energy uJ", "EDP J s")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m dna_asic.map", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples: python -m dna_asic.map --network resnet18 --preset nvdla_like\n"
               "          python -m dna_asic.map --network model.onnx --accelerator chip.yaml -o design.yaml\n"
               "          python -m dna_asic.map --run runs/latest --objective latency")
    p.add_argument("--network", metavar="NAME|FILE", help=f"{', '.join(NETWORKS)}, or an ONNX file")
    p.add_argument("--run", help="network of a run, and its accelerator where none is given")
    p.add_argument("--accelerator", type=Path, metavar="FILE", help="YAML of a design, or of an accelerator alone")
    p.add_argument("--preset", metavar="NAME", help="a named chip, see `presets`")
    p.add_argument("--target", help="technology node (default: the run's, else asic-28nm)")
    p.add_argument("--objective", choices=tuple(OBJECTIVES), default="edp", help="(default: %(default)s)")
    p.add_argument("--seed", type=int, default=0, help="of the mapper (default: %(default)s)")
    p.add_argument("-o", "--output", type=Path, metavar="FILE",
                   help="the design (default: runs/maps/<network>-<accelerator>.yaml)")
    add_output_options(p)
    return p


def main(argv=None, prog=None) -> int:
    """Exit status 0, or 2 after one clear error."""
    return run_command(map_network, parser(), argv, prog)


def map_network(args: argparse.Namespace) -> dict:
    """The whole job; see the module. Returns totals and layers."""
    torch.set_num_threads(1)  # the mapper's batches are small: a second thread costs more than it brings
    design = given(args)
    technology, chip = load_technology(design.target), design.accelerator
    shapes = dict(hardware_shapes(design.network, chip.port_bytes))
    with tqdm(total=2 * len(chip.chunks), desc="mapping", unit="step", disable=args.quiet, file=sys.stderr) as bar:
        mapped, placed = best_mappings(design, shapes, technology, args.objective, bar.update)
    report = evaluate_design(list(shapes.items()), chip, mapped.mappings, technology, placed)
    output = args.output or Path("runs/maps") / f"{design.network.name}-{chip.name}.yaml"
    write_text_atomically(output, design_to_yaml(mapped))
    rows = [_row(layer.name, placed.layers[layer.name].chunk, layer.shape.macs, cost, shapes[layer.name], mapped)
            for layer, cost in zip(design.network.layers, report.layers, strict=True)]
    print(format_table(HEADERS, rows))
    total = {"latency_cycles": report.latency_cycles, "period_cycles": report.period_cycles,
             "energy_j": report.energy_j, "area_mm2": report.area_mm2, "edp_js": report.edp_js,
             "utilisation": design.network.macs / (chip.pes * report.latency_cycles)}
    print(f"map: design={output} layers={len(rows)} " + " ".join(f"{k}={v:.12g}" if isinstance(v, int) else
                                                                 f"{k}={v:.4g}" for k, v in total.items()))
    return {"design": str(output)} | total | {"layers": [dict(zip(HEADERS, row)) for row in rows]}


def given(args: argparse.Namespace) -> Design:
    """Network, accelerator and target that the arguments name, as a design without mappings; raises SpecError."""
    if (args.network is None) == (args.run is None):
        raise SpecError("Give either --network or --run.")
    if args.accelerator and args.preset:
        raise SpecError("Give one of --accelerator and --preset, not both.")
    run = design_from_yaml(RunFolder.open(args.run).require("design.yaml", "make search")) if args.run else None
    target = args.target or (run.target if run else "asic-28nm")
    if args.preset:
        chip = preset(args.preset).accelerator(args.preset, load_technology(target).clk_period_ns)
    elif args.accelerator:
        chip = accelerator_from_yaml(args.accelerator)
    elif run:
        chip = run.accelerator
    else:
        raise SpecError("Give the accelerator: --preset NAME or --accelerator FILE.")
    network = run.network if run else read_network(args.network)
    everywhere = dict.fromkeys([layer.name for layer in network.layers], 0)
    return Design(target=target, seed=args.seed, choices=run.choices if run else (), network=network, accelerator=chip,
                  mappings={}, assignment=everywhere)


def read_network(name: str) -> NetworkSpec:
    """A known one, or that of an ONNX file."""
    if name in NETWORKS:
        return known_network(name)
    if not Path(name).is_file():
        raise SpecError(f"Network must be one of {', '.join(NETWORKS)}, or an ONNX file, not '{name}'.")
    return from_onnx(name).network


def best_mappings(design: Design, shapes: dict[str, LayerShape], technology: Technology, objective: str,
                  tick) -> tuple[Design, Pipeline]:
    """The design with mappings and chunks; raises InfeasibleDesign where a layer fits on no chunk."""
    chip, mappings = design.accelerator, {}
    mappers = [Mapper(alone, technology, objective, seed=design.seed, start=_plain(alone, shapes.values()))
               for alone in chip.alone]
    costs = []
    for mapper in mappers:
        costs.append(_costs(mapper, list(shapes.values())))
        tick()
    costs = torch.stack(costs, dim=1)
    refused = [name for name, cost in zip(shapes, costs) if cost.isinf().all()]
    if refused:
        raise InfeasibleDesign(f"Accelerator '{chip.name}' cannot run layer {', '.join(refused)}; enlarge its buffers.")
    placed = place_layers(design.network, costs)
    for mapper, program in zip(mappers, placed.programs, strict=True):
        names = [place.name for place in program]
        mappings |= zip(names, mapper.network([shapes[name] for name in names]).mappings, strict=True)
        tick()
    return Design(**{**vars(design), "mappings": {name: mappings[name] for name in shapes},
                     "assignment": {name: place.chunk for name, place in placed.layers.items()}}), placed


def _plain(alone: AcceleratorConfig, shapes: Iterable[LayerShape]) -> dict[LayerShape, list[Mapping]]:
    """The plain mapping of each layer that has one: so nothing is refused that can run."""
    plain = {}
    for shape in set(shapes):
        with contextlib.suppress(InfeasibleDesign):
            plain[shape] = [trivial_mapping(shape, alone, alone.chunk)]
    return plain


def _costs(mapper: Mapper, shapes: list[LayerShape]) -> Tensor:
    """float64 [n, 2], infinite for a layer that has no legal mapping there."""
    try:
        return mapper.costs(shapes)
    except InfeasibleDesign:
        if len(shapes) == 1:
            return torch.full((1, 2), math.inf, dtype=torch.float64)
        return torch.cat([_costs(mapper, [shape]) for shape in shapes])


def _row(name, chunk: int, macs: int, cost, shape: LayerShape, mapped: Design) -> tuple:
    alone: AcceleratorConfig = mapped.accelerator.alone[chunk]
    waits = cycles_by_cause(shape, alone, mapped.mappings[name])
    del waits[Cause.COMPUTE]
    worst = max(waits, key=waits.get)
    energy_pj = sum(cost.energy_pj.values())
    return (name, chunk, macs, cost.cycles, round(100 * macs / (alone.pes * cost.cycles), 1),
            f"{worst.value} {100 * waits[worst] / cost.cycles:.0f} %", energy_pj * 1e-6,
            energy_pj * 1e-12 * cost.cycles * alone.clk_period_ns * 1e-9)


if __name__ == "__main__":
    sys.exit(main())
