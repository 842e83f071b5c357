"""Memory abstracts: one list of ports, the same in Verilog, Liberty and LEF."""

import re

import pytest
from amaranth.back import verilog

from dna_asic.errors import SpecError
from dna_asic.technology import load_technology
from flows.openroad.abstracts import check_agreement, lef_cells, liberty_cells, require_agreement
from flows.openroad.layout import LAYOUTS, layout_of, layout_technology
from flows.openroad.macros import at_node, lef_abstract, liberty_stub, macro_of, macro_shapes, macro_size_um
from rtl_gen.buffer import Sram

AT_28 = load_technology("asic-28nm")
SHAPES = ((64, 32), (48, 8), (1, 8), (2048, 256))


def verilog_pins(text, name):
    """{pin: direction} bit by bit of a module."""
    body = re.search(rf"^module \\?{name} ?\(.*?^endmodule", text, re.DOTALL | re.MULTILINE)[0]
    pins = {}
    for direction, high, port in re.findall(r"^\s*(input|output) (?:\[(\d+):0\] )?(\w+);", body, re.MULTILINE):
        names = [f"{port}[{i}]" for i in range(int(high) + 1)] if high else [port]
        pins |= dict.fromkeys(names, direction)
    return pins


@pytest.mark.parametrize("words,bits", [(64, 32), (48, 8)])
def test_pins_agree_between_verilog_liberty_and_lef(words, bits):
    macro = macro_of(AT_28, words, bits)
    generated = verilog_pins(verilog.convert(Sram(words, bits), name=macro.name), macro.name)
    lef = lef_cells(lef_abstract(macro, layout_of("predictive28", AT_28)), "x")[macro.name].pins
    assert generated == lef == liberty_cells(liberty_stub(macro, 0.9, 0.05), "y")[macro.name].pins


@pytest.mark.parametrize("platform", LAYOUTS)
@pytest.mark.parametrize("words,bits", SHAPES)
def test_size_holds_area_and_pins_on_the_grid(platform, words, bits):
    layout = LAYOUTS[platform]
    macro = macro_of(layout_technology(layout), words, bits)
    width, height = macro_size_um(macro, layout)
    assert macro.area_um2 <= width * height <= 1.02 * macro.area_um2
    assert height / layout.site_um[1] == pytest.approx(round(height / layout.site_um[1]))
    assert width / layout.site_um[0] == pytest.approx(round(width / layout.site_um[0]))
    rects = re.findall(r"RECT ([\d.]+) ([\d.]+) ([\d.]+) ([\d.]+)", lef_abstract(macro, layout))
    assert len(rects) >= len(macro.pins) + 2
    assert all(0 <= float(x0) < float(x1) <= width + 1e-3 and 0 <= float(y0) < float(y1) <= height + 1e-3
               for x0, y0, x1, y1 in rects)


@pytest.mark.parametrize("words,bits", SHAPES)
def test_pins_do_not_overlap(words, bits):
    macro = macro_of(AT_28, words, bits)
    text = lef_abstract(macro, layout_of("predictive28", AT_28))
    signals = re.findall(r"LAYER metal3 ;\n\s*RECT ([\d.]+) ([\d.]+) [\d.]+ ([\d.]+)", text)
    for edge in {x for x, _, _ in signals}:
        spans = sorted((float(low), float(high)) for x, low, high in signals if x == edge)
        assert all(one[1] < two[0] for one, two in zip(spans, spans[1:]))


def test_abstracts_say_what_they_are():
    macro = macro_of(AT_28, 64, 32)
    for text in (lef_abstract(macro, layout_of("predictive28", AT_28)), liberty_stub(macro, 0.9, 0.05)):
        assert "Predictive memory abstract" in text.splitlines()[0]


def test_at_node_uses_published_factors():
    macro = at_node(macro_of(AT_28, 64, 32), 28, 45)
    assert macro.area_um2 == pytest.approx(macro_of(AT_28, 64, 32).area_um2 / 0.3767, rel=1e-3)
    assert macro.access_ns == pytest.approx(macro_of(load_technology("asic-45nm"), 64, 32).access_ns, rel=2e-3)


def test_macro_shapes():
    assert macro_shapes("module sram_4x8 (a);\nmodule sram_16x8 (b);\nsram_4x8 u();") == [
        ("sram_16x8", 16, 8), ("sram_4x8", 4, 8)]


LEF = "MACRO A\n SIZE 1 BY 2 ;\n PIN X\n  DIRECTION INPUT ;\n  USE SIGNAL ;\n END X\nEND A\n"


@pytest.mark.parametrize("text,message", [
    ("", "holds no MACRO and no LAYER"), (LEF.replace("END A", ""), "macro A does not end"),
    (LEF.replace("SIZE 1 BY 2 ;", ""), "macro A has no SIZE"), (LEF[:30], "macro A does not end")])
def test_lef_wrong_text(text, message):
    with pytest.raises(SpecError, match=f"LEF 'x.lef'.*{message}|LEF 'x.lef' {message}"):
        lef_cells(text, "x.lef")


def test_liberty_wrong_braces():
    with pytest.raises(SpecError, match="Liberty 'x.lib': 2 opening and 1 closing braces"):
        liberty_cells("library (x) { cell (a) { }", "x.lib")


def test_agreement_wrong_pins(tmp_path):
    lib = ('library (x) { cell (A) { pin (X) { direction : output; } pin (Y) { direction : input; } } '
           'cell (B) { } }')
    faults = check_agreement(lef_cells(LEF, "x"), liberty_cells(lib, "y"))
    assert faults == ["cell B is in the Liberty file and not in the LEF", "pin Y of A is in the Liberty file only",
                      "pin X of A is input in the LEF and output in the Liberty file"]
    (tmp_path / "a.lef").write_text(LEF)
    (tmp_path / "a.lib").write_text(lib)
    with pytest.raises(SpecError, match="LEF and Liberty disagree: a.lib: cell B.*take files of one release"):
        require_agreement((tmp_path / "a.lef",), (tmp_path / "a.lib",))
