"""NASAIC's templates: the points of their grid, and the sizing."""

import dataclasses

import pytest

from dna_asic.baselines.nasaic import TEMPLATES, Grid, nasaic_accelerators, points
from dna_asic.cost import evaluate_design
from dna_asic.errors import InfeasibleDesign
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.mapper import trivial_mapping
from dna_asic.mapping.tilings import Effort
from dna_asic.spec.accelerator import AcceleratorConfig, ChunkConfig, Reduction
from dna_asic.spec.design import Design
from dna_asic.spec.dims import Dim
from dna_asic.spec.geometry import check_mapping
from dna_asic.technology import load_technology
from sim.four_layers import four_layers

TECHNOLOGY = load_technology("asic-28nm")
SMALL = Grid(pes=(0.5, 1.0), gb_w=(0.5, 1.0), gb_i=(1.0,), gb_o=(1.0,), width=(2,))
EFFORT = Effort(width=32, rounds=2, keep=8)
RUN = AcceleratorConfig(name="own", port_bytes=8, memory_latency_cycles=20, clk_period_ns=2.0, chunks=(ChunkConfig(
    pe_rows=4, pe_cols=4, row_dim=Dim.K, col_dim=Dim.C, reduction=Reduction.TREE, n_w=4, n_i=4, n_o=4, n_pp=4,
    rf_w_words=8, rf_i_words=16, rf_o_words=16, gb_w_bytes=32768, gb_i_bytes=8192, gb_o_bytes=8192),))


@pytest.fixture(scope="module")
def design():
    """Four layers on the chip of the run, mapped plainly."""
    network = four_layers().network
    mappings = {name: trivial_mapping(shape, RUN, RUN.chunks[0]) for name, shape in hardware_shapes(network, 8)}
    return Design(target="asic-28nm", seed=0, choices=(), network=network, accelerator=RUN, mappings=mappings)


@pytest.fixture(scope="module")
def sized(design):
    return nasaic_accelerators(design, TECHNOLOGY, grid=SMALL, finalists=2, effort=EFFORT)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda t: t.name)
def test_points_are_the_template_under_the_cap(template):
    everything = points(template, RUN, Grid(), 1e9, TECHNOLOGY)
    capped = points(template, RUN, Grid(), 0.3, TECHNOLOGY)
    assert 0 < len(capped) < len(everything)
    for chip in everything:
        chunk = chip.chunks[0]
        assert (chunk.row_dim, chunk.col_dim, chunk.reduction) == (
            template.row_dim, template.col_dim, template.reduction)
        assert 4 <= chunk.pes <= 64 and chip.port_bytes == 8
        assert (chip.clk_period_ns, chip.memory_latency_cycles) == (2.0, 20)


def test_points_take_ports_up_to_the_runs():
    wide = dataclasses.replace(RUN, port_bytes=16)
    assert {chip.port_bytes for chip in points(TEMPLATES[0], wide, SMALL, 1e9, TECHNOLOGY)} == {8, 16}


def test_templates_run_the_network_in_the_area_of_the_run(design, sized):
    shapes = hardware_shapes(design.network, 8)
    cap = evaluate_design(shapes, RUN, design.mappings, TECHNOLOGY).area_mm2
    assert list(sized) == ["dla", "shi", "rs"]
    for template in sized.values():
        assert template.report.area_mm2 <= cap and template.points > 1 and template.evaluations > 0
        assert [layer.name for layer in template.report.layers] == [name for name, _ in shapes]
        for name, shape in shapes:
            check_mapping(shape, template.accelerator, template.accelerator.chunks[0], template.mappings[name])
        assert template.report == evaluate_design(shapes, template.accelerator, template.mappings, TECHNOLOGY)


def test_sizing_is_deterministic(design, sized):
    again = nasaic_accelerators(design, TECHNOLOGY, templates=TEMPLATES[1:2], grid=SMALL, finalists=2, effort=EFFORT)
    assert again["shi"] == sized["shi"]


def test_progress_counts_every_point(design):
    seen = []
    found = nasaic_accelerators(design, TECHNOLOGY, templates=TEMPLATES[2:], grid=SMALL, finalists=1, effort=EFFORT,
                                progress=lambda now, total: seen.append((now, total)))
    assert sum(now for now, _ in seen) == found["rs"].points and {total for _, total in seen} == {found["rs"].points}


def test_sizing_wrong_no_size_fits(design):
    grid = dataclasses.replace(SMALL, pes=(200.0, 256.0))
    error = nasaic_accelerators(design, TECHNOLOGY, templates=TEMPLATES[:1], grid=grid)["dla"]
    assert isinstance(error, InfeasibleDesign)
    assert str(error).startswith("Template 'dla': none of 0 sizes under the area cap runs network 'four-layers'")
