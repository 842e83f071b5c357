"""Behavioural Verilog of a library's cells, from its Liberty functions: for simulation and proof of netlists.

In simulation a flip-flop begins with a random bit, the same in every run, as silicon does. In a proof a clock tells
whether it ticks in this step of the root clock: a clock gate, whose latch follows its input up to the tick, is an AND.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from dna_asic.errors import SpecError
from flows.openroad.abstracts import liberty_cells

_CELL = re.compile(r'\bcell\s*\(\s*"?([\w$]+)"?\s*\)\s*\{')
_PIN = re.compile(r'\bpin\s*\(\s*"?([\w$]+)"?\s*\)\s*\{')
_FF = re.compile(r'\bff\s*\(\s*"?(\w+)"?\s*,\s*"?(\w+)"?\s*\)\s*\{([^}]*)\}')
_GATE = re.compile(r'\bclock_gating_integrated_cell\s*:\s*"?latch_posedge(_precontrol)?\b')
_ROLE = re.compile(r'\bclock_gate_(clock|enable|test|out)_pin\s*:\s*"?true')
_OTHER_STATE = re.compile(r"\b(latch|statetable|ff_bank)\s*\(|\b(clear|preset)\s*:")
_FUNCTION = re.compile(r'\bfunction\s*:\s*"([^"]*)"')
_WORDS = re.compile(r"[\w\s!'&|^+*()]*")


@dataclass(frozen=True)
class FlipFlop:
    """A flip-flop in Verilog: names of its bit and of the inverse; next bit and rising clock; outputs by pin."""

    state: str
    inverse: str
    following: str
    clock: str
    outputs: dict[str, str]


def cell_models(liberty: str, subject: str, proof: bool = False) -> str:
    """A module for every gate, flip-flop without clear or preset, and latched clock gate; others have none.

    proof: for one in Yosys, else for a simulator; see the module. Raises SpecError for a function that is none, or a
    library without any cell of the kind.
    """
    modules = [text for name, pins, body in _cells(liberty, subject) for text in _model(name, pins, body, proof)]
    if not modules:
        raise SpecError(f"Liberty '{subject}' has no cell with a function; take the whole library.")
    return "\n".join(modules)


def flip_flops(liberty: str, subject: str) -> dict[str, FlipFlop]:
    """The flip-flops that `cell_models` models. Raises SpecError."""
    return {name: found for name, pins, body in _cells(liberty, subject)
            if (found := _flip_flop(name, pins, body)) is not None}


def _cells(liberty, subject) -> Iterator[tuple[str, dict, str]]:
    """(name, pins, text) of each cell."""
    plain = re.sub(r"/\*.*?\*/", "", liberty, flags=re.DOTALL)
    starts = list(_CELL.finditer(plain))
    for start, end in zip(starts, [m.start() for m in starts[1:]] + [len(plain)]):
        yield start[1], liberty_cells(_whole(plain[start.start():end]), subject)[start[1]].pins, plain[start.end():end]


def _whole(text):
    """The text up to the brace that closes its first."""
    depth = 0
    for match in re.finditer(r"[{}]", text):
        depth += 1 if match[0] == "{" else -1
        if depth == 0:
            return text[:match.end()]
    return text


def _model(name, pins, body, proof) -> Iterator[str]:
    if gate := _GATE.search(body):
        roles = {found[1]: pin for pin, text in _by_pin(body).items() if (found := _ROLE.search(text))}
        lines = _clock_gate(roles, tested=bool(gate[1]), proof=proof)
    elif (outputs := _outputs(name, pins, body)) is None:
        return
    else:
        lines = [*_register(_flip_flop(name, pins, body), proof),
                 *(f"  assign {pin} = {function};" for pin, function in outputs.items())]
    yield "\n".join([f"module {name} ({', '.join(pins)});", *(f"  {way} {pin};" for pin, way in pins.items()), *lines,
                     "endmodule"])


def _outputs(name, pins, body):
    """{output: its function}; None where that is not all that there is to know."""
    functions = {pin: found[1] for pin, text in _by_pin(body).items() if (found := _FUNCTION.search(text))}
    outputs = [pin for pin, way in pins.items() if way == "output"]
    if _OTHER_STATE.search(body) or not outputs or any(pin not in functions for pin in outputs):
        return None
    return {pin: _expression(functions[pin], name) for pin in outputs}


def _flip_flop(name, pins, body):
    outputs, register = _outputs(name, pins, body), _FF.search(body)
    if outputs is None or register is None:
        return None
    state, inverse, content = register.groups()
    following, clock = (_expression(re.search(rf'\b{key}\s*:\s*"([^"]*)"', content)[1], name)
                        for key in ("next_state", "clocked_on"))
    return FlipFlop(state, inverse, following, clock, outputs)


def _register(ff, proof) -> Iterator[str]:
    if ff is not None:
        yield f"  reg {ff.state}; wire {ff.inverse} = ~{ff.state};"
        yield f"  always @(posedge {ff.clock}) {ff.state} <= {ff.following};"
        if not proof:
            yield f"  initial {ff.state} = $random;"


def _clock_gate(pins, tested, proof) -> Iterator[str]:
    """tested: a second input opens the gate too."""
    enable = f"({pins['enable']} | {pins['test']})" if tested else pins["enable"]
    if proof:
        yield f"  assign {pins['out']} = {pins['clock']} & {enable};"
    else:
        yield f"  reg enabled; always @* if (!{pins['clock']}) enabled = {enable};"
        yield f"  assign {pins['out']} = {pins['clock']} & enabled;"


def _by_pin(body):
    """{pin: its text}."""
    starts = list(_PIN.finditer(body))
    return {m[1]: body[m.end():end] for m, end in zip(starts, [m.start() for m in starts[1:]] + [len(body)])}


def _expression(function, cell):
    """Verilog of a Liberty function. There ^ binds before &, so a mixture must have its parentheses."""
    if not _WORDS.fullmatch(function) or not function.strip():
        raise SpecError(f"Cell '{cell}' has function '{function}', which is none of ! ' & * | + ^ and pins.")
    text = re.sub(r"(\w+)\s*'", r"~\1", function).replace("!", "~").replace("*", "&").replace("+", "|")
    return re.sub(r"(?<![\w'])([01])(?!\w)", r"1'b\1", text)
