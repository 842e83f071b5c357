"""Switching of every cell of a netlist, from waves of the RTL, without simulating the netlist.

Registers and ports keep their names through synthesis and the waves hold what they were in each cycle; all other nets
are functions of these. They are computed eight cycles to the byte and all instances of a module at once, hence
exactly as a simulation of the gates without delays would have them: no glitches, no estimate.
"""

import ast
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dna_asic.errors import SpecError
from flows.openroad.cell_models import known_cells
from flows.openroad.netlist import Instance, Netlist
from flows.openroad.waves import Waves

_BYTES_AT_ONCE = 400e6


@dataclass(frozen=True)
class Logic:
    """A cell. functions: of each output, as a tree of bit operations on pins. state, inverse: names of a flip-flop's
    state in them; following: its next state; clock: its clock pin. A clock gate has clock and enable, no function.
    """

    functions: dict[str, object]
    clock: str = ""
    enable: str = ""
    state: str = ""
    inverse: str = ""
    following: object = None


def cell_logic(liberty: str) -> dict[str, Logic]:
    """Every cell of a Liberty text whose function is known (`cell_models.known_cells`). Raises SpecError."""
    found = {}
    for name, cell in known_cells(liberty, "of the flow").items():
        functions = {pin: _tree(text) for pin, text in cell.outputs.items()}
        if gate := cell.clock_gate:
            found[name] = Logic({}, gate["clock"], gate["enable"])
        elif ff := cell.flip_flop:
            found[name] = Logic(functions, ff.clock.strip("() "), "", ff.state, ff.inverse, _tree(ff.following))
        else:
            found[name] = Logic(functions)
    return found


def _tree(function):
    """A function as a tree of bit operations; nothing in it is run as code. Raises SpecError."""
    try:
        return _checked(ast.parse(function.strip().replace("1'b1", "ones").replace("1'b0", "zeros"), mode="eval").body)
    except SyntaxError as error:
        raise SpecError(f"Function '{function}' of a cell is not made of ~, &, |, ^ and pins.") from error


_OPERATORS = {ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor}


def _checked(node):
    """The node, of names and bit operations alone. Raises SyntaxError."""
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        _checked(node.left)
        _checked(node.right)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
        _checked(node.operand)
    elif not isinstance(node, ast.Name):
        raise SyntaxError
    return node


def _value(node, names):
    """Of a `_checked` node."""
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.UnaryOp):
        return ~_value(node.operand, names)
    return _OPERATORS[type(node.op)](_value(node.left, names), _value(node.right, names))


@dataclass(frozen=True)
class CellActivity:
    """Of the cells of a module, in the netlist's order, in each instance.

    toggles: [cells, instances] of the first output, per cycle. clocked: [cells, instances] share of cycles in which a
    flip-flop's clock, or the clock behind a gate, runs; 0 for other cells. gate, ungated: [cells] clock gates, and
    flip-flops without one. ports: bits of its inputs, and port_toggles [bits, instances]. unknown: cells on
    loops through registers that the waves do not have; they count as still.
    """

    cells: list[Instance]
    toggles: np.ndarray
    clocked: np.ndarray
    gate: np.ndarray
    ungated: np.ndarray
    ports: list[str]
    port_toggles: np.ndarray
    unknown: int = 0


def module_activity(module: Netlist, logic: dict[str, Logic], waves: Waves, scopes: Sequence[str]) -> CellActivity:
    """Activity of the cells of a module that stands in the scopes, one of each instance."""
    cells, gate, ungated, ports = _parts(module, logic)
    each = max(1, int(_BYTES_AT_ONCE // ((2 * len(cells) + 64) * -(-waves.cycles // 8))))
    found = [_Evaluation(module, cells, logic, waves, scopes[n:n + each]).result(ports)
             for n in range(0, len(scopes), each)]
    toggles, clocked, port_toggles = (np.concatenate(parts, 1) for parts in list(zip(*found))[:3])
    return CellActivity(cells, toggles, clocked, gate, ungated, ports, port_toggles, max(f[3] for f in found))


def assumed_activity(module: Netlist, logic: dict[str, Logic], rate: float) -> CellActivity:
    """The same where nothing is known: one instance, everything toggles at a rate and every clock runs."""
    cells, gate, ungated, ports = _parts(module, logic)
    clocked = np.array([[float(bool(logic[cell.kind].clock))] for cell in cells]).reshape(-1, 1)
    return CellActivity(cells, np.full((len(cells), 1), rate) * ~gate[:, None], clocked, gate, ungated, ports,
                        np.full((len(ports), 1), rate))


def _parts(module, logic):
    cells = [i for i in module.instances if i.kind in logic]
    gate = np.array([bool(logic[cell.kind].enable) for cell in cells], bool)
    ungated = np.array([bool(logic[c.kind].state) and c.pins[logic[c.kind].clock][0] == "clk " for c in cells], bool)
    return cells, gate, ungated, [bit for name, way in module.ports.items() if way == "input" and name != "clk"
                         for bit in module.port_bits(name)]


def scope_of(waves: Waves, instances: Sequence[str]) -> str:
    """The scope of the waves under which a netlist's instance paths stand. Raises SpecError where none has them all."""
    probes = [path for path in instances if path]
    for scope in sorted(waves.scopes, key=len):
        if all(f"{scope}/{path}" in waves.scopes for path in probes):
            return scope
    raise SpecError("The waves are not of this design: no scope in them has all its modules; simulate it again.")


class _Evaluation:
    """Nets of some instances of a module, each computed when it is asked for."""

    def __init__(self, module, cells, logic, waves, scopes):
        self.cells, self.logic, self.waves, self.scopes = cells, logic, waves, scopes
        self.shape = (len(scopes), -(-waves.cycles // 8))
        self.zeros, self.ones = np.zeros(self.shape, np.uint8), np.full(self.shape, 255, np.uint8)
        self.values = {"1'b0": self.zeros, "1'b1": self.ones, "1'bx": self.zeros}
        self.drivers = {nets[0]: (cell, pin) for cell in cells for pin, nets in cell.pins.items()
                        if pin in logic[cell.kind].functions}
        self.drivers |= {target: (None, source) for target, source in module.aliases}
        self.gates = {cell.pins[pin][0]: cell for cell in cells if logic[cell.kind].enable for pin in cell.pins
                      if pin not in (logic[cell.kind].clock, logic[cell.kind].enable)}
        self.unknown = 0

    def result(self, ports):
        toggles, clocked = np.zeros((2, len(self.cells), len(self.scopes)))
        for n, cell in enumerate(self.cells):
            logic = self.logic[cell.kind]
            if logic.enable:
                clocked[n] = self._share(self.net(cell.pins[logic.enable][0]))
                continue
            output = next((p for p in logic.functions if p in cell.pins), None)
            if output:
                toggles[n] = self._toggles(self.net(cell.pins[output][0]))
            if logic.clock:
                clocked[n] = self._share(self._running(cell.pins[logic.clock][0]))
        moved = np.array([self._toggles(self.net(bit)) for bit in ports]).reshape(len(ports), len(self.scopes))
        return toggles, clocked, moved, self.unknown

    def _share(self, packed):
        return self._count(packed) / self.waves.cycles

    def _count(self, packed):
        return np.unpackbits(packed, axis=1, count=self.waves.cycles).sum(1, dtype=np.int64)

    def _toggles(self, packed):
        before = packed >> 1
        before[:, 1:] |= packed[:, :-1] << 7
        changed = packed ^ before
        changed[:, 0] &= 0x7F  # the first cycle has none before it
        return self._count(changed) / self.waves.cycles

    def _running(self, clock_net):
        """In which cycles a flip-flop's clock has an edge at their end."""
        gate = self.gates.get(clock_net)
        return self.ones if gate is None else self.net(gate.pins[self.logic[gate.kind].enable][0])

    def net(self, net):
        """Packed values of a net: what the waves have, else the function of what drives it."""
        pending, begun = [net], set()  # begun: those that wait for others, so that a loop is seen
        while pending:
            top = pending[-1]
            if top not in self.values and (found := self._recorded(top)) is not None:
                self.values[top] = found
            if top not in self.values:
                missing = [source for source in self._sources(top) if source not in self.values and source not in begun]
                if top not in begun and missing:
                    begun.add(top)
                    pending += missing
                    continue
                self.values[top] = self._computed(top)
            begun.discard(top)
            pending.pop()
        return self.values[net]

    def _recorded(self, net):
        plain = net.replace(" ", "").removeprefix("\\")
        values = [self.waves.bit(scope, plain) for scope in self.scopes]
        return None if any(v is None for v in values) else np.stack(values)

    def _sources(self, net):
        cell, pin = self.drivers.get(net, (None, None))
        if cell is None:
            return [pin] if pin else []
        logic = self.logic[cell.kind]
        inputs = [nets[0] for name, nets in cell.pins.items() if name not in logic.functions and name != logic.clock]
        if logic.clock and (gate := self.gates.get(cell.pins[logic.clock][0])):
            inputs.append(gate.pins[self.logic[gate.kind].enable][0])
        return inputs

    def _computed(self, net):
        cell, pin = self.drivers.get(net, (None, None))
        if cell is None:
            return self.values[pin] if pin else self.zeros
        logic = self.logic[cell.kind]
        self.unknown += any(source not in self.values for source in self._sources(net))
        names = {name: self.values.get(nets[0], self.zeros) for name, nets in cell.pins.items()
                 if name not in logic.functions and name != logic.clock} | {"ones": self.ones, "zeros": self.zeros}
        if logic.state:
            state = self._state(cell, logic, names)
            names |= {logic.state: state, logic.inverse: ~state}
        return _value(logic.functions[pin], names)

    def _state(self, cell, logic, names):
        """A flip-flop that the waves do not have: what it took last, where its clock ran."""
        following = [_value(logic.following, names | {logic.state: was, logic.inverse: ~was})
                     for was in (self.zeros, self.ones)]
        taken = np.unpackbits(self._running(cell.pins[logic.clock][0]) & ~(following[0] ^ following[1]), axis=1,
                              count=self.waves.cycles)
        value = np.unpackbits(following[0], axis=1, count=self.waves.cycles)
        last = np.maximum.accumulate(np.where(taken, np.arange(self.waves.cycles), -1), axis=1)
        held = np.take_along_axis(value, np.maximum(last, 0), axis=1) * (last >= 0)
        return np.packbits(np.pad(held[:, :-1], ((0, 0), (1, 0))), axis=1)
