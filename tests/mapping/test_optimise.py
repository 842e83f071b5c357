"""The mapper and its legality masks."""

import dataclasses
import random

import pytest
import torch
from chips import KINDS, kind_chip

from dna_asic.cost import ChipBatch, LayerBatch, MappingBatch, evaluate_design
from dna_asic.errors import InfeasibleDesign, SpecError
from dna_asic.gads import GadsSpace
from dna_asic.gads.presets import preset
from dna_asic.mapping.candidates import ORDER, ROWS, Noise, complete, sample, smallest
from dna_asic.mapping.legality import check_batch
from dna_asic.mapping.optimise import Mapper, map_layer
from dna_asic.mapping.tilings import Effort, orders_of
from dna_asic.spec.accelerator import AcceleratorConfig, ChunkConfig, LoopOrders, Mapping, Reduction
from dna_asic.spec.dims import DIMS, Dim, Level
from dna_asic.spec.geometry import check_mapping, mapping_faults
from dna_asic.spec.layer import LayerOp, LayerShape
from dna_asic.technology import load_technology

ORDERS = orders_of(torch.zeros((1, ROWS, 7), dtype=torch.int64), LoopOrders())
TECHNOLOGY = load_technology("asic-28nm")
LAYERS = (
    LayerShape(k=24, c=16, p=8, q=8, r=3, s=3, pad=1, h=8, w=8),
    LayerShape(k=64, c=3, p=8, q=8, r=5, s=5, pad=2, stride=2, h=16, w=16),
    LayerShape(g=40, k=1, c=1, p=8, q=8, r=5, s=5, pad=2, h=8, w=8),
    LayerShape(g=2, k=16, c=24, p=8, q=8, h=8, w=8, has_residual=True),
    LayerShape(g=2, k=32, c=24, p=8, q=8, h=8, w=8, k_segments=2),
    LayerShape(k=10, c=64, p=1, q=1, h=1, w=1),
    LayerShape(k=16, c=8, p=9, q=8, r=3, s=3, pad=1, h=9, w=8, pool_window=1),
    LayerShape(k=16, c=8, p=8, q=8, r=3, s=3, pad=1, h=8, w=8, pool_window=2),
    LayerShape(k=112, c=184, p=14, q=14, h=14, w=14),
    LayerShape(g=16, k=1, c=1, p=4, q=4, r=3, s=3, stride=2, h=9, w=9, op=LayerOp.MAX),
)


ROW_STATIONARY = AcceleratorConfig(
    name="rs", port_bytes=8, memory_latency_cycles=20, clk_period_ns=1.0, chunks=(ChunkConfig(
        pe_rows=3, pe_cols=8, row_dim=Dim.R, col_dim=Dim.P, reduction=Reduction.DRAIN, n_w=1, n_i=1, n_o=1, n_pp=4,
        rf_w_words=16, rf_i_words=16, rf_o_words=8, gb_w_bytes=16384, gb_i_bytes=16384, gb_o_bytes=16384),))


# Units of the O buffer that are wider than a beat.
WIDE_DRAIN = dataclasses.replace(ROW_STATIONARY, name="wide", chunks=(dataclasses.replace(
    ROW_STATIONARY.chunk, pe_rows=32, pe_cols=2, row_dim=Dim.K, col_dim=Dim.C, reduction=Reduction.TREE, n_o=16),))


def chips(count, seed=0):
    space = GadsSpace.load().pinned(["chunks=1", "gb_w_bytes=16384|32768"])
    generator = torch.Generator().manual_seed(seed)
    return [space.feasible(generator)[1] for _ in range(count)]


def random_factors(rng, layer, chunk, wild):
    """Tilings near the edge of legality: mostly covering; now and then with any factor."""
    rows = [[1] * 7 for _ in Level]
    for d in DIMS:
        left = layer.bounds[d]
        for level in (Level.NOC, Level.RF, Level.DRAM):
            if level is Level.NOC and d not in (chunk.row_dim, chunk.col_dim) and not wild:
                continue
            rows[level][d] = rng.choice((1, 1, 2, 3, 4, 8)) if rng.random() < 0.5 else 1
            left = -(-left // rows[level][d])
        rows[Level.GB][d] = max(1, left - (rng.random() < 0.02))
        if d in DIMS[5:] and not wild:
            rows[Level.GB][d], rows[Level.DRAM][d] = rows[Level.GB][d] * rows[Level.DRAM][d], 1
    return rows


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_legality_equals_mapping_faults(layer):
    rng, seen = random.Random(repr(layer)), set()
    for chip in (*chips(8), ROW_STATIONARY, WIDE_DRAIN, *map(kind_chip, rng.sample(list(KINDS), 24))):
        chunk = chip.chunks[0]
        one = LayerBatch.from_shapes([layer]), ChipBatch.from_configs([chip])
        drawn = torch.cat([sample(one[0], Noise(torch.Generator().manual_seed(1), 14)), smallest(one[0])], dim=1)
        rows = complete(*one, drawn)[0, :, :ORDER].tolist()
        rows += [random_factors(rng, layer, chunk, rng.random() < 0.2) for _ in range(14)]
        batch = LayerBatch.from_shapes([layer] * 30), ChipBatch.from_configs([chip] * 30)
        got = check_batch(*batch, MappingBatch.from_tensor(torch.tensor(rows), ORDERS)).legal
        for row, legal in zip(rows, got.tolist(), strict=True):
            mapping = Mapping(**{level.name.lower(): tuple(row[level]) for level in Level})
            faults = list(mapping_faults(layer, chip, chunk, mapping))
            assert legal == (not faults), faults
            seen.add(legal)
    assert seen == {True, False}


def test_wide_ports_need_no_luck():
    """A buffer that holds a tile of all PEs, but not that of one PE, whose lanes are padded to a port of 16 words."""
    chip = preset("nvdla_like").accelerator("n", 1.0)
    layer = LayerShape(k=512, c=512, p=7, q=7, r=3, s=3, h=7, w=7, pad=1)
    mapping = Mapper(chip, TECHNOLOGY, effort=Effort(width=1, rounds=1, keep=1)).layer(layer)
    assert check_mapping(layer, chip, chip.chunk, mapping).gb_tile[Dim.K] >= 16


def test_map_layer_is_legal_deterministic_and_good():
    effort = Effort(width=96, rounds=5, keep=12)
    for chip in (*chips(3, seed=2), ROW_STATIONARY):
        for layer in (*LAYERS[:4], LAYERS[-1]):
            mapping = map_layer(layer, chip, TECHNOLOGY, effort=effort, seed=1)
            assert mapping == map_layer(layer, chip, TECHNOLOGY, effort=effort, seed=1)
            check_mapping(layer, chip, chip.chunks[0], mapping)


def test_mapper_beats_uniform_samples():
    """The search against as many fresh legal samples as it priced."""
    (chip,) = chips(1, seed=5)
    layer, effort = LAYERS[0], Effort(width=128, rounds=8, keep=16)
    mapper = Mapper(chip, TECHNOLOGY, effort=effort)
    best = mapper.costs([layer])[0].prod()
    random_only = Mapper(chip, TECHNOLOGY, effort=Effort(width=1024, rounds=1, keep=16))
    assert best <= random_only.costs([layer])[0].prod()


def test_mapper_costs_are_those_of_the_report():
    (chip,) = chips(1, seed=4)
    mapper = Mapper(chip, TECHNOLOGY, effort=Effort(width=64, rounds=3, keep=8))
    mapped = mapper.network(LAYERS[:3])
    names = ["a", "b", "c"]
    report = evaluate_design(list(zip(names, LAYERS[:3])), chip, dict(zip(names, mapped.mappings)), TECHNOLOGY)
    assert [c.cycles for c in report.layers] == list(mapped.cycles)
    assert [sum(c.energy_pj.values()) for c in report.layers] == pytest.approx(list(mapped.energy_pj))


def test_objectives_differ_as_they_should():
    (chip,) = chips(1, seed=6)
    cost = {o: Mapper(chip, TECHNOLOGY, o, Effort(width=512, rounds=12, keep=32)).costs([LAYERS[0]])[0]
            for o in ("latency", "energy")}
    assert cost["latency"][1] <= cost["energy"][1] and cost["energy"][0] <= cost["latency"][0]


def test_mapper_wrong_objective():
    with pytest.raises(SpecError, match="edp, energy, latency, not 'area'"):
        Mapper(chips(1)[0], TECHNOLOGY, "area")


def test_mapper_wrong_chip_too_small():
    space = GadsSpace.load().pinned(["chunks=1", "gb_i_bytes=2048", "gb_w_bytes=8192", "port_bytes=16"])
    chip = space.feasible(torch.Generator().manual_seed(0))[1]
    with pytest.raises(InfeasibleDesign, match="no legal tiling"):
        map_layer(LayerShape(k=16, c=16, p=16, q=16, r=11, s=11, h=26, w=26), chip, TECHNOLOGY,
                  effort=Effort(width=32, rounds=2, keep=4))
