"""`python -m flows.openroad.predictive.check`: the predictive library beside a kit, on the blocks of blocks.v.

Each block is mapped by the same flow to the kit at the kit's node, and to the predictive library of another node at a
clock shortened by the published factor of delay. The ratios of area, critical path and dynamic energy a cycle should be
the published factors. Leakage is left out: the technology file's is of another kind of process than the kit's.
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dna_asic.errors import DnaAsicError
from dna_asic.technology import load_technology
from dna_asic.technology.scaling import area_factor, delay_factor, energy_factor
from flows.openroad.flow import SynthRecord, run_flow

BLOCKS = Path(__file__).with_name("blocks.v")
KIT_NM = {"nangate45": 45, "sky130hd": 130}
KIT_CLK_NS = {"nangate45": 1.2, "sky130hd": 5.0}
TOLERANCE = 0.2  # of a ratio against the published factor


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A figure of one block: predictive over kit, and the published factor between their nodes."""

    block: str
    quantity: str
    kit: float
    predictive: float
    published: float

    @property
    def deviation(self) -> float:
        """Of the ratio from the published factor, relative."""
        return self.predictive / self.kit / self.published - 1


def block_names() -> list[str]:
    """Modules of blocks.v."""
    return re.findall(r"^module (\w+)", BLOCKS.read_text(), re.MULTILINE)


def compare(kit: str, target_nm: int, folder: Path, blocks: Iterable[str] | None = None) -> list[Ratio]:
    """Three ratios per block; work files below `folder`. Raises ToolError where the kit or a tool is missing."""
    found = []
    for block in blocks or block_names():
        clk_ns = KIT_CLK_NS[kit]
        shorter_ns = clk_ns * delay_factor(KIT_NM[kit], target_nm)
        own = _figures(_synthesise(block, KIT_NM[kit], clk_ns, kit, folder))
        other = _figures(_synthesise(block, target_nm, shorter_ns, "predictive", folder))
        factors = {"area_um2": area_factor, "path_ns": delay_factor, "energy_pj": energy_factor}
        found += [Ratio(block=block, quantity=name, kit=own[name], predictive=other[name],
                        published=factor(KIT_NM[kit], target_nm)) for name, factor in factors.items()]
    return found


def _synthesise(block: str, node_nm: int, clk_ns: float, platform: str, folder: Path) -> SynthRecord:
    out = folder / f"{block}-{platform}-{node_nm}"
    out.mkdir(parents=True, exist_ok=True)
    rtl = out / f"{block}.v"
    rtl.write_text(re.search(rf"^module {block}\b.*?^endmodule\n", BLOCKS.read_text(), re.DOTALL | re.MULTILINE)[0])
    return run_flow(rtl=rtl, out=out, clk_period_ns=clk_ns, technology=load_technology(f"asic-{node_nm}nm"),
                    platform=platform)


def _figures(record: SynthRecord) -> dict[str, float]:
    """Cell area, critical path (period less slack), and energy a cycle without leakage at the assumed activity."""
    return {"area_um2": record.library_logic_area_um2, "path_ns": record.clk_period_ns - 1e-3 * record.slack_ps,
            "energy_pj": (record.power_mw - record.leakage_mw) * record.clk_period_ns}


def table(ratios: list[Ratio], kit: str, target_nm: int) -> str:
    """The ratios as text, one row each, worst deviation last."""
    rows = [f"{'block':12s} {'figure':10s} {kit:>11s} {f'predictive{target_nm}':>13s} {'ratio':>7s} {'published':>9s} "
            f"{'deviation':>9s}"]
    rows += [f"{r.block:12s} {r.quantity:10s} {r.kit:11.4g} {r.predictive:13.4g} {r.predictive / r.kit:7.3f} "
             f"{r.published:9.3f} {100 * r.deviation:+8.1f}%" for r in ratios]
    worst = max(ratios, key=lambda r: abs(r.deviation))
    mean = {q: sum(r.deviation for r in ratios if r.quantity == q) / sum(r.quantity == q for r in ratios)
            for q in dict.fromkeys(r.quantity for r in ratios)}
    return "\n".join([*rows, f"predictive: kit={kit} target_nm={target_nm} " + " ".join(
        f"{q.partition('_')[0]}_mean_pct={100 * m:.1f}" for q, m in mean.items())
        + f" worst_pct={100 * abs(worst.deviation):.1f} worst={worst.block}.{worst.quantity}"])


def main(argv: list[str] | None = None) -> int:
    """Print the table; exit status 1 where a ratio is further than TOLERANCE from the published factor."""
    p = argparse.ArgumentParser(prog="python -m flows.openroad.predictive.check", description=__doc__)
    p.add_argument("--kit", choices=sorted(KIT_NM), default="nangate45")
    p.add_argument("--target-nm", type=int, default=28)
    args = p.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory() as folder:
            ratios = compare(args.kit, args.target_nm, Path(folder))
    except DnaAsicError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(ratios, args.kit, args.target_nm))
    return int(any(abs(r.deviation) > TOLERANCE for r in ratios))


if __name__ == "__main__":
    sys.exit(main())
