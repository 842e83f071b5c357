"""The batched model against plain sums over tiles, the oracle, and hand-computed layers."""

import dataclasses
import itertools
import random

import pytest
import torch
from chips import KINDS, kind_chip

from dna_asic.cost import (
    ChipBatch,
    LayerBatch,
    MappingBatch,
    Prices,
    area_um2,
    evaluate,
    evaluate_design,
    event_energies_pj,
)
from dna_asic.cost.area import clocked_flip_flops, flip_flops
from dna_asic.cost.counts import overlap
from dna_asic.cost.energy import idle_pj_per_cycle
from dna_asic.cost.model import core_cycles, read_job_cycles, schedule_of, store_job_cycles
from dna_asic.cost.oracle import Port, run_two_levels
from dna_asic.errors import InfeasibleDesign, SpecError
from dna_asic.mapping.mapper import random_orders
from dna_asic.spec import latency
from dna_asic.spec.accelerator import AcceleratorConfig, ChunkConfig, Delivery, Mapping, Reduction
from dna_asic.spec.dims import DIMS, DRAM_DIMS, RELEVANT, Operand
from dna_asic.spec.geometry import check_mapping
from dna_asic.spec.instruction import INSTRUCTION_BYTES
from dna_asic.spec.layer import MAX_KERNEL, LayerShape
from dna_asic.technology import load_technology

G, K, C, P, Q, R, S = DIMS
W, I, O = Operand  # noqa: E741
TECHNOLOGY = load_technology("asic-28nm")
GOOD = dict(
    pe_rows=4, pe_cols=4, row_dim=K, col_dim=C, reduction=Reduction.TREE, n_w=4, n_i=4, n_o=2, n_pp=4, rf_w_words=8,
    rf_i_words=16, rf_o_words=8, gb_w_bytes=8192, gb_i_bytes=8192, gb_o_bytes=8192)


def accelerator(port=8, **changes):
    return AcceleratorConfig(name="t", chunks=(ChunkConfig(**(GOOD | changes)),), port_bytes=port,
                             memory_latency_cycles=20, clk_period_ns=1.0)


def random_point(rng, kind=None):
    """A legal (layer, accelerator, mapping), on a chip of the kind given or any."""
    while True:
        chip = kind_chip(kind or rng.choice(list(KINDS)), rng)
        pair = (chip.chunks[0].row_dim, chip.chunks[0].col_dim)
        mapping = Mapping(
            rf=tuple(rng.choice((1, 1, 2, 3)) for _ in DIMS),
            noc=tuple(rng.choice((1, 2, 3, 4)) if d in pair else 1 for d in DIMS),
            gb=tuple(rng.choice((1, 1, 2, 3)) for _ in DIMS),
            dram=tuple(rng.choice((1, 1, 2, 3)) if d not in (R, S) else 1 for d in DIMS), **random_orders(rng))
        bounds = [a * b * c * d - (rng.random() < 0.3) for a, b, c, d in zip(
            mapping.rf, mapping.noc, mapping.gb, mapping.dram, strict=True)]
        if min(bounds) < 1 or max(bounds[R], bounds[S]) > MAX_KERNEL:
            continue
        g, k, c, p, q, r, s = bounds
        stride = rng.choice((1, 2))
        pad = rng.randrange(min(r, s))
        layer = LayerShape(
            g=g, k=k, c=c, p=p, q=q, r=r, s=s, stride=stride, pad=pad, h=max(1, (p - 1) * stride + r - pad),
            w=max(1, (q - 1) * stride + s - pad), has_residual=rng.random() < 0.5)
        try:
            check_mapping(layer, chip, chip.chunks[0], mapping)
        except InfeasibleDesign:
            continue
        return layer, chip, mapping


POINTS = [random_point(random.Random(seed)) for seed in range(120)]
KIND_POINTS = [random_point(random.Random(kind), kind) for kind in KINDS]


def cost(layer, chip, mapping, technology=None):
    prices = Prices.of([chip], technology or load_technology("asic-28nm"))
    return evaluate(LayerBatch.from_shapes([layer]), ChipBatch.from_configs([chip]),
                    MappingBatch.from_mappings([mapping]), prices)


def schedule(layer, chip, mapping):
    return schedule_of(LayerBatch.from_shapes([layer]), ChipBatch.from_configs([chip]),
                       MappingBatch.from_mappings([mapping]))


def oracle_cycles(layer, chip, mapping):
    """The whole layer by the cycle-stepped machine."""
    chunk, geo = chip.chunks[0], check_mapping(layer, chip, chip.chunks[0], mapping)
    def port(x, duration, order, drain=False):
        return Port(duration, tuple(d in RELEVANT[x] for d in order), drain)
    inner = [*([port(x, latency.fill_latency(chunk, x) + geo.fill_beats[x], mapping.gb_order)] for x in (W, I)),
             [port(O, latency.drain_latency(chunk) + geo.fill_beats[O], mapping.gb_order, True)]]
    job = latency.DMA_JOB_CYCLES + chip.memory_latency_cycles
    store = latency.STORE_CYCLES + geo.store_cycles + latency.WRITE_RESPONSE_CYCLES + layer.has_residual * job
    read = [port(x, job + geo.dma_beats[x], mapping.dram_order) for x in (I, W)]
    if layer.has_residual:
        read.insert(0, port(O, job + geo.store_cycles, mapping.dram_order, True))
    compute = 1
    for d in DIMS:
        compute *= mapping.rf[d]
    schedule = run_two_levels([mapping.gb[d] for d in mapping.gb_order], compute, inner, latency.CORE_CYCLES,
                              [mapping.dram[d] for d in mapping.dram_order],
                              [read, [port(O, store, mapping.dram_order, True)]])
    return (job + INSTRUCTION_BYTES // chip.port_bytes + latency.INSTRUCTION_CYCLES + schedule + latency.LAYER_CYCLES)


def test_cycles_equal_the_cycle_stepped_machine():
    small = [p for p in KIND_POINTS if cost(*p).cycles < 20_000]
    assert len(small) > len(KINDS) // 2
    for point in small:
        assert int(cost(*point).cycles) == oracle_cycles(*point), point


def walked_counts(layer, chip, mapping):
    """Fetches, first visits and real beats by walking the DRAM and GB nests."""
    geo = check_mapping(layer, chip, chip.chunks[0], mapping)
    port, totals, held, seen = chip.port_bytes, dict.fromkeys(("w", "i", "o_add", "o"), 0), {}, set()
    walk = lambda order, factors: (dict(zip(reversed(order), n, strict=True)) for n in itertools.product(  # noqa: E731
        *(range(factors[d]) for d in reversed(order))))
    group = -(-layer.c // port)
    blocks = -(-layer.g // port) if layer.depthwise else layer.g * group
    for tile in walk(mapping.dram_order, mapping.dram):
        for x in (W, I):
            key = tuple(tile[d] for d in DRAM_DIMS if d in RELEVANT[x])
            if held.get(x) != key:
                held[x] = key
                if x is W:
                    totals["w"] += geo.dma_beats[W] * port
                else:
                    rows, cols = (sum(0 <= tile[d] * geo.gb_tile[d] * layer.stride - layer.pad + n < size
                                      for n in range(extent)) for d, extent, size in
                                  ((P, geo.i_tile[0], layer.h), (Q, geo.i_tile[1], layer.w)))
                    first = tile[G] * geo.gb_tile[G] // port if layer.depthwise else (
                        tile[G] * geo.gb_tile[G] * group + tile[C] * geo.gb_tile[C] // port)
                    totals["i"] += rows * cols * sum(first + n < blocks for n in range(geo.i_tile[2])) * port
        for step in walk(mapping.gb_order, mapping.gb):
            key = tuple(step[d] for d in DIMS if d in RELEVANT[O])
            if held.get(O) != (tuple(tile.values()), key):
                held[O] = (tuple(tile.values()), key)
                output = (key, tuple(tile[d] for d in DRAM_DIMS if d is not C))
                totals["o"] += 1
                totals["o_add"] += output in seen
                seen.add(output)
    return totals


def test_counts_equal_a_walk_over_all_tiles():
    for point in KIND_POINTS:
        s, got, want = schedule(*point), cost(*point).counts, walked_counts(*point)
        drain = int(got.noc[O]) // want["o"]
        assert int(got.dram_reads[W]) == want["w"] + INSTRUCTION_BYTES
        assert int(got.dram_reads[I]) == want["i"]
        assert int(got.gb_writes[O]) == drain * want["o"]
        assert int(got.gb_reads[O] - got.postprocess) == drain * want["o_add"]
        assert int(got.macs) >= point[0].macs and int(s.dram_tiles) >= 1


def test_overlap_equals_counting():
    rng = random.Random(0)
    for _ in range(500):
        n, pitch, extent, pad, size = (rng.randrange(a, b) for a, b in ((1, 9), (1, 9), (1, 12), (0, 5), (1, 40)))
        want = sum(0 <= t * pitch - pad + i < size for t in range(n) for i in range(extent))
        assert int(overlap(*torch.tensor([[n], [pitch], [extent], [pad], [size]]))) == want


def test_batch_equals_single_rows():
    layer = dataclasses.replace(POINTS[0][0], g=1, k=24, c=16, p=12, q=12, r=3, s=3, h=14, w=14, pad=0, stride=1)
    chips, maps = [p[1] for p in KIND_POINTS], [p[2] for p in KIND_POINTS]
    prices = Prices.of(chips, load_technology("asic-28nm"))
    batch = evaluate(LayerBatch.from_shapes([layer]), ChipBatch.from_configs(chips), MappingBatch.from_mappings(maps),
                     prices)
    for n, (chip, mapping) in enumerate(zip(chips, maps, strict=True)):
        one = cost(layer, chip, mapping)
        assert int(batch.cycles[n]) == int(one.cycles)
        assert float(batch.energy_pj[n]) == pytest.approx(float(one.energy_pj))


def test_hand_computed_pointwise_layer():
    # 4x4 PEs, (K, C): one array step of 4 pixels; everything in one tile
    layer = LayerShape(k=4, c=4, p=2, q=2, h=2, w=2)
    mapping = Mapping(rf=(1, 1, 1, 2, 2, 1, 1), noc=(1, 4, 4, 1, 1, 1, 1), gb=(1,) * 7, dram=(1,) * 7)
    chip = accelerator()
    s, got = schedule(layer, chip, mapping), cost(layer, chip, mapping)
    drain = latency.drain_latency(chip.chunks[0])
    # W: 4 beats of 4 (one a row); I: 4 pixels x 1 beat of 4 lanes; O: 4 pixels x 2 beats of 2
    fill = latency.FILL_CYCLES
    assert int(core_cycles(s)) == fill + 4 + 4 + drain + 8 + latency.CORE_CYCLES
    assert int(got.counts.macs) == 4 * 16
    # the PEs of a column hold the same inputs, in one register file
    assert {x: int(n) for x, n in got.counts.rf_reads.items()} == {W: 16, I: 16, O: 0}
    assert {x: int(n) for x, n in got.counts.rf_writes.items()} == {W: 16, I: 16, O: 16}
    assert {x: int(n) for x, n in got.counts.gb_reads.items()} == {W: 16, I: 16, O: 16}
    assert int(got.counts.postprocess) == 16 and int(got.counts.gb_writes[O]) == 16
    # I: 4 pixels of one block of 8; W: 16 bytes, 4 channels x 8 bytes of parameters; O: 4 pixels of one block
    assert int(got.counts.dram_reads[I]) == 32 and int(got.counts.dram_writes[O]) == 32
    assert int(got.counts.dram_reads[W]) == 16 + 32 + INSTRUCTION_BYTES
    chips = ChipBatch.from_configs([chip])
    assert int(store_job_cycles(s)) == latency.STORE_CYCLES + 4 + latency.WRITE_RESPONSE_CYCLES
    assert int(read_job_cycles(chips, torch.tensor([4]))) == latency.DMA_JOB_CYCLES + 20 + 4


@pytest.mark.parametrize("reduction", Reduction)
def test_hand_computed_row_stationary_layer(reduction):
    # 3x4 PEs, (R, P): PE (r, p) holds kernel row r and input row 2 p + r; one array step
    layer = LayerShape(k=2, c=2, p=4, q=2, r=3, s=3, stride=2, h=9, w=5)
    mapping = Mapping(rf=(1, 2, 2, 1, 2, 1, 3), noc=(1, 1, 1, 4, 1, 3, 1), gb=(1,) * 7, dram=(1,) * 7)
    chip = accelerator(pe_rows=3, row_dim=R, col_dim=P, reduction=reduction, n_w=1, n_i=1, n_o=1, rf_w_words=12)
    s, got = schedule(layer, chip, mapping), cost(layer, chip, mapping).counts
    # W: 3 rows of 2 x 2 x 3 words; I: 2 channels of 9 x 5 words, each once; O: 2 x 2 words from each of 4 columns
    assert int(core_cycles(s)) == (latency.FILL_CYCLES + 90 + 2 * 2 * 2 * 3
                                   + latency.drain_latency(chip.chunks[0]) + 16 + latency.CORE_CYCLES)
    assert int(got.macs) == layer.macs == 24 * 12
    assert {x: int(n) for x, n in got.noc.items()} == {W: 36, I: 90, O: 16}
    # W: of a row; I: a PE's own, 2 channels x 5 columns
    assert {x: int(got.rf_writes[x]) for x in (W, I)} == {W: 12 * 3, I: 10 * 12}
    assert int(got.rf_writes[O] - got.rf_reads[O]) == 4 * 4 * (3 if reduction is Reduction.DRAIN else 1)


def test_report_equals_sum_of_counts_times_table():
    layer, chip, mapping = POINTS[3]
    technology = load_technology("asic-28nm")
    report = evaluate_design([("a", layer), ("b", layer)], chip, {"a": mapping, "b": mapping}, technology)
    table, total = event_energies_pj(chip, technology), 0.0
    for item in report.layers:
        for kind, value in vars(item.counts).items():
            if isinstance(value, dict):
                total += sum(n * table[f"{kind}.{x.name}"] for x, n in value.items())
            else:
                total += value * table[kind]
    idle = idle_pj_per_cycle(chip, technology)
    assert idle["leakage"] == technology.leakage_mw(sum(area_um2(chip, technology).values())) * chip.clk_period_ns
    assert idle["clock"] == sum(clocked_flip_flops(chip).values()) * technology["ff_write_pj"]
    assert sum(report.energy_pj_by_level.values()) == pytest.approx(total + report.latency_cycles * sum(idle.values()))
    assert report.latency_cycles == latency.RUN_CYCLES + 2 * int(cost(layer, chip, mapping).cycles)
    one = cost(layer, chip, mapping)
    assert sum(report.layers[0].energy_pj.values()) == pytest.approx(float(one.energy_pj))


def test_node_changes_energy_and_area():
    layer, chip, mapping = POINTS[0]
    nodes = [load_technology(f"asic-{n}nm") for n in (28, 45, 130)]
    reports = [evaluate_design([("a", layer)], chip, {"a": mapping}, node) for node in nodes]
    assert [r.area_mm2 for r in reports] == sorted({r.area_mm2 for r in reports})
    dynamic = [sum(v for k, v in r.energy_pj_by_level.items() if k != "leakage") for r in reports]
    assert dynamic == sorted(set(dynamic))


def test_systolic_delivery_costs_registers_and_hops():
    for kind in KINDS:
        if kind.endswith("systolic"):
            wired, hopping = (dataclasses.replace(kind_chip(kind), chunks=(dataclasses.replace(
                kind_chip(kind).chunks[0], delivery=delivery),)) for delivery in Delivery)
            assert sum(flip_flops(hopping).values()) > sum(flip_flops(wired).values())
            assert sum(area_um2(hopping, TECHNOLOGY).values()) > sum(area_um2(wired, TECHNOLOGY).values())
            table, other = (event_energies_pj(a, TECHNOLOGY) for a in (hopping, wired))
            assert table["noc.W"] > other["noc.W"] and table["noc.I"] > other["noc.I"]


def test_hop_registers_hand_computed():
    # 4 x 3 PEs, words of 3 (W) and 4 (I) address bits. (K, C): both operands have lanes along the columns and hop down
    # the rows, which are lines: per hop a word with its address, what places the beat, and a mask bit of each column
    wired, hopping = (accelerator(pe_cols=3, n_w=1, n_i=1, delivery=delivery) for delivery in Delivery)
    w, i = 3 * (8 + 3 + (1 + 6 + 3) + 3), 3 * (8 + 4 + (1 + 12) + 3)
    own = 9 * 8 * (2 * wired.chunk.rf_i_words + 1)  # the PEs of a column share a file of I where it does not hop
    assert sum(flip_flops(hopping).values()) - sum(flip_flops(wired).values()) == w + i + own
    # (P, Q): no lanes; down the rows, with each column's place in the box, and along every row from PE to PE
    wired, hopping = (accelerator(pe_cols=3, row_dim=P, col_dim=Q, n_w=1, n_i=1, n_o=1, delivery=delivery)
                      for delivery in Delivery)
    lines = 3 * (8 + 3 + (1 + 3) + 3) + 3 * (8 + 4 + (1 + 13 + 12) + 3 * 5)
    places = 2 * 4 * (1 + 8 + 3) + 2 * (10 + 4 * (1 + 8 + 4))
    own = 11 * 8 * (2 * wired.chunk.rf_w_words + 1)  # W is shared by all PEs, or by none
    assert sum(flip_flops(hopping).values()) - sum(flip_flops(wired).values()) == lines + places + own


def test_larger_memory_never_costs_cycles():
    for layer, chip, mapping in POINTS[:30]:
        chunk = dataclasses.replace(chip.chunks[0], gb_w_bytes=65536, gb_i_bytes=65536, gb_o_bytes=65536, rf_w_words=64)
        assert int(cost(layer, dataclasses.replace(chip, chunks=(chunk,)), mapping).cycles) <= int(
            cost(layer, chip, mapping).cycles)


def test_evaluate_design_wrong_mappings():
    layer, chip, _ = POINTS[0]
    with pytest.raises(SpecError, match="no mapping for layer a"):
        evaluate_design([("a", layer)], chip, {}, load_technology("asic-28nm"))


def test_area_lies_where_silicon_does():
    # NVDLA's primer, 28 nm: 32 and 64 MACs with 128 KB take 0.85 and 0.91 mm2, all in
    chip = accelerator(port=16, pe_rows=8, pe_cols=8, n_w=8, n_i=8, n_o=4, gb_w_bytes=65536, gb_i_bytes=32768,
                       gb_o_bytes=32768)
    area = sum(area_um2(chip, load_technology("asic-28nm")).values()) * 1e-6
    assert 0.4 < area < 1.2
