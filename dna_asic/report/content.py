"""What the page of a run shows, as plain records: page.py draws it, report/report.json holds it."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where figures are from: a file of the run, and what made it. Without a record of its making the rest is None.

    made: UTC. commit: of the sources, with "+changes" where files differed from it. versions: of tools by name.
    """

    file: str
    command: str | None = None
    version: str | None = None
    commit: str | None = None
    seed: int | None = None
    made: str | None = None
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A section without data: what it would show, and the command that makes them."""

    what: str
    command: str


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A headline: value in `unit`, and the file that says so."""

    name: str
    value: float
    unit: str
    file: str


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A design of the comparison. accuracy: of its network in int8, a share; None where it is not known."""

    name: str
    figures_are: str
    accuracy: float | None
    cycles: float
    energy_j: float
    area_mm2: float
    edp_js: float


@dataclass(frozen=True, kw_only=True)
class Published:
    """A row as published; energy x cycles over that of the paper's own flow for the same workload."""

    name: str
    accuracy_pct: float
    edp_ratio: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Rivals by one model; and rows of others, apart, with the source and what their mark means."""

    rivals: tuple[Rival, ...]
    published: tuple[Published, ...]
    source: str
    mark: str
    failures: tuple[str, ...]
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class Course:
    """The search epoch by epoch: the records of history.json."""

    epochs: tuple[dict, ...]
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class Loop:
    """One loop of a nest: level (dram, gb, row, col, rf), dim, iterations, operands whose tile changes with it."""

    level: str
    dim: str
    count: int
    moves: str


@dataclass(frozen=True, kw_only=True)
class Buffer:
    """What a layer's tile takes of a memory, one half: level (gb in bytes, rf in words a PE), operand."""

    level: str
    operand: str
    used: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer on the chip. loops: outermost first. utilisation: useful MACs per PE of its chunk and cycle.

    cycles_by_cause sums to cycles; energy_pj: level -> operand ("" where it belongs to none) -> pJ. simulated_cycles:
    of the Verilog, None before a simulation. reads: the tensors that it reads, the residual last.
    """

    name: str
    kind: str
    shape: str
    output: str
    reads: tuple[str, ...]
    chunk: int
    macs: int
    cycles: int
    simulated_cycles: float | None
    utilisation: float
    cycles_by_cause: dict[str, int]
    energy_pj: dict[str, dict[str, float]]
    loops: tuple[Loop, ...]
    buffers: tuple[Buffer, ...]


@dataclass(frozen=True, kw_only=True)
class Network:
    """The network and its layers on the chip."""

    name: str
    input: str
    layers: tuple[Layer, ...]
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class Block:
    """A part of the chip and its area. grid: rows and columns of PEs in it, if it is the array."""

    name: str
    kind: str
    area_um2: float
    grid: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Blocks of one chunk, and what it is in words."""

    name: str
    about: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True)
class Chip:
    """The chip as somebody sees it: the cost model, or synthesis."""

    title: str
    chunks: tuple[Chunk, ...]
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """Verdict of the simulation."""

    simulator: str
    images: int
    layers: int
    bytes: int
    mismatches: int
    cycles_model: float
    cycles_rtl: float
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """Of synthesis: rows (quantity, unit, synthesis, from, cost model, ratio), and what to know before believing them.

    pictures: (title, PNG file of the run) of layouts.
    """

    library: str
    notes: tuple[str, ...]
    facts: tuple[tuple[str, float, str], ...]
    power_mw: dict[str, float]
    pictures: tuple[tuple[str, str], ...]
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class Page:
    """All of it; sections without data are Missing."""

    run: str
    title: str
    figures: tuple[Figure, ...]
    comparison: Comparison | Missing
    course: Course | Missing
    network: Network
    chip: Chip
    silicon: Chip | Missing
    simulation: Simulation | Missing
    synthesis: Synthesis | Missing
    origins: tuple[Origin, ...]
    notes: tuple[str, ...] = ()
