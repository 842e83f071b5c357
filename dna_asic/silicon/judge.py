"""Errors of the model against synthesis, and their limits."""

from collections.abc import Sequence
from dataclasses import dataclass

from dna_asic.silicon.fit import Predicted
from dna_asic.silicon.measure import Measured
from dna_asic.spec.accelerator import AcceleratorConfig

MEAN_LIMIT_PCT, WORST_LIMIT_PCT = 10.0, 25.0


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One point; logic alone. blocks: of each the area by synthesis and by the model, um2."""

    name: str
    about: str
    training: bool
    cells: int
    area_um2: float
    model_um2: float
    power_mw: float
    model_mw: float
    blocks: dict[str, tuple[float, float]]

    @property
    def area_pct(self) -> float:
        """Error of the model's area."""
        return 100 * (self.model_um2 / self.area_um2 - 1)

    @property
    def power_pct(self) -> float:
        """Error of the model's power."""
        return 100 * (self.model_mw / self.power_mw - 1)


def figures_of(chip: AcceleratorConfig, measured: Measured, model: Predicted, training: bool) -> Figures:
    """Both sides of a point."""
    power_mw = sum(sum(part.values()) for part in (measured.clock_mw, measured.moving_mw, measured.leakage_mw))
    return Figures(
        name=chip.name, about=", ".join(f"{c.pe_rows}x{c.pe_cols} {c.row_dim.name}{c.col_dim.name} {c.reduction.value} "
                                        f"{c.delivery.value}" for c in chip.chunks), training=training,
        cells=measured.cells, area_um2=sum(measured.area_um2.values()), model_um2=sum(model.area_um2.values()),
        power_mw=power_mw, model_mw=model.power_mw,
        blocks={block: (um2, model.area_um2[block]) for block, um2 in sorted(measured.area_um2.items())})


def summary(found: Sequence[Figures]) -> dict[str, float]:
    """Mean and worst absolute error in percent of area and power, over the points that the fit did not see."""
    unseen = [f for f in found if not f.training]
    errors = {"area": [abs(f.area_pct) for f in unseen], "power": [abs(f.power_pct) for f in unseen]}
    return {f"{name}_{kind}_pct": of(values) for name, values in errors.items()
            for kind, of in (("mean", lambda v: sum(v) / len(v)), ("worst", max))}


def last_line(found: Sequence[Figures]) -> str:
    """One line that scripts read."""
    return f"silicon: points={len(found)} " + " ".join(f"{name}={value:.1f}" for name, value in summary(found).items())


def limits_broken(found: Sequence[Figures]) -> list[str]:
    """What is beyond the limits."""
    limits = {"mean": MEAN_LIMIT_PCT, "worst": WORST_LIMIT_PCT}
    return [f"{name} {value:.1f} is above {limits[name.split('_')[1]]:g}" for name, value in summary(found).items()
            if not value <= limits[name.split("_")[1]]]


def point_rows(found: Sequence[Figures]) -> list[tuple]:
    """A row a point."""
    return [(f.name, f.about, f.cells, f.area_um2, f.model_um2, f.area_pct, f.power_mw, f.model_mw, f.power_pct,
             "yes" if f.training else "no") for f in found]


def block_rows(found: Sequence[Figures]) -> list[tuple]:
    """A row a block, over the points that the fit did not see; errors are of the block's own area."""
    unseen, rows = [f for f in found if not f.training], []
    whole = sum(f.area_um2 for f in unseen)
    for block in unseen[0].blocks:
        errors = [100 * abs(model / um2 - 1) for um2, model in (f.blocks[block] for f in unseen)]
        share = 100 * sum(f.blocks[block][0] for f in unseen) / whole
        rows.append((block, share, sum(errors) / len(errors), max(errors)))
    return sorted(rows, key=lambda row: -row[1])
