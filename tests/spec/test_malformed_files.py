"""Malformed YAML files, made by seeded mutation of the project's own: one clear error each, never a traceback."""

import random
import re
from pathlib import Path

import pytest
import yaml
from chips import make_chip

import dna_asic
from dna_asic import gads, networks, technology
from dna_asic.errors import DnaAsicError, SpecError
from dna_asic.gads import GadsSpace
from dna_asic.gads.presets import Preset
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.mapper import trivial_mapping
from dna_asic.networks import load_macro
from dna_asic.spec import record
from dna_asic.spec.design import Design, accelerator_from_yaml, design_from_yaml, design_to_yaml
from dna_asic.spec.record import from_plain, load_yaml, to_plain
from dna_asic.technology import Technology
from sim.four_layers import four_layers

MUTANTS = 200
PACKAGE = Path(dna_asic.__file__).parent


def files():
    """{kind: (text, loader)}."""
    chip, network = make_chip("kc-tree-2x3"), four_layers().network
    mappings = {name: trivial_mapping(shape, chip, chip.chunk) for name, shape in hardware_shapes(network, 8)}
    design = Design(target="asic-28nm", seed=0, choices=(), network=network, accelerator=chip, mappings=mappings)
    text = lambda module, name: (Path(module.__file__).parent / name).read_text()  # noqa: E731
    return {
        "space": (text(gads, "spaces/full.yaml"), GadsSpace.load),
        "presets": (text(gads, "presets.yaml"), lambda p: from_plain(dict[str, Preset], load_yaml(p), "presets")),
        "technology": (text(technology, "asic-28nm.yaml"),
                       lambda p: from_plain(Technology, load_yaml(p), "technology")),
        "macro": (next(iter(sorted(Path(networks.__file__).parent.rglob("digits.yaml")))).read_text(), load_macro),
        "design": (design_to_yaml(design), design_from_yaml),
        "accelerator": (yaml.safe_dump(to_plain(chip), sort_keys=False), accelerator_from_yaml)}


FILES = files()
VALUES = ("", "null", "-1", "0", "1.5", "true", ".nan", "1e999", "[]", "{}", "[[1]]", "{a: b}", "'text'", "9" * 5000,
          "2024-99-99", "!!bool maybe", "!!python/object/apply:os.system [x]", "!!binary '%'", "{[1]: 2}", "*nothing",
          "&a [*a]", "\"\\ud800\"", "[1, 2", "}", "|", "- x", "? [x]", "\x00", "%", "@x")


def mutant(text: str, rng: random.Random) -> tuple[str, set[str]]:
    """A changed file, and the keys on and beside the changed line."""
    lines = text.splitlines()
    keyed = [n for n, line in enumerate(lines) if re.match(r"\s*(- )?[\w.]+:", line)]
    at = rng.choice(keyed)
    line = lines[at]
    key = re.match(r"\s*(?:- )?([\w.]+):", line)[1]
    keys = set(re.findall(r"([A-Za-z_]\w*):", line)) | {key}
    kind = rng.choice(("value", "value", "value", "inner", "drop", "twice", "misspell", "indent", "cut", "colon",
                       "junk"))
    inner = list(re.finditer(r"(?<=[:,\[] )[^,\[\]{}:]+(?=[,\]}])", line))
    if kind == "inner" and inner:
        found = rng.choice(inner)
        lines[at] = line[:found.start()] + rng.choice(VALUES) + line[found.end():]
    elif kind in ("value", "inner"):
        lines[at] = line[:line.index(":") + 1] + " " + rng.choice(VALUES)
    elif kind == "drop":
        del lines[at]
    elif kind == "twice":
        lines.insert(at, line)
    elif kind == "misspell":
        lines[at] = line.replace(key, key[:-1] + "x", 1)
        keys.add(key[:-1] + "x")
    elif kind == "indent":
        lines[at] = rng.choice(("\t", " ", "      ")) + line
    elif kind == "cut":
        lines = [*lines[:at], line[:rng.randrange(len(line))]]
    elif kind == "colon":
        lines[at] = line.replace(":", "", 1)
    else:
        place = rng.randrange(len(line))
        lines[at] = line[:place] + rng.choice("\x00\x07{}[]&*!|>%@`\"'#\u2028\U0001f600") + line[place:]
    return "\n".join(lines) + "\n", keys


@pytest.mark.parametrize("kind", FILES)
def test_malformed_file_gives_one_clear_error(kind, tmp_path):
    """The message names a line, the key that is wrong, or one that is missing; and at most a few files stay legal."""
    text, load = FILES[kind]
    source = tmp_path / "good.yaml"
    source.write_text(text)
    load(source)  # else all that follows proves nothing
    rng, refused, count = random.Random(kind), 0, MUTANTS // len(FILES) + 1
    for n in range(count):
        changed, keys = mutant(text, rng)
        path = tmp_path / f"mutant{n}.yaml"
        path.write_text(changed, encoding="utf-8", errors="surrogatepass")
        try:
            load(path)
        except DnaAsicError as error:
            refused += 1
            message = str(error)
            named = re.search(r"line \d+|position \d+", message) or any(
                re.search(rf"(?<!\w){re.escape(key)}(?!\w)", message) for key in keys)
            missing = re.search(r"[Mm]issing (key|value|entry) '[\w.]+'|must have \d+ entries|must be a (list|mapping)",
                                message)
            assert named or missing, (n, keys, message)
            assert len(message) < 20_000 and "Traceback" not in message
    assert refused > 0.7 * count


@pytest.mark.parametrize(("text", "message"), [
    ("a: " + "[" * 2000, "nested too deeply|line 1"),
    ("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n" * 1, None),
    ("a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60)), "aliases written out"),
    ("a: &a {b: *a}", "within what it names|line 1"),
    ("a: !!python/object/apply:os.system ['touch hacked']", "could not determine a constructor"),
    ("a: !!int 1x", "'1x' is no int"),
    ("a: " + "9" * 5000, "is no int"),
    ("{[1]: 2}", "line 1"),
    ("a: 1\na: 2", "Key 'a' stands twice .line 2."),
])
def test_hostile_yaml(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.yaml"
    path.write_text(text)
    if message is None:
        assert load_yaml(path)["d"][1][1] == [["x", "x"]] * 2
        return
    with pytest.raises(SpecError, match=message):
        load_yaml(path)
    assert [p.name for p in tmp_path.iterdir()] == ["x.yaml"]


def test_large_yaml_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "x.yaml"
    path.write_text("a: 1\n" + "#" * 2000)
    assert load_yaml(path) == {"a": 1}
    monkeypatch.setattr(record, "MOST_BYTES", 1000)
    with pytest.raises(SpecError, match="File '.*x.yaml': it has more than"):
        load_yaml(path)
    with pytest.raises(SpecError, match="File '/dev/zero': it has more than"):
        load_yaml("/dev/zero")
