# Placement and routing with a plain `openroad`; setup.tcl, written beside it for the run, sets what it uses.
# Commands as OpenROAD's documentation of each tool has them (ifp, mpl, pdn, gpl, ppl, rsz, dpl, cts, grt, drt, rcx).
source setup.tcl

# read
foreach file $lefs { read_lef $file }
foreach file $liberties { read_liberty $file }
read_verilog $netlist
link_design $top
read_sdc constraints.sdc

# floorplan and memories
initialize_floorplan -site $site -die_area $die_area -core_area $core_area
make_tracks
source macro_placement.tcl
if { [llength $taps] } { tapcell -tapcell_master [lindex $taps 0] -distance [lindex $taps 1] }

# supply grid
foreach pin $power_pins { add_global_connection -net VDD -inst_pattern .* -pin_pattern "^$pin\$" -power }
foreach pin $ground_pins { add_global_connection -net VSS -inst_pattern .* -pin_pattern "^$pin\$" -ground }
global_connect
set_voltage_domain -name CORE -power VDD -ground VSS
define_pdn_grid -name grid -voltage_domains CORE
set below ""
foreach strap $straps {
  lassign $strap layer width pitch
  if { $pitch == 0 } {
    add_pdn_stripe -grid grid -layer $layer -width $width -followpins
  } else {
    add_pdn_stripe -grid grid -layer $layer -width $width -pitch $pitch -offset $width
  }
  if { $below ne "" } { add_pdn_connect -grid grid -layers [list $below $layer] }
  set below $layer
}
if { $has_macros } {
  define_pdn_grid -name memories -voltage_domains CORE -macro -default -halo $halo
  add_pdn_connect -grid memories -layers [list $memory_layer $below]
}
pdngen

# placement
global_placement -skip_io -density $density
place_pins -hor_layers [lindex $io_layers 0] -ver_layers [lindex $io_layers 1]
global_placement -density $density
set_wire_rc -signal -layer [lindex $rc_layers 0]
set_wire_rc -clock -layer [lindex $rc_layers 1]
set_dont_use $dont_use
estimate_parasitics -placement
repair_design
foreach tie $ties { repair_tie_fanout -separation 0 [join $tie /] }
detailed_placement

# clock tree, set-up and hold
repair_clock_inverters
clock_tree_synthesis -root_buf $clock_buffer -buf_list $clock_buffer -sink_clustering_enable
repair_clock_nets
set_propagated_clock [all_clocks]
detailed_placement
estimate_parasitics -placement
repair_timing -setup
repair_timing -hold
detailed_placement
check_placement -verbose
report_design_area

# routing
set range [join $signal_layers -]
set_routing_layers -signal $range -clock $range
global_route -guide_file route.guide -congestion_iterations 100
detailed_route -output_drc drc.rpt -bottom_routing_layer [lindex $signal_layers 0] \
  -top_routing_layer [lindex $signal_layers 1]
filler_placement $fillers
global_connect

# extraction, timing and power
if { $rules ne "" } {
  define_process_corner -ext_model_index 0 X
  extract_parasitics -ext_model_file $rules
  write_spef chip.spef
  read_spef chip.spef
} else {
  estimate_parasitics -global_routing
}
report_checks -path_delay max -fields {slew cap} -digits 4
puts "METRIC worst_slack_ns [worst_slack -max]"
puts "METRIC worst_hold_slack_ns [worst_slack -min]"
puts "METRIC total_negative_slack_ns [total_negative_slack -max]"
set_power_activity -global -activity $activity -duty 0.5
report_power
write_def chip.def
write_db chip.odb
write_verilog chip.v
puts "PLACE_ROUTE done"
exit
