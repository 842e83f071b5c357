"""Plain text tables, aligned; units are in the headings."""

from collections.abc import Sequence

from dna_asic.spec.report import CostReport


def format_number(value) -> str:
    """Text of a cell: integers with separators, floats to four digits, None as a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}"


def format_table(headers: Sequence[str], rows: Sequence[Sequence]) -> str:
    """Columns padded to one width, numbers to the right, a rule under the headings; no line ends in spaces.

    Raises ValueError when a row has another length than the headings.
    """
    for row in rows:
        if len(row) != len(headers):
            raise ValueError(f"Table: each row must have {len(headers)} cells, not {len(row)}: {row!r}.")
    numeric = [all(isinstance(row[i], (int, float, type(None))) for row in rows) and bool(rows)
               for i in range(len(headers))]
    cells = [list(map(str, headers)), *([format_number(v) for v in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]
    lines = ["  ".join(c.rjust(w) if right else c.ljust(w) for c, w, right in zip(row, widths, numeric, strict=True))
             for row in cells]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(line.rstrip() for line in lines)


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence]) -> str:
    """The same as a Markdown table."""
    lines = [headers, ["---"] * len(headers), *([format_number(v) for v in row] for row in rows)]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def cost_table(report: CostReport) -> str:
    """Totals of a report, each level's share of the energy, and one line per layer."""
    total_pj = sum(report.energy_pj_by_level.values())
    share = [(level, pj * 1e-6, 100 * pj / total_pj if total_pj else 0.0)
             for level, pj in report.energy_pj_by_level.items()]
    totals = [("latency", report.latency_cycles, "cycles"), ("latency", report.latency_s * 1e3, "ms"),
              ("period of many images", report.period_cycles, "cycles"),
              ("energy", report.energy_j * 1e6, "uJ"), ("area", report.area_mm2, "mm2"),
              ("EDP", report.edp_js, "J s")]
    layers = [(layer.name, layer.cycles, layer.counts.macs, sum(layer.energy_pj.values()) * 1e-6)
              for layer in report.layers]
    return "\n\n".join([
        f"cost model, {report.technology}, clock {report.clk_period_ns:g} ns, one inference",
        format_table(("quantity", "value", "unit"), totals),
        format_table(("energy of", "uJ", "share %"), share),
        format_table(("layer", "cycles", "MACs", "uJ"), layers),
    ])
