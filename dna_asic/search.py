"""`python -m dna_asic.search`: search a network and its accelerator together, then fix, train and quantise them."""

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

import torch
from tqdm import tqdm

from dna_asic.command import run_command
from dna_asic.cosearch.das import AcceleratorSearch, search_accelerator
from dna_asic.cosearch.dns import DnsSettings, NetworkSearch
from dna_asic.cosearch.joint import JointSearch, JointSettings
from dna_asic.cosearch.training import evaluate, train_network
from dna_asic.cost import evaluate_design
from dna_asic.data import load_dataset
from dna_asic.errors import SpecError
from dna_asic.gads import GadsSpace
from dna_asic.golden import accuracy
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.networks import build_network, expand, load_macro
from dna_asic.quantize import quantize_input, quantize_network, save_quant
from dna_asic.report.files import write_json_atomically, write_text_atomically
from dna_asic.report.tables import cost_table
from dna_asic.runs import RunFolder
from dna_asic.spec.design import Design, design_to_yaml
from dna_asic.spec.record import to_plain
from dna_asic.technology import load_technology

CALIBRATION_IMAGES = 512


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m dna_asic.search", description=__doc__, epilog=(
        "example: python -m dna_asic.search --target asic-28nm --set pe_rows=4 --seed 1"))
    p.add_argument("--target", default="asic-28nm", help="technology node (default: %(default)s)")
    p.add_argument("--dataset", default="digits", help="'digits' or 'imagefolder:DIR' (default: %(default)s)")
    p.add_argument("--image-size", type=int, help="side in pixels that the images of a folder are resized to")
    p.add_argument("--macro", help="macro-architecture: a bundled name or a YAML file (default: the dataset's)")
    p.add_argument("--space", default="default", help="accelerator space: a bundled name or a YAML file")
    p.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="pins",
                   help="pin one entry of the accelerator space; may be repeated")
    p.add_argument("--seed", type=int, default=0, help="everything random follows from it (default: %(default)s)")
    p.add_argument("--hw-weight", type=float, default=JointSettings.hw_weight,
                   help="lambda: weight of the hardware cost beside the cross-entropy (default: %(default)s)")
    p.add_argument("--epochs", type=int, default=JointSettings.joint_epochs,
                   help="joint epochs after the warm-up (default: %(default)s)")
    p.add_argument("--train-epochs", type=int, default=30, help="epochs of the derived network (default: %(default)s)")
    p.add_argument("--das-steps", type=int, default=40,
                   help="steps of the final accelerator search (default: %(default)s)")
    p.add_argument("--name", help="name of the run (default: <dataset>-<target>-seed<seed>)")
    p.add_argument("--runs-dir", type=Path, default=Path("runs"), help="folder of the runs (default: %(default)s)")
    p.add_argument("--resume", metavar="RUN", help="go on with an interrupted run")
    p.add_argument("--quiet", action="store_true", help="no progress bar")
    return p


def main(argv=None) -> int:
    """Run the search; exit status 0, or 2 after one clear error."""
    return run_command(search, parser(), argv)


def search(args: argparse.Namespace) -> None:
    """The whole job; see the module."""
    if args.resume:
        run = RunFolder.open(args.resume, allow_partial=True)
        saved = json.loads((run.path / "arguments.json").read_text(encoding="utf-8"))
        args = argparse.Namespace(**(vars(args) | saved))
    inputs = load_inputs(args)
    if not args.resume:
        dataset = args.dataset.partition(":")[0]
        run = RunFolder.create(args.name or f"{dataset}-{args.target}-seed{args.seed}", args.runs_dir)
        write_json_atomically(run.path / "arguments.json", {k: v for k, v in vars(args).items()
                                                            if k not in ("resume", "quiet", "runs_dir", "name")})
    print(f"run {run.path}: accelerator space of {inputs.space.size:.3g} points, network space of "
          f"{inputs.macro.space.size:.3g}")
    summary = run_search(args, inputs, run)
    run.finish()
    print(f"accuracy on test: float {summary['float_test_accuracy']:.4f}, int8 {summary['int8_test_accuracy']:.4f}")
    print(f"search: run={run.path} int8_test_accuracy={summary['int8_test_accuracy']:.4f} "
          f"latency_cycles={summary['latency_cycles']} energy_j={summary['energy_j']:.4g} "
          f"area_mm2={summary['area_mm2']:.4g} edp_js={summary['edp_js']:.4g} seconds={summary['search_seconds']:.0f}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the arguments name, loaded and checked before anything is written."""

    technology: object
    splits: object
    macro: object
    space: GadsSpace


def load_inputs(args: argparse.Namespace) -> Inputs:
    """Load every file that the arguments name; raises before the run folder exists."""
    for name in ("epochs", "train_epochs", "das_steps"):
        if getattr(args, name) < 1:
            raise SpecError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(args, name)}.")
    technology = load_technology(args.target)
    space = GadsSpace.load(args.space).pinned(args.pins)
    macro = load_macro(args.macro or ("digits" if args.dataset == "digits" else "cifar10"))
    splits = load_dataset(args.dataset, args.seed, image_size=args.image_size)
    return Inputs(technology=technology, splits=splits, space=space,
                  macro=macro.fitted(splits.input_shape, splits.num_classes))


def run_search(args, inputs: Inputs, run: RunFolder) -> dict:
    """Joint search, training, quantisation, final accelerator; writes the records, returns the summary."""
    started = time.monotonic()
    joint = joint_search(args, inputs, run)
    choices = joint.network.derive()
    module = build_network(inputs.macro, choices, args.seed, joint.network.supernet)
    with tqdm(total=args.train_epochs, desc="train", unit="epoch", disable=args.quiet, file=sys.stderr) as bar:
        train_network(module, inputs.splits, args.train_epochs, args.seed, progress=lambda *_: bar.update())
    quant = quantize_network(module, inputs.splits.train.images[:CALIBRATION_IMAGES])
    network = expand(inputs.macro, choices)
    with tqdm(total=args.das_steps, desc="accelerator", unit="step", disable=args.quiet, file=sys.stderr) as bar:
        accelerator, mappings = search_accelerator(
            network, inputs.space, inputs.technology, seed=args.seed, steps=args.das_steps,
            start=joint.accelerator, progress=lambda *_: bar.update())
    shapes = hardware_shapes(network, accelerator.port_bytes)
    report = evaluate_design(shapes, accelerator, mappings, inputs.technology)
    test = inputs.splits.test
    summary = {
        "float_test_accuracy": evaluate(module, test.images, test.labels),
        "int8_test_accuracy": accuracy(quant, quantize_input(test.images, quant), test.labels.numpy()),
        "latency_cycles": report.latency_cycles, "latency_s": report.latency_s, "energy_j": report.energy_j,
        "area_mm2": report.area_mm2, "edp_js": report.edp_js, "search_seconds": time.monotonic() - started,
        "seed": args.seed, "target": args.target, "dataset": args.dataset, "choices": list(choices),
    }
    design = Design(target=args.target, seed=args.seed, choices=tuple(choices), network=network,
                    accelerator=accelerator, mappings=mappings)
    save_quant(quant, run.path / "quant")
    write_json_atomically(run.path / "history.json", [dataclasses.asdict(r) for r in joint.history])
    write_json_atomically(run.path / "report.json", to_plain(report))
    write_text_atomically(run.path / "design.yaml", design_to_yaml(design))
    write_json_atomically(run.path / "summary.json", summary)
    print(cost_table(report))
    return summary


def joint_search(args, inputs: Inputs, run: RunFolder) -> JointSearch:
    """Run the joint loop, from its last checkpoint if there is one; a checkpoint is written after each epoch."""
    settings = JointSettings(joint_epochs=args.epochs, hw_weight=args.hw_weight)
    total = settings.warmup_epochs + settings.joint_epochs
    joint = JointSearch(
        inputs.macro, inputs.splits, NetworkSearch(inputs.macro, DnsSettings(epochs=total), args.seed),
        AcceleratorSearch(inputs.space, inputs.technology, args.seed), settings, args.seed)
    checkpoint = run.path / "checkpoint.pt"
    if checkpoint.exists():
        joint.load_state_dict(torch.load(checkpoint, weights_only=True))
    steps = -(-len(inputs.splits.train.labels) // settings.batch)
    with tqdm(total=total * steps, initial=joint.epoch * steps, desc="co-search", unit="step", disable=args.quiet,
              file=sys.stderr) as bar:
        while joint.epoch < joint.epochs:
            record = joint.run_epoch(bar.update)
            part = checkpoint.with_suffix(".part")
            torch.save(joint.state_dict(), part)
            part.replace(checkpoint)
            if record.sampled_edp_js is not None:
                bar.set_postfix(loss=f"{record.task_loss:.3f}", edp=f"{record.best_edp_js:.2e}",
                                H=f"{record.alpha_entropy:.2f}/{record.gamma_entropy:.2f}")
    return joint


if __name__ == "__main__":
    sys.exit(main())
