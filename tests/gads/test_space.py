"""The accelerator space: what freezes, what is refused, pins."""

import pytest
import torch
import yaml

from dna_asic.errors import InfeasibleDesign, SpecError
from dna_asic.gads import GadsSpace
from dna_asic.gads.space import FOLDER, widest
from dna_asic.spec.accelerator import loop_order


def test_default_space_samples_are_chips():
    space, generator = GadsSpace.load("default"), torch.Generator().manual_seed(0)
    assert space.size > 10**8
    for _ in range(200):
        chunk = space.freeze(space.sample(generator)).chunks[0]
        assert chunk.pes <= 64


def test_sample_is_seeded():
    space = GadsSpace.load()
    a, b = (space.sample(torch.Generator().manual_seed(3)) for _ in range(2))
    assert a == b


@pytest.mark.parametrize("limit,extent,width", [(8, 8, 8), (8, 6, 2), (4, 3, 1), (1, 8, 1), (8, 1, 1), (8, 24, 8)])
def test_widest(limit, extent, width):
    assert widest(limit, extent) == width


def test_pinned_narrows():
    space = GadsSpace.load().pinned(["pe_rows=4", "dataflow=pq|kc_tree", "gb_order=Q P S R C K G"])
    assert space.size < GadsSpace.load().size and space.space["pe_rows"].options == (4,)
    assert space.space["dataflow"].options == ("pq", "kc_tree")
    assert space.orders.gb_order == (loop_order("Q P S R C K G"),) and len(space.orders.rf_order) == 6


def test_pinned_wrong_names_and_values_are_reported_together():
    with pytest.raises(SpecError, match="(?s)did you mean 'pe_rows'.*pe_cols must be one of.*not '5'"):
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
    sample = space.sample(torch.Generator().manual_seed(0)) | {"pe_rows": 5}
    with pytest.raises(SpecError, match="'pe_rows' must be one of 2, 3, 4, 6, 8, not 5"):
        space.freeze(sample)


def test_clock_comes_from_the_technology_unless_fixed():
    space = GadsSpace.load().at_clock(1.6)
    assert space.freeze(space.sample(torch.Generator().manual_seed(0))).clk_period_ns == 1.6
    assert space.at_clock(2.0).clk_period_ns == 1.6
