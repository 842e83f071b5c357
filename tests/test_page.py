"""The page of a run: complete, self-contained, right in its figures, and sound in a browser."""

import argparse
import base64
import dataclasses
import json
import re
from html.parser import HTMLParser

import pytest
from report.browser import chromium, find_chromium
from runs_by_hand import add_stages, make_run

from dna_asic import page
from dna_asic.errors import SpecError
from dna_asic.origin import write_origin
from dna_asic.report.html import VOID
from dna_asic.report.page import render
from dna_asic.runs import RunFolder
from dna_asic.spec.design import design_to_yaml

SECTIONS = ["figures", "comparison", "course", "network", "chip", "layers", "simulation", "synthesis", "origins"]
HOSTILE = "<img src=http://x/ onerror=alert(1)>\"&"


class Reader(HTMLParser):
    """Every element is closed where it should be; what it names outside itself is kept."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.ids, self.outside, self.targets, self.words = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        if "id" in named:
            self.ids.append(named["id"])
        for key in ("src", "href", "action", "data", "srcset", "poster"):
            value = named.get(key, "")
            if value.startswith("#"):
                self.targets.append(value[1:])
            elif value and not value.startswith("data:image/png"):
                self.outside.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(params=[1, 2])
def whole(request, tmp_path):
    """A run of one and of two chunks with every stage, and its design."""
    run, design = make_run(tmp_path, request.param)
    add_stages(run, [layer.name for layer in design.network.layers])
    return run, design


def made(run):
    """The page's text and report/report.json."""
    assert page.main(["--run", str(run.path), "--quiet"]) == 0
    return (run.path / "report.html").read_text(), json.loads((run.path / "report" / "report.json").read_text())


def test_page_is_whole_and_needs_nothing_else(whole):
    text, _ = made(whole[0])
    read = Reader(text)
    assert read.outside == [] and not re.search(r"url\((?!#)|@import|https?:", text)
    assert [name for name in read.ids if name in SECTIONS] == SECTIONS
    assert len(read.ids) == len(set(read.ids)) and set(read.targets) <= set(read.ids)
    assert len(text.encode()) < 300_000 and "make " not in "".join(read.words)


def test_page_layers_add_up(whole):
    run, design = whole
    record, costs = made(run)[1], json.loads((run.path / "report.json").read_text())
    for layer, cost in zip(record["network"]["layers"], costs["layers"], strict=True):
        assert layer["name"] == cost["name"] and layer["cycles"] == cost["cycles"]
        assert sum(layer["cycles_by_cause"].values()) == cost["cycles"]
        for level, pj in cost["energy_pj"].items():
            assert sum(layer["energy_pj"][level].values()) == pytest.approx(pj)
        mapping = design.mappings[layer["name"]]
        iterations = 1
        for loop in layer["loops"]:
            iterations *= loop["count"]
        product = 1
        for factor in (*mapping.rf, *mapping.noc, *mapping.gb, *mapping.dram):
            product *= factor
        assert iterations == product
        assert all(0 < b["used"] <= b["size"] for b in layer["buffers"])
        assert 0 < layer["utilisation"] <= 1
    areas = [block["area_um2"] for chunk in record["chip"]["chunks"] for block in chunk["blocks"]]
    assert sum(areas) == pytest.approx(sum(costs["area_um2_by_block"].values()))
    assert record["figures"][0] == {"name": "int8 accuracy on test", "value": 97.0, "unit": "%", "file": "summary.json"}


def test_page_without_stages_says_how_to_make_them(tmp_path, capsys):
    run, _ = make_run(tmp_path)
    text, record = made(run)
    words = " ".join("".join(Reader(text).words).split())
    for what, command in (("comparison", "compare"), ("simulation", "rtl sim"), ("synthesis", "synth"),
                          ("synthesised areas", "synth")):
        assert f"No {what} yet. Make it with make {command}." in words
    assert record["course"]["command"] == "make search"
    assert capsys.readouterr().out.endswith("missing=comparison,course,silicon,simulation,synthesis\n")


def test_page_names_origins(whole):
    run, _ = whole
    args = argparse.Namespace(command_line="python -m dna_asic.simulate --seed 5")
    write_origin(run.path / "sim", args, 5, ("numpy",))
    text, record = made(run)
    origin = next(o for o in record["origins"] if o["file"] == "sim/report.json")
    assert origin["seed"] == 5 and origin["command"] == "python -m dna_asic.simulate --seed 5"
    assert origin["versions"].keys() == {"numpy"} and re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", origin["made"])
    words = "".join(Reader(text).words)
    assert "From sim/report.json, made by python -m dna_asic.simulate --seed 5 (seed 5" in words
    assert "From synth/synth.json, whose making was not recorded" in words


def test_page_escapes_names(whole):
    run, design = whole
    first, *rest = design.network.layers
    follow = [dataclasses.replace(x, source=HOSTILE if x.source == first.name else x.source,
                                  residual=HOSTILE if x.residual == first.name else x.residual) for x in rest]
    network = dataclasses.replace(design.network, layers=(dataclasses.replace(first, name=HOSTILE), *follow))
    renamed = dataclasses.replace(
        design, network=network, mappings={**design.mappings, HOSTILE: design.mappings[first.name]},
        assignment={HOSTILE if k == first.name else k: v for k, v in design.assignment.items()})
    (run.path / "design.yaml").write_text(design_to_yaml(renamed))
    text, _ = made(run)
    read = Reader(text)
    assert HOSTILE in read.words and read.outside == [] and "<img" not in text


def test_page_says_when_another_version_made_the_run(whole):
    run, _ = whole
    path = run.path / "report.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"latency_cycles": 7}))
    assert "says 7 cycles and this version's cost model" in "".join(Reader(made(run)[0]).words)


def test_page_shows_pictures_of_a_layout(whole):
    run, _ = whole
    (run.path / "synth" / "layout.png").write_bytes(b"\x89PNG layout")
    (run.path / "synth" / "large.png").write_bytes(bytes(page.MOST_PICTURES_BYTES + 1))
    text, record = made(run)
    assert record["synthesis"]["pictures"] == [["layout", "synth/layout.png"]]
    assert re.findall('src="([^"]*)"', text) == [
        "data:image/png;base64," + base64.b64encode(b"\x89PNG layout").decode()]


@pytest.mark.parametrize("name", ["summary.json", "sim/report.json", "compare/compare.json"])
def test_page_wrong_record(whole, capsys, name):
    run, _ = whole
    (run.path / name).write_text("{")
    assert page.main(["--run", str(run.path)]) == 2
    assert re.search(rf"Record '.*{name}' is not JSON .* make it again with `make", capsys.readouterr().err)
    assert not (run.path / "report.html").exists()


def test_page_wrong_run(tmp_path):
    with pytest.raises(SpecError, match="has no design.yaml; make it with `make search`"):
        page.collect(RunFolder(tmp_path))


def test_page_is_the_same_twice(whole):
    run, _ = whole
    assert render(page.collect(run), run.path) == render(page.collect(run), run.path)


@pytest.fixture(scope="module")
def browser():
    program = find_chromium()
    if program is None:
        pytest.skip("Chromium is not on PATH; apt-get install chromium")
    with chromium(program) as found:
        yield found


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_page_in_chromium(whole, browser, width, scheme):
    """No error, no request but for the page, nothing wider than the window; hover, switches, sorting, opening work."""
    made(whole[0])
    path = whole[0].path / "report.html"
    browser.open(path, width, scheme=scheme)
    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value("document.getElementById('tip').hidden") is True
    browser.point("#course .hit")
    assert browser.value("document.getElementById('tip').innerText").splitlines()[:2] == ["epoch 0", "training: 2"]
    browser.value("document.querySelector('#course [data-switch]').click()")
    assert browser.value("getComputedStyle(document.querySelector('#course [data-series=\"0\"]')).display") == "none"
    names = "[...document.querySelectorAll('#layers tbody')[0].rows].map(r => r.cells[0].textContent)"
    before = browser.value(names)
    browser.value("document.querySelector('#layers th button').click()")
    assert browser.value(names) == sorted(before) != before
    browser.value("document.querySelector('#network a').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    browser.value("new Promise(done => setTimeout(done, 50))")
    assert browser.value("document.getElementById('layer-1').open") is True
    assert browser.value("document.documentElement.scrollWidth") == width
    back = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", back))) > 380) == (scheme == "light")
    assert browser.errors == [] and {url.partition("#")[0] for url in browser.requests} == {path.resolve().as_uri()}


@pytest.mark.browser
def test_browser_sees_errors_and_requests(browser, tmp_path):
    """What the test above would miss if the driver saw nothing."""
    path = tmp_path / "bad.html"
    path.write_text("<script>console.error('a'); nothing()</script><img src='http://127.0.0.1:9/x.png'>")
    browser.open(path, 400)
    assert len(browser.errors) >= 2 and "http://127.0.0.1:9/x.png" in browser.requests
