"""`python -m dna_asic.search`: search a network and its accelerator together, then fix, train and quantise them.

With --network: the accelerator alone, for a network that is brought (see dna_asic.own_network). Under `torchrun`
several processes train together.
"""

import argparse
import contextlib
import dataclasses
import itertools
import json
import math
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save

from dna_asic import goals, learning, own_network
from dna_asic.bars import StageBars
from dna_asic.command import add_output_options, going_on, progress, require_ranges, run_command
from dna_asic.cosearch.checkpoints import read_checkpoint, save_checkpoint
from dna_asic.cosearch.compute import Compute, started_as
from dna_asic.cosearch.das import (
    AcceleratorSearch,
    FoundAccelerator,
    fixed_accelerator,
    require_chip,
    search_accelerator,
)
from dna_asic.cosearch.dns import DnsSettings, NetworkSearch
from dna_asic.cosearch.joint import JointSearch, JointSettings
from dna_asic.cosearch.targets import Targets
from dna_asic.cosearch.training import steps_per_epoch, train_network
from dna_asic.data import DatasetSplits
from dna_asic.errors import SpecError
from dna_asic.gads import GadsSpace
from dna_asic.gads.presets import fitted_preset
from dna_asic.goals import Mode
from dna_asic.networks import Macro, NetworkModule, build_network, expand, load_macro
from dna_asic.origin import write_origin
from dna_asic.quantize import quantize_network
from dna_asic.report.files import write_atomically, write_json_atomically
from dna_asic.result import PRICES, kept_prices, write_design
from dna_asic.runs import MARKER, RunFolder, in_turn, only_one
from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.layer import NetworkSpec
from dna_asic.spec.record import to_plain
from dna_asic.technology import Technology, load_technology

ARGUMENTS, CHECKPOINT, CHOICES, TRAINING = "arguments.json", "checkpoint.pt", "choices.json", "training.pt"
# Arguments that do not say what is searched.
NOT_KEPT = ("resume", "quiet", "json", "program", "command_line", "runs_dir", "name", "warm_up")
RANGES = {"warmup_epochs": (0, math.inf), "epochs": (1, math.inf), "train_epochs": (1, math.inf),
          "das_steps": (1, math.inf), "hw_weight": (0, math.inf), "supernet_rate": (1e-9, math.inf),
          "seed": (0, 2**63 - 1)}
ARCH_REACH = 17  # alpha moves by about its rate a step: so far in all, however many images there are
THREADS = 1  # tensors are small: a second thread costs more than it gives, and sums must not depend on the machine


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m dna_asic.search", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples: python -m dna_asic.search --target asic-28nm --set pe_rows=4 --seed 1\n"
               "          python -m dna_asic.search --max-latency-ms 0.02 --max-area-mm2 0.5 --min-accuracy 0.97\n"
               "          python -m dna_asic.search --mode sequential\n"
               "          python -m dna_asic.search --network model.onnx --calibration images/")
    add_arguments(p)
    own_network.add_arguments(p)
    p.add_argument("--mode", choices=[str(mode) for mode in Mode], default=str(Mode.JOINT),
                   help=f"{goals.ABOUT_MODES} (default: %(default)s)")
    p.add_argument("--hw-weight", type=float, default=JointSettings.hw_weight,
                   help="lambda: weight of the hardware cost beside the cross-entropy (default: %(default)s)")
    p.add_argument("--name", help="name of the run (default: <dataset>-<target>-seed<seed>)")
    p.add_argument("--runs-dir", type=Path, default=Path("runs"), help="folder of the runs (default: %(default)s)")
    p.add_argument("--resume", metavar="RUN", help="go on with an interrupted run")
    add_output_options(p)
    return p


def add_arguments(p: argparse.ArgumentParser) -> None:
    """What is searched, and for how long."""
    p.add_argument("--target", default="asic-28nm", help="technology node (default: %(default)s)")
    learning.add_arguments(p)
    p.add_argument("--macro", help="macro-architecture: a bundled name or a YAML file (default: the dataset's)")
    p.add_argument("--space", default="default", help="accelerator space: a bundled name or a YAML file")
    p.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="pins",
                   help="pin one entry of the accelerator space; may be repeated")
    p.add_argument("--seed", type=int, default=0, help="everything random follows from it (default: %(default)s)")
    p.add_argument("--warmup-epochs", type=int, default=JointSettings.warmup_epochs,
                   help="epochs that train the supernet's weights alone (default: %(default)s)")
    p.add_argument("--epochs", type=int, default=JointSettings.joint_epochs,
                   help="joint epochs after the warm-up (default: %(default)s)")
    p.add_argument("--no-network-polish", action="store_true",
                   help="keep the likeliest option of each choice of the network, without moves to better ones")
    p.add_argument("--supernet-rate", type=float, default=DnsSettings.weight_rate, metavar="RATE",
                   help="learning rate of the supernet's weights, at its highest (default: %(default)s)")
    p.add_argument("--train-epochs", type=int, default=30, help="epochs of the derived network (default: %(default)s)")
    p.add_argument("--das-steps", type=int, default=40,
                   help="steps of the final accelerator search (default: %(default)s)")
    goals.add_target_arguments(p)
    p.set_defaults(warm_up=None)  # file that searches alike but for mode and lambda share


def main(argv=None, prog=None) -> int:
    """Run the search; exit status 0, 1 where a target is missed, or 2 after one clear error."""
    return run_command(search, parser(), argv, prog)


def search(args: argparse.Namespace) -> dict:
    """The whole job; see the module. Returns the summary and the run's folder, but in the processes that assist."""
    torch.set_num_threads(THREADS)
    if started_as()[0]:
        return assist(args)
    if args.resume:
        run, args = reopen(args)
        with only_one(run.path, "search"):
            require_unfinished(run)
            return carry_out(args, load(args), run)
    inputs = load(args)
    subject = Path(args.network).stem if args.network else args.dataset.partition(":")[0]
    run = RunFolder.create(args.name or f"{subject}-{args.target}-seed{args.seed}", args.runs_dir)
    with only_one(run.path, "search"):
        write_json_atomically(run.path / ARGUMENTS, {k: v for k, v in vars(args).items() if k not in NOT_KEPT})
        return carry_out(args, inputs, run)


def assist(args: argparse.Namespace) -> dict:
    """What all processes but the first do: learn with it."""
    args = reopen(args)[1] if args.resume else args
    inputs = load(args)
    with inputs.compute.joined(), contextlib.closing(StageBars(quiet=True)) as bars:
        learn(args, inputs, RunFolder(Path(inputs.compute.told())), bars)
    return {}


def check_ranges(args: argparse.Namespace) -> None:
    """Raise SpecError for every number that is out of its range."""
    require_ranges(args, RANGES | learning.RANGES | goals.RANGES)


def load(args: argparse.Namespace) -> "Inputs | own_network.Inputs":
    """Whatever the arguments name; raises SpecError, DataError or InfeasibleDesign."""
    check_ranges(args)
    return (own_network.load_inputs if args.network else load_inputs)(args)


def carry_out(args: argparse.Namespace, inputs, run: RunFolder) -> dict:
    """The search itself, from where the run stands."""
    work = own_network.run_search if args.network else run_search
    progress(args, f"run {run.path}: accelerator space of {inputs.space.size:.3g} points, {inputs.network_line}")
    with going_on(f"{args.program} --resume {run.path}"):
        with contextlib.closing(StageBars(args.quiet)) as bars:
            summary = work(args, inputs, run, bars)
        shutil.rmtree(run.path / PRICES, ignore_errors=True)
        (run.path / CHOICES).unlink(missing_ok=True)
        write_origin(run.path, args, args.seed, ("torch", "numpy", "onnx"))
        run.finish()
    summary = {"run": str(run.path)} | summary
    goals.tell_targets(summary)
    kind = "int8_test_accuracy" if "int8_test_accuracy" in summary else "int8_agreement"
    print(f"search: run={run.path} {kind}={summary[kind]:.4f} "
          f"latency_cycles={summary['latency_cycles']} energy_j={summary['energy_j']:.4g} "
          f"area_mm2={summary['area_mm2']:.4g} edp_js={summary['edp_js']:.4g} seconds={summary['search_seconds']:.0f}")
    goals.require_targets(summary)
    return summary


def reopen(args: argparse.Namespace) -> tuple[RunFolder, argparse.Namespace]:
    """A run without an end, and the arguments it was started with; raises SpecError for a whole one."""
    run = RunFolder.open(args.resume, allow_partial=True)
    require_unfinished(run)
    path = run.require(ARGUMENTS, "make search")
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SpecError(f"File '{path}' is not valid JSON: {error}; start a new run with `make search`.") from error
    return run, argparse.Namespace(**(vars(args) | saved))


def require_unfinished(run: RunFolder) -> None:
    """Raise SpecError for a run that came to its end."""
    if not (run.path / MARKER).exists():
        raise SpecError(f"Run '{run.path}' is whole: nothing is left to do; start a new one with `make search`.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the arguments name, loaded and checked before anything is written."""

    technology: Technology
    splits: DatasetSplits
    macro: Macro
    space: GadsSpace
    targets: Targets
    mode: Mode
    chip: AcceleratorConfig | None  # after a preset, where none is searched
    compute: Compute
    teacher: NetworkModule | None

    @property
    def network_line(self) -> str:
        """What is searched beside the accelerator."""
        return f"network space of {self.macro.space.size:.3g}"


def load_inputs(args: argparse.Namespace) -> Inputs:
    """Load every file that the arguments name; raises SpecError or DataError before the run folder exists."""
    technology, compute = load_technology(args.target), Compute.named(args.device, args.dataset)
    mode, targets = Mode(args.mode), goals.targets_of(args)
    space = GadsSpace.load(args.space).pinned(args.pins)
    macro = load_macro(args.macro or ("digits" if args.dataset == "digits" else "cifar10"))
    splits = learning.load_splits(args)
    macro = macro.fitted(splits.input_shape, splits.num_classes)
    chip = None if mode.searches_accelerator else fitted_preset(space.at_clock(technology.clk_period_ns))
    if chip is None:
        network = expand(macro, [choice.options[0] for choice in macro.space.choices])
        require_chip(network, space, technology, seed=args.seed, tries=JointSettings.das_steps, targets=targets)
    return Inputs(technology=technology, splits=splits, space=space, macro=macro, targets=targets, mode=mode, chip=chip,
                  compute=compute, teacher=learning.load_teacher(args, splits))


def run_search(args, inputs: Inputs, run: RunFolder, bars: StageBars) -> dict:
    """Joint search, training, quantisation, final accelerator; writes the records, returns the summary."""
    started = time.monotonic()
    with inputs.compute.joined():
        inputs.compute.told(str(run.path))
        joint, earlier_s, choices, module = learn(args, inputs, run, bars)
    quant = quantize_network(module, learning.calibration_images(inputs.splits))
    network = expand(inputs.macro, choices)
    found = final_accelerator(args, inputs, run, network, joint, bars)
    bars.close()
    accuracies = learning.judge_on_test(module, quant, inputs.splits, inputs.compute)
    if inputs.targets.min_accuracy:
        accuracies["int8_val_accuracy"] = learning.int8_accuracy(quant, inputs.splits.val, inputs.compute)
    targets = inputs.targets.judged(found.report, accuracies.get("int8_val_accuracy"))
    write_json_atomically(run.path / "history.json", [dataclasses.asdict(r) for r in joint.history] if joint else [])
    return write_design(run, args, quant, found, choices, accuracies | {
        "search_seconds": earlier_s + time.monotonic() - started, "dataset": args.dataset, "mode": args.mode,
        "preset": inputs.chip and inputs.chip.name, "targets": to_plain(targets)})


def learn(args, inputs: Inputs, run: RunFolder,
          bars: StageBars) -> tuple[JointSearch | None, float, list[str], NetworkModule]:
    """What several processes do together: the joint search and its seconds in earlier sessions, what it chose, and that
    network trained.
    """
    joint, earlier_s = joint_search(args, inputs, run, bars) if inputs.mode.searches_network else (None, 0.0)
    choices = choose(args, inputs, run, joint, bars) if joint else goals.middle_choices(inputs.macro)
    return joint, earlier_s, choices, train_derived(args, inputs, run, choices, joint, bars)


def choose(args, inputs: Inputs, run: RunFolder, joint: JointSearch, bars: StageBars) -> list[str]:
    """The network that the search ends with."""
    if args.no_network_polish:
        return joint.network.derive()
    return inputs.compute.told(None if inputs.compute.rank else polished(inputs, run, joint, bars))


def polished(inputs: Inputs, run: RunFolder, joint: JointSearch, bars: StageBars) -> list[str]:
    """The polished network, kept in the run for later sessions. Raises SpecError where what was kept is damaged."""
    path = run.path / CHOICES
    if not path.exists():
        write_json_atomically(path, joint.polish(lambda done, of: bars("network polish", done, of)))
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        inputs.macro.split(found)
    except (ValueError, TypeError, SpecError) as error:
        raise SpecError(f"File '{path}' is damaged ({error}); remove it to choose the network anew.") from error
    return found


def joint_search(args, inputs: Inputs, run: RunFolder, bars: StageBars) -> tuple[JointSearch, float]:
    """The joint loop, from its last checkpoint if there is one, and the seconds that this took in earlier sessions.

    A checkpoint is written after each epoch; that of the last one of the warm-up is args.warm_up too. Where that is
    there, a search goes on from it; while another makes it, it waits. Raises SpecError for one that cannot be read.
    """
    started, earlier_s, path, shared = time.monotonic(), 0.0, run.path / CHECKPOINT, args.warm_up
    settings = JointSettings(warmup_epochs=args.warmup_epochs, joint_epochs=args.epochs, hw_weight=args.hw_weight,
                             batch=args.batch)
    steps = steps_per_epoch(len(inputs.splits.train.labels), settings.batch, inputs.compute.ranks > 1)
    dns = DnsSettings(epochs=args.epochs, weight_rate=args.supernet_rate,
                      arch_rate=min(DnsSettings.arch_rate, ARCH_REACH / (steps * args.epochs)))
    accelerator = None
    if inputs.mode is Mode.JOINT and inputs.compute.rank == 0:
        accelerator = AcceleratorSearch(inputs.space, inputs.technology, args.seed, targets=inputs.targets)
    joint = JointSearch(
        inputs.macro, inputs.splits,
        NetworkSearch(inputs.macro, dns, args.seed, inputs.compute),
        accelerator, settings, args.seed, inputs.targets)
    if path.exists():
        with read_checkpoint(path, "search anew") as state:
            joint.load_state_dict(state["joint"])
            earlier_s = state["seconds"]
    with contextlib.ExitStack() as turn:
        if shared and joint.epoch < args.warmup_epochs:
            asked = time.monotonic()
            turn.enter_context(in_turn(shared))
            waited_s = time.monotonic() - asked
            if shared.exists():
                with read_checkpoint(shared, "warm up anew") as state:
                    joint.load_warm_up(state["joint"])
                    earlier_s = state["seconds"]
                turn.close()
            earlier_s -= waited_s
        done = itertools.count(joint.epoch * steps + 1)
        while joint.epoch < joint.epochs:
            record = joint.run_epoch(lambda: bars("co-search", next(done), joint.epochs * steps))
            if inputs.compute.rank == 0:
                state = {"joint": joint.state_dict(), "seconds": earlier_s + time.monotonic() - started}
                save_checkpoint(path, state)
                if shared and joint.epoch == args.warmup_epochs:
                    save_checkpoint(shared, state)
                    turn.close()
            if record.best_edp_js is not None:
                bars.show(loss=f"{record.task_loss:.3f}", edp=f"{record.best_edp_js:.2e}",
                          H=f"{record.alpha_entropy:.2f}/{record.gamma_entropy:.2f}")
    return joint, earlier_s


def final_accelerator(args, inputs: Inputs, run: RunFolder, network: NetworkSpec, joint: JointSearch | None,
                      bars: StageBars) -> FoundAccelerator:
    """The accelerator of the network: that of the joint search searched on, or as many steps in all without one; or the
    fixed one with its best mapping. Raises InfeasibleDesign where the targets of hardware are not kept.
    """
    if inputs.chip:
        return fixed_accelerator(inputs.chip, network, inputs.space, inputs.technology, seed=args.seed,
                                 targets=inputs.targets)
    start = joint and joint.accelerator
    steps = args.das_steps if start else args.das_steps + args.epochs * JointSettings.das_steps
    return search_accelerator(network, inputs.space, inputs.technology, seed=args.seed, steps=steps, start=start,
                              designs=kept_prices(run, inputs, args.seed), progress=bars)


def train_derived(args, inputs: Inputs, run: RunFolder, choices: Sequence[str], joint: JointSearch | None,
                  bars: StageBars) -> NetworkModule:
    """The network trained on from the supernet's weights, or from none for as many epochs in all; the weights of an
    earlier session when it got so far. The search over, it learns from validation images too, unless a target is
    judged on them.
    """
    module = build_network(inputs.macro, choices, args.seed, joint and joint.network.supernet)
    epochs = args.train_epochs if joint else args.warmup_epochs + args.epochs + args.train_epochs
    path = run.path / learning.WEIGHTS
    if path.exists():
        return learning.load_weights(module, path, "remove them to train anew")
    splits = inputs.splits if inputs.targets.min_accuracy else inputs.splits.with_val_in_train()
    train_network(module, splits, epochs, args.seed, settings=learning.train_settings(args), compute=inputs.compute,
                  checkpoint=run.path / TRAINING, teacher=inputs.teacher,
                  progress=lambda epoch, loss: bars("training", epoch + 1, epochs))
    if inputs.compute.rank == 0:
        write_atomically(path, lambda part: part.write_bytes(save(module.state_dict())))
        (run.path / TRAINING).unlink()
    return module


if __name__ == "__main__":
    sys.exit(main())
