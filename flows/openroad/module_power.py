"""Power of each distinct module on its own: no chip is too large for it, and modules that chips share are cached.

A module is loaded with what its own cells put on its nets; the pins that it puts on the nets of its ports are charged
to it too, so the sum over all instances has every pin once, as a run on the whole chip has. What differs are slews at
the borders of modules.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from flows.openroad.netlist import module_bodies
from flows.openroad.platforms import Platform
from flows.openroad.steps import Step, require_program, run_tool
from flows.openroad.timing import POWER_SCRIPT, power_rows

SCRIPT = """\
read_liberty {liberty}
read_verilog wrapped.v
link_design wrapped
create_clock -name clk -period {period} [get_ports clk]
{power}"""
_PORT = re.compile(r"^\s*(input|output) (?:\[(\d+):(\d+)\] )?(\\\S+ |\w+) ?;", re.MULTILINE)
_HEAD = re.compile(r"module (?:\\\S+|\w+)\s*")


@dataclass(frozen=True, kw_only=True)
class ModulePower(Step):
    """Power of one instance of every module of `netlist`, children apart.

    Metrics: {module: [mW with all pins still, mW per toggle per cycle of all pins, of the still part leakage mW]}.
    cache: folder of results, for all runs.
    """

    netlist: Path
    liberty: Path
    platform: Platform
    clk_period_ns: float
    cache: Path
    progress: Callable[[str], None] = field(compare=False)

    def run(self, folder: Path) -> dict:
        sta = require_program("sta", "apt-get install opensta")
        script = SCRIPT.format(liberty=self.liberty, power=POWER_SCRIPT, period=self.clk_period_ns)
        common = hashlib.sha256(script.replace(str(self.liberty), "").encode() + self.liberty.read_bytes()).hexdigest()
        texts = module_bodies(self.netlist.read_text())
        paths = {name: self.cache / f"power-{hashlib.sha256((common + text).encode()).hexdigest()}.json"
                 for name, text in texts.items()}
        new = [name for name, path in paths.items() if not path.is_file()]
        self.progress(f"  {len(paths) - len(new)} of {len(paths)} modules were measured before")
        if new:
            (folder / "wrapped.v").write_text(wrapped([texts[name] for name in new], self.platform))
            (folder / "sta.tcl").write_text(script)
            rows = power_rows(run_tool([sta, "-no_splash", "-exit", "sta.tcl"], folder / "sta.log"))
            self.cache.mkdir(parents=True, exist_ok=True)
            for n, name in enumerate(new):
                self._keep(paths[name], _figures(rows, n))
        return {name: json.loads(path.read_text()) for name, path in paths.items()}

    def _keep(self, path, figures):
        with tempfile.NamedTemporaryFile("w", dir=self.cache, delete=False) as scratch:
            json.dump(figures, scratch)
        os.replace(scratch.name, path)


def _figures(rows, n):
    """Of module n of `wrapped`; what the drivers' nets switch are its pins."""
    nothing = ((0.0, 0.0), (0.0, 0.0, 0.0))
    still, busy = rows.get(f"w{n}/u", nothing)
    pins = rows.get(f"w{n}", nothing)[1][1]
    return [1e3 * (sum(still) + busy[2]), 1e3 * (sum(busy[:2]) - sum(still) + pins), 1e3 * busy[2]]


def module_power_step(*, netlist: Path, liberty: Path, platform: Platform, clk_period_ns: float, cache: Path,
                      progress: Callable[[str], None] = lambda line: None) -> ModulePower:
    """The step with its inputs and outputs declared."""
    return ModulePower(name="module_power", inputs=(netlist, liberty), outputs=(), netlist=netlist, liberty=liberty,
                       platform=platform, clk_period_ns=clk_period_ns, cache=cache, progress=progress,
                       config={"clk_period_ns": clk_period_ns})


def wrapped(modules: list[str], platform: Platform) -> str:
    """Module `wrapped` with `w0`, `w1`, ...: in each, as `u`, one of the modules with a driver at every input but the
    clock. Modules inside them are left out: tools take them for black boxes.
    """
    texts = [_wrapper(n, text, platform) + _HEAD.sub(f"module m{n} ", text, count=1) for n, text in enumerate(modules)]
    inside = [f"  w{n} w{n} (.clk(clk));" for n in range(len(modules))]
    return "\n".join(["module wrapped (clk);", "  input clk;", *inside, "endmodule", *texts])


def _wrapper(n, module, platform):
    _, output, pin = platform.buffer
    lines, joins = [], []
    for k, (kind, name, bits) in enumerate((kind, name.strip(), int(high or 0) + 1)
                                           for kind, high, _, name in _PORT.findall(module)):
        if name == "clk":
            joins.append(".clk(clk)")
            continue
        lines.append(f"  wire [{bits - 1}:0] n{k};")
        if kind == "input":
            lines += [f"  {platform.driver} d{k}_{i} (.{output}(n{k}[{i}]));" for i in range(bits)]
        joins.append(f".{name} (n{k})")
    head = [f"module w{n} (clk);", "  input clk;"]
    return "\n".join([*head, *lines, f"  m{n} u ({', '.join(joins)});", "endmodule", ""])
