"""One point given by hand: design, layer and mapping."""

import argparse
import dataclasses
import random
import shlex
from dataclasses import dataclass
from pathlib import Path

import yaml

from dna_asic.contract.judge import Bench, judge
from dna_asic.contract.model import design_rows
from dna_asic.cost.trace import layer_steps
from dna_asic.errors import SpecError, VerificationError
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.mapper import random_mapping
from dna_asic.mapping.optimise import map_layer
from dna_asic.report.files import write_text_atomically
from dna_asic.runs import RunFolder
from dna_asic.spec.accelerator import AcceleratorConfig, Mapping
from dna_asic.spec.design import Design, accelerator_from_yaml
from dna_asic.spec.layer import Activation, LayerOp, LayerShape, LayerSpec, NetworkSpec, PoolOp, PoolSpec
from dna_asic.spec.record import from_plain, load_yaml, to_plain
from dna_asic.spec.trace import first_difference
from dna_asic.technology import load_technology
from sim.steps import read_steps

TECHNOLOGY = "asic-28nm"  # what the mapper optimises for
OPS = ("mac", "max", "average")


@dataclass(frozen=True, kw_only=True)
class HandLayer:
    """A layer as written on the command line. h, w: 0 for what p, q, kernel, stride and pad make of them. op: one of
    OPS; residual: 1 to add a tensor; pool: max or average, fused.
    """

    k: int
    c: int
    p: int
    q: int
    g: int = 1
    r: int = 1
    s: int = 1
    stride: int = 1
    pad: int = 0
    h: int = 0
    w: int = 0
    op: str = "mac"
    residual: int = 0
    pool: str = ""
    pool_window: int = 1
    shuffle_groups: int = 1
    activation: Activation = Activation.NONE

    def __post_init__(self):
        if self.op not in OPS:
            raise SpecError(f"Layer: op must be one of {', '.join(OPS)}, not '{self.op}'.")

    @classmethod
    def parse(cls, text: str) -> "HandLayer":
        """From 'k=30,c=17,...'; raises SpecError with every fault."""
        pairs = [item.partition("=") for item in text.split(",")]
        faults = [f"Layer: '{''.join(p)}' must be name=value." for p in pairs if not p[1]]
        if faults:
            raise SpecError("\n".join(faults))
        values = {name.strip(): int(value) if value.strip().lstrip("-").isdigit() else value.strip()
                  for name, _, value in pairs}
        if len(values) < len(pairs):
            raise SpecError(f"Layer '{text}': a key stands twice; keep one.")
        return from_plain(cls, values, "layer")

    @classmethod
    def of(cls, layer: LayerSpec) -> "HandLayer":
        """Of a network's layer."""
        shape = layer.shape
        op = "average" if layer.average else shape.op.value
        pool = {"pool": layer.pool.op.value, "pool_window": layer.pool.window} if layer.pool else {}
        fields = {n: getattr(shape, n) for n in ("g", "k", "c", "p", "q", "r", "s", "stride", "pad", "h", "w")}
        return cls(**fields, **pool, op=op, residual=int(layer.residual is not None),
                   shuffle_groups=layer.shuffle_groups, activation=layer.activation)

    def text(self) -> str:
        """Inverse of `parse`; defaults are left out."""
        fields = [f for f in dataclasses.fields(self) if getattr(self, f.name) != f.default]
        return ",".join(f"{f.name}={to_plain(getattr(self, f.name))}" for f in fields)

    def network(self) -> NetworkSpec:
        """The layer 'point' alone; before it, if it has a residual, the same layer without."""
        size = lambda n, kernel: (n - 1) * self.stride + kernel - 2 * self.pad  # noqa: E731
        shape = LayerShape(
            **{n: getattr(self, n) for n in ("g", "k", "c", "p", "q", "r", "s", "stride", "pad")},
            h=self.h or max(1, size(self.p, self.r)), w=self.w or max(1, size(self.q, self.s)),
            op=LayerOp.MAX if self.op == "max" else LayerOp.MAC)
        pool = PoolSpec(op=from_plain(PoolOp, self.pool, "layer.pool"), window=self.pool_window) if self.pool else None
        point = LayerSpec(name="point", shape=shape, source="input", activation=self.activation, pool=pool,
                          shuffle_groups=self.shuffle_groups, average=self.op == "average",
                          residual="added" if self.residual else None)
        added = [dataclasses.replace(point, name="added", residual=None)] if self.residual else []
        return NetworkSpec(name="point", input_shape=(self.g * self.c, shape.h, shape.w), layers=(*added, point))


def point_design(accelerator: AcceleratorConfig, layer: HandLayer, chunk: int, mapping: Mapping, seed: int) -> Design:
    """The layer alone on a chunk, in the network of `HandLayer.network`."""
    network = layer.network()
    names = [x.name for x in network.layers]
    return Design(target=TECHNOLOGY, seed=seed, choices=(), network=network, accelerator=accelerator,
                  mappings=dict.fromkeys(names, mapping), assignment=dict.fromkeys(names, chunk))


def _mapping(args, shape: LayerShape, alone: AcceleratorConfig) -> Mapping:
    if args.mapping:
        return from_plain(Mapping, load_yaml(args.mapping), f"mapping '{args.mapping}'")
    if args.random_mapping is not None:
        return random_mapping(shape, alone, alone.chunk, random.Random(args.random_mapping))
    return map_layer(shape, alone, load_technology(TECHNOLOGY))


def run(args: argparse.Namespace) -> dict:
    """Judge one point; returns the verdict. Raises VerificationError where chip, model and reference differ."""
    if not args.layer:
        raise SpecError("--design needs --layer 'k=...,c=...,p=...,q=...' too.")
    accelerator, layer = accelerator_from_yaml(args.design), HandLayer.parse(args.layer)
    if not 0 <= args.chunk < len(accelerator.chunks):
        raise SpecError(f"--chunk must be in 0..{len(accelerator.chunks) - 1}, not {args.chunk}.")
    shape = dict(hardware_shapes(layer.network(), accelerator.port_bytes))["point"]
    mapping = _mapping(args, shape, accelerator.alone[args.chunk])
    design = point_design(accelerator, layer, args.chunk, mapping, args.seed)
    folder = RunFolder.create("contract-point", args.runs_dir).path
    bench = Bench(verilog=args.verilog or folder / "chip.v", work=folder / "work", build_root=folder / "build")
    verdict = judge(design, bench.make(design), args.seed, steps=args.trace)[-1]
    if args.trace:
        verdict = dataclasses.replace(verdict, parted=compare_steps(design, args.chunk, bench.work))
        print(f"steps: {bench.work / 'steps-model.txt'} {bench.work / 'steps-rtl.txt'}")
    print(f"layer: {layer.text()}\nmapping: {mapping_text(mapping)}\n"
          f"point: cycles_model={verdict.cycles_model} cycles_rtl={verdict.cycles_rtl} "
          f"bit_exact={int(verdict.bit_exact)} cycles_equal={int(verdict.cycles_equal)} "
          f"counts_equal={int(not verdict.counts)}", flush=True)
    if not verdict.holds:
        raise VerificationError(f"The point does not hold: {verdict.text()}.")
    return to_plain(verdict)


def compare_steps(design: Design, chunk: int, folder: Path) -> str:
    """Where the steps of model and Verilog (steps.txt in `folder`) part, in words; empty where they do not. Leaves
    both in `folder`.
    """
    shape, alone, mapping = design_rows(design)["point"]
    traces = {"model": layer_steps(shape, alone, mapping), "rtl": read_steps(folder / "steps.txt", chunk)[-1]}
    for name, steps in traces.items():
        write_text_atomically(folder / f"steps-{name}.txt", "".join(f"{step.text()}\n" for step in steps))
    parted = first_difference(**traces)
    if not parted:
        return ""
    said = [step.text() if step else "no such step" for step in parted]
    return f"the first step where they part: the model says '{said[0]}', the Verilog '{said[1]}'"


def parted_alone(design: Design, layer: str, bench: Bench, seed: int) -> str:
    """`compare_steps` of a layer of a network, run alone."""
    spec = next(x for x in design.network.layers if x.name == layer)
    chunk, mapping = design.pipeline.layers[layer].chunk, design.mappings[layer]
    alone = point_design(design.accelerator, HandLayer.of(spec), chunk, mapping, seed)
    bench = dataclasses.replace(bench, work=bench.work.parent / f"steps-{layer}")
    judge(alone, bench, seed, steps=True)
    return compare_steps(alone, chunk, bench.work) or "alone the layer's steps are the model's"


def mapping_text(mapping: Mapping) -> str:
    """One line of YAML."""
    return yaml.safe_dump(to_plain(mapping), default_flow_style=True, width=10_000, sort_keys=False).strip()


def save_point(design: Design, layer: str, folder: Path) -> None:
    """Files from which `command` makes the point again."""
    spec = next(x for x in design.network.layers if x.name == layer)
    chunk = design.pipeline.layers[layer].chunk
    stem = f"{design.network.name}-{layer}"
    write_text_atomically(folder / "accelerator.yaml", yaml.safe_dump(to_plain(design.accelerator), sort_keys=False))
    write_text_atomically(folder / f"{stem}.mapping.yaml", mapping_text(design_rows(design)[layer][2]) + "\n")
    write_text_atomically(folder / f"{stem}.layer", f"--chunk {chunk} --layer '{HandLayer.of(spec).text()}'")


def command(folder: Path, design: str, layer: str, seed: int) -> str:
    """The command that runs a saved point by hand."""
    stem = folder / f"{design}-{layer}"
    layer_options = Path(f"{stem}.layer").read_text(encoding="utf-8")
    return (f"python -m dna_asic.contract --design {shlex.quote(str(folder / 'accelerator.yaml'))} {layer_options} "
            f"--mapping {shlex.quote(f'{stem}.mapping.yaml')} --seed {seed} --trace")
