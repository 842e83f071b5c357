"""Technology files: complete, sourced, and different at every node."""

import dataclasses
import re

import pytest

from dna_asic.errors import SpecError
from dna_asic.spec.record import from_plain, load_yaml, to_plain
from dna_asic.technology import Technology, load_technology, targets
from dna_asic.technology.table import FOLDER, UNITS, Original


@pytest.mark.parametrize("target", targets())
def test_load_every_value_has_a_marked_source(target):
    technology = load_technology(target)
    assert technology.name == target
    for value in technology.values.values():
        assert re.search(r"\[[TCDM]\]", value.source), value


def test_load_wrong_target_lists_the_known():
    with pytest.raises(SpecError, match="asic-28nm.*asic-3nm"):
        load_technology("asic-3nm")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_figure_of_every_file_has_a_source(path):
    """Whatever record holds a figure in a file of this folder, it or the file says where it was read, with a mark."""
    plain = load_yaml(path)
    rows = [row for group in plain.values() if isinstance(group, (list, dict))
            for row in (group if isinstance(group, list) else group.values()) if isinstance(row, dict)]
    sourced = [row for row in rows if "source" in row]
    assert sourced == rows or "source" in plain
    for row in (sourced if sourced == rows else [plain]):
        assert re.search(r"\[[TCDM]\]", row["source"]), row


@pytest.mark.parametrize("change,message", [
    ({"source": " "}, "mac_pj has no source"), ({"source": "[C]"}, "mac_pj has no source"),
    ({"source": "a paper"}, "mac_pj has a source without a mark"), ({"unit": "nJ"}, "mac_pj must be in pJ"),
    ({"value": -1.0}, "must not be negative"), ({"value": float("nan")}, "must not be negative"),
    ({"value": 0.2, "scaled": Original(value=0.3, node_nm=45, by="energy")},
     "mac_pj must be 0.152, which is 0.3 scaled from 45 nm by energy, not 0.2"),
    ({"scaled": Original(value=0.3, node_nm=45, by="luck")}, "mac_pj is scaled by 'luck'; use one of area"),
    ({"scaled": Original(value=0.3, node_nm=3, by="energy")}, "Node 3 nm has no published scaling factor"),
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


@pytest.mark.parametrize("key", ["source", "unit"])
def test_value_wrong_key_is_named(key):
    plain = to_plain(load_technology("asic-28nm"))
    del plain["values"]["noc_pj_per_bit_mm"][key]
    with pytest.raises(SpecError, match=f"Missing key '{key}' in technology.values.noc_pj_per_bit_mm"):
        from_plain(Technology, plain, "technology")


def test_unconfirmed_figures_are_named():
    assert load_technology("asic-28nm").unconfirmed == ("noc_pj_per_bit_mm", "leakage_mw_per_mm2")


def test_node_changes_every_scaled_figure():
    nodes = [load_technology(t) for t in ("asic-7nm", "asic-28nm", "asic-45nm", "asic-130nm")]
    for name in UNITS.keys() - {"supply_v", "sram_write_factor", "noc_pj_per_bit_mm", "dram_pj_per_bit",
                                "leakage_mw_per_mm2"}:
        values = [t[name] for t in nodes]
        assert values == sorted(set(values)), name


def test_sram_formula_hand_computed():
    technology = load_technology("asic-45nm")
    assert technology.sram_read_pj(2048, 32) == pytest.approx(32 * (0.1517 + 0.003507 * 8**0.5))
    assert technology.sram_write_pj(2048, 32) == pytest.approx(1.125 * technology.sram_read_pj(2048, 32))
    assert technology.sram_area_um2(64, 32) == pytest.approx(267.6 + 1.052 * 2048)
    assert technology.sram_access_ns(64, 64) == pytest.approx(0.163 + 0.000787 * 64)


def test_larger_memory_costs_more_per_access():
    technology = load_technology("asic-28nm")
    reads = [technology.sram_read_pj(words, 64) for words in (64, 256, 1024, 4096)]
    assert reads == sorted(set(reads)) and technology.sram_write_pj(64, 64) > reads[0]
