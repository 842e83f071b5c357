"""HTML and SVG as text: everything is escaped but what `tag` itself made."""

from collections.abc import Iterable, Sequence
from html import escape

from dna_asic.report.tables import format_number

NUMBERS = {int, float, type(None)}
VOID = frozenset({"meta", "input", "img", "br", "line", "rect", "circle", "path", "polyline"})


class Markup(str):
    """Text that is HTML already."""


def tag(name: str, /, *children, **attributes) -> Markup:
    """An element. A child is Markup, text to escape, None (nothing), or a list of these; an attribute None is left out.

    `class_` is class; other underscores are hyphens.
    """
    words = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
                    for key, value in attributes.items() if value is not None)
    inner = "".join(_flat(children))
    return Markup(f"<{name}{words}/>" if name in VOID and not inner else f"<{name}{words}>{inner}</{name}>")


def _text(value) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _flat(children: Iterable):
    for child in children:
        if isinstance(child, Markup):
            yield child
        elif isinstance(child, (list, tuple)):
            yield from _flat(child)
        elif child is not None:
            yield escape(_text(child))


def join(parts: Iterable[Markup]) -> Markup:
    """One after another."""
    return Markup("".join(parts))


def table(headers: Sequence[str], rows: Sequence[Sequence], class_: str | None = None) -> Markup:
    """A table in a box that scrolls sideways; numbers to the right, and sortable by its headings."""
    numeric = [{type(row[i]) for row in rows} & {int, float} and {type(row[i]) for row in rows} <= NUMBERS
               for i in range(len(headers))]
    side = ["num" if number else None for number in numeric]
    head = [tag("th", tag("button", h, type="button"), class_=c, scope="col") for h, c in zip(headers, side)]
    body = [tag("tr", [tag("td", _cell(v), class_=c, data_value=v if isinstance(v, (int, float)) else None)
                       for v, c in zip(row, side)]) for row in rows]
    return tag("div", tag("table", tag("thead", tag("tr", head)), tag("tbody", body)),
               class_=" ".join(filter(None, ("scroll", class_))), tabindex=0, role="group", aria_label="table")


def number(value: float | int | None) -> str:
    """As in the text tables, but whole and large numbers have all their digits."""
    if isinstance(value, float) and (value == round(value) or abs(value) >= 1e3) and abs(value) < 1e15:
        return f"{value:,.0f}"
    return format_number(value)


def _cell(value):
    return value if isinstance(value, Markup) else number(value)
