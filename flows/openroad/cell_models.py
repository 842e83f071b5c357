"""Behavioural Verilog of a library's cells, from its Liberty functions: for simulation and proof of netlists."""

import re
from collections.abc import Iterator

from dna_asic.errors import SpecError
from flows.openroad.abstracts import liberty_cells

_CELL = re.compile(r'\bcell\s*\(\s*"?([\w$]+)"?\s*\)\s*\{')
_PIN = re.compile(r'\bpin\s*\(\s*"?([\w$]+)"?\s*\)\s*\{')
_FF = re.compile(r'\bff\s*\(\s*"?(\w+)"?\s*,\s*"?(\w+)"?\s*\)\s*\{([^}]*)\}')
_OTHER_STATE = re.compile(r"\b(latch|statetable|ff_bank)\s*\(|\b(clear|preset)\s*:")
_FUNCTION = re.compile(r'\bfunction\s*:\s*"([^"]*)"')
_WORDS = re.compile(r"[\w\s!'&|^+*()]*")


def cell_models(liberty: str, subject: str, started: bool = False) -> str:
    """A module for every cell whose outputs have functions: gates, and flip-flops without clear or preset.

    started: flip-flops begin with a random bit, the same in every run, as silicon does; else they are unknown. Raises
    SpecError for a function that is none, or a library without any cell of the kind.
    """
    plain = re.sub(r"/\*.*?\*/", "", liberty, flags=re.DOTALL)
    starts = list(_CELL.finditer(plain))
    modules = []
    for start, end in zip(starts, [m.start() for m in starts[1:]] + [len(plain)]):
        pins = liberty_cells(_whole(plain[start.start():end]), subject)[start[1]].pins
        modules += _model(start[1], pins, plain[start.end():end], started)
    if not modules:
        raise SpecError(f"Liberty '{subject}' has no cell with a function; take the whole library.")
    return "\n".join(modules)


def _whole(text):
    """The text up to the brace that closes its first."""
    depth = 0
    for match in re.finditer(r"[{}]", text):
        depth += 1 if match[0] == "{" else -1
        if depth == 0:
            return text[:match.end()]
    return text


def _model(name, pins, body, started) -> Iterator[str]:
    functions = _functions(body)
    outputs = [pin for pin, way in pins.items() if way == "output"]
    register = _FF.search(body)
    if _OTHER_STATE.search(body) or not outputs or any(pin not in functions for pin in outputs):
        return
    lines = [f"  {way} {pin};" for pin, way in pins.items()]
    if register:
        state, inverse, content = register.groups()
        following, clock = (re.search(rf'\b{key}\s*:\s*"([^"]*)"', content)[1] for key in ("next_state", "clocked_on"))
        lines += [f"  reg {state};", f"  wire {inverse} = ~{state};"]
        lines += [f"  initial {state} = $random;"] if started else []
        lines += [f"  always @(posedge {clock}) {state} <= {_expression(following, name)};"]
    lines += [f"  assign {pin} = {_expression(functions[pin], name)};" for pin in outputs]
    yield "\n".join([f"module {name} ({', '.join(pins)});", *lines, "endmodule"])


def _functions(body):
    starts = list(_PIN.finditer(body))
    found = {}
    for match, end in zip(starts, [m.start() for m in starts[1:]] + [len(body)]):
        if function := _FUNCTION.search(body[match.end():end]):
            found[match[1]] = function[1]
    return found


def _expression(function, cell):
    """Verilog of a Liberty function. There ^ binds before &, so a mixture must have its parentheses."""
    if not _WORDS.fullmatch(function) or not function.strip():
        raise SpecError(f"Cell '{cell}' has function '{function}', which is none of ! ' & * | + ^ and pins.")
    text = re.sub(r"(\w+)\s*'", r"~\1", function).replace("!", "~").replace("*", "&").replace("+", "|")
    return re.sub(r"(?<![\w'])([01])(?!\w)", r"1'b\1", text)
