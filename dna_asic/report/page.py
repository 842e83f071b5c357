"""The page of a run: one HTML file that needs nothing else, from the records of `report.content`."""

import base64
from collections.abc import Sequence
from pathlib import Path

from dna_asic.report.charts import Point, Series, line_chart, scatter, stacked
from dna_asic.report.content import (
    Chip,
    Comparison,
    Course,
    Layer,
    Loop,
    Missing,
    Network,
    Origin,
    Page,
    Simulation,
    Synthesis,
)
from dna_asic.report.drawings import chip_drawing, chip_side_um, network_drawing
from dna_asic.report.html import Markup, join, number, table, tag
from dna_asic.spec.report import LEVELS

HERE = Path(__file__).parent
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
CAUSES = {"compute": "the PEs work", "fill": "the array waits for weights or inputs out of the global buffer",
          "drain": "the array waits for psums to leave", "memory": "waits for reads from memory",
          "store": "waits for post-processing and the write to memory",
          "control": "fetch and decoding of the instruction, starts of tiles"}
OPERANDS = {"W": "W", "I": "I", "O": "O", "": "other"}
LOOP_LEVELS = {"dram": "DRAM", "gb": "GB", "row": "rows", "col": "columns", "rf": "RF"}
COLOURS = {**{name: f"c{n}" for n, name in enumerate(CAUSES)}, **{name: f"c{n}" for n, name in enumerate(LEVELS)}}


def render(page: Page, folder: Path) -> str:
    """The whole page; its pictures lie in `folder`."""
    sections = [
        ("figures", "Figures", _figures(page)),
        ("comparison", "Accuracy against EDP", _comparison(page.comparison)),
        ("course", "Course of the search", _course(page.course)),
        ("network", "Network", _network(page.network)),
        ("chip", "Chip, to scale", _chips(page)),
        ("layers", "Layers on the chip", _layers(page.network, page.simulation)),
        ("simulation", "Simulation", _simulation(page.simulation)),
        ("synthesis", "Synthesis", _synthesis(page.synthesis, folder)),
        ("origins", "Where the figures are from", _origins(page))]
    nav = tag("nav", [tag("a", title, href=f"#{name}") for name, title, _ in sections])
    head = tag("head", tag("meta", charset="utf-8"),
               tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
               tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
               tag("meta", name="color-scheme", content="light dark"), tag("title", f"{page.run}: dna-asic"),
               tag("style", Markup((HERE / "page.css").read_text(encoding="utf-8"))))
    body = tag("body", tag("header", tag("h1", page.run), tag("p", page.title)), nav,
               tag("main", [tag("section", tag("h2", title), content, id=name) for name, title, content in sections]),
               tag("div", id="tip", role="tooltip", hidden="hidden"),
               tag("script", Markup((HERE / "page.js").read_text(encoding="utf-8"))))
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def _missing(part: Missing) -> Markup:
    return tag("p", f"No {part.what} yet. Make it with ", tag("code", part.command), ".", class_="missing")


def _origin(*origins: Origin) -> Markup:
    """One line: the file, and what made it."""
    return tag("p", "From ", [_one_origin(o, n) for n, o in enumerate(origins)], class_="origin")


def _one_origin(origin: Origin, n: int) -> list:
    made = [f"seed {origin.seed}" if origin.seed is not None else None,
            f"version {origin.version}" if origin.version else None,
            f"commit {origin.commit[:12]}{'+changes' if origin.commit.endswith('+changes') else ''}"
            if origin.commit else None, origin.made]
    words = ", ".join(word for word in made if word)
    command = [", made by ", tag("code", origin.command)] if origin.command else ", whose making was not recorded"
    return ["; " if n else None, tag("code", origin.file), command, f" ({words})" if words else None]


def _figures(page: Page) -> Markup:
    cards = [tag("div", tag("dt", f.name), tag("dd", number(f.value), tag("small", f" {f.unit}")),
                 tag("p", f.file, class_="origin"), class_="card") for f in page.figures]
    return join([tag("dl", cards, class_="cards"), *(tag("p", note, class_="note") for note in page.notes)])


def _comparison(part: Comparison | Missing) -> Markup:
    if isinstance(part, Missing):
        return _missing(part)
    known = [r for r in part.rivals if r.accuracy is not None]
    charts = [scatter("This run's network, one cost model", [
        Point(label=r.name, x=r.edp_js, y=100 * r.accuracy, colour="c0" if r.name.startswith("this design") else "c1",
              tip=f"{r.name} ({r.figures_are})\n{100 * r.accuracy:.4g} %, EDP {r.edp_js:.4g} J s\n"
                  f"{r.cycles:,.0f} cycles, {r.energy_j * 1e6:.4g} µJ, {r.area_mm2:.4g} mm²")
        for r in known], "EDP, J s", "int8 accuracy, %")] if known else []
    if part.published:
        charts.append(scatter(f"As published, apart from ours {part.mark}", [
            Point(label=p.name, x=p.edp_ratio, y=p.accuracy_pct, colour="c2",
                  tip=f"{p.name}\n{p.accuracy_pct:.4g} %, energy x cycles {p.edp_ratio:.3g} times that of its own flow")
            for p in part.published], "energy x cycles over the own flow's", "CIFAR-10 accuracy, %"))
    base = part.rivals[0].edp_js
    rows = [(r.name, r.figures_are, None if r.accuracy is None else 100 * r.accuracy, r.cycles, r.energy_j * 1e6,
             r.area_mm2, r.edp_js, r.edp_js / base) for r in part.rivals]
    return join([
        tag("div", charts, class_="charts"),
        table(("design", "figures are", "accuracy %", "cycles", "energy µJ", "area mm²", "EDP J s", "EDP ratio"), rows),
        *(tag("p", f"Not shown: {failure}", class_="note") for failure in part.failures),
        tag("p", "All rivals run the network of this run, so their accuracy is the same. Published rows are of other "
                 f"networks, another model and other units: {part.source}.", class_="note"), _origin(part.origin)])


def _course(part: Course | Missing) -> Markup:
    if isinstance(part, Missing):
        return _missing(part)
    charts = [_history("Losses", part, {"weight_loss": "training", "task_loss": "validation"}, "cross-entropy"),
              _history("Hardware loss", part, {"hw_loss": "hardware"}, "ln of EDP, relative"),
              _history("Entropies", part, {"alpha_entropy": "network (α)", "gamma_entropy": "accelerator (γ)"}, "nats"),
              _history("EDP", part, {"sampled_edp_js": "sampled", "best_edp_js": "best so far"}, "J s", log=True)]
    choices = [(e["epoch"], " ".join(e["choices"])) for e in part.epochs if e.get("choices")]
    changed = [row for n, row in enumerate(choices) if n == 0 or row[1] != choices[n - 1][1]]
    return join([tag("div", [c for c in charts if c], class_="charts four"),
                 tag("details", tag("summary", "Network chosen, epoch by epoch where it changed"),
                     table(("epoch", "blocks"), changed)) if changed else Markup(), _origin(part.origin)])


def _history(title: str, course: Course, names: dict[str, str], unit: str, log: bool = False) -> Markup | None:
    """A chart of some entries of the history; epochs without a value are left out."""
    series = [Series(name=label, points=[(e["epoch"], e[key]) for e in course.epochs
                                         if e.get(key) is not None and (e[key] > 0 or not log)])
              for key, label in names.items()]
    series = [s for s in series if s.points]
    return line_chart(title, series, "epoch", unit, log) if series else None


def _network(network: Network) -> Markup:
    return join([tag("p", f"{len(network.layers)} layers, {sum(x.macs for x in network.layers):,} MACs. The bar in a "
                          "box is the layer's share of the cycles; a dashed line is a residual.", class_="note"),
                 tag("div", network_drawing(network), class_="tall", tabindex=0, role="group",
                     aria_label="network"), _origin(network.origin)])


def _chips(page: Page) -> Markup:
    chips = [page.chip, *([] if isinstance(page.silicon, Missing) else [page.silicon])]
    side = max(map(chip_side_um, chips))
    drawn = [tag("figure", tag("figcaption", f"{chip.title}: {chip_side_um(chip)**2 * 1e-6:.4g} mm²"),
                 chip_drawing(chip, side), [tag("p", f"{c.name}: {c.about}", class_="note") for c in chip.chunks
                                            if c.about]) for chip in chips]
    return join([
        tag("p", "Areas are true to one scale; places are those of this drawing, not of a layout.", class_="note"),
        tag("div", drawn, class_="charts"),
        tag("details", tag("summary", "Areas in numbers"), [_areas(c) for c in chips]),
        _missing(page.silicon) if isinstance(page.silicon, Missing) else Markup(), _origin(*(c.origin for c in chips))])


def _areas(chip: Chip) -> Markup:
    total = sum(b.area_um2 for c in chip.chunks for b in c.blocks)
    return table((chip.title, "chunk", "µm²", "share %"), [
        (b.name, c.name, round(b.area_um2, 1), _percent(b.area_um2, total))
        for c in chip.chunks for b in sorted(c.blocks, key=lambda b: -b.area_um2)])


def _legend(colours: dict[str, str], meanings: dict[str, str]) -> Markup:
    return tag("div", [tag("span", tag("i", class_=f"key {colours[name]}"), name, data_tip=meanings.get(name))
                       for name in meanings], class_="legend")


def _layers(network: Network, simulation: Simulation | Missing) -> Markup:
    most = max(layer.cycles for layer in network.layers)
    simulated = any(layer.simulated_cycles is not None for layer in network.layers)
    rows = [(tag("a", layer.name, href=f"#layer-{n}"), layer.cycles,
             stacked(layer.cycles_by_cause.items(), COLOURS, "cycles", most), _percent(layer.utilisation, 1),
             _picojoules(layer) * 1e-3, layer.macs, *((layer.simulated_cycles,) if simulated else ()), layer.chunk,
             layer.kind) for n, layer in enumerate(network.layers, 1)]
    headers = ("layer", "cycles", "by cause", "utilisation %", "energy nJ", "MACs",
               *(("cycles simulated",) if simulated else ()), "chunk", "kind")
    origins = [network.origin, *([] if isinstance(simulation, Missing) or not simulated else [simulation.origin])]
    return join([
        _legend(COLOURS, CAUSES), table(headers, rows, "layers"),
        tag("p", "Utilisation: useful MACs per PE of the layer's chunk and cycle. Every cycle has one cause, by the "
                 "cost model's closed form. ", tag("button", "Open all", type="button", id="open-all"), class_="note"),
        *(_layer(n, layer) for n, layer in enumerate(network.layers, 1)), _origin(*origins)])


def _picojoules(layer: Layer) -> float:
    return sum(sum(pj.values()) for pj in layer.energy_pj.values())


def _layer(n: int, layer: Layer) -> Markup:
    cycles = [(_keyed(cause), count, _percent(count, layer.cycles)) for cause, count in layer.cycles_by_cause.items()]
    total = _picojoules(layer)
    operands = [x for x in OPERANDS if any(x in pj for pj in layer.energy_pj.values())]
    energy = [(_keyed(level), *(_nanojoules(layer.energy_pj[level].get(x)) for x in operands),
               _percent(sum(layer.energy_pj[level].values()), total)) for level in LEVELS if level in layer.energy_pj]
    tiles = [(f"{b.operand}, {LOOP_LEVELS[b.level]}", b.used, b.size, "bytes" if b.level == "gb" else "words a PE",
              _percent(b.used, b.size)) for b in layer.buffers]
    parts = [(level, sum(pj.values())) for level, pj in layer.energy_pj.items()]
    return tag(
        "details", tag("summary", tag("b", layer.name), f" {layer.kind}, {layer.shape} → {layer.output}"),
        tag("div", tag("div", tag("h4", "Loop nest"), _nest(layer.loops)),
            tag("div", tag("h4", "Cycles by cause"), stacked(layer.cycles_by_cause.items(), COLOURS, "cycles"),
                table(("cause", "cycles", "%"), cycles)),
            tag("div", tag("h4", "Energy by level and operand, nJ"), stacked(parts, COLOURS, "pJ"),
                table(("level", *(OPERANDS[x] for x in operands), "%"), energy)),
            tag("div", tag("h4", "One half of each memory"), table(("tile", "used", "of", "unit", "%"), tiles)),
            class_="charts four"), id=f"layer-{n}", class_="layer")


def _keyed(name: str) -> Markup:
    return join([tag("i", class_=f"key {COLOURS[name]}"), tag("span", name)])


def _nanojoules(pj: float | None) -> float | None:
    return None if pj is None else round(pj * 1e-3, 2)


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 1)


def _nest(loops: Sequence[Loop]) -> Markup:
    """Loops as one writes them, outermost first; beside each the operands whose tile it changes."""
    lines = []
    for depth, loop in enumerate(loops):
        spatial = loop.level in ("row", "col")
        words = f"{'parallel for' if spatial else 'for'} {loop.dim.lower()} in {loop.count}"
        lines.append(tag("div", tag("span", LOOP_LEVELS[loop.level], class_=f"level {loop.level}"),
                         tag("span", words, style=f"padding-left:{0.8 * depth:.1f}em", class_="loop"),
                         tag("span", " ".join(loop.moves), class_="moves")))
    body = tag("div", tag("span", "PE", class_="level"),
               tag("span", "O += W × I", style=f"padding-left:{0.8 * len(loops):.1f}em", class_="loop"),
               tag("span", class_="moves"))
    return tag("div", lines, body, class_="nest")


def _simulation(part: Simulation | Missing) -> Markup:
    if isinstance(part, Missing):
        return _missing(part)
    rows = [("images", part.images), ("layers", part.layers), ("bytes compared", part.bytes),
            ("wrong bytes", part.mismatches), ("cycles of one image, cost model", part.cycles_model),
            ("cycles of one image, Verilog", part.cycles_rtl)]
    return join([tag("p", f"Verilog in {part.simulator}, every byte of every layer against the integer reference.",
                     class_="note"), table(("quantity", "value"), rows), _origin(part.origin)])


def _synthesis(part: Synthesis | Missing, folder: Path) -> Markup:
    if isinstance(part, Missing):
        return _missing(part)
    power = sorted(part.power_mw.items(), key=lambda item: -item[1])
    return join([
        tag("p", f"Library {part.library}.", class_="note"),
        tag("div", table(("quantity", "value", "unit"), part.facts),
            table(("block", "power mW, cells"), power) if power else Markup(), class_="charts"),
        tag("details", tag("summary", f"To know before believing these figures ({len(part.notes)})"),
            tag("ul", [tag("li", note) for note in part.notes])),
        *(tag("figure", tag("figcaption", title), tag("img", src=_picture(folder / path), alt=title, loading="lazy"))
          for title, path in part.pictures), _origin(part.origin)])


def _origins(page: Page) -> Markup:
    rows = [(o.file, o.command, o.version, o.commit, o.seed, o.made,
             ", ".join(f"{name} {version}" for name, version in o.versions.items()) or None) for o in page.origins]
    return table(("file", "command", "version", "commit", "seed", "made, UTC", "with"),
                 [[tag("code", cell) if n < 2 and cell else cell if n != 4 or cell is None else str(cell)
                   for n, cell in enumerate(row)] for row in rows])


def _picture(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
