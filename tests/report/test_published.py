"""The published rows reproduce what the paper's abstract says of them."""

import pytest

from dna_asic.errors import SpecError
from dna_asic.report.published import FILE, load_published


def test_published_ratios_of_the_abstract():
    table = load_published()
    first = table.rows[0]
    cycles, energy, area, edp = first.ratios(table.base(first))
    assert 1 - 1 / cycles == pytest.approx(0.1777, abs=1e-3)
    assert energy == pytest.approx(2.49, abs=0.01)
    assert area == pytest.approx(2.32, abs=0.01)
    assert edp == pytest.approx(cycles * energy)
    assert table.mark == "[M]" and len(table.rows) == 6


def test_published_wrong_key(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(FILE.read_text().replace("cifar10_pct: 94.17", "cifar_pct: 94.17", 1))
    with pytest.raises(SpecError, match="did you mean 'cifar10_pct'"):
        load_published(path)
