"""Plots, drawn without a display and written whole or not at all."""

from collections.abc import Sequence
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
