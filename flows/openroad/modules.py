"""Verilog cut into modules, each as text that does not depend on the design around it: what a cache can go by.

Generated names differ from chip to chip (`port$126$0`, `chip.chunk_1.core.gb_w`) where the hardware is the same. In
the text of a `Unit` they are numbered in the order in which they appear; `restored` puts them back.
"""

import re
from dataclasses import dataclass

from dna_asic.errors import SpecError

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/|\\\S+|\$\w+|[A-Za-z_][\w$]*', re.DOTALL)
_MODULE = re.compile(r"^[ \t]*(?:\(\*[^\n]*?\*\)\s*)*module\b(.*?)^[ \t]*endmodule\b|module\b(.*?)\bendmodule\b",
                     re.DOTALL | re.MULTILINE)
_PORTS = re.compile(r"(?<![\\\w$])(?:input|output|inout)(?![\w$])[^;]*;")
_LOCAL = re.compile(r"\b(function|task)\b.*?\bend\1\b", re.DOTALL)
_NUMBERED = re.compile(r"\\\S*dna_[mn]\d+_\S*|\b\w*dna_[mn]\d+_[\w$]*")
_NUMBER = re.compile(r"dna_([mn])(\d+)_")
_PLAIN = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Module `name` and, as black boxes, those that it instantiates.

    text: Verilog in which the module is `dna_m0_` and the others are `dna_m1_`, ... children: how often the text names
    each module below it. modules, names: what the numbers of `dna_m*_` and `dna_n*_` stand for.
    """

    name: str
    text: str
    children: dict[str, int]
    modules: tuple[str, ...]
    names: tuple[str, ...]

    def restored(self, netlist: str) -> str:
        """A text with numbered names, such as the netlist made of `text`, with those of the design."""
        return _NUMBERED.sub(lambda match: self._restore(match[0]), netlist)

    def _restore(self, token):
        tables = {"m": self.modules, "n": self.names}
        name = _NUMBER.sub(lambda match: tables[match[1]][int(match[2])], token.removeprefix("\\"))
        if token[0] == "\\":  # a space follows it already
            return f"\\{name}"
        return name if _PLAIN.fullmatch(name) else f"\\{name} "


def units(verilog: str, top: str) -> dict[str, Unit]:
    """The modules that stand in `top`, itself first. Raises SpecError for one with parameters."""
    texts = _modules(verilog)
    found, pending = {}, [top]
    while pending:
        name = pending.pop()
        if name not in found:
            found[name] = _unit(name, texts)
            pending += found[name].children
    return found


def _modules(verilog):
    """{name: text, without comments}."""
    plain = _TOKEN.sub(lambda match: " " if match[0].startswith(("//", "/*")) else match[0], verilog)
    texts = {}
    for match in _MODULE.finditer(plain):
        name = re.match(r"\s+(\\\S+|[\w$]+)", match[1] or match[2] or "")
        if name:
            texts[name[1].removeprefix("\\")] = match[0].strip()
    return texts


def _unit(name, texts):
    text = texts[name]
    if found := re.search(r"#\s*\(|\bparameter\b", text):
        raise SpecError(f"Module '{name}' uses parameters ('{found[0]}'); synthesis takes plain modules, as "
                        f"`make rtl` writes them.")
    named = [token.removeprefix("\\") for token in _TOKEN.findall(text)]
    children = {}
    for token in named:
        if token in texts and token != name:
            children[token] = children.get(token, 0) + 1
    modules, names = {name: "dna_m0_"}, {}
    modules |= {child: f"dna_m{n}_" for n, child in enumerate(children, 1)}

    def numbered(match):
        token = match[0].removeprefix("\\")
        if token in modules:
            return modules[token]
        if match[0][0] in '$"' or "$" not in token:
            return match[0]
        return names.setdefault(token, f"dna_n{len(names)}_")

    whole = "\n".join([text, *(_box(texts[child]) for child in children)])
    return Unit(name=name, text=_TOKEN.sub(numbered, whole) + "\n", children=children, modules=tuple(modules),
                names=tuple(names))


def _box(text):
    """A module without its contents."""
    header, _, body = text[text.index("module"):].partition(";")
    ports = [] if _PORTS.search(header + ";") else _PORTS.findall(_LOCAL.sub("", body))
    return "\n".join([f"(* blackbox *)\n{header};", *ports, "endmodule"])
