"""The generic search space."""

import pytest
import torch

from dna_asic.errors import SpecError
from dna_asic.space import Choice, Space

SPACE = Space("toy", (Choice("pe_rows", (2, 4, 8)), Choice("pair", ("KC", "PQ"))))


def test_space_size_and_lookup():
    assert SPACE.size == 6
    assert SPACE["pair"].index("PQ") == 1


def test_space_sample_is_valid_and_seeded():
    draws = [[SPACE.sample(torch.Generator().manual_seed(s)) for _ in range(3)] for s in (3, 3)]
    assert draws[0] == draws[1]
    SPACE.validate(draws[0][0])


def test_space_freeze():
    assert SPACE.freeze({"pe_rows": 4, "pair": "KC"})["pe_rows"] == 4
    built = Space("toy", SPACE.choices, build=lambda s: (s["pair"], s["pe_rows"]))
    assert built.freeze({"pe_rows": 4, "pair": "KC"}) == ("KC", 4)
    with pytest.raises(TypeError):
        SPACE.freeze({"pe_rows": 4, "pair": "KC"})["pe_rows"] = 8


def test_space_wrong_sample_reports_every_fault():
    with pytest.raises(SpecError) as error:
        SPACE.validate({"pe_row": 4, "pair": "KCC"})
    text = str(error.value)
    assert "did you mean 'pe_rows'" in text and "Missing choice 'pe_rows'" in text and "'KCC'" in text


@pytest.mark.parametrize("options", [(), (1, 1)])
def test_choice_wrong_options(options):
    with pytest.raises(SpecError, match="Choice 'x'"):
        Choice("x", options)


def test_space_wrong_duplicate_label():
    with pytest.raises(SpecError, match="stands twice"):
        Space("toy", (Choice("x", (1,)), Choice("x", (2,))))


def test_space_wrong_lookup():
    with pytest.raises(SpecError, match="did you mean 'pe_rows'"):
        SPACE["pe_rowz"]
