"""Netlists as Yosys writes them: one module at a time, every net by its single bits."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_DECLARATION = re.compile(r"^\s*(input|output|inout|wire) (?:signed )?(?:\[(\d+):(\d+)\] )?(.+?)\s*;$", re.MULTILINE)
_TERM = re.compile(r"(\d+)'b([01xz]+)|(\\\S+|[A-Za-z_][\w$]*)\s*(?:\[(\d+)(?::(\d+))?\])?")
INSTANCE = re.compile(r"^  (\\\S+ |\w+) ?(\\\S+ |\w+) \(\n(.*?)\n  \);$", re.MULTILINE | re.DOTALL)
PIN = re.compile(r"^\s*\.(\\\S+ |\w+)\((.*?)\),?$", re.MULTILINE)
_ASSIGN = re.compile(r"^  assign (.*?) = (.*?);$", re.MULTILINE)
_MODULE = re.compile(r"^(module \\?(\S+?)\s*\(.*?^endmodule\n)", re.MULTILINE | re.DOTALL)

Ranges = dict[str, tuple[int, int] | None]


@dataclass(frozen=True)
class Instance:
    """A cell or a module in a netlist. pins: the bits of each pin, most significant first; span: its place in the text.

    A bit is `name [index]`, `name ` where the net has one bit, or `1'b0`.
    """

    kind: str
    name: str
    pins: dict[str, list[str]]
    span: tuple[int, int]


@dataclass(frozen=True)
class Netlist:
    """A module. ports: direction of each. ranges: bounds of nets of several bits. aliases: (bit, what drives it)."""

    text: str
    ports: dict[str, str]
    ranges: Ranges
    instances: list[Instance]
    aliases: list[tuple[str, str]]

    @classmethod
    def of(cls, text: str) -> "Netlist":
        """A module's text, as `plain_netlist` leaves it."""
        ports, ranges = {}, {}
        for kind, high, low, name in _DECLARATION.findall(text):
            ranges[name] = (int(high), int(low)) if high else None
            if kind != "wire":
                ports[name] = kind
        instances = [Instance(_plain(m[1]), _plain(m[2]), {_plain(pin): bits(net, ranges)
                                                           for pin, net in PIN.findall(m[3])}, m.span())
                     for m in INSTANCE.finditer(text)]
        aliases = [pair for target, source in _ASSIGN.findall(text)
                   for pair in zip(bits(target, ranges), bits(source, ranges), strict=True)]
        return cls(text, ports, ranges, instances, aliases)

    def port_bits(self, name: str) -> list[str]:
        """The bits of a port, most significant first."""
        return bits(name, self.ranges)


def _plain(name):
    return name.strip().removeprefix("\\")


def module_bodies(netlist: str) -> dict[str, str]:
    """{module: its text} of a netlist."""
    return {name: text for text, name in _MODULE.findall(netlist)}


def children_first(modules: dict[str, Netlist]) -> Iterator[str]:
    """Names of modules, each after all that stand in it."""
    done = set()

    def visit(name):
        if name not in done:
            done.add(name)
            for kind in dict.fromkeys(i.kind for i in modules[name].instances if i.kind in modules):
                yield from visit(kind)
            yield name

    for name in modules:
        yield from visit(name)


def bits(expression: str, ranges: Ranges) -> list[str]:
    """The single bits of a name, a slice, a constant or a concatenation, most significant first."""
    found = []
    for size, digits, name, high, low in _TERM.findall(expression):
        if size:
            found += [f"1'b{digit}" for digit in digits.rjust(int(size), digits[0] if digits[0] in "xz" else "0")]
        elif not high and ranges.get(name) is None:
            found.append(f"{name} ")
        else:
            first, last = (int(high), int(low or high)) if high else ranges[name]
            step = -1 if first >= last else 1
            found += [f"{name} [{i}]" for i in range(first, last + step, step)]
    return found


def plain_netlist(netlist: str) -> str:
    """The same netlist without what OpenSTA does not read: `signed`, and assignments of more than one bit."""
    lines, ranges = [], {}
    for line in netlist.splitlines():
        if line.startswith("module "):
            ranges = {}
        elif declared := _DECLARATION.match(line):
            kind, high, low, name = declared.groups()
            ranges[name] = (int(high), int(low)) if high else None
            line = f"  {kind} " + (f"[{high}:{low}] " if high else "") + f"{name} ;"
        elif line.startswith("  assign "):
            target, _, value = line.removeprefix("  assign ").removesuffix(";").partition(" = ")
            pairs = zip(bits(target, ranges), bits(value, ranges), strict=True)
            lines += [f"  assign {bit} = {source};" for bit, source in pairs]
            continue
        lines.append(line)
    return "\n".join(lines) + "\n"
