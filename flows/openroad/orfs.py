"""Configurations for OpenROAD-flow-scripts: `<platform>/config.mk` filled in for a run, with all that it names.

That flow synthesises by itself, so it gets the Verilog without the memories' bodies, and their abstracts at the node of
the platform.
"""

import re
from pathlib import Path

from flows.openroad.constraints import constraints
from flows.openroad.floorplan import UTILISATION
from flows.openroad.layout import LAYOUTS, Layout, layout_technology
from flows.openroad.macros import macro_of, macro_shapes, write_lefs, write_stubs

TEMPLATES = Path(__file__).parent
DRIVERS = {"nangate45": "BUF_X4", "sky130hd": "sky130_fd_sc_hd__buf_4", "asap7": "BUFx4_ASAP7_75t_R"}
TIME_UNIT_PER_NS = {"nangate45": 1.0, "sky130hd": 1.0, "asap7": 1000.0}  # of the platforms' Liberty files
SETUP_NS = {"nangate45": 0.05, "sky130hd": 0.15, "asap7": 0.01}


def write_orfs(*, verilog: str, top: str, nickname: str, clk_period_ns: float, out: Path) -> list[Path]:
    """One folder per platform below `out`; returns the config.mk files. The clock is the run's on every platform."""
    return [_write_platform(platform, layout, verilog, top, nickname, clk_period_ns, out / platform)
            for platform, layout in LAYOUTS.items()]


def without_memories(verilog: str) -> str:
    """The text without the modules of memories: their abstracts stand for them."""
    memory = r"^\s*module\s+\\?sram_\d+x\d+\b.*?^\s*endmodule[^\n]*\n"
    return re.sub(memory, "", verilog, flags=re.DOTALL | re.MULTILINE)


def _write_platform(platform: str, layout: Layout, verilog: str, top: str, nickname: str, clk_period_ns: float,
                    folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    technology = layout_technology(layout)
    macros = tuple(macro_of(technology, words, bits) for _, words, bits in macro_shapes(verilog))
    lefs = write_lefs(macros, layout, folder)
    libs = write_stubs(macros, technology["supply_v"], SETUP_NS[platform], folder)
    (folder / "chip.v").write_text(without_memories(verilog))
    (folder / "constraint.sdc").write_text(
        constraints(clk_period_ns * TIME_UNIT_PER_NS[platform], DRIVERS[platform]))
    fields = {"TOP": top, "NICKNAME": nickname, "FOLDER": folder, "LEFS": _joined(lefs), "LIBS": _joined(libs),
              "UTILIZATION": round(100 * UTILISATION)}
    text = (TEMPLATES / platform / "config.mk").read_text()
    config = folder / "config.mk"
    config.write_text(re.sub(r"@([A-Z]+)@", lambda match: str(fields[match[1]]), text))
    return config


def _joined(paths):
    return " \\\n    ".join(map(str, paths))

