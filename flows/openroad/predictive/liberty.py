"""The Liberty file of the predictive library: NLDM tables of the model's formulas."""

from collections.abc import Iterator

from flows.openroad.predictive.cells import CLOCK_GATES, COMBINATIONAL, REGISTERS, TIES, Cell, Output, Register
from flows.openroad.predictive.model import Model, sites

SLEWS_TAU = (1.0, 4.0, 10.0, 25.0, 60.0)  # of the tables, in units of tau
LOADS = (0.0, 1.0, 4.0, 12.0, 32.0)  # in input units, times the drive

_HEAD = """/* {header} */
library ({name}) {{
  comment : "{header}";
  technology (cmos);
  delay_model : table_lookup;
  time_unit : "1ns"; voltage_unit : "1V"; current_unit : "1mA"; leakage_power_unit : "1nW";
  pulling_resistance_unit : "1kohm"; capacitive_load_unit (1,ff);
  nom_process : 1; nom_temperature : 25; nom_voltage : {volts};
  operating_conditions (typical) {{ process : 1; temperature : 25; voltage : {volts}; }}
  default_operating_conditions : typical;
  slew_lower_threshold_pct_fall : 30; slew_upper_threshold_pct_fall : 70;
  slew_lower_threshold_pct_rise : 30; slew_upper_threshold_pct_rise : 70;
  input_threshold_pct_fall : 50; input_threshold_pct_rise : 50;
  output_threshold_pct_fall : 50; output_threshold_pct_rise : 50; slew_derate_from_library : 1;
  default_cell_leakage_power : 0; default_fanout_load : 1; default_max_transition : {max_slew};
  default_inout_pin_cap : 0; default_input_pin_cap : 0; default_output_pin_cap : 0;
  voltage_map (VDD, {volts}); voltage_map (VSS, 0);
  lu_table_template (delay) {{ variable_1 : input_net_transition; variable_2 : total_output_net_capacitance;
    index_1 ("{slews}"); index_2 ("{loads}"); }}
"""


def liberty_text(model: Model, name: str, header: str) -> str:
    """The whole file; `header` says what it is, in one line. Units: ns, fF, fJ, nW, um2."""
    slews = _slews(model)
    head = _HEAD.format(name=name, header=header, volts=model.technology["supply_v"], max_slew=_number(slews[-1]),
                        slews=_list(slews), loads=_list(_loads(model, 1)))
    cells = (*COMBINATIONAL, *REGISTERS, *CLOCK_GATES, *TIES)
    return head + "".join("\n".join(_cell(model, c, drive)) + "\n" for c in cells for drive in c.drives) + "}\n"


def _cell(model: Model, cell: Cell, drive: int) -> Iterator[str]:
    width = sites(cell, drive)
    yield f"  cell ({cell.name}_X{drive}) {{"
    yield f"    area : {_number(model.area_um2(width))}; cell_leakage_power : {_number(model.leakage_nw(width))};"
    yield "    pg_pin (VDD) { voltage_name : VDD; pg_type : primary_power; }"
    yield "    pg_pin (VSS) { voltage_name : VSS; pg_type : primary_ground; }"
    if isinstance(cell, Register):
        yield from _state(cell)
    for pin, units in cell.inputs.items():
        yield from _input(model, cell, pin, model.input_ff(units, drive if not isinstance(cell, Register) else 1))
    for pin, output in cell.outputs.items():
        yield from _output(model, cell, drive, pin, output)
    yield "  }"


def _state(cell: Register):
    if cell.next_state:
        yield f'    ff (IQ, IQN) {{ clocked_on : "CK"; next_state : "{cell.next_state}"; }}'
    else:
        yield '    clock_gating_integrated_cell : "latch_posedge";'
        yield '    statetable ("CK E", "IQ") { table : "L L : - : L, L H : - : H, H - : - : N"; }'


def _input(model, cell, pin, capacitance):
    role = ""
    if isinstance(cell, Register) and pin == "CK":
        role = " clock : true;" if cell.next_state else " clock : true; clock_gate_clock_pin : true;"
    elif isinstance(cell, Register) and not cell.next_state:
        role = " clock_gate_enable_pin : true;"
    yield f"    pin ({pin}) {{ direction : input; capacitance : {_number(capacitance)};{role}"
    yield "      related_power_pin : VDD; related_ground_pin : VSS;"
    if isinstance(cell, Register):
        yield from _clocking(model, cell) if pin == "CK" else _checks(model, cell)
    yield "    }"


def _clocking(model, cell):
    """What the clock alone dissipates inside, every edge."""
    yield from _power(model.energy_fj(cell.clock, 1))


def _checks(model, cell):
    setup = _number(model.setup_ns(cell))
    for kind, value in (("setup_rising", setup), ("hold_rising", "0")):
        yield (f'      timing () {{ related_pin : "CK"; timing_type : {kind}; rise_constraint (scalar) '
               f'{{ values ("{value}"); }} fall_constraint (scalar) {{ values ("{value}"); }} }}')
    yield from _power(model.energy_fj(cell.setup, 1))


def _power(energy_fj, related=""):
    value = _number(energy_fj)
    yield (f'      internal_power () {{{related} rise_power (scalar) {{ values ("{value}"); }} '
           f'fall_power (scalar) {{ values ("{value}"); }} }}')


def _output(model: Model, cell: Cell, drive: int, pin: str, output: Output):
    gate = isinstance(cell, Register) and not cell.next_state
    kind = ' state_function : "CK & IQ"; clock_gate_out_pin : true;' if gate else f' function : "{output.function}";'
    yield (f"    pin ({pin}) {{ direction : output;{kind} max_capacitance : {_number(model.max_load_ff(drive))};")
    yield "      related_power_pin : VDD; related_ground_pin : VSS;"
    for related in _related(cell):
        edge = " timing_type : rising_edge;" if isinstance(cell, Register) and cell.next_state else ""
        yield f'      timing () {{ related_pin : "{related}"; timing_sense : {output.sense};{edge}'
        yield from _tables(model, output, drive)
        yield "      }"
        yield from _power(model.energy_fj(_switched(output, cell), drive), f' related_pin : "{related}";')
    yield "    }"


def _related(cell):
    return ("CK",) if isinstance(cell, Register) else tuple(cell.inputs)


def _switched(output, cell):
    """Stages that toggle with the output: those that the clock toggles anyway are charged to it."""
    return output.path[len(cell.clock):] if isinstance(cell, Register) and cell.next_state else output.path


def _tables(model, output, drive):
    slews, loads = _slews(model), _loads(model, drive)
    for kinds, formula in ((("cell_rise", "cell_fall"), model.delay_ns),
                           (("rise_transition", "fall_transition"), model.slew_ns)):
        rows = ", ".join(f'"{_list(formula(output.path, drive, s, load) for load in loads)}"' for s in slews)
        for kind in kinds:
            yield f'        {kind} (delay) {{ index_2 ("{_list(loads)}"); values ({rows}); }}'


def _slews(model):
    return [1e-3 * model.technology["cell_tau_ps"] * s for s in SLEWS_TAU]


def _loads(model, drive):
    return [model.input_ff(load, drive) for load in LOADS]


def _list(values):
    return ", ".join(map(_number, values))


def _number(value):
    return f"{value:.6g}"
