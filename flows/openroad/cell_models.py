"""Behavioural Verilog of a library's cells, from its Liberty functions: for simulation and proof of netlists.

In simulation a flip-flop begins with a random bit, the same in every run, as silicon does. In a proof a clock tells
whether it ticks in this step of the root clock: a clock gate, whose latch follows its input up to the tick, is an AND.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from dna_asic.errors import SpecError
from flows.openroad.abstracts import liberty_cells, liberty_groups

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


@dataclass(frozen=True)
class Cell:
    """What a cell does, in Verilog: one of a gate (outputs), a flip-flop, and a clock gate (its pins by role: clock,
    enable, test where there is one, out).
    """

    pins: dict[str, str]
    outputs: dict[str, str]
    flip_flop: FlipFlop | None = None
    clock_gate: dict[str, str] | None = None


def known_cells(liberty: str, subject: str) -> dict[str, Cell]:
    """Every gate, flip-flop without clear or preset, and latched clock gate of a library; no others.

    Raises SpecError for a function that is none, or a library without any cell of the kind.
    """
    abstracts, found = liberty_cells(liberty, subject), {}
    for name, body in liberty_groups("cell", liberty):
        pins = abstracts[name].pins
        if gate := _GATE.search(body):
            roles = {role[1]: pin for pin, text in liberty_groups("pin", body) if (role := _ROLE.search(text))}
            if not gate[1]:
                roles.pop("test", None)
            found[name] = Cell(pins, {}, clock_gate=roles)
        elif (outputs := _outputs(name, pins, body)) is not None:
            found[name] = Cell(pins, outputs, _flip_flop(name, outputs, body))
    if not found:
        raise SpecError(f"Liberty '{subject}' has no cell with a function; take the whole library.")
    return found


def flip_flops(liberty: str, subject: str) -> dict[str, FlipFlop]:
    """The flip-flops among `known_cells`."""
    return {name: cell.flip_flop for name, cell in known_cells(liberty, subject).items() if cell.flip_flop}


def cell_models(liberty: str, subject: str, proof: bool = False) -> str:
    """A module for each of `known_cells`: to prove with in Yosys, or to simulate. Raises SpecError."""
    return "\n".join(_model(name, cell, proof) for name, cell in known_cells(liberty, subject).items())


def _model(name, cell, proof):
    lines = _clock_gate(cell.clock_gate, proof) if cell.clock_gate else [
        *_register(cell.flip_flop, proof), *(f"  assign {pin} = {function};" for pin, function in cell.outputs.items())]
    ports = [f"  {way} {pin};" for pin, way in cell.pins.items()]
    return "\n".join([f"module {name} ({', '.join(cell.pins)});", *ports, *lines, "endmodule"])


def _outputs(name, pins, body):
    """{output: its function}; None where that is not all that there is to know."""
    functions = {pin: found[1] for pin, text in liberty_groups("pin", body) if (found := _FUNCTION.search(text))}
    outputs = [pin for pin, way in pins.items() if way == "output"]
    if _OTHER_STATE.search(body) or not outputs or any(pin not in functions for pin in outputs):
        return None
    return {pin: _expression(functions[pin], name) for pin in outputs}


def _flip_flop(name, outputs, body):
    if (register := _FF.search(body)) is None:
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


def _clock_gate(pins, proof) -> Iterator[str]:
    enable = f"({pins['enable']} | {pins['test']})" if "test" in pins else pins["enable"]
    if proof:
        yield f"  assign {pins['out']} = {pins['clock']} & {enable};"
    else:
        yield f"  reg enabled; always @* if (!{pins['clock']}) enabled = {enable};"
        yield f"  assign {pins['out']} = {pins['clock']} & enabled;"


def _expression(function, cell):
    """Verilog of a Liberty function. There ^ binds before &, so a mixture must have its parentheses."""
    if not _WORDS.fullmatch(function) or not function.strip():
        raise SpecError(f"Cell '{cell}' has function '{function}', which is none of ! ' & * | + ^ and pins.")
    text = re.sub(r"(\w+)\s*'", r"~\1", function).replace("!", "~").replace("*", "&").replace("+", "|")
    return re.sub(r"(?<![\w'])([01])(?!\w)", r"1'b\1", text)
