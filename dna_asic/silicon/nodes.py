"""One design at every node: synthesis to the predictive library of each, and the cost model at the clock reached."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from dna_asic.cost import evaluate_design
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.spec.design import Design
from dna_asic.spec.report import CostReport
from dna_asic.technology import load_technology, scaling
from flows.openroad.flow import SynthRecord, run_flow
from flows.openroad.platforms import PREDICTIVE

TARGETS = ("asic-7nm", "asic-28nm", "asic-45nm", "asic-130nm")


def at_every_node(design: Design, *, rtl: Path, folder: Path, clk_period_ns: float, waves: Path | None,
                  waves_cycles: int | None, cache: Path,
                  progress: Callable[[str], None]) -> dict[str, tuple[SynthRecord, CostReport]]:
    """{target: record and report at the clock that synthesis reaches there}, each node in a folder of its own.

    clk_period_ns: asked for at the design's own node; at another, by the published factor of delay. What is kept of an
    earlier run is taken. Raises SpecError, ToolError.
    """
    found, own_nm = {}, load_technology(design.target).node_nm
    for target in TARGETS:
        technology = load_technology(target)
        asked_ns = clk_period_ns * scaling.delay_factor(own_nm, technology.node_nm)
        progress(f"{target}, {asked_ns:.3g} ns")
        record = at_clock(run_flow(
            rtl=rtl, out=folder / target, clk_period_ns=asked_ns, technology=technology, waves=waves,
            waves_cycles=waves_cycles, platform=PREDICTIVE, cache=cache, progress=progress))
        accelerator = dataclasses.replace(design.accelerator, clk_period_ns=record.clk_period_ns)
        found[target] = record, evaluate_design(
            hardware_shapes(design.network, accelerator.port_bytes), accelerator, design.mappings, technology,
            design.pipeline)
    return found


def at_clock(record: SynthRecord) -> SynthRecord:
    """The record at the clock that its slack allows: energy of a cycle stays, leakage does not."""
    reached_ns = record.clk_period_ns - 1e-3 * record.slack_ps
    moving = 1 - record.leakage_mw / record.power_mw if record.power_mw else 0.0
    factor = moving * record.clk_period_ns / reached_ns + 1 - moving
    return dataclasses.replace(
        record, clk_period_ns=reached_ns, slack_ps=0.0, total_negative_slack_ps=0.0,
        clock_mw_by_block={block: mw * record.clk_period_ns / reached_ns
                           for block, mw in record.clock_mw_by_block.items()},
        power_mw_by_block={block: mw * factor for block, mw in record.power_mw_by_block.items()})
