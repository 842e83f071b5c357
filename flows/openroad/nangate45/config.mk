# Design @TOP@ on nangate45 for OpenROAD-flow-scripts, written by `make synth PNR=1`:
#   make -C OpenROAD-flow-scripts/flow DESIGN_CONFIG=@FOLDER@/config.mk
# Memories are predictive abstracts: the layout has empty boxes in their place.
export DESIGN_NICKNAME = @NICKNAME@
export DESIGN_NAME = @TOP@
export PLATFORM = nangate45

export VERILOG_FILES = @FOLDER@/chip.v
export SDC_FILE = @FOLDER@/constraint.sdc
export ADDITIONAL_LEFS = @LEFS@
export ADDITIONAL_LIBS = @LIBS@
export GDS_ALLOW_EMPTY = sram_.*

export SYNTH_HIERARCHICAL = 1
export CORE_UTILIZATION = @UTILIZATION@
export CORE_ASPECT_RATIO = 1
export CORE_MARGIN = 5.6
export PLACE_DENSITY_LB_ADDON = 0.10
export MACRO_PLACE_HALO = 10 10
export TNS_END_PERCENT = 100
