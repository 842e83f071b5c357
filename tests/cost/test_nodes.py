"""One design at every node: whatever has a unit changes with the node."""

import dataclasses
import itertools

from dna_asic.cost import evaluate_design
from dna_asic.spec.accelerator import AcceleratorConfig, ChunkConfig, Mapping, Reduction
from dna_asic.spec.dims import Dim
from dna_asic.spec.layer import LayerShape
from dna_asic.technology import load_technology, targets

CHUNK = ChunkConfig(pe_rows=2, pe_cols=2, row_dim=Dim.K, col_dim=Dim.C, reduction=Reduction.TREE, n_w=1, n_i=1, n_o=1,
                    n_pp=1, rf_w_words=1, rf_i_words=1, rf_o_words=1, gb_w_bytes=1024, gb_i_bytes=1024, gb_o_bytes=1024)
SHAPE = LayerShape(k=8, c=8, p=4, q=4, h=4, w=4)
MAPPING = Mapping(rf=(1,) * 7, noc=(1, 2, 2, 1, 1, 1, 1), gb=(1, 4, 4, 4, 4, 1, 1), dram=(1,) * 7)


def report(target):
    """The fixed design at a node and at the node's own clock."""
    technology = load_technology(target)
    chip = AcceleratorConfig(name="fixed", chunks=(CHUNK,), port_bytes=8, memory_latency_cycles=8,
                             clk_period_ns=technology.clk_period_ns)
    return evaluate_design([("a", SHAPE)], chip, {"a": MAPPING}, technology)


def figures(target):
    """Every figure of the report that has a physical unit; DRAM is outside the chip, and the same at every node."""
    found = report(target)
    energy = {f"energy_{k}": v for k, v in found.energy_pj_by_level.items() if k != "dram"}
    return {"area": found.area_mm2, "energy": found.energy_j, "latency": found.latency_s, "edp": found.edp_js,
            "clock": found.clk_period_ns, **energy, **{f"area_{k}": v for k, v in found.area_um2_by_block.items()}}


def test_node_changes_every_figure():
    tables = [figures(target) for target in targets()]
    assert len(tables) == 4
    for one, other in itertools.combinations(tables, 2):
        same = [name for name in one if one[name] and abs(one[name] / other[name] - 1) < 0.01]
        assert not same


def test_node_leaves_cycles_and_accesses():
    reports = [dataclasses.asdict(report(target)) for target in targets()]
    assert len({r["latency_cycles"] for r in reports}) == 1


def test_smaller_node_is_smaller_faster_and_saves_energy():
    order = [figures(t) for t in ("asic-7nm", "asic-28nm", "asic-45nm", "asic-130nm")]
    for name in ("area", "energy", "latency", "edp"):
        values = [f[name] for f in order]
        assert values == sorted(values), name
