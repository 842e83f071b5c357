"""The cells of the predictive library as CMOS topologies: nothing here has a physical unit.

All transistors of a stage have one width, as in a cell of fixed height; a stage of size 0.5 has half of it.
"""

from dataclasses import dataclass, field

DRIVES = (1, 2, 4)
SMALL = 0.5  # size of the stages before the last one: as kits draw them, so that the output stage decides the drive


@dataclass(frozen=True)
class Stage:
    """One complementary gate: transistors in series to the supply (up) and to ground (down), and its inputs.

    load: input units that it drives inside the cell beside the next stage.
    """

    up: int
    down: int
    inputs: int
    size: float = 1.0
    load: float = 0.0


@dataclass(frozen=True)
class Output:
    """An output pin: its function, the stages from the slowest input to it, and the sense of the arcs."""

    function: str
    path: tuple[Stage, ...]
    sense: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell at drive 1.

    inputs: input units of each pin. blocks: (transistor pairs, size) of the stages; the last is the output's, and all
    grow with the drive. breaks: gaps in the diffusion. drives: strengths that exist.
    """

    name: str
    inputs: dict[str, float]
    outputs: dict[str, Output]
    blocks: tuple[tuple[int, float], ...]
    breaks: int = 1
    drives: tuple[int, ...] = DRIVES
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Register(Cell):
    """A flip-flop or a clock gate with the clock CK.

    next_state: of a flip-flop. clock: the stages that the clock toggles each cycle; setup: the stages between data and
    the first latch; enable: a clock gate's data pin.
    """

    clock: tuple[Stage, ...]
    setup: tuple[Stage, ...]
    next_state: str = ""
    fixed: tuple[str, ...] = field(default=("D", "E", "CK"))


def _inverter(size=1.0, load=0.0):
    return Stage(1, 1, 1, size, load)


def _single(name, inputs, function, up, down, drives=DRIVES):
    """An inverting gate of one stage."""
    return Cell(name=name, inputs=dict.fromkeys(inputs, 1.0), blocks=((len(inputs), 1.0),), drives=drives,
                outputs={"ZN": Output(function, (Stage(up, down, len(inputs)),), "negative_unate")})


def _buffered(name, inputs, function, up, down):
    """A small inverting gate with an inverter behind it."""
    first = Stage(up, down, len(inputs), SMALL)
    return Cell(name=name, inputs=dict.fromkeys(inputs, SMALL), blocks=((len(inputs), SMALL), (1, 1.0)),
                outputs={"Z": Output(function, (first, _inverter()), "positive_unate")})


def _exclusive(name, function, first, last):
    return Cell(name=name, inputs={"A": 1.0 + SMALL, "B": 1.0 + SMALL}, blocks=((2, SMALL), (3, 1.0)),
                outputs={"Z": Output(function, (first, last), "non_unate")}, drives=(1, 2))


_NAND2, _NOR2 = Stage(1, 2, 2, SMALL), Stage(2, 1, 2, SMALL)
_TRISTATE = Stage(2, 2, 1, SMALL, SMALL)  # a clocked inverter and the keeper at its output
_MUX = Stage(2, 2, 4, SMALL)
_CARRY = Stage(2, 2, 5, SMALL, 2 * SMALL)
_SUM = Stage(3, 3, 7, SMALL)
_CLOCKING = (_inverter(SMALL, 2 * SMALL), _inverter(SMALL, 3 * SMALL))
_CLOCK_TO_Q = (*_CLOCKING, _TRISTATE, _inverter(SMALL, SMALL), _inverter())
_TO_LATCH = (_TRISTATE, _inverter(SMALL, SMALL))


def _series(inputs, operator):
    return f" {operator} ".join(inputs)


def _gates():
    for n in (2, 3, 4):
        pins = [f"A{i}" for i in range(1, n + 1)]
        yield _single(f"NAND{n}", pins, f"!({_series(pins, '&')})", 1, n)
        yield _single(f"NOR{n}", pins, f"!({_series(pins, '|')})", n, 1)
        yield _buffered(f"AND{n}", pins, f"({_series(pins, '&')})", 1, n)
        yield _buffered(f"OR{n}", pins, f"({_series(pins, '|')})", n, 1)
    yield _single("AOI21", ["A", "B1", "B2"], "!(A | (B1 & B2))", 2, 2)
    yield _single("OAI21", ["A", "B1", "B2"], "!(A & (B1 | B2))", 2, 2)
    yield _single("AOI22", ["A1", "A2", "B1", "B2"], "!((A1 & A2) | (B1 & B2))", 2, 2)
    yield _single("OAI22", ["A1", "A2", "B1", "B2"], "!((A1 | A2) & (B1 | B2))", 2, 2)
    yield _single("AOI211", ["A", "B", "C1", "C2"], "!(A | B | (C1 & C2))", 3, 2)
    yield _single("OAI211", ["A", "B", "C1", "C2"], "!(A & B & (C1 | C2))", 2, 3)


COMBINATIONAL = (
    _single("INV", ["A"], "!A", 1, 1, drives=(1, 2, 4, 8, 16)),
    Cell(name="BUF", inputs={"A": SMALL}, blocks=((1, SMALL), (1, 1.0)), drives=(1, 2, 4, 8, 16),
         outputs={"Z": Output("A", (_inverter(SMALL), _inverter()), "positive_unate")}),
    *_gates(),
    _exclusive("XOR2", "(A ^ B)", _NOR2, Stage(2, 2, 3)),
    _exclusive("XNOR2", "!(A ^ B)", _NAND2, Stage(2, 2, 3)),
    Cell(name="MUX2", inputs={"A": SMALL, "B": SMALL, "S": 2 * SMALL}, blocks=((5, SMALL), (1, 1.0)), drives=(1, 2),
         outputs={"Z": Output("((A & !S) | (B & S))", (_MUX, _inverter()), "non_unate")}),
    Cell(name="HA", inputs={"A": 1.0 + 2 * SMALL, "B": 1.0 + 2 * SMALL}, blocks=((7, SMALL), (1, 1.0)), breaks=2,
         drives=(1,), description="half adder", outputs={
             "CO": Output("(A & B)", (_NAND2, _inverter()), "positive_unate"),
             "S": Output("(A ^ B)", (_NOR2, Stage(2, 2, 3)), "non_unate")}),
    Cell(name="FA", inputs={"A": 4 * SMALL, "B": 4 * SMALL, "CI": 3 * SMALL}, blocks=((12, SMALL), (2, 1.0)), breaks=2,
         drives=(1,), description="full adder, mirror", outputs={
             "CO": Output("((A & B) | (CI & (A | B)))", (_CARRY, _inverter()), "positive_unate"),
             "S": Output("(A ^ B ^ CI)", (_CARRY, _SUM, _inverter()), "non_unate")}),
)
REGISTERS = (
    Register(name="DFF", inputs={"D": SMALL, "CK": SMALL}, blocks=((13, SMALL), (1, 1.0)), breaks=3, drives=(1, 2),
             next_state="D", clock=_CLOCKING, setup=_TO_LATCH, description="flip-flop",
             outputs={"Q": Output("IQ", _CLOCK_TO_Q, "non_unate")}),
    Register(name="DFFE", inputs={"D": SMALL, "E": 2 * SMALL, "CK": SMALL}, blocks=((18, SMALL), (1, 1.0)), breaks=3,
             drives=(1, 2), next_state="(D & E) | (IQ & !E)", clock=_CLOCKING, setup=(_MUX, *_TO_LATCH),
             description="flip-flop with enable", outputs={"Q": Output("IQ", _CLOCK_TO_Q, "non_unate")}),
)
CLOCK_GATES = (
    Register(name="CLKGATE", inputs={"E": SMALL, "CK": 2 * SMALL}, blocks=((9, SMALL), (1, 1.0)), breaks=3,
             clock=_CLOCKING, setup=_TO_LATCH, description="clock gate, latched on the low clock",
             outputs={"GCK": Output("CK & IQ", (_NAND2, _inverter()), "positive_unate")}),
)
TIES = (
    Cell(name="TIEHI", inputs={}, outputs={"Z": Output("1", (_inverter(),), "none")}, blocks=((1, 1.0),), drives=(1,)),
    Cell(name="TIELO", inputs={}, outputs={"Z": Output("0", (_inverter(),), "none")}, blocks=((1, 1.0),), drives=(1,)),
)
FILLS = (1, 2, 4, 8)  # fill cells in sites: they carry the rails through gaps of a row
