"""Fit of the logic coefficients to measured points, and what the model with any coefficients says of a point."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn.linear_model import LinearRegression

from dna_asic.cost import LOGIC_LEVELS, area_terms, area_um2, clocked_flip_flops, evaluate_design
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.silicon.measure import Measured, mappings
from dna_asic.silicon.points import assignment, network
from dna_asic.spec.accelerator import AcceleratorConfig
from dna_asic.spec.dims import Operand
from dna_asic.spec.pipeline import pipeline
from dna_asic.spec.report import CostReport
from dna_asic.technology import Technology
from dna_asic.technology.table import CALIBRATED

MEMORIES = ("gb", "parameters")
ABSOLUTE = 0.02  # of a point's whole: error of a block that weighs as much as one of the block's own size
EVENT_BLOCKS = {"postprocess_pj": ("postprocess",), "noc_pj_per_bit": ("noc", "psum"),
                "control_pj": ("control", "sequencer", "dma")}
LEAST = 1e-6  # of a coefficient: none vanishes, or it could not be scaled to another node


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """The cost model on a point: area of the logic by block, and power of the logic in the workload.

    Of energy by level, wires are left out, as in synthesis; leakage is that of the logic.
    """

    area_um2: dict[str, float]
    power_mw: float


def report_of(chip: AcceleratorConfig, technology: Technology) -> CostReport:
    """The workload on a chip."""
    places = pipeline(network(), assignment(len(chip.chunks)), len(chip.chunks))
    return evaluate_design(hardware_shapes(network(), chip.port_bytes), chip, mappings(chip), technology, places)


def predict(chip: AcceleratorConfig, technology: Technology) -> Predicted:
    """What the coefficients of `technology` say."""
    wireless = with_values(technology, {"noc_pj_per_bit_mm": 0.0})
    report = report_of(chip, wireless)
    area = {block: um2 for block, um2 in area_um2(chip, technology).items() if block not in MEMORIES}
    energy_pj = sum(report.energy_pj_by_level[level] for level in LOGIC_LEVELS)
    return Predicted(area_um2=area, power_mw=energy_pj / (report.latency_cycles * chip.clk_period_ns)
                     + technology.leakage_mw(sum(area.values())))


def with_values(technology: Technology, values: dict[str, float]) -> Technology:
    """The technology with other values of some coefficients, as of its own node."""
    return replace(technology, values=technology.values | {
        name: replace(technology.values[name], value=value, scaled=None) for name, value in values.items()})


def fit(points: Sequence[tuple[AcceleratorConfig, Measured]], technology: Technology) -> dict[str, float]:
    """Non-negative least squares of relative errors: every coefficient of CALIBRATED."""
    return _fit_area(points) | _fit_energy(points, technology)


def _fit_area(points):
    names = [name for name, by in CALIBRATED.items() if by == "area"]
    rows, targets = [], []
    for chip, measured in points:
        whole = sum(measured.area_um2.values())
        for block, terms in area_terms(chip).items():
            weight = 1 / (measured.area_um2[block] + ABSOLUTE * whole)
            rows.append([weight * terms.get(name, 0) for name in names])
            targets.append(weight * measured.area_um2[block])
    return dict(zip(names, _solve(rows, targets)))


def _fit_energy(points, technology):
    """Errors count by what they are of a point's whole power."""
    period, events = points[0][0].clk_period_ns, [_events(chip, technology) for chip, _ in points]
    whole = [one.cycles * period * sum(sum(part.values()) for part in (one.clock_mw, one.moving_mw))
             for _, one in points]

    def coefficients(rows, blocks, known=0.0):
        """Of events in `rows` [points][coefficients], by what the blocks took beyond the `known`, in pJ."""
        taken = np.array([_dynamic_pj(one, blocks, period) for _, one in points]) - known
        return _solve(np.array(rows, float) / np.array(whole)[:, None], taken / whole)

    idle = [[sum(clocked_flip_flops(chip).values()) * one.cycles] for chip, one in points]
    resting = [one.cycles * period * sum(one.idle_mw.values()) for _, one in points]
    (ff_pj,) = _solve(np.array(idle) / np.array(whole)[:, None], np.array(resting) / whole)
    values = {"ff_write_pj": ff_pj}
    for name, blocks in EVENT_BLOCKS.items():
        (values[name],) = coefficients([[found[name]] for found in events], blocks)
    values["mac_pj"], values["accumulation_pj"] = coefficients([found["pe_array"] for found in events], ("pe_array",))
    values["rf_base_pj_per_bit"], values["rf_slope_pj_per_bit_byte"] = coefficients(
        [found["rf"] for found in events], ("rf",), ff_pj * np.array([found["written"] for found in events]))
    return values


def _dynamic_pj(measured, blocks, period):
    """What events took in the whole run: signals, and clocks behind gates."""
    return measured.cycles * period * sum(
        measured.moving_mw[b] + measured.clock_mw[b] - measured.idle_mw[b] for b in blocks)


def _solve(rows, targets):
    """Non-negative least squares, nothing exactly 0."""
    found = LinearRegression(positive=True, fit_intercept=False).fit(np.array(rows, float), np.array(targets, float))
    return [max(LEAST, float(value)) for value in found.coef_]


def _events(chip, technology):
    """How often each energy coefficient counts in the workload; pe_array: MACs, and psums that they add to;
    rf: bits, of its base and of its slope; written: bits.
    """
    report = report_of(chip, technology)
    found = {"pe_array": [0, 0.0], "postprocess_pj": 0, "noc_pj_per_bit": 0, "rf": [0.0, 0.0], "written": 0,
             "control_pj": len(chip.chunks) * report.latency_cycles}
    bits = {Operand.W: 8, Operand.I: 8, Operand.O: 32}
    for layer in report.layers:
        chunk = chip.chunks[assignment(len(chip.chunks))[layer.name]]
        found["pe_array"][0] += layer.counts.macs
        found["pe_array"][1] += layer.counts.macs * chunk.sets(Operand.O) / chunk.pes
        found["postprocess_pj"] += layer.counts.postprocess
        words = {Operand.W: chunk.rf_w_words, Operand.I: chunk.rf_i_words, Operand.O: chunk.rf_o_words}
        for x in Operand:
            found["noc_pj_per_bit"] += bits[x] * layer.counts.noc[x]
            found["written"] += bits[x] * layer.counts.rf_writes[x]
            moved = bits[x] * (layer.counts.rf_reads[x] + layer.counts.rf_writes[x])
            found["rf"][0] += moved
            found["rf"][1] += moved * max(0.0, 2 * words[x] * bits[x] / 8 - 1)
    return found
