"""Area and flip-flops: counts by hand, and what they are multiplied with."""

import dataclasses

import pytest
from chips import make_chip, make_chips

from dna_asic.cost import area_terms, area_um2, flip_flops, memory_area_um2
from dna_asic.cost.area import tree_bits
from dna_asic.technology import load_technology
from dna_asic.technology.table import CALIBRATED

TECHNOLOGY = load_technology("asic-28nm")


def chip_with(name, **changes):
    """A chip of tests/chips with other fields of its chunk."""
    chip = make_chip(name)
    return dataclasses.replace(chip, chunks=(dataclasses.replace(chip.chunk, **changes),))


def test_tree_bits_hand_computed():
    # 8, 4, 2 and 1 adders of 16, 17, 18 and 19 bits; registers of 4 sums of 18 bits and 1 of 20
    assert tree_bits(16) == (8 * 16 + 4 * 17 + 2 * 18 + 19, 4 * 18 + 20, 20)
    assert tree_bits(3) == (16 + 17, 18, 18)  # the third term waits for the second level
    assert tree_bits(2) == (16, 17, 17) and tree_bits(1) == (0, 0, 16)


def test_terms_of_a_tree_hand_computed():
    terms = area_terms(make_chip("kc-tree-4x4"))["pe_array"]  # four lines of four PEs, n_o = 2, one root a line
    assert terms["mac_area_um2"] == 16 and terms["accumulator_area_um2"] == 4
    assert terms["adder_area_um2"] == 4 * (2 * 16 + 17)
    operands = 8 * (16 + 4)  # a file of W in each PE, one of I a column
    assert terms["ff_area_um2"] == operands + 4 * 18 + 2 * 32
    assert terms["mux_area_um2"] == operands + (4 - 2) * 32


def test_terms_of_a_chain_hand_computed():
    terms = area_terms(make_chip("kc-drain-4x4"))["pe_array"]  # a root in each of 16 PEs, 4 lines, n_o = 4
    assert terms["accumulator_area_um2"] == 16
    operands = 8 * (16 + 4)
    assert terms["adder_area_um2"] == 4 * 4 * 32 == terms["ff_area_um2"] - operands
    assert terms["mux_area_um2"] == operands


def test_flip_flops_of_register_files():
    chip = make_chip("kc-tree-4x4")  # two halves: 8 words of W in 16 PEs, 16 of I for 4 columns, 8 of O at 4 roots
    bits = 2 * (16 * 8 * 8 + 4 * 8 * 16 + 4 * 32 * 8)
    assert flip_flops(chip)["rf"] == bits and area_terms(chip)["rf"] == {"rf_area_um2": bits}


def test_area_is_terms_times_coefficients():
    chip = make_chip("pq-4x4")
    area, memories = area_um2(chip, TECHNOLOGY), memory_area_um2(chip, TECHNOLOGY)
    for block, terms in area_terms(chip).items():
        assert area[block] == pytest.approx(sum(n * TECHNOLOGY[name] for name, n in terms.items()))
    assert {block: area[block] for block in memories} == memories and min(area.values()) > 0
    used = {name for terms in area_terms(chip).values() for name in terms}
    assert used == {name for name, by in CALIBRATED.items() if by == "area"}


def test_area_of_chunks_adds_up():
    both, parts = make_chips("kc-tree-4x4", "pq-4x4"), make_chips("kc-tree-4x4", "pq-4x4").alone
    for of in (lambda c: area_um2(c, TECHNOLOGY), flip_flops):
        assert of(both) == pytest.approx({block: sum(of(part)[block] for part in parts) for block in of(both)})


@pytest.mark.parametrize("changes", [{"rf_w_words": 9}, {"rf_o_words": 9}, {"n_w": 4}, {"n_i": 4}, {"n_o": 4},
                                     {"n_pp": 8}, {"pe_rows": 8}, {"pe_cols": 8}])
def test_more_hardware_takes_more(changes):
    small, large = chip_with("kc-tree-4x4", n_w=2), chip_with("kc-tree-4x4", **{"n_w": 2, **changes})
    logic = [sum(um2 for block, um2 in area_um2(c, TECHNOLOGY).items() if block not in memory_area_um2(c, TECHNOLOGY))
             for c in (small, large)]
    assert logic[0] < logic[1] and sum(flip_flops(small).values()) < sum(flip_flops(large).values())
