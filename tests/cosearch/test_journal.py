"""Prices that a search leaves for itself."""

import pytest
from chips import make_chip

from dna_asic.cosearch.journal import JournalledPricer
from dna_asic.cosearch.pricing import LayerPricer
from dna_asic.errors import SpecError
from dna_asic.spec.layer import LayerShape
from dna_asic.technology import load_technology

TECHNOLOGY = load_technology("asic-28nm")
CHIP = make_chip("kc-tree-4x4")
SHAPES = [LayerShape(g=1, k=k, c=8, p=4, q=4, r=3, s=3, h=4, w=4, pad=1) for k in (8, 16, 24)]


def ask(pricer, shapes):
    """Each shape a question of its own."""
    return [pricer.price([(CHIP, shape)]).tolist() for shape in shapes]


def test_prices_are_found_and_the_search_goes_on_as_if_never_stopped(tmp_path, monkeypatch):
    plain = LayerPricer(TECHNOLOGY, 3)
    prices = ask(plain, SHAPES)
    assert ask(JournalledPricer(TECHNOLOGY, 3, folder=tmp_path, key=""), SHAPES[:2]) == prices[:2]
    again, searched = JournalledPricer(TECHNOLOGY, 3, folder=tmp_path, key=""), []
    search = LayerPricer._search
    monkeypatch.setattr(LayerPricer, "_search", lambda *args: searched.append(args) or search(*args))
    assert ask(again, SHAPES) == prices and len(searched) == 1
    assert again.evaluations == plain.evaluations and again.generator.get_state().equal(plain.generator.get_state())
    assert again._genes.keys() == plain._genes.keys()
    assert all(again._genes[key].equal(genes) for key, genes in plain._genes.items())


@pytest.mark.parametrize(("seed", "key", "shapes"), [
    (4, "", SHAPES[:1]), (3, "other sources", SHAPES[:1]), (3, "", SHAPES[1:2])])
def test_prices_wrong_question_is_priced_anew(tmp_path, seed, key, shapes):
    ask(JournalledPricer(TECHNOLOGY, 3, folder=tmp_path, key=""), SHAPES[:1])
    other = JournalledPricer(TECHNOLOGY, seed, folder=tmp_path, key=key)
    assert ask(other, shapes) == ask(LayerPricer(TECHNOLOGY, seed), shapes)
    assert len(list(tmp_path.iterdir())) == 2


def test_prices_wrong_file(tmp_path):
    ask(JournalledPricer(TECHNOLOGY, 3, folder=tmp_path, key=""), SHAPES[:1])
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"damaged")
    with pytest.raises(SpecError, match=f"(?s)'{path}' cannot be read: .*; remove it to price anew"):
        ask(JournalledPricer(TECHNOLOGY, 3, folder=tmp_path, key=""), SHAPES[:1])
