"""A preset as a chip of a space."""

import pytest

from dna_asic.errors import SpecError
from dna_asic.gads import GadsSpace
from dna_asic.gads.presets import fitted_preset, preset
from dna_asic.spec.dims import Dim


def test_fitted_preset_is_the_nearest_chip_of_the_space():
    chip = fitted_preset(GadsSpace.load().at_clock(2.0))
    chunk = chip.chunk
    assert (chip.name, chip.port_bytes, chip.clk_period_ns, len(chip.chunks)) == ("nvdla_like", 16, 2.0, 1)
    assert (chunk.row_dim, chunk.col_dim, chunk.pe_rows, chunk.pe_cols) == (Dim.K, Dim.C, 8, 8)
    assert (chunk.rf_w_words, chunk.rf_i_words, chunk.rf_o_words) == (4, 9, 4)  # of 3, 6, 4; 6 is between 4 and 9
    assert (chunk.gb_w_bytes, chunk.gb_i_bytes, chunk.gb_o_bytes) == (65536, 32768, 32768)


def test_fitted_preset_is_that_whose_dataflow_the_space_has():
    assert fitted_preset(GadsSpace.load().pinned(["spatial=P Q"])).name == "shidiannao_like"
    assert fitted_preset(GadsSpace.load().pinned(["delivery=systolic"])).name == "gemmini_like"
    two = fitted_preset(GadsSpace.load().pinned(["chunks=2"]))
    assert two.chunks == (two.chunks[0],) * 2 and two.name == "nvdla_like"


def test_fitted_preset_is_itself_where_the_space_has_it():
    entry, chunk = preset("nvdla_like"), preset("nvdla_like").chunk
    space = GadsSpace.load("full").pinned(["spatial=K C"])
    kept = fitted_preset(space).chunk
    labels = {c.label: c.options for c in space.choices}
    for name in ("pe_rows", "gb_w_bytes", "rf_o_words"):
        options = labels.get(name) or labels[f"chunk0.{name}"]
        assert getattr(kept, name) == getattr(chunk, name) or getattr(chunk, name) not in options
    assert fitted_preset(space).port_bytes == entry.port_bytes


def test_fitted_preset_wrong_space_without_any_dataflow():
    with pytest.raises(SpecError, match="'default' has the dataflow of none of the presets nvdla.*unpin spatial"):
        fitted_preset(GadsSpace.load().pinned(["spatial=G K"]))
