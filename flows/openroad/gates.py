"""The netlist of cells as Verilog that a simulator runs."""

import re
from dataclasses import dataclass
from pathlib import Path

from flows.openroad.cell_models import FlipFlop, cell_models, flip_flops
from flows.openroad.macros import MODULE
from flows.openroad.netlist import INSTANCE, PIN, module_bodies
from flows.openroad.steps import Step, run_yosys

# Without hierarchy, and bit by bit: Icarus evaluates a port that cells drive in parts anew for each of its bits.
FLAT = """\
read_liberty -lib -ignore_miss_func {liberty}
read_verilog -sv -lib memories.v
read_verilog -sv {netlist}
hierarchy -check -top {top}
flatten
splitnets
opt_clean
write_verilog -noattr -noexpr -nohex -nodec flat.v
"""
BANK_BITS = 32  # flip-flops that Icarus has as one register: a tenth of the time of each by itself
_WORD = re.compile(r"(?<!')\b[A-Za-z_]\w*")


@dataclass(frozen=True, kw_only=True)
class Gates(Step):
    """`gates.v`: module `top` of `netlist` without hierarchy, models of its cells, and the memories as in `rtl`."""

    netlist: Path
    rtl: Path
    liberty: Path
    top: str

    def run(self, folder: Path) -> dict:
        memories = "".join(text for text in module_bodies(self.rtl.read_text()).values() if MODULE.match(text))
        (folder / "memories.v").write_text(memories)
        run_yosys(FLAT.format(liberty=self.liberty, netlist=self.netlist, top=self.top), folder)
        flat, liberty = folder / "flat.v", self.liberty.read_text()
        text, registers = banked(flat.read_text(), flip_flops(liberty, self.liberty.name))
        models = cell_models(liberty, self.liberty.name)
        (folder / "gates.v").write_text("\n".join([text, memories, models]))
        flat.unlink()
        return {"cells": registers + len(INSTANCE.findall(text)), "flip_flops": registers}


def gates_step(*, netlist: Path, rtl: Path, liberty: Path, top: str) -> Gates:
    """The step with its inputs and outputs declared."""
    return Gates(name="gates", inputs=(netlist, rtl, liberty), outputs=("gates.v",), config={"top": top},
                 netlist=netlist, rtl=rtl, liberty=liberty, top=top)


def banked(flat: str, kinds: dict[str, FlipFlop]) -> tuple[str, int]:
    """A flat module with its flip-flops, those of one clock together, as registers that begin random; their number."""
    clocks = {}

    def taken(match):
        if (kind := kinds.get(match[1])) is None:
            return match[0]
        nets = dict(PIN.findall(match[3]))
        clocks.setdefault(with_names(kind.clock, nets), []).append((kind, nets))
        return ""

    rest = INSTANCE.sub(taken, flat)
    banks = [(clock, found[n:n + BANK_BITS]) for clock, found in clocks.items()
             for n in range(0, len(found), BANK_BITS)]
    lines = [line for n, (clock, bits) in enumerate(banks) for line in _bank(f"flip_flops_{n}", clock, bits)]
    return rest.replace("endmodule", "\n".join([*lines, "endmodule"])), sum(map(len, clocks.values()))


def _bank(name, clock, bits):
    following = []
    for n, (kind, nets) in enumerate(bits):
        names = nets | {kind.state: f"{name}[{n}]", kind.inverse: f"~{name}[{n}]"}
        following.insert(0, with_names(kind.following, names))
        yield from (f"  assign {nets[pin]} = {with_names(function, names)};"
                    for pin, function in kind.outputs.items() if nets.get(pin))
    yield f"  reg [{len(bits) - 1}:0] {name}; initial {name} = $random;"
    yield f"  wire [{len(bits) - 1}:0] {name}_next = {{{', '.join(following)}}};"
    yield f"  always @(posedge {clock}) {name} <= {name}_next;"


def with_names(expression, names):
    """An expression of pins with other names in place of them."""
    return _WORD.sub(lambda match: f"({names[match[0]]})", expression)
