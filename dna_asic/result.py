"""What every search leaves in its run: the design, its integers, its costs; and, until its end, its prices."""

import argparse
from collections.abc import Sequence

from dna_asic.cosearch.das import FoundAccelerator
from dna_asic.cosearch.designs import DesignPricer
from dna_asic.cosearch.journal import JournalledPricer
from dna_asic.quantize import save_quant
from dna_asic.report.files import write_json_atomically, write_text_atomically
from dna_asic.report.tables import cost_table
from dna_asic.runs import RunFolder
from dna_asic.sources import sources_digest
from dna_asic.spec.design import Design, design_to_yaml
from dna_asic.spec.quant import QuantSpec
from dna_asic.spec.record import to_plain

PRICES = "prices"  # of the final accelerator search, until the run is whole
PRICED_BY = ("cost", "mapping", "spec", "technology", "cosearch/pricing.py")


def kept_prices(run: RunFolder, inputs, seed: int) -> DesignPricer:
    """A pricer for the accelerator search of a run, whose prices an interrupt leaves there. inputs: of the search, with
    its targets.
    """
    layers = JournalledPricer(inputs.technology, seed, orders=inputs.space.orders, folder=run.path / PRICES,
                              key=sources_digest(PRICED_BY))
    return DesignPricer(layers, inputs.targets)


def write_design(run: RunFolder, args: argparse.Namespace, quant: QuantSpec, found: FoundAccelerator,
                 choices: Sequence[str], facts: dict) -> dict:
    """Write quant/, report.json, design.yaml and summary.json (`facts`, then the costs), print the table of costs.

    Returns the summary.
    """
    report = found.report
    design = Design(target=args.target, seed=args.seed, choices=tuple(choices), network=quant.network,
                    accelerator=found.accelerator, mappings=found.mappings, assignment=found.assignment)
    summary = facts | {
        "latency_cycles": report.latency_cycles, "latency_s": report.latency_s,
        "period_cycles": report.period_cycles, "energy_j": report.energy_j,
        "area_mm2": report.area_mm2, "edp_js": report.edp_js, "seed": args.seed, "target": args.target,
        "choices": list(choices), "tilings_priced": found.evaluations}
    save_quant(quant, run.path / "quant")
    write_json_atomically(run.path / "report.json", to_plain(report))
    write_text_atomically(run.path / "design.yaml", design_to_yaml(design))
    write_json_atomically(run.path / "summary.json", summary)
    print(cost_table(report))
    return summary
