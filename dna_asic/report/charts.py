"""Charts as inline SVG. A point says what it is in `data-tip`, which the page's script shows beside the pointer.

All are drawn for a width of 360 units, that of a telephone, and scale up from there.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dna_asic.report.html import Markup, join, tag

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 34
_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Maps values to units of the drawing; ticks lie within low..high."""

    low: float
    high: float
    log: bool
    begin: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], begin: float, end: float, log: bool = False) -> "Axis":
        """An axis that holds all values with some room."""
        low, high = min(values), max(values)
        if log:
            room = 10 ** max(0.05, 0.08 * math.log10(high / low))
            return cls(low=low / room, high=high * room, log=True, begin=begin, end=end)
        room = 0.06 * (high - low) or 0.01 * abs(high) or 1.0
        return cls(low=low - room, high=high + room, log=False, begin=begin, end=end)

    def at(self, value: float) -> float:
        """Place of a value."""
        f = math.log if self.log else float
        share = (f(value) - f(self.low)) / (f(self.high) - f(self.low))
        return self.begin + share * (self.end - self.begin)

    def ticks(self, about: int = 4) -> list[float]:
        """Round values, about so many."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for digits in ((1,), (1, 3), (1, 2, 5), range(1, 10)):
                found = [d * 10.0**k for k in decades for d in digits if self.low <= d * 10.0**k <= self.high]
                if len(found) >= 2:
                    break
            return found[::max(1, -(-len(found) // about))]
        rough = (self.high - self.low) / about
        size = 10 ** math.floor(math.log10(rough))
        step = next(s * size for s in _STEPS if s * size >= rough)
        first = math.ceil(self.low / step)
        return [n * step for n in range(first, math.floor(self.high / step) + 1)]


@dataclass(frozen=True, kw_only=True)
class Series:
    """A line: name, and (x, y) of its points."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Point:
    """A mark of a scatter: label beside it, tip at it, colour class."""

    label: str
    tip: str
    x: float
    y: float
    colour: str


def tick(value: float) -> str:
    """Its text, without rounding noise."""
    return f"{value:.4g}".replace("e-0", "e-").replace("e+0", "e")


def _frame(x: Axis, y: Axis, x_label: str, y_label: str, height: float) -> Markup:
    grid = [join([tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y.at(v), y2=y.at(v), class_="grid"),
                  tag("text", tick(v), x=LEFT - 5, y=y.at(v) + 3.5, class_="tick end")]) for v in y.ticks()]
    grid += [tag("text", tick(v), x=x.at(v), y=height - BOTTOM + 14, class_="tick mid") for v in x.ticks(5)]
    return join([*grid, tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=height - BOTTOM, y2=height - BOTTOM, class_="axis"),
                 tag("text", x_label, x=(LEFT + WIDTH - RIGHT) / 2, y=height - 4, class_="label mid"),
                 tag("text", y_label, x=12, y=TOP - 1, class_="label")])


def _svg(content: Sequence[Markup], height: float, label: str) -> Markup:
    return tag("svg", content, viewBox=f"0 -6 {WIDTH} {height + 6:.6g}", role="img", aria_label=label, class_="chart")


def line_chart(title: str, series: Sequence[Series], x_label: str, y_label: str, log: bool = False) -> Markup:
    """Lines over one axis of whole numbers, a legend that switches them, and the values at each x on hover."""
    points = [p for s in series for p in s.points]
    xs = sorted({x for x, _ in points})
    x = Axis.over(xs, LEFT, WIDTH - RIGHT)
    y = Axis.over([v for _, v in points], HEIGHT - BOTTOM, TOP + 6, log)
    lines = [tag("g", tag("polyline", points=" ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in s.points)),
                 [tag("circle", cx=x.at(a), cy=y.at(b), r=1.6) for a, b in s.points], class_=f"line c{n}",
                 data_series=n) for n, s in enumerate(series)]
    half = (x.at(xs[1]) - x.at(xs[0])) / 2 if len(xs) > 1 else 20
    hits = [tag("g", tag("rect", x=x.at(v) - half, y=TOP, width=2 * half, height=HEIGHT - BOTTOM - TOP, class_="hit"),
                tag("line", x1=x.at(v), x2=x.at(v), y1=TOP, y2=HEIGHT - BOTTOM, class_="cursor"),
                data_tip="\n".join([f"{x_label} {tick(v)}", *(f"{s.name}: {b:.4g}" for s in series
                                                                for a, b in s.points if a == v)])) for v in xs]
    legend = tag("div", [tag("button", tag("i", class_=f"key c{n}"), s.name, type="button", data_switch=n,
                             aria_pressed="true") for n, s in enumerate(series)], class_="legend")
    return tag("figure", tag("figcaption", title), legend,
               _svg([_frame(x, y, x_label, y_label, HEIGHT), *lines, *hits], HEIGHT, title))


def scatter(title: str, points: Sequence[Point], x_label: str, y_label: str, height: float = 250) -> Markup:
    """Marks with a logarithmic x axis, each with a number; the numbers' meanings stand below."""
    x = Axis.over([p.x for p in points], LEFT, WIDTH - RIGHT, log=True)
    y = Axis.over([p.y for p in points], height - BOTTOM, TOP + 8)
    marks, taken = [], [(x.at(p.x), y.at(p.y) + 4) for p in points]
    for n, p in enumerate(points, 1):
        cx, cy = x.at(p.x), y.at(p.y)
        label_y = cy - 10
        while any(abs(cx - a) < 14 and abs(label_y - b) < 12 for a, b in taken):
            label_y -= 12
        taken.append((cx, label_y))
        marks.append(tag("g", tag("circle", cx=cx, cy=cy, r=5.5, class_=f"dot {p.colour}"),
                         tag("text", n, x=cx, y=label_y, class_="tick mid strong"), data_tip=p.tip))
    names = tag("ol", [tag("li", tag("i", class_=f"key {p.colour}"), p.label) for p in points], class_="names")
    return tag("figure", tag("figcaption", title),
               _svg([_frame(x, y, x_label, y_label, height), *marks], height, title), names)


def stacked(parts: Iterable[tuple[str, float]], colours: dict[str, str], unit: str,
            total: float | None = None) -> Markup:
    """A bar of parts, as wide as its share of `total` (default: of its own sum)."""
    shown = [(name, value) for name, value in parts if value > 0]
    own = sum(value for _, value in shown)
    whole = total or own
    return tag("div", [tag("span", class_=f"part {colours[name]}", style=f"width:{100 * value / whole:.3f}%",
                           data_tip=f"{name}: {value:,.4g} {unit}, {100 * value / own:.3g} %")
                       for name, value in shown] if whole else None, class_="stack")
