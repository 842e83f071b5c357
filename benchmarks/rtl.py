"""The generator and its Verilog at size: prints one JSON line each for emission with lint, and for simulation.

emit: seconds and peak memory (the largest process) of writing 64 x 64 PEs as Verilog and of linting them.
simulate: cycles of 16 x 16 PEs per second of Verilator, from two runs of different length, so that neither build nor
start counts.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

from benchmarks.networks import CHIPS
from dna_asic.mapping.compile import compile_program
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.optimise import Mapper
from dna_asic.spec.accelerator import AcceleratorConfig, ChunkConfig, Reduction
from dna_asic.spec.dims import Dim
from dna_asic.spec.layer import LayerShape, LayerSpec, NetworkSpec
from dna_asic.technology import load_technology
from rtl_gen.emit import TOP, emit_verilog
from sim.chip import run_chip
from sim.integers import random_images, random_quant
from sim.runner import lint

LARGE = AcceleratorConfig(name="kc-64x64", port_bytes=64, memory_latency_cycles=20, clk_period_ns=1.0, chunks=(
    ChunkConfig(pe_rows=64, pe_cols=64, row_dim=Dim.K, col_dim=Dim.C, reduction=Reduction.TREE, n_w=64, n_i=64, n_o=64,
                n_pp=64, rf_w_words=4, rf_i_words=8, rf_o_words=8, gb_w_bytes=1 << 18, gb_i_bytes=1 << 17,
                gb_o_bytes=1 << 17),))
LAYER = LayerShape(k=64, c=64, p=28, q=28, r=3, s=3, pad=1, h=28, w=28)
FEW, MANY = 1, 4  # images of the two runs


def emit(path: Path) -> None:
    """Write and lint LARGE."""
    emit_verilog(LARGE, path)
    lint(path, TOP)


def measure_emit(folder: Path) -> dict:
    """One line, from a process of its own."""
    start = time.perf_counter()
    process = multiprocessing.get_context("spawn").Process(target=emit, args=(folder / "large.v",))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)
    seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"benchmark": "emit", "chip": LARGE.name, "seconds": round(seconds, 1), "peak_gib": round(peak / 2**20, 2),
            "verilog_bytes": (folder / "large.v").stat().st_size}


def measure_simulation(folder: Path) -> dict:
    """One line: a layer on random images."""
    chip = CHIPS["kc-16x16"]
    network = NetworkSpec(name="bench", input_shape=(LAYER.c, LAYER.h, LAYER.w),
                          layers=(LayerSpec(name="conv", shape=LAYER, source="input"),))
    quant, mapper = random_quant(network, 0), Mapper(chip, load_technology("asic-28nm"), seed=0)
    mappings = {name: mapper.layer(shape) for name, shape in hardware_shapes(network, chip.port_bytes)}
    program = compile_program(chip, quant, mappings)
    images = [program.input.pack(x) for x in random_images(network, MANY, 0)]
    emit_verilog(chip, folder / "chip.v")

    def run(count):
        start = time.perf_counter()
        (result,) = run_chip(folder / "chip.v", program, chip, [images[:count]], work=folder,
                             build_root=folder / "build")
        return result.cycles, time.perf_counter() - start

    run(FEW)  # builds
    (few, start), (many, seconds) = run(FEW), run(MANY)
    return {"benchmark": "simulate", "chip": chip.name, "cycles": many - few,
            "cycles_per_second": round((many - few) / (seconds - start))}


def main():
    """Both."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure_emit(Path(folder))), flush=True)
        print(json.dumps(measure_simulation(Path(folder))), flush=True)


if __name__ == "__main__":
    main()
