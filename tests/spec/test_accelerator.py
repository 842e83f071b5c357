"""What a chunk says of its spatial pair, and the rules of its mappings."""

import dataclasses

import pytest
from chips import KINDS, kind_chip

from dna_asic.errors import InfeasibleDesign
from dna_asic.spec.accelerator import NO_DIM, ChunkConfig, Delivery, Mapping, Reduction
from dna_asic.spec.dims import DIMS, Operand
from dna_asic.spec.geometry import mapping_faults
from dna_asic.spec.latency import DRAIN_CYCLES, FILL_CYCLES, PE_CYCLES, drain_latency, fill_latency
from dna_asic.spec.layer import LayerOp, LayerShape

G, K, C, P, Q, R, S = DIMS
W, I, O = Operand  # noqa: E741
CHUNK = ChunkConfig(
    pe_rows=3, pe_cols=4, row_dim=K, col_dim=C, reduction=Reduction.TREE, n_w=1, n_i=1, n_o=1, n_pp=1, rf_w_words=16,
    rf_i_words=16, rf_o_words=16, gb_w_bytes=8192, gb_i_bytes=8192, gb_o_bytes=8192)


def chunk(row_dim, col_dim, **changes):
    return dataclasses.replace(CHUNK, row_dim=row_dim, col_dim=col_dim, **changes)


def faults(layer, one_chunk, **factors):
    """Rules that a mapping of these factors breaks."""
    ones = dict.fromkeys(("rf", "noc", "gb", "dram"), (1,) * 7)
    accelerator = dataclasses.replace(kind_chip("kc-tree-multicast"), chunks=(one_chunk,))
    mapping = Mapping(**ones | {level: tuple(of.get(d, 1) for d in DIMS) for level, of in factors.items()})
    return "\n".join(mapping_faults(layer, accelerator, one_chunk, mapping))


def test_kinds_are_all_that_can_be():
    pairs = {kind.split("-")[0] for kind in KINDS}
    assert len(pairs) == 30 and len(KINDS) == 2 * (2 * 18 + 12)  # 18 pairs hold C or R


@pytest.mark.parametrize("pair", [(K, K), (S, K), (P, S)])
def test_chunk_wrong_pair(pair):
    with pytest.raises(InfeasibleDesign, match="row_dim and col_dim must be two of G K C P Q R, not"):
        chunk(*pair)


def test_chunk_wrong_drain_without_a_reduction():
    with pytest.raises(InfeasibleDesign, match="'drain' needs a spatial reduction dim"):
        chunk(P, K, reduction=Reduction.DRAIN)


@pytest.mark.parametrize("pair,lanes,others", [
    ((K, C), (C, C, K), (K, NO_DIM, NO_DIM)), ((C, K), (K, C, K), (C, NO_DIM, NO_DIM)),
    ((G, C), (C, C, G), (G, G, NO_DIM)), ((C, G), (G, G, G), (C, C, NO_DIM)),
    ((P, Q), (NO_DIM, NO_DIM, Q), (NO_DIM, NO_DIM, P)), ((R, P), (R, NO_DIM, P), (NO_DIM, NO_DIM, NO_DIM)),
    ((G, K), (K, G, K), (G, NO_DIM, G)),
])
def test_lanes_and_the_other_axis(pair, lanes, others):
    one = chunk(*pair)
    assert tuple(map(one.lane_dim, Operand)) == lanes and tuple(map(one.other_dim, Operand)) == others


def test_fill_latency_counts_the_hops():
    def hops(*pair):
        one = chunk(*pair, delivery=Delivery.SYSTOLIC)
        return tuple(fill_latency(one, x) - FILL_CYCLES for x in (W, I))

    assert hops(K, C) == (2, 2)  # lanes along 4 columns, 2 hops down 3 rows
    assert hops(C, P) == (3, 3)  # lanes along the rows
    assert hops(P, Q) == (5, 5) and hops(K, P) == (3, 5)
    assert fill_latency(CHUNK, W) == FILL_CYCLES


def test_drain_latency_joins_along_each_axis():
    def stages(reduction, *pair):
        return drain_latency(chunk(*pair, reduction=reduction)) - PE_CYCLES - DRAIN_CYCLES

    assert [stages(Reduction.TREE, *p) for p in ((K, C), (C, K), (C, R), (P, Q))] == [1, 1, 2, 0]
    assert [stages(Reduction.DRAIN, *p) for p in ((K, C), (C, K), (R, C))] == [3, 2, 5]


def test_mapping_wrong_rows_where_r_and_p_cross():
    layer = LayerShape(k=2, c=2, p=4, q=2, r=3, s=3, h=6, w=4)
    text = "RF factors of R and P must be 1 where both are spatial, not 3 and 1"
    assert text in faults(layer, chunk(R, P), rf={R: 3, S: 3})
    assert text not in faults(layer, chunk(R, K), rf={R: 3, S: 3})


def test_mapping_wrong_groups_on_several_lanes():
    grouped, depthwise = LayerShape(g=4, k=2, c=2, p=2, q=2, h=2, w=2), LayerShape(g=4, k=1, c=1, p=2, q=2, h=2, w=2)
    wide, text = chunk(P, G, n_i=2), "NoC factor of G must be 1, not 4, where several lanes lie along G"
    assert text in faults(grouped, wide, noc={G: 4})
    assert text not in faults(depthwise, wide, noc={G: 4}) + faults(grouped, chunk(P, G), noc={G: 4})


def test_mapping_wrong_tile_narrower_than_a_unit_of_the_buffer():
    """The store would walk on into the channels of the next tile."""
    wide, text = chunk(K, C, pe_rows=32, n_o=32), "must be a multiple of 32 (port_bytes, n_o, n_pp)"
    dense, depthwise = LayerShape(k=64, c=2, p=2, q=2, h=2, w=2), LayerShape(g=64, k=1, c=1, p=2, q=2, h=2, w=2)
    assert f"Tile K=16 {text}" in faults(dense, wide, gb={K: 16}, dram={K: 4})
    assert f"Tile G=16 {text}" in faults(depthwise, wide, gb={G: 16}, dram={G: 4})
    assert text not in faults(dense, wide, gb={K: 32}, dram={K: 2})
    assert text not in faults(dense, chunk(K, C), gb={K: 16}, dram={K: 4})


def test_mapping_wrong_maximum_over_rows_of_the_kernel():
    layer = LayerShape(g=4, k=1, c=1, p=2, q=2, r=3, s=3, h=4, w=4, op=LayerOp.MAX)
    assert "NoC factor of R must be 1 in a maximum, not 3" in faults(layer, chunk(R, Q), noc={R: 3})
