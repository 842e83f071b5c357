"""The accelerator space: what freezes, what is refused, pins; presets."""

import itertools

import pytest
import torch
import yaml

from dna_asic.errors import InfeasibleDesign, SpecError
from dna_asic.gads import GadsSpace
from dna_asic.gads.presets import preset, presets
from dna_asic.gads.space import FOLDER, NUMBERS, WIDTHS, widest
from dna_asic.spec.accelerator import SPATIAL_DIMS, Reduction, loop_order


def test_default_space_samples_are_chips():
    space, generator = GadsSpace.load("default"), torch.Generator().manual_seed(0)
    chips = [space.freeze(space.sample(generator)) for _ in range(200)]
    assert {len(chip.chunks) for chip in chips} == {1, 2} and all(chunk.pes <= 64 for c in chips for chunk in c.chunks)
    assert {(chunk.row_dim, chunk.col_dim) for c in chips for chunk in c.chunks} == set(
        itertools.permutations(SPATIAL_DIMS, 2))


def test_sample_is_seeded():
    space = GadsSpace.load()
    a, b = (space.sample(torch.Generator().manual_seed(3)) for _ in range(2))
    assert a == b


@pytest.mark.parametrize("limit,extent,width", [(8, 8, 8), (8, 6, 2), (4, 3, 1), (1, 8, 1), (8, 1, 1), (8, 24, 8)])
def test_widest(limit, extent, width):
    assert widest(limit, extent) == width


def test_pinned_narrows():
    space = GadsSpace.load().pinned(["pe_rows=4", "chunk1.spatial=P Q|K C", "gb_order=Q P S R C K G"])
    assert space.space["chunk0.pe_rows"].options == space.space["chunk1.pe_rows"].options == (4,)
    assert space.space["chunk1.spatial"].options == ("P Q", "K C") and len(space.space["chunk0.spatial"].options) == 30
    assert space.orders.gb_order == (loop_order("Q P S R C K G"),) and len(space.orders.rf_order) == 6


def test_pinned_to_one_chunk_has_plain_labels():
    space = GadsSpace.load().pinned(["chunks=1", "chunk1.pe_rows=2"])
    assert "pe_rows" in [c.label for c in space.choices] and not any("." in c.label for c in space.choices)
    assert space.pinned(["pe_rows=8"]).freeze(space.pinned(["pe_rows=8"]).sample(torch.Generator())).chunk.pe_rows == 8


def test_size_counts_unused_chunks_once():
    one = GadsSpace.load().pinned(["chunks=1", "port_bytes=8"]).size
    assert GadsSpace.load().size == 2 * (one + one**2)


def test_what_reduces_nothing_has_trees():
    space = GadsSpace.load().pinned(["chunks=1", "spatial=K P", "reduction=drain"])
    assert space.freeze(space.sample(torch.Generator())).chunk.reduction is Reduction.TREE


def test_full_space_has_every_value_of_the_design():
    space = GadsSpace.load("full")
    assert space.space["chunks"].options == (1, 2, 3, 4) and space.space["port_bytes"].options == (8, 16, 32, 64)
    sides = tuple(sorted({2**n for n in range(1, 7)} | {3 * 2**n for n in range(5)}))
    assert space.space["chunk3.pe_rows"].options == space.space["chunk0.pe_cols"].options == sides
    for name in ("n_w", "n_i", "n_o", "n_pp"):
        assert space.space[f"chunk2.{name}"].options == tuple(2**n for n in range(7))


def test_presets_are_points_of_the_full_space():
    space = GadsSpace.load("full").pinned(["chunks=1"])
    for name, entry in presets().items():
        chunk = entry.chunk
        sample = {e: getattr(chunk, e) for e in (*NUMBERS, *WIDTHS)} | {
            "chunks": 1, "port_bytes": entry.port_bytes, "spatial": f"{chunk.row_dim.name} {chunk.col_dim.name}",
            "reduction": chunk.reduction.value, "delivery": chunk.delivery.value}
        assert space.freeze(sample).chunk == chunk and entry.accelerator(name, 1.0).chunk == chunk


def test_preset_wrong_name():
    with pytest.raises(SpecError, match="nvdla_like.*not 'tpu'"):
        preset("tpu")


def test_pinned_wrong_names_and_values_are_reported_together():
    with pytest.raises(SpecError, match="(?s)did you mean 'pe_rows'.*chunk1.pe_cols must be one of.*not '5'"):
        GadsSpace.load().pinned(["pe_row=4", "pe_cols=5"])


def test_load_wrong_name():
    with pytest.raises(SpecError, match="default.*not 'edge'"):
        GadsSpace.load("edge")


def test_load_wrong_entries(tmp_path):
    plain = yaml.safe_load((FOLDER / "default.yaml").read_text())
    plain["entries"]["pe_row"] = plain["entries"].pop("pe_rows")
    plain["entries"]["gb_order"] = ["C X"]
    plain["entries"]["n_w"] = ["four"]
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(plain))
    with pytest.raises(SpecError, match="(?s)unknown entry 'pe_row'; did you mean 'pe_rows'.*missing entry 'pe_rows'"
                                        ".*n_w must be a list of int.*no loop dim 'X'|names no loop dim 'X'"):
        GadsSpace.load(path)


def test_freeze_wrong_point_has_the_reason(tmp_path):
    plain = yaml.safe_load((FOLDER / "default.yaml").read_text())
    plain["entries"]["gb_w_bytes"] = [3000]
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(plain))
    space = GadsSpace.load(path)
    with pytest.raises(InfeasibleDesign, match="gb_w_bytes must be a power of two"):
        space.freeze(space.sample(torch.Generator().manual_seed(0)))
    with pytest.raises(InfeasibleDesign, match="none of 1000 samples"):
        space.feasible(torch.Generator().manual_seed(0))


def test_freeze_wrong_sample():
    space = GadsSpace.load()
    sample = space.sample(torch.Generator().manual_seed(0)) | {"chunk0.pe_rows": 5}
    with pytest.raises(SpecError, match="'chunk0.pe_rows' must be one of 2, 3, 4, 6, 8, not 5"):
        space.freeze(sample)


def test_clock_comes_from_the_technology_unless_fixed():
    space = GadsSpace.load().at_clock(1.6)
    assert space.freeze(space.sample(torch.Generator().manual_seed(0))).clk_period_ns == 1.6
    assert space.at_clock(2.0).clk_period_ns == 1.6
