"""Memory macros: what the modules `sram_<words>x<bits>` cost, and Liberty stubs that timing analysis reads."""

import re
from dataclasses import dataclass
from pathlib import Path

from dna_asic.technology import Technology

MODULE = re.compile(r"^\s*module\s+\\?(sram_(\d+)x(\d+))\b", re.MULTILINE)


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


def macro_of(technology: Technology, words: int, bits: int) -> Macro:
    """A memory as the technology file prices it."""
    area = technology.sram_area_um2(words, bits)
    return Macro(name=f"sram_{words}x{bits}", words=words, bits=bits, area_um2=area,
                 read_pj=technology.sram_read_pj(words, bits), write_pj=technology.sram_write_pj(words, bits),
                 access_ns=technology.sram_access_ns(words, bits), leakage_mw=technology.leakage_mw(area))


def macro_shapes(verilog: str) -> list[tuple[str, int, int]]:
    """(name, words, bits) of every memory module in a Verilog text, sorted."""
    return sorted({(m[1], int(m[2]), int(m[3])) for m in MODULE.finditer(verilog)})


def liberty_stub(macro: Macro, supply_v: float, setup_ns: float) -> str:
    """A Liberty file of `macro` with ports as `rtl_gen.buffer.Sram` has them.

    Area and access time are the macro's; no power in it: macros are charged per access.
    """
    address_bits = max(1, (macro.words - 1).bit_length())
    types = {"address": address_bits, "data": macro.bits}
    inputs = [_input(name, setup_ns) for name in ("write_en", "read_en")]
    inputs += [_input(name, setup_ns, kind) for name, kind in
               (("write_address", "address"), ("read_address", "address"), ("write_data", "data"))]
    return _TEMPLATE.format(
        name=macro.name, volts=supply_v, area=macro.area_um2, access=macro.access_ns, inputs="".join(inputs),
        types="".join(_TYPE.format(kind=kind, bits=bits, top=bits - 1) for kind, bits in types.items()))


def write_stubs(macros: tuple[Macro, ...], supply_v: float, setup_ns: float, folder: Path) -> list[Path]:
    """Write one stub per macro; return the paths."""
    paths = []
    for macro in macros:
        path = folder / f"{macro.name}.lib"
        path.write_text(liberty_stub(macro, supply_v, setup_ns))
        paths.append(path)
    return paths


def _input(name, setup_ns, kind=None):
    group, bus = ("bus", f" bus_type : {kind};") if kind else ("pin", "")
    checks = "".join(_CHECK.format(check=check, ns=setup_ns) for check in ("setup_rising", "hold_rising"))
    return f"    {group} ({name}) {{{bus} direction : input; capacitance : 2;\n{checks}    }}\n"


_TYPE = """  type ({kind}) {{ base_type : array; data_type : bit; bit_width : {bits}; bit_from : {top}; bit_to : 0;
    downto : true; }}
"""
_CHECK = """      timing () {{ related_pin : "clk"; timing_type : {check};
        rise_constraint(scalar) {{ values ("{ns}"); }} fall_constraint(scalar) {{ values ("{ns}"); }} }}
"""
_TEMPLATE = """library ({name}) {{
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
    pin (clk) {{ direction : input; clock : true; capacitance : 5; }}
    pin (rst) {{ direction : input; capacitance : 2; }}
{inputs}    bus (read_data) {{ bus_type : data; direction : output;
      timing () {{ related_pin : "clk"; timing_type : rising_edge; timing_sense : non_unate;
        cell_rise(scalar) {{ values ("{access}"); }} cell_fall(scalar) {{ values ("{access}"); }}
        rise_transition(scalar) {{ values ("0.05"); }} fall_transition(scalar) {{ values ("0.05"); }} }}
    }}
  }}
}}
"""
