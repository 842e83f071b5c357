"""A space in full: every chip that it holds, and the EDP of a network on each, priced in parallel and kept as it comes.

A point is a chip: samples that build the same chip are one point. Its price is that of `GreedyPricer`, a function of
the chip alone, so that a search which asks for the chip gets the same price.
"""

import itertools
import json
import math
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dna_asic.cosearch.designs import DesignPricer
from dna_asic.cosearch.gumbel import Sample
from dna_asic.cosearch.pricing import GreedyPricer
from dna_asic.errors import InfeasibleDesign, SpecError
from dna_asic.gads import GadsSpace
from dna_asic.spec.layer import NetworkSpec
from dna_asic.technology import Technology

MAX_SAMPLES = 10**6
BLOCK = 512  # points of a file
QUEUED = 2  # blocks that wait for each worker
Progress = Callable[[int, int], None]  # (points priced, points in all)


@dataclass(frozen=True, kw_only=True)
class Enumeration:
    """The points, one sample each; their EDP in J s, float64 [points]; tilings priced for them."""

    samples: tuple[Sample, ...]
    edp_js: Tensor
    tilings: int


def distinct_samples(space: GadsSpace) -> list[Sample]:
    """The first sample of every chip; raises SpecError for a space of more than a million samples."""
    if space.space.size > MAX_SAMPLES:
        raise SpecError(f"Space '{space.name}' has {space.space.size:.3g} samples, too many to price them all; narrow "
                        f"it to at most {MAX_SAMPLES:,}.")
    chips, labels = {}, [c.label for c in space.choices]
    for options in itertools.product(*(c.options for c in space.choices)):
        sample = dict(zip(labels, options))
        try:
            chips.setdefault(space.build(sample), sample)
        except InfeasibleDesign:
            continue
    return list(chips.values())


def fixed_pricer(space: GadsSpace, technology: Technology) -> GreedyPricer:
    """Prices of layers on the chips of a space, whatever was asked before."""
    return GreedyPricer(technology, 0, orders=space.orders)


def enumerate_space(space: GadsSpace, network: NetworkSpec, technology: Technology, folder: Path, jobs: int,
                    write: Callable[[Path, dict], None], progress: Progress = lambda *_: None) -> Enumeration:
    """Price every point; blocks that `folder` holds are taken from there, others are written by `write` as they end.

    The caller names a folder for each space, network, technology and state of the sources.
    """
    space = space.at_clock(technology.clk_period_ns)
    samples = distinct_samples(space)
    blocks = [samples[i:i + BLOCK] for i in range(0, len(samples), BLOCK)]
    records = {}
    for i, record in _priced(space, network, technology, blocks, folder, jobs):
        path = folder / f"block-{i:05}.json"
        if not path.is_file():
            write(path, record)
        records[i] = record
        progress(sum(len(r["edp_js"]) for r in records.values()), len(samples))
    edp = [math.inf if e is None else e for i in range(len(blocks)) for e in records[i]["edp_js"]]
    return Enumeration(samples=tuple(samples), edp_js=torch.tensor(edp, dtype=torch.float64),
                       tilings=sum(r["tilings"] for r in records.values()))


def _priced(space, network, technology, blocks, folder, jobs):
    """(number, record) of every block as it comes: those on disk first."""
    missing = []
    for i, block in enumerate(blocks):
        record = _kept(folder / f"block-{i:05}.json", len(block))
        if record is None:
            missing.append(i)
        else:
            yield i, record
    if jobs == 1 or len(missing) < 2:
        yield from ((i, price_block(space, network, technology, blocks[i])) for i in missing)
        return
    pool, pending = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"),
                                        initializer=torch.set_num_threads, initargs=(1,)), {}
    try:
        while missing or pending:
            while missing and len(pending) < QUEUED * jobs:
                i = missing.pop(0)
                pending[pool.submit(price_block, space, network, technology, blocks[i])] = i
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                yield pending.pop(future), future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _kept(path, points):
    """The record of a block that was priced before; none for a damaged one."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return record if len(record["edp_js"]) == points and record["tilings"] >= 0 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def price_block(space: GadsSpace, network: NetworkSpec, technology: Technology,
                samples: Sequence[Sample]) -> dict:
    """edp_js: of each sample, None where it cannot run the network; tilings: priced for it. In a worker process."""
    pricer = DesignPricer(fixed_pricer(space, technology))
    edp = pricer.edp_js([space.build(s) for s in samples], network).tolist()
    return {"edp_js": [e if math.isfinite(e) else None for e in edp], "tilings": pricer.layers.evaluations}
