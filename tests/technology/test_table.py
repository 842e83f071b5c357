"""Technology files: complete, sourced, and different at every node."""

import dataclasses
import re

import pytest

from dna_asic.errors import SpecError
from dna_asic.spec.record import from_plain, to_plain
from dna_asic.technology import Technology, load_technology, targets


@pytest.mark.parametrize("target", targets())
def test_load_every_value_has_a_marked_source(target):
    technology = load_technology(target)
    assert technology.name == target
    for value in technology.values.values():
        assert re.search(r"\[[TCDM]\]", value.source), value


def test_load_wrong_target_lists_the_known():
    with pytest.raises(SpecError, match="asic-28nm.*asic-3nm"):
        load_technology("asic-3nm")


@pytest.mark.parametrize("change,message", [
    ({"source": " "}, "mac_pj has no source"), ({"unit": "nJ"}, "mac_pj must be in pJ"),
    ({"value": -1.0}, "must not be negative"), ({"value": float("nan")}, "must not be negative"),
])
def test_technology_wrong_value(change, message):
    good = load_technology("asic-28nm")
    values = good.values | {"mac_pj": dataclasses.replace(good.values["mac_pj"], **change)}
    with pytest.raises(SpecError, match=message):
        dataclasses.replace(good, values=values)


def test_technology_wrong_keys_are_reported_together():
    plain = to_plain(load_technology("asic-28nm"))
    plain["values"]["mac_energy"] = plain["values"].pop("mac_pj")
    with pytest.raises(SpecError, match="(?s)unknown value 'mac_energy'.*missing value 'mac_pj'"):
        from_plain(Technology, plain, "technology")


def test_value_without_source_is_refused():
    plain = to_plain(load_technology("asic-28nm"))
    del plain["values"]["mac_pj"]["source"]
    with pytest.raises(SpecError, match="Missing key 'source'"):
        from_plain(Technology, plain, "technology")


def test_node_changes_every_scaled_figure():
    nodes = [load_technology(t) for t in ("asic-28nm", "asic-45nm", "asic-130nm")]
    for name in ("mac_pj", "postprocess_pj", "gate_area_um2", "ff_area_um2", "mac_area_um2", "sram_area_um2_per_bit",
                 "sram_base_pj_per_bit", "rf_base_pj_per_bit", "clk_period_ns", "sram_access_base_ns"):
        values = [t[name] for t in nodes]
        assert values == sorted(set(values)), name


def test_sram_energy_hand_computed():
    technology = load_technology("asic-45nm")
    assert technology.sram_read_pj(2048, 32) == pytest.approx(5.0, rel=1e-3)  # Horowitz: 8 KB, 32 bit
    assert technology.sram_read_pj(2048, 256) == pytest.approx(51.9, rel=1e-3)  # Accelergy: 64 KB, 256 bit
    assert technology.sram_area_um2(64, 32) > 64 * 32 * technology["sram_area_um2_per_bit"]


def test_larger_memory_costs_more_per_access():
    technology = load_technology("asic-28nm")
    reads = [technology.sram_read_pj(words, 64) for words in (64, 256, 1024, 4096)]
    assert reads == sorted(set(reads)) and technology.sram_write_pj(64, 64) > reads[0]
