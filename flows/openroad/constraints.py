"""Timing constraints of a design: one text for OpenSTA, OpenROAD and OpenROAD-flow-scripts."""

EDGE_SHARE = 0.1  # of the clock period that the outside takes of each input and output

_TEXT = """\
create_clock -name clk -period {period} [get_ports clk]
set inputs {{}}
foreach port [all_inputs] {{ if {{[get_full_name $port] ne "clk"}} {{ lappend inputs $port }} }}
set_driving_cell -lib_cell {driver} $inputs
set_input_delay {edge} -clock clk $inputs
set_output_delay {edge} -clock clk [all_outputs]
"""


def constraints(clk_period: float, driver: str) -> str:
    """SDC, in the library's time unit; `driver` is the cell that drives all inputs but the clock."""
    return _TEXT.format(period=f"{clk_period:g}", edge=f"{EDGE_SHARE * clk_period:g}", driver=driver)
