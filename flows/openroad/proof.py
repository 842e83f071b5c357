"""Proof that a module's netlist is the Verilog that it was made from, for every state and input.

Synthesis keeps the names of registers and of the modules below. Both sides are cut there: a register's bit and what a
module below gives become inputs, a register's next bit and what a module below gets become outputs. Two combinational
functions of the same inputs are left, which ABC compares (`cec`: simulation, SAT sweeping).
"""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from dna_asic.errors import ToolError, VerificationError
from flows.openroad.cell_models import cell_models, flip_flops
from flows.openroad.gates import with_names
from flows.openroad.modules import units
from flows.openroad.netlist import INSTANCE, PIN, module_bodies
from flows.openroad.steps import run_tool, run_yosys

SCRIPT = """\
read_verilog -sv {side}.v
hierarchy -top {top}
proc
memory
{cut}
flatten
expose -evert c:*
{lower}
opt_expr
techmap
simplemap
aigmap
rename -hide w:* x:* %d
opt_clean
write_blif {side}.blif
"""
CUT = "expose -evert-dff t:$dff"
LOWER, AS_SYNTHESISED = "alumacc\nmaccmap -unmap", "synth -booth -noabc -top {top}"
CONFLICTS, SECONDS = 1_000_000, 600  # after which ABC gives up
CLOCK = "clk"  # 1 in the cut, where it says that the step is taken; a gated clock says whether
_FAILED = re.compile(r"^Output (\S+): Value in Network1 = (\d)", re.MULTILINE)


@dataclass(frozen=True)
class Proof:
    """Of a module: bits of registers, and all bits that were proven equal."""

    registers: int
    outputs: int


def prove(verilog: str, netlist: str, top: str, liberty: Path, folder: Path, alike: bool = False) -> Proof:
    """Prove module `top` of `netlist`, working in `folder`; modules below it are proven by themselves.

    alike: lower the Verilog to gates as synthesis does, Booth's multipliers included, which the proof then cannot
    doubt; two unlike multipliers of more than some 8 bits cannot be compared. Raises VerificationError with a bit that
    differs, ToolError where the two have no common cut, or no proof is found.
    """
    folder.mkdir(parents=True, exist_ok=True)
    unit, library = units(verilog, top)[top], liberty.read_text()
    gold = unit.restored(unit.text)
    boxes = gold[gold.index("(* blackbox *)"):] if unit.children else ""
    text, registers = _cut(_module(netlist, top), flip_flops(library, liberty.name))
    (folder / "gold.v").write_text(gold)
    (folder / "gate.v").write_text("\n".join([text, boxes, cell_models(library, liberty.name, proof=True)]))
    name = f"\\{top}"
    run_yosys(SCRIPT.format(side="gold", top=name, cut=CUT,
                            lower=AS_SYNTHESISED.format(top=name) if alike else LOWER), folder)
    run_yosys(SCRIPT.format(side="gate", top=name, cut="", lower=""), folder)
    sides = {side: _Blif((folder / f"{side}.blif").read_text()) for side in ("gold", "gate")}
    outputs = sides["gate"].outputs
    if lost := outputs - sides["gold"].outputs:
        raise ToolError(f"Proof of '{top}': the netlist has {len(lost)} registers or ports that the Verilog does not "
                        f"have, such as {min(lost)}; synthesis must keep their names.")
    sides["gold"].join_registers(sides["gate"].inputs)
    inputs = sides["gold"].inputs | sides["gate"].inputs
    for side, blif in sides.items():
        (folder / f"{side}.blif").write_text(blif.with_ports(inputs, outputs))
    abc = Path(importlib.util.find_spec("pyosys").origin).with_name("yosys-abc")
    log = run_tool([str(abc), "-c", f"cec -T {SECONDS} -C {CONFLICTS} gold.blif gate.blif"], folder / "abc.log")
    if failed := _FAILED.search(log):
        raise VerificationError(f"Netlist of '{top}' differs from its Verilog: {failed[1]} can be {1 - int(failed[2])} "
                                f"where the Verilog has {failed[2]}.")
    if "Networks are equivalent" not in log:
        raise ToolError(f"Proof of '{top}': ABC found none; see {folder / 'abc.log'}: {log.strip().splitlines()[-1]}")
    return Proof(registers, len(outputs))


def _module(netlist, top):
    if (found := module_bodies(netlist).get(top)) is None:
        raise ToolError(f"Proof of '{top}': the netlist has no such module.")
    return found


def _cut(module, kinds):
    """The module with its flip-flops as ports <name>.q and <name>.d, as `expose` has them; their number."""
    lines = []

    def taken(match):
        if (kind := kinds.get(match[1])) is None:
            return match[0]
        nets = dict(PIN.findall(match[3]))
        pin = next(pin for pin, function in kind.outputs.items() if function == kind.state)
        name = nets[pin].strip().removeprefix("\\").replace(" ", "")
        base, bit = re.fullmatch(r"(.*?)((?:\[\d+\])?)", name).groups()
        q, d = (f"\\{base}.{end}{bit} " for end in "qd")
        names = nets | {kind.state: q, kind.inverse: f"~{q}"}
        lines.append(f"  input {q}; output {d}; assign {d} = {with_names(kind.clock, names)} ? "
                     f"{with_names(kind.following, names)} : {q};")
        lines.extend(f"  assign {nets[out]} = {with_names(function, names)};"
                     for out, function in kind.outputs.items() if nets.get(out))
        ports.extend((q, d))
        return ""

    ports = []
    body = INSTANCE.sub(taken, module)
    head, _, rest = body.partition(");")
    text = f"{head}{''.join(f', {port}' for port in ports)});{rest}"
    return text.replace("endmodule", "\n".join([*lines, "endmodule"])), len(ports) // 2


class _Blif:
    """A network: its text with the lists of ports apart."""

    def __init__(self, text):
        self.text = text.replace("\\\n", " ")
        self.inputs, self.outputs = (set(re.search(rf"^\.{way}(.*)$", self.text, re.MULTILINE)[1].split())
                                     for way in ("inputs", "outputs"))

    def join_registers(self, others):
        """Of registers with one and the same next bit only those stay inputs that are among `others`."""
        source = {to: at for at, to in re.findall(r"^\.names (\S+) (\S+)\n1 1$", self.text, re.MULTILINE)}
        groups = {}
        for name in sorted(self.inputs):
            following = re.sub(r"\.q((?:\[\d+\])?)$", r".d\1", name)
            if following in self.outputs:
                while following in source:
                    following = source[following]
                groups.setdefault(following, []).append(name)
        for names in groups.values():
            kept = [name for name in names if name in others] or names[:1]
            for name in set(names) - set(kept):
                self.inputs.remove(name)
                self.text = self.text.replace("\n.end", f"\n.names {kept[0]} {name}\n1 1\n.end")

    def with_ports(self, inputs, outputs):
        """The text with these lists, in the step of the clock."""
        if CLOCK in inputs:
            self.text = self.text.replace("\n.names ", f"\n.names {CLOCK}\n1\n.names ", 1)
        inputs = inputs - {CLOCK}
        for way, names in (("inputs", inputs), ("outputs", outputs)):
            self.text = re.sub(rf"^\.{way}.*$", lambda _: f".{way} {' '.join(sorted(names))}", self.text,  # noqa: B023
                               flags=re.MULTILINE)
        return self.text
