"""`python -m dna_asic.page`: one HTML page of a run (report.html), and what it shows for programs (report/report.json).

A stage that has not run is left out, with the command that would make it.
"""

import argparse
import json
import sys
from pathlib import Path

from dna_asic.command import add_output_options, run_command
from dna_asic.compare import design_report
from dna_asic.cost import area_um2, buffer_area_um2, cycles_by_cause, energy_by_operand_pj, event_energies_pj
from dna_asic.errors import SpecError
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.origin import read_origin, write_origin
from dna_asic.report.content import (
    Block,
    Buffer,
    Chip,
    Chunk,
    Comparison,
    Course,
    Figure,
    Layer,
    Loop,
    Missing,
    Network,
    Page,
    Published,
    Rival,
    Simulation,
    Synthesis,
)
from dna_asic.report.files import write_json_atomically, write_text_atomically
from dna_asic.report.page import render
from dna_asic.runs import RunFolder
from dna_asic.spec.accelerator import AcceleratorConfig, ChunkConfig, Mapping
from dna_asic.spec.design import Design, design_from_yaml
from dna_asic.spec.dims import RELEVANT, Level, Operand
from dna_asic.spec.geometry import geometry
from dna_asic.spec.layer import LayerOp, LayerShape, LayerSpec
from dna_asic.spec.record import to_plain
from dna_asic.spec.report import CostReport, LayerCost
from dna_asic.synth import load_report
from dna_asic.technology import Technology, load_technology

DESIGN, SUMMARY, REPORT, HISTORY = "design.yaml", "summary.json", "report.json", "history.json"
SIM, SYNTH, COMPARE = "sim/report.json", "synth/synth.json", "compare/compare.json"
COMMANDS = {SIM: "make rtl sim", SYNTH: "make synth", COMPARE: "make compare", HISTORY: "make search"}
ACCURACY = {"int8_test_accuracy": "int8 accuracy on test", "int8_agreement": "int8 agrees with float"}
MOST_PICTURES_BYTES = 1_000_000
BLOCKS = {"noc": ("NoC", "logic"), "sequencer": ("sequencer", "logic"), "dma": ("DMA", "logic"),
          "postprocess": ("post-processing", "logic"), "parameters": ("parameters", "memory"),
          "psum": ("at the psum buffer", "logic"), "control": ("control", "logic")}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m dna_asic.page", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples: python -m dna_asic.page\n"
               "          python -m dna_asic.page --run runs/digits -o digits.html")
    p.add_argument("--run", default="runs/latest", help="run folder (default: %(default)s)")
    p.add_argument("-o", "--output", type=Path, help="the page (default: report.html in the run)")
    add_output_options(p)
    return p


def main(argv=None, prog=None) -> int:
    """Exit status 0, or 2 after one clear error."""
    return run_command(report, parser(), argv, prog)


def report(args: argparse.Namespace) -> dict:
    """The whole job; see the module. Returns what the page shows."""
    run = RunFolder.open(args.run)
    page = collect(run)
    output = args.output or run.path / "report.html"
    with run.working("report") as folder:
        text, plain = render(page, run.path), to_plain(page)
        write_text_atomically(output, text)
        write_json_atomically(folder / "report.json", plain)
        write_origin(folder, args)
    missing = [name for name, part in vars(page).items() if isinstance(part, Missing)]
    print(f"report: page={output} bytes={len(text.encode())} layers={len(page.network.layers)} "
          f"missing={','.join(missing) or 'none'}")
    return {"page": str(output)} | plain


def collect(run: RunFolder) -> Page:
    """All that is known of a run; raises SpecError for a record that is damaged."""
    design = design_from_yaml(run.require(DESIGN, "make search"))
    technology = load_technology(design.target)
    summary, costs = _record(run, SUMMARY, "make search"), load_report(run.require(REPORT, "make search"))
    model = design_report(design, technology)
    simulated, synthesised, compared, history = (
        _record(run, name, command, needed=False) for name, command in
        ((SIM, "make sim"), (SYNTH, "make synth"), (COMPARE, "make compare"), (HISTORY, "make search")))
    accuracy = summary.get("int8_test_accuracy")
    chips = [_silicon(run, synthesised)] if synthesised else [_missing(SYNTH, "synthesised areas")]
    parts = {
        "comparison": _comparison(run, compared, accuracy) if compared else _missing(COMPARE, "comparison"),
        "course": Course(epochs=tuple(history), origin=read_origin(run.path, HISTORY)) if history else
        _missing(HISTORY, "course of a joint search (a network that is brought has none)"),
        "simulation": _simulation(run, simulated) if simulated else _missing(SIM, "simulation"),
        "synthesis": _synthesis(run, synthesised) if synthesised else _missing(SYNTH, "synthesis"),
        "network": _network(run, design, model, technology, simulated),
        "chip": _chip(run, design.accelerator, technology), "silicon": chips[0]}
    origins = [part.origin for part in parts.values() if not isinstance(part, Missing)]
    origins += [read_origin(run.path, name) for name in (SUMMARY, REPORT)]
    return Page(run=run.path.name, title=_title(design, summary),
                figures=tuple(_figures(summary, simulated, synthesised)),
                origins=tuple({o.file: o for o in origins}.values()), notes=tuple(_notes(costs, model)), **parts)


def _record(run: RunFolder, name: str, command: str, needed: bool = True):
    """A JSON record of the run; None for one that is not there and need not be."""
    path = run.require(name, command) if needed else run.path / name
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SpecError(f"Record '{path}' is not JSON ({error}); make it again with `{command}`.") from error


def _missing(name: str, what: str) -> Missing:
    return Missing(what=what, command=COMMANDS[name])


def _title(design: Design, summary: dict) -> str:
    chip = design.accelerator
    return (f"Network '{design.network.name}' ({summary.get('dataset') or summary.get('network') or 'given'}) on "
            f"{len(chip.chunks)} chunk{'s' * (len(chip.chunks) > 1)} of {chip.pes} PEs in all, {design.target}, "
            f"clock {chip.clk_period_ns:g} ns, seed {design.seed}")


def _figures(summary, simulated, synthesised):
    for key, name in ACCURACY.items():
        if key in summary:
            yield Figure(name=name, value=100 * summary[key], unit="%", file=SUMMARY)
    for name, key, scale, unit in (
            ("latency of one image", "latency_cycles", 1, "cycles"), ("latency of one image", "latency_s", 1e6, "µs"),
            ("period of many images", "period_cycles", 1, "cycles"), ("energy of one image", "energy_j", 1e6, "µJ"),
            ("area", "area_mm2", 1, "mm²"), ("EDP", "edp_js", 1, "J s")):
        yield Figure(name=name, value=summary[key] * scale, unit=unit, file=SUMMARY)
    if simulated:
        yield Figure(name="latency, simulated", value=simulated["cycles_rtl"], unit="cycles", file=SIM)
        yield Figure(name="wrong bytes", value=simulated["mismatches"], unit=f"of {simulated['bytes']:,}", file=SIM)
    if synthesised:
        yield Figure(name="area, synthesised", value=synthesised["area_mm2"], unit="mm²", file=SYNTH)
        yield Figure(name="EDP, synthesised", value=synthesised["energy"]["edp_js"], unit="J s", file=SYNTH)


def _notes(costs: CostReport, model: CostReport):
    """What does not fit together."""
    ours, theirs = ({x.name: x.cycles for x in r.layers} for r in (model, costs))
    if ours != theirs or model.latency_cycles != costs.latency_cycles:
        yield (f"{REPORT} says {costs.latency_cycles} cycles and this version's cost model {model.latency_cycles}: "
               f"another version made it; layers below are by this version's.")


def _comparison(run: RunFolder, record: dict, accuracy: float | None) -> Comparison:
    published, rivals = record["published"], record["rows"]
    base = {row["workload"]: row for row in published["rows"] if row["flow"] == "NASAIC"}
    return Comparison(
        rivals=tuple(Rival(name=r["name"], figures_are=r["origin"], accuracy=r.get("accuracy", accuracy),
                           cycles=r["cycles"], energy_j=r["energy_j"], area_mm2=r["area_mm2"], edp_js=r["edp_js"])
                     for r in rivals),
        published=tuple(Published(name=f"{r['flow']}, {r['workload']}", accuracy_pct=r["cifar10_pct"],
                                  edp_ratio=r["energy"] * r["cycles"] / (own["energy"] * own["cycles"]))
                        for r in published["rows"] for own in [base[r["workload"]]]),
        source=f"{published['source']}; {published['mark']} = {published['mark_meaning']}", mark=published["mark"],
        failures=tuple(record["failures"]), origin=read_origin(run.path, COMPARE))


def _network(run: RunFolder, design: Design, model: CostReport, technology: Technology, simulated) -> Network:
    shapes = dict(hardware_shapes(design.network, design.accelerator.port_bytes))
    costs, measured = {x.name: x for x in model.layers}, (simulated or {}).get("layer_cycles", {})
    tables = [event_energies_pj(alone, technology) for alone in design.accelerator.alone]
    layers = []
    for spec in design.network.layers:
        chunk = design.assignment.get(spec.name, 0)
        layers.append(_layer(spec, shapes[spec.name], chunk, design.accelerator.alone[chunk],
                             design.mappings[spec.name], costs[spec.name], tables[chunk], measured.get(spec.name)))
    channels, height, width = design.network.input_shape
    return Network(name=design.network.name, input=f"{channels} × {height} × {width}", layers=tuple(layers),
                   origin=read_origin(run.path, DESIGN))


def _layer(spec: LayerSpec, shape: LayerShape, chunk: int, alone: AcceleratorConfig, mapping: Mapping, cost: LayerCost,
           table: dict[str, float], simulated: float | None) -> Layer:
    rows, cols = spec.out_hw
    energy = energy_by_operand_pj(cost.counts, table)
    energy |= {level: {"": pj} for level, pj in cost.energy_pj.items() if level not in energy}
    causes = cycles_by_cause(shape, alone, mapping)
    s = spec.shape
    return Layer(
        name=spec.name, kind=layer_kind(spec), shape=f"{s.g * s.c} × {s.h} × {s.w}",
        output=f"{spec.out_channels} × {rows} × {cols}", reads=tuple(filter(None, (spec.source, spec.residual))),
        chunk=chunk, macs=s.macs, cycles=cost.cycles, simulated_cycles=simulated,
        utilisation=s.macs / (alone.pes * cost.cycles), cycles_by_cause={c.value: n for c, n in causes.items()},
        energy_pj=energy, loops=tuple(loop_nest(alone.chunk, mapping)),
        buffers=tuple(_buffers(shape, alone, mapping)))


def layer_kind(spec: LayerSpec) -> str:
    """In words."""
    s = spec.shape
    kernel, stride = f"{s.r}×{s.s}", f" /{s.stride}" if s.stride > 1 else ""
    if s.op is LayerOp.MAX:
        name = f"max pool {kernel}"
    elif spec.average:
        name = f"average pool {kernel}"
    elif s.depthwise and s.g > 1:
        name = f"depthwise {kernel}"
    elif (s.h, s.w) == (s.r, s.s) and (s.p, s.q) == (1, 1):
        name = "fully connected"
    else:
        name = f"conv {kernel}" + (f" in {s.g} groups" if s.g > 1 else "")
    extra = [f"+ {spec.pool.op.value} pool {spec.pool.window}"] if spec.pool else []
    return " ".join([name + stride, *extra, *(["+ residual"] if spec.residual else [])])


def loop_nest(chunk: ChunkConfig, mapping: Mapping) -> list[Loop]:
    """Loops of more than one iteration, outermost first; spatial ones lie between GB and RF."""
    spatial = [Loop(level=axis, dim=dim.name, count=mapping.noc[dim],
                    moves="".join(x.name for x in Operand if dim in RELEVANT[x]))
               for axis, (dim, _) in chunk.axes.items() if mapping.noc[dim] > 1]
    return [*_level(mapping, Level.DRAM), *_level(mapping, Level.GB), *spatial, *_level(mapping, Level.RF)]


def _level(mapping: Mapping, level: Level) -> list[Loop]:
    """Loops of a level, outermost first. A tile changes with every loop from its lowest relevant one outward."""
    factors, loops, moving = mapping.factors(level), [], set()
    for dim in mapping.order(level):
        if factors[dim] > 1:
            moving |= {x for x in Operand if dim in RELEVANT[x]}
            loops.append(Loop(level=level.name.lower(), dim=dim.name, count=factors[dim],
                              moves="".join(x.name for x in Operand if x in moving)))
    return loops[::-1]


def _buffers(shape: LayerShape, alone: AcceleratorConfig, mapping: Mapping):
    chunk, sizes = alone.chunk, geometry(shape, alone.chunk, alone.port_bytes, mapping)
    for x in Operand:
        yield Buffer(level="gb", operand=x.name, used=sizes.gb_bytes[x],
                     size=getattr(chunk, f"gb_{x.name.lower()}_bytes") // 2)
    for x in Operand:
        yield Buffer(level="rf", operand=x.name, used=sizes.rf_words[x],
                     size=getattr(chunk, f"rf_{x.name.lower()}_words"))


def _chip(run: RunFolder, accelerator: AcceleratorConfig, technology: Technology) -> Chip:
    chunks = tuple(Chunk(name=f"chunk {n}", about=_about(alone.chunk), blocks=tuple(_blocks(alone, technology)))
                   for n, alone in enumerate(accelerator.alone))
    return Chip(title="Cost model", chunks=chunks, origin=read_origin(run.path, DESIGN))


def _about(chunk: ChunkConfig) -> str:
    return (f"{chunk.pe_rows} × {chunk.pe_cols} PEs, {chunk.row_dim.name} on rows and {chunk.col_dim.name} on columns, "
            f"{chunk.reduction.value}, {chunk.delivery.value}; RF {chunk.rf_w_words}/{chunk.rf_i_words}/"
            f"{chunk.rf_o_words} words, GB {chunk.gb_w_bytes // 1024}/{chunk.gb_i_bytes // 1024}/"
            f"{chunk.gb_o_bytes // 1024} KiB, ports {chunk.n_w}/{chunk.n_i}/{chunk.n_o} words a cycle (W/I/O), "
            f"{chunk.n_pp} post-processing lanes")


def _blocks(alone: AcceleratorConfig, technology: Technology):
    area = area_um2(alone, technology)
    yield Block(name="PE array", kind="array", area_um2=area["pe_array"] + area["rf"],
                grid=(alone.chunk.pe_rows, alone.chunk.pe_cols))
    for x in Operand:
        yield Block(name=f"GB {x.name}", kind="memory", area_um2=buffer_area_um2(alone, x, technology))
    for key in BLOCKS:
        name, kind = BLOCKS[key]
        yield Block(name=name, kind=kind, area_um2=area[key])


def _silicon(run: RunFolder, record: dict) -> Chip:
    """Blocks as synthesised: cells by block, those of each chunk together, and all macros as one."""
    parts = {}
    for name, um2 in record["area_um2_by_block"].items():
        part, _, block = name.partition("/")
        if not part.startswith("chunk_"):
            part, block = ("memories", "all memories") if name == "sram" else ("shared", name)
        parts.setdefault(part, []).append(Block(name=block or "between its blocks", area_um2=um2,
                                                kind="memory" if name == "sram" else "logic"))
    return Chip(title=f"Synthesis, {record['library']}", origin=read_origin(run.path, SYNTH), chunks=tuple(
        Chunk(name=name.replace("_", " "), about="", blocks=tuple(blocks)) for name, blocks in parts.items()))


def _simulation(run: RunFolder, record: dict) -> Simulation:
    keys = ("simulator", "images", "layers", "bytes", "mismatches", "cycles_model", "cycles_rtl")
    return Simulation(**{k: record[k] for k in keys}, origin=read_origin(run.path, SIM))


def _synthesis(run: RunFolder, record: dict) -> Synthesis:
    energy, origin = record["energy"], record["energy"]["origin"]
    facts = (("area", record["area_mm2"], "mm²"), ("cells", record["cells"], ""),
             ("worst slack at the library's node", record["slack_ps"], "ps"),
             ("power of cells", record["power_mw"], "mW"), ("of which leakage", record["leakage_mw"], "mW"),
             *((f"energy of {name} ({origin[key]})", 1e6 * energy[key], "µJ") for name, key in (
                 ("logic", "logic_j"), ("SRAM accesses", "sram_j"), ("SRAM leakage", "sram_leakage_j"),
                 ("DRAM", "dram_j"))),
             ("energy of one image", 1e6 * energy["energy_j"], "µJ"), ("EDP", energy["edp_js"], "J s"))
    notes = (record["library_note"], record["scaling_note"], f"activity: {record['activity']}", *record["findings"])
    return Synthesis(library=f"{record['library']} ({record['library_nm']} nm)", notes=tuple(filter(None, notes)),
                     facts=facts, power_mw=record["power_mw_by_block"], pictures=tuple(_pictures(run)),
                     origin=read_origin(run.path, SYNTH))


def _pictures(run: RunFolder):
    """Pictures of layouts that lie in synth/, up to a megabyte in all."""
    room = MOST_PICTURES_BYTES
    for path in sorted((run.path / "synth").rglob("*.png")):
        if path.stat().st_size <= room:
            room -= path.stat().st_size
            yield path.stem, str(path.relative_to(run.path))


if __name__ == "__main__":
    sys.exit(main())
