"""Plots, drawn without a display and written whole or not at all."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from dna_asic.report.files import write_atomically


def bar_chart(path: Path, panels: Sequence[tuple[str, Sequence[tuple[str, float]]]], title: str) -> None:
    """One panel of horizontal bars per (axis label with unit, [(name, value)]); written to `path` as PNG.

    Scales are logarithmic where the values of a panel span more than a factor of 30. All panels share their names.
    """
    with matplotlib.rc_context({"font.size": 8}):
        rows = max((len(bars) for _, bars in panels), default=1)
        figure = Figure(figsize=(3.2 * len(panels) + 2, 0.32 * rows + 1.4), layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axis, (label, bars) in zip(axes, panels, strict=True):
            values = [value for _, value in bars]
            drawn = axis.barh([name for name, _ in bars], values, color="tab:blue")
            axis.bar_label(drawn, labels=[f"{value:.3g}" for value in values], padding=2)
            if min(values) > 0 and max(values) > 30 * min(values):
                axis.set_xscale("log")
            axis.margins(x=0.25)
            axis.set_xlabel(label)
        axes[0].invert_yaxis()
        figure.suptitle(title)
        write_atomically(path, lambda scratch: figure.savefig(scratch, dpi=150, metadata={"Software": None}))


def curve_chart(path: Path, panels: Sequence[tuple[str, Mapping[str, Sequence[Sequence[tuple[float, float]]]]]],
                y_label: str, title: str, levels: Mapping[str, float]) -> None:
    """One panel per (x label, {name: curves}) of best-so-far curves [(x, y)], steps with a mark at their ends; y is
    logarithmic. levels: horizontal lines by name. Written to `path` as PNG.
    """
    with matplotlib.rc_context({"font.size": 8}):
        figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axis, (label, named) in zip(axes, panels, strict=True):
            for i, (name, curves) in enumerate(named.items()):
                for j, curve in enumerate(curves):
                    axis.step(*zip(*curve, strict=True), where="post", color=f"C{i}", alpha=0.7, linewidth=1,
                              label=name if j == 0 else None)
                    axis.plot(*curve[-1], marker=".", color=f"C{i}")
            for name, level in levels.items():
                axis.axhline(level, color="black", linestyle=":", linewidth=1, label=name)
            axis.set_xlabel(label)
            axis.set_yscale("log")
        axes[0].set_ylabel(y_label)
        axes[-1].legend()
        figure.suptitle(title)
        write_atomically(path, lambda scratch: figure.savefig(scratch, dpi=150, metadata={"Software": None}))


def scatter_chart(path: Path, panels: Sequence[tuple[str, str, Mapping[str, Sequence[tuple[float, float]]]]],
                  title: str) -> None:
    """One panel per (x label, y label, {name: points (x, y), both positive}), both axes logarithmic, with the line on
    which they are equal; written to `path` as PNG.
    """
    with matplotlib.rc_context({"font.size": 8}):
        figure = Figure(figsize=(4 * len(panels), 4), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axis, (x_label, y_label, named) in zip(axes, panels, strict=True):
            everything = [value for points in named.values() for point in points for value in point]
            ends = [min(everything), max(everything)]
            axis.loglog(ends, ends, color="black", linestyle=":", linewidth=1, label="equal")
            for i, (name, points) in enumerate(named.items()):
                if points:
                    axis.plot(*zip(*points, strict=True), linestyle="", marker=".", color=f"C{i}", label=name)
            axis.set_xlabel(x_label)
            axis.set_ylabel(y_label)
        axes[-1].legend()
        figure.suptitle(title)
        write_atomically(path, lambda scratch: figure.savefig(scratch, dpi=150, metadata={"Software": None}))


def front_chart(path: Path, named: Mapping[str, Sequence[tuple[float, float]]], front: Sequence[tuple[float, float]],
                labels: tuple[str, str], title: str) -> None:
    """Points (x, y) by name, x logarithmic, and a line of steps through the `front`, which is ordered by x; labels: of
    x and y. Written to `path` as PNG.
    """
    with matplotlib.rc_context({"font.size": 8}):
        figure = Figure(figsize=(5, 4), layout="constrained")
        axis = figure.subplots()
        for i, (name, points) in enumerate(named.items()):
            axis.plot(*zip(*points, strict=True), linestyle="", marker="o", color=f"C{i}", label=name)
        axis.step(*zip(*front, strict=True), where="post", color="black", linewidth=1, marker="o", markersize=10,
                  fillstyle="none", label="front")
        axis.set_xscale("log")
        axis.set_xlabel(labels[0])
        axis.set_ylabel(labels[1])
        axis.legend()
        figure.suptitle(title)
        write_atomically(path, lambda scratch: figure.savefig(scratch, dpi=150, metadata={"Software": None}))
