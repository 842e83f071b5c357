"""NASAIC's space: its limits, its sub-accelerators as chunks, its networks."""

import dataclasses

import pytest
import torch

from dna_asic.baselines.nasaic import TEMPLATES
from dna_asic.baselines.nasaic_space import NasaicSpace, Silicon, SubAccelerator, TemplatePricer, parse_hardware
from dna_asic.baselines.rivals import Controller
from dna_asic.cosearch.designs import map_design
from dna_asic.cost import ChipBatch, LayerBatch, MappingBatch, Prices, evaluate
from dna_asic.errors import SpecError
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.optimise import Mapper
from dna_asic.mapping.tilings import Effort
from dna_asic.report.published import load_published
from dna_asic.spec.dims import Operand
from dna_asic.technology import load_technology

SPACE = NasaicSpace(input_shape=(1, 8, 8), classes=10)
TECHNOLOGY = load_technology("asic-28nm")


def silicon(clk_period_ns=1.0):
    return Silicon(technology=TECHNOLOGY, clk_period_ns=clk_period_ns, memory_latency_cycles=20)


def drawn(count):
    """By the controller as it starts, pushed to the largest PEs, and uniform."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    controller = Controller([len(c.options) for c in SPACE.choices])
    rows = controller(count, generator, allowed=SPACE.allowed)[0].tolist()
    with torch.no_grad():
        for head in controller.heads:
            head.bias.copy_(torch.linspace(0, 9, len(head.bias)))
    rows += controller(count, generator, allowed=SPACE.allowed)[0].tolist()
    return [SPACE.split(row) for row in rows] + SPACE.sample(count, generator)


def test_no_sample_is_beyond_the_limits():
    samples = drawn(400)
    for _, hardware in samples:
        assert len(hardware) == 2 and all(s.pes % 32 == 0 and s.gb_per_s % 8 == 0 for s in hardware)
        assert sum(s.pes for s in hardware) <= 4096 and sum(s.gb_per_s for s in hardware) <= 64
        assert min(min(s.pes, s.gb_per_s) for s in hardware) > 0
    assert max(sum(s.pes for s in hardware) for _, hardware in samples) > 3900
    assert {sum(s.gb_per_s for s in hardware) for _, hardware in samples} >= {16, 64}


def test_hardware_is_a_chip_of_its_templates():
    for _, hardware in drawn(40):
        chip = silicon().chip(hardware)
        assert 2 * chip.port_bytes <= max(sum(s.gb_per_s for s in hardware), 16)  # bytes a cycle at 1 ns
        for sub, chunk in zip(hardware, chip.chunks, strict=True):
            template = next(t for t in TEMPLATES if t.name == sub.dataflow)
            assert (chunk.row_dim, chunk.col_dim, chunk.reduction) == (
                template.row_dim, template.col_dim, template.reduction)
            assert chunk.pes == sub.pes and max(chunk.n_w, chunk.n_i, 4 * chunk.n_o, 4 * chunk.n_pp) <= sub.gb_per_s


def test_chip_of_a_published_point():
    chip = silicon().chip(parse_hardware("<dla,2112,48> <shi,1984,16>"))
    dla, shi = chip.chunks
    assert (dla.pe_rows, dla.pe_cols, shi.pe_rows, shi.pe_cols) == (44, 48, 62, 32) and chip.port_bytes == 32
    assert dla.widths == {Operand.W: 16, Operand.I: 16, Operand.O: 4} and dla.n_pp == 8
    assert shi.widths == dict.fromkeys(Operand, 1) and shi.n_pp == 4
    assert (dla.gb_w_bytes, dla.gb_i_bytes, dla.gb_o_bytes) == (131072, 131072, 262144)


def test_bandwidth_is_bytes_a_cycle_at_the_clock():
    hardware = parse_hardware("<dla,256,32> <dla,256,32>")
    ports = {clk: silicon(clk).chip(hardware) for clk in (0.1, 0.5, 1.0, 2.0)}
    assert [chip.port_bytes for chip in ports.values()] == [8, 16, 32, 64]
    assert [chip.chunks[0].n_w for chip in ports.values()] == [2, 16, 16, 16]  # 16 columns


@pytest.mark.parametrize("dataflow,pes,array", [("rs", 32, (4, 8)), ("rs", 96, (3, 32)), ("rs", 192, (3, 64)),
                                                ("rs", 512, (8, 64)), ("dla", 32, (4, 8)), ("dla", 1184, (37, 32))])
def test_arrays_have_exactly_their_pes(dataflow, pes, array):
    assert SubAccelerator(dataflow=dataflow, pes=pes, gb_per_s=8).array == array


def test_published_points_are_in_the_space():
    choices = {c.label: c.options for c in SPACE.hardware_choices}
    for row in load_published().rows:
        hardware = parse_hardware(row.accelerators)
        assert " ".join(map(str, hardware)) == row.accelerators
        assert all(sub.pes in choices["sub0.pes"] and sub.gb_per_s in choices["sub0.gb_per_s"] for sub in hardware)


@pytest.mark.parametrize("text,message", [
    ("<dla,64,8> 64", "must be written as"), ("", "must be written as"),
    ("<nvdla,64,8>", "must be one of dla, shi, rs"), ("<dla,4064,8>", "must make an array")])
def test_hardware_wrong_text(text, message):
    with pytest.raises(SpecError, match=message):
        parse_hardware(text)


def test_filters_follow_the_images():
    small, cifar = (c.network_choices[1].options for c in (SPACE, NasaicSpace(input_shape=(3, 32, 32), classes=10)))
    assert small == (8, 16, 32, 64) and cifar == (32, 64, 128, 256)
    network = SPACE.network((4, 8, 0, 16, 1, 32, 2))
    assert [x.shape.k for x in network.layers[:-2]] == [4, 8, 16, 16, 32, 32, 32] and network.input_shape == (1, 8, 8)


def test_layers_have_the_orders_of_their_template(tmp_path):
    effort, chip = Effort(width=16, rounds=1, keep=4), silicon().chip(parse_hardware("<dla,32,8> <shi,32,8> <rs,32,8>"))
    network = SPACE.network((2, 8, 0, 8, 0, 8, 0))
    pricer = TemplatePricer(TECHNOLOGY, 0, effort, folder=tmp_path, key="k")
    assert [pricer.orders_of(alone) for alone in chip.alone] == [template.orders for template in TEMPLATES]
    found = map_design(chip, network, pricer, 0, effort)
    for name, mapping in found.mappings.items():
        orders = TEMPLATES[found.assignment[name]].orders
        assert (mapping.rf_order, mapping.gb_order, mapping.dram_order) == (
            orders.rf_order[0], orders.gb_order[0], orders.dram_order[0])


def test_a_chip_with_odd_sides_runs_wide_layers(tmp_path):
    """Of 44 x 48 PEs, where full rows and columns cannot be split at DRAM, after a chip whose tilings do not fit; the
    mapper is no worse than what it got.
    """
    wide = NasaicSpace(input_shape=(3, 32, 32), classes=10)
    chip = silicon().chip(parse_hardware("<dla,2112,48>"))
    other = dataclasses.replace(silicon().chip(parse_hardware("<dla,4096,64>")), port_bytes=chip.port_bytes)
    pricer = TemplatePricer(TECHNOLOGY, 0, Effort(width=16, rounds=2, keep=8), folder=tmp_path, key="k")
    shape = dict(hardware_shapes(wide.network((32, 128, 2, 256, 2, 256, 2)), chip.port_bytes))["block2"]
    assert pricer.price([(other, shape)]).isfinite().all()
    (priced,) = pricer.price([(chip, shape)])
    known = pricer.known(chip, [shape])
    assert priced.isfinite().all() and len(known[shape]) > 1
    effort = Effort(width=16, rounds=1, keep=8)
    mapper = Mapper(chip, TECHNOLOGY, effort=effort, orders=TEMPLATES[0].orders, start=known)
    assert mapper.costs([shape])[0].prod() <= priced.prod()


def test_what_was_found_on_a_chip_stays_known(tmp_path):
    """Whatever chips of its template come after it, and in a process that finds its prices in the folder."""
    chip, *others = (silicon().chip(parse_hardware(f"<dla,{pes},16>")) for pes in (352, 256, 512, 1024))
    shape = dict(hardware_shapes(SPACE.network((4, 16, 1, 32, 1, 32, 1)), chip.port_bytes))["block1"]
    found = []
    for _ in range(2):
        pricer = TemplatePricer(TECHNOLOGY, 0, Effort(width=16, rounds=2, keep=2), folder=tmp_path, key="k")
        ((energy_pj, cycles),) = pricer.price([(chip, shape)]).tolist()
        pricer.price([(other, shape) for other in others])
        first = pricer.known(chip, [shape])[shape][0]
        cost = evaluate(LayerBatch.from_shapes([shape]), ChipBatch.from_configs([chip]),
                        MappingBatch.from_mappings([first]), Prices.of([chip], TECHNOLOGY))
        assert cost.energy_pj.item() == pytest.approx(energy_pj) and cost.cycles.item() == cycles
        found.append(first)
    assert found[0] == found[1]
