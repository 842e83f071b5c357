"""Memory macros: what the modules `sram_<words>x<bits>` cost, and their Liberty and LEF abstracts.

Area, energy and access time are the technology file's formulas (`dna_asic/technology/sram.py`); nothing else is known
of such a macro, and the abstracts say so in their first line.
"""

import dataclasses
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dna_asic.technology import Technology
from dna_asic.technology.scaling import area_factor, delay_factor
from flows.openroad.layout import Layout

MODULE = re.compile(r"^\s*module\s+\\?(sram_(\d+)x(\d+))\b", re.MULTILINE)
ASPECT = 1.0  # height over width of an abstract, as far as its pins fit along the height
STRIPE_PITCH = 16  # of the supplies, in pin tracks
HEADER = "Predictive memory abstract of dna-asic: area and access time by formula from {source}; not a compiler's macro"


@dataclass(frozen=True, kw_only=True)
class Macro:
    """One memory shape with one write and one read port: per-access energy, area, access time and leakage."""

    name: str
    words: int
    bits: int
    area_um2: float
    read_pj: float
    write_pj: float
    access_ns: float
    leakage_mw: float

    @property
    def ports(self) -> tuple[tuple[str, str, int], ...]:
        """See `macro_ports`."""
        return macro_ports(self.words, self.bits)

    @property
    def pins(self) -> list[tuple[str, str]]:
        """(name, direction) bit by bit."""
        return [(f"{name}[{i}]" if bits else name, direction)
                for name, direction, bits in self.ports for i in range(max(1, bits))]


def macro_ports(words: int, bits: int) -> tuple[tuple[str, str, int], ...]:
    """(name, direction, bits) as `rtl_gen.buffer.Sram` has them; 0 bits: no bus."""
    address = max(1, (words - 1).bit_length())
    return (("clk", "input", 0), ("rst", "input", 0), ("write_en", "input", 0), ("read_en", "input", 0),
            ("write_address", "input", address), ("read_address", "input", address),
            ("write_data", "input", bits), ("read_data", "output", bits))


def macro_of(technology: Technology, words: int, bits: int) -> Macro:
    """A memory as the technology file prices it."""
    area = technology.sram_area_um2(words, bits)
    return Macro(name=f"sram_{words}x{bits}", words=words, bits=bits, area_um2=area,
                 read_pj=technology.sram_read_pj(words, bits), write_pj=technology.sram_write_pj(words, bits),
                 access_ns=technology.sram_access_ns(words, bits), leakage_mw=technology.leakage_mw(area))


def at_node(macro: Macro, from_nm: int, to_nm: int) -> Macro:
    """The macro with area and access time carried to another node: of the library among whose cells it stands."""
    return dataclasses.replace(macro, area_um2=macro.area_um2 * area_factor(from_nm, to_nm),
                               access_ns=macro.access_ns * delay_factor(from_nm, to_nm))


def macro_shapes(verilog: str) -> list[tuple[str, int, int]]:
    """(name, words, bits) of every memory module in a Verilog text, sorted."""
    return sorted({(m[1], int(m[2]), int(m[3])) for m in MODULE.finditer(verilog)})


def liberty_stub(macro: Macro, supply_v: float, setup_ns: float) -> str:
    """A Liberty file of `macro`: area and access time are its; no power in it, as macros are charged per access."""
    types = {f"bits{bits}": bits for _, _, bits in macro.ports if bits}
    ports = "".join(_liberty_port(name, direction, bits, macro.access_ns, setup_ns)
                    for name, direction, bits in macro.ports)
    return _TEMPLATE.format(
        header=HEADER.format(source="the technology file"), name=macro.name, volts=supply_v, area=macro.area_um2,
        ports=ports, types="".join(_TYPE.format(kind=kind, bits=bits, top=bits - 1) for kind, bits in types.items()))


def write_stubs(macros: tuple[Macro, ...], supply_v: float, setup_ns: float, folder: Path) -> list[Path]:
    """Write one Liberty file per macro; return the paths."""
    return [_written(folder / f"{m.name}.lib", liberty_stub(m, supply_v, setup_ns)) for m in macros]


def write_lefs(macros: tuple[Macro, ...], layout: Layout, folder: Path) -> list[Path]:
    """Write one LEF file per macro; return the paths."""
    return [_written(folder / f"{m.name}.lef", lef_abstract(m, layout)) for m in macros]


def _written(path, text):
    path.write_text(text)
    return path


def macro_size_um(macro: Macro, layout: Layout) -> tuple[float, float]:
    """(width, height): whole sites and rows, as square as the pins on both sides allow, no smaller than the area."""
    site, row = layout.site_um
    tall = max(math.sqrt(ASPECT * macro.area_um2), layout.pin_pitch_um * (len(macro.pins) + 4))
    rows = max(1, round(tall / row + 0.49))
    return math.ceil(macro.area_um2 / (rows * row) / site) * site, rows * row


def lef_abstract(macro: Macro, layout: Layout) -> str:
    """The LEF: inputs on the left edge and outputs on the right, on tracks; supply stripes; layers below blocked."""
    width, height = macro_size_um(macro, layout)
    inputs = [pin for pin in macro.pins if pin[1] == "input"]
    outputs = [pin for pin in macro.pins if pin[1] == "output"]
    pins = [*_edge(inputs, 0.0, height, layout), *_edge(outputs, width - layout.pin_um, height, layout)]
    um = lambda value: f"{round(value / layout.grid_um) * layout.grid_um:.4f}"  # noqa: E731
    return "\n".join((
        f"# {HEADER.format(source='the technology file')}", "VERSION 5.8 ;", 'BUSBITCHARS "[]" ;', 'DIVIDERCHAR "/" ;',
        f"MACRO {macro.name}", "  CLASS BLOCK ;", "  ORIGIN 0 0 ;", f"  FOREIGN {macro.name} 0 0 ;",
        f"  SIZE {um(width)} BY {um(height)} ;", "  SYMMETRY X Y R90 ;",
        *(_lef_pin(name, way, "SIGNAL", layout.pin_layer, [tuple(map(um, rect))]) for name, way, rect in pins),
        *_supplies(width, height, layout, um), "  OBS",
        *(f"    LAYER {layer} ;\n      RECT 0 0 {um(width)} {um(height)} ;" for layer in layout.blocked), "  END",
        f"END {macro.name}", "END LIBRARY", ""))


def _edge(pins, x, height, layout) -> Iterator[tuple[str, str, tuple[float, ...]]]:
    """(name, direction, rectangle) of each pin: spread over the height, on tracks."""
    tracks = int(height / layout.pin_pitch_um) - 2
    for i, (name, direction) in enumerate(pins):
        y = (2 + i * (tracks // max(1, len(pins)))) * layout.pin_pitch_um
        yield name, direction, (x, y - layout.pin_um / 2, x + layout.pin_um, y + layout.pin_um / 2)


def _supplies(width, height, layout, um):
    """VDD and VSS as vertical stripes, in turn."""
    pitch = STRIPE_PITCH * layout.pin_pitch_um
    middles = [pitch * (i + 1) for i in range(max(2, int(width / pitch) - 1))]
    middles = middles if middles[1] + layout.power_um < width else [width / 3, 2 * width / 3]
    for name, use, mine in (("VDD", "POWER", middles[0::2]), ("VSS", "GROUND", middles[1::2])):
        half = layout.power_um / 2
        rects = [tuple(map(um, (x - half, layout.pin_pitch_um, x + half, height - layout.pin_pitch_um))) for x in mine]
        yield _lef_pin(name, "inout", use, layout.power_layer, rects)


def _lef_pin(name, direction, use, layer, rects):
    shapes = "".join(f"        RECT {' '.join(rect)} ;\n" for rect in rects)
    return (f"  PIN {name}\n    DIRECTION {direction.upper()} ;\n    USE {use} ;\n    PORT\n      LAYER {layer} ;\n"
            f"{shapes}    END\n  END {name}")


def _liberty_port(name, direction, bits, access_ns, setup_ns):
    group = f"bus ({name}) {{ bus_type : bits{bits};" if bits else f"pin ({name}) {{"
    if direction == "output":
        return f"    {group} direction : output;\n{_ACCESS.format(access=access_ns)}    }}\n"
    if name == "clk":
        return f"    {group} direction : input; clock : true; capacitance : 5; }}\n"
    checks = "".join(_CHECK.format(check=check, ns=setup_ns) for check in ("setup_rising", "hold_rising"))
    return f"    {group} direction : input; capacitance : 2;\n{checks if name != 'rst' else ''}    }}\n"


_TYPE = """  type ({kind}) {{ base_type : array; data_type : bit; bit_width : {bits}; bit_from : {top}; bit_to : 0;
    downto : true; }}
"""
_CHECK = """      timing () {{ related_pin : "clk"; timing_type : {check};
        rise_constraint(scalar) {{ values ("{ns}"); }} fall_constraint(scalar) {{ values ("{ns}"); }} }}
"""
_ACCESS = """      timing () {{ related_pin : "clk"; timing_type : rising_edge; timing_sense : non_unate;
        cell_rise(scalar) {{ values ("{access}"); }} cell_fall(scalar) {{ values ("{access}"); }}
        rise_transition(scalar) {{ values ("0.05"); }} fall_transition(scalar) {{ values ("0.05"); }} }}
"""
_TEMPLATE = """/* {header} */
library ({name}) {{
  technology (cmos);
  delay_model : table_lookup;
  time_unit : "1ns"; voltage_unit : "1V"; current_unit : "1mA"; leakage_power_unit : "1nW";
  pulling_resistance_unit : "1kohm"; capacitive_load_unit (1,ff);
  nom_process : 1; nom_temperature : 25; nom_voltage : {volts};
  slew_lower_threshold_pct_fall : 30; slew_upper_threshold_pct_fall : 70;
  slew_lower_threshold_pct_rise : 30; slew_upper_threshold_pct_rise : 70;
  input_threshold_pct_fall : 50; input_threshold_pct_rise : 50;
  output_threshold_pct_fall : 50; output_threshold_pct_rise : 50; slew_derate_from_library : 1;
  default_cell_leakage_power : 0; default_fanout_load : 1;
  default_inout_pin_cap : 0; default_input_pin_cap : 0; default_output_pin_cap : 0;
{types}  cell ({name}) {{
    area : {area}; interface_timing : true; is_macro_cell : true;
{ports}  }}
}}
"""
