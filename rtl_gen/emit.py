"""Verilog and program of a run: `python -m rtl_gen.emit --run RUN`; `--design FILE -o OUT` for the Verilog alone."""

import argparse
import hashlib
import itertools
import sys
from pathlib import Path

from dna_asic import spec
from dna_asic.command import add_output_options, run_command
from dna_asic.mapping.compile import compile_program
from dna_asic.origin import write_origin
from dna_asic.quantize import load_quant
from dna_asic.report.files import write_atomically, write_json_atomically, write_text_atomically
from dna_asic.runs import RunFolder
from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.design import Design, design_from_yaml
from dna_asic.spec.program import Program
from dna_asic.spec.record import to_plain
from rtl_gen.registers import VERSION
from rtl_gen.top import Chip
from rtl_gen.unit import ModuleSet

TOP = "chip"
_HEADER_LINES = 5


def chip_verilog(config: AcceleratorConfig) -> str:
    """One Verilog file: module `chip` and all modules below it, memories (sram_<words>x<bits>) included."""
    chunks = "".join(f"// Chunk {n}: {c.pe_rows} x {c.pe_cols} PEs, rows unroll {c.row_dim.name}, columns "
                     f"{c.col_dim.name}.\n" for n, c in enumerate(config.chunks))
    header = (f"// Accelerator '{config.name}', hardware version {VERSION:#010x}, {config.port_bytes}-byte port per "
              f"chunk.\n// Made by rtl_gen.emit. Icarus Verilog reads it with -g2005.\n{_stamp(config)}{chunks}")
    return header + ModuleSet().render(Chip(config), TOP)


def _stamp(config):
    return f"// generator {generator_digest()}, design {_digest(repr(config).encode())}\n"


def generator_digest() -> str:
    """Changes with the sources of the generator and of the specification that it reads."""
    folders = (Path(__file__).parent, Path(spec.__file__).parent)
    return _digest(b"".join(path.read_bytes() for folder in folders for path in sorted(folder.glob("*.py"))))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def verilog_digest(verilog: str) -> str:
    """Of all but the comments at the head of `chip_verilog`: the hardware, whoever made it."""
    lines = verilog.splitlines()
    return _digest("\n".join(itertools.dropwhile(lambda line: line.startswith("//"), lines)).encode())


def emit_verilog(config: AcceleratorConfig, path: Path) -> None:
    """Write `chip_verilog` to `path`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(path, chip_verilog(config))


def up_to_date(config: AcceleratorConfig, path: Path) -> bool:
    """Whether the Verilog at `path` came from this design and this generator (it may have been edited since)."""
    if not path.is_file():
        return False
    with path.open(encoding="utf-8") as stream:
        return _stamp(config) in itertools.islice(stream, _HEADER_LINES)


def write_program(program: Program, folder: Path) -> None:
    """program.bin (instructions, weights, parameters; to be loaded at the program base) and program.json, its map:
    where each chunk's program begins and what it holds, layout of every tensor, bytes that the region takes.
    """
    write_atomically(folder / "program.bin", lambda path: path.write_bytes(program.image))
    tensors = [program.input, *(layer.output for layer in program.layers)]
    write_json_atomically(folder / "program.json", {
        "chunks": [{"address": c.address, "layers": [x.name for x in c.layers]} for c in program.chunks],
        "region_bytes": program.size_bytes,
        "image_bytes": len(program.image), "port_bytes": program.port_bytes, "tensors": to_plain(tensors)})


def emit_run(run: RunFolder) -> tuple[Design, Program, Path]:
    """Verilog (kept if it is up to date) and program of a run, in its folder rtl/; the Verilog's path comes last."""
    design = design_from_yaml(run.require("design.yaml", "make search"))
    run.require("quant/quant.json", "make search")
    program = compile_program(design.accelerator, load_quant(run.path / "quant"), design.mappings,
                              design.assignment)
    verilog = run.stage("rtl") / "chip.v"
    if not up_to_date(design.accelerator, verilog):
        emit_verilog(design.accelerator, verilog)
    write_program(program, verilog.parent)
    return design, program, verilog


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m rtl_gen.emit", description=__doc__,
                                epilog="example: python -m rtl_gen.emit --design design.yaml -o build/chip.v")
    p.add_argument("--run", default="runs/latest", help="run folder (default: %(default)s)")
    p.add_argument("--design", type=Path, help="a design file instead of a run")
    p.add_argument("-o", "--output", type=Path, help="Verilog file of --design (default: chip.v beside it)")
    add_output_options(p)
    return p


def emit(args: argparse.Namespace) -> dict:
    """The whole job; see the module. Returns what was written."""
    if args.design:
        output = args.output or args.design.with_name("chip.v")
        emit_verilog(design_from_yaml(args.design).accelerator, output)
        print(f"rtl: verilog={output} lines={_lines(output)}")
        return {"verilog": str(output), "lines": _lines(output)}
    run = RunFolder.open(args.run)
    with run.working("rtl") as folder:
        design, program, verilog = emit_run(run)
        write_origin(folder, args, design.seed, ("amaranth",))
    print(f"rtl: verilog={verilog} lines={_lines(verilog)} instructions={len(program.layers)} "
          f"program_bytes={len(program.image)}")
    return {"verilog": str(verilog), "lines": _lines(verilog), "instructions": len(program.layers),
            "program_bytes": len(program.image)}


def _lines(path):
    return path.read_text(encoding="utf-8").count("\n")


def main(argv=None, prog=None) -> int:
    """Exit status 0, or 2 after one clear error."""
    return run_command(emit, parser(), argv, prog)


if __name__ == "__main__":
    sys.exit(main())
