# `make help` lists the targets. Variables: TARGET (technology), SEED, RUN (a run folder), ARGS (further options of
# the command, e.g. `make search ARGS="--epochs 20"`), PNR (1: `make synth` places and routes), PYTHON (3.11 or later),
# PIP_FLAGS, LOCK (versions that pip keeps to; empty: the newest).
TARGET ?= asic-28nm
SEED ?= 0
RUN ?= runs/latest
ARGS ?=
PYTHON ?= python3
PIP_FLAGS ?=
LOCK ?= requirements.lock
PNR ?=

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
RUN_TOOL := PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PY)
APT_TOOLS := iverilog opensta g++ make
PROGRAMS := iverilog sta g++ make

.PHONY: help setup tools browser search pareto rtl sim synth compare report contract presets silicon das rivals nasaic runs \
        doctor test test-all reproduce docs lock lint clean
.DEFAULT_GOAL := help

help:
	@echo "make search    set up, then search a network and its accelerator (TARGET=$(TARGET) SEED=$(SEED))"
	@echo "make pareto    searches over the weight of the hardware cost: accuracy against EDP"
	@echo "make rtl       Verilog and program of $(RUN)"
	@echo "make sim       simulate the Verilog, every byte against the golden model"
	@echo "make synth     area, slack, power and energy of the Verilog"
	@echo "make compare   the design beside NASAIC's"
	@echo "make report    one HTML page of $(RUN): report.html"
	@echo "make runs      run folders with state and key figures"
	@echo "make doctor    what is installed, and how to get what is missing"
	@echo "make contract  cost model against Verilog on random chips, layers and mappings"
	@echo "make presets   named chips on layers of ResNet-18 and MobileNetV2: utilisation and area"
	@echo "make das       the accelerator search against the optimum of an enumerated space"
	@echo "make rivals    that search beside random, evolution, REINFORCE and Bayesian search"
	@echo "make nasaic    NASAIC's three flows in its own space, with specs by $(RUN)"
	@echo "make silicon   area and power of the cost model beside synthesis, on points of the space"
	@echo "make reproduce the README's figures, run again and set beside those printed there"
	@echo "make docs      these pages and a reference of the code: build/docs; make lock: renew requirements.lock"
	@echo "make test      lint, import rules and quick tests; make test-all: slow ones too"

setup: $(STAMP) tools

$(STAMP): pyproject.toml $(LOCK)
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet $(PIP_FLAGS) $(if $(LOCK),-c $(LOCK)) -e ".[dev]"
	@touch $@

# Programs that are no Python packages. Root installs them; others are told, and go on without.
# $(call install_missing,programs,apt packages,what needs them)
define install_missing
@missing=""; for p in $(1); do command -v $$p >/dev/null || missing="$$missing $$p"; done; \
[ -z "$$missing" ] && exit 0; \
packages="$(2)"; \
if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
  echo "installing$$missing: apt-get install $$packages"; \
  { apt-get install -y -qq --no-install-recommends $$packages || { apt-get update -qq && \
    apt-get install -y -qq --no-install-recommends $$packages; }; } >/dev/null 2>&1 || \
    echo "not installed:$$missing; run: apt-get install $$packages"; \
else echo "missing:$$missing; $(3) need: sudo apt-get install $$packages"; fi
endef

tools:
	$(call install_missing,$(PROGRAMS),$(APT_TOOLS),simulation and synthesis)

browser:
	$(call install_missing,chromium,chromium,tests of the report's page)

search: setup
	$(RUN_TOOL) -m dna_asic.search --target $(TARGET) --seed $(SEED) $(ARGS)

pareto: setup
	$(RUN_TOOL) -m dna_asic.pareto --target $(TARGET) --seed $(SEED) $(ARGS)

rtl: setup
	$(RUN_TOOL) -m rtl_gen.emit --run $(RUN) $(ARGS)

sim: setup
	$(RUN_TOOL) -m dna_asic.simulate --run $(RUN) $(ARGS)

synth: setup
	$(RUN_TOOL) -m dna_asic.synth --run $(RUN) $(if $(filter-out 0,$(PNR)),--pnr) $(ARGS)

contract: setup
	$(RUN_TOOL) -m dna_asic.contract --seed $(SEED) $(ARGS)

presets: setup
	$(RUN_TOOL) -m dna_asic.presets --target $(TARGET) --seed $(SEED) $(ARGS)

das: setup
	$(RUN_TOOL) -m dna_asic.das --target $(TARGET) $(ARGS)

rivals: setup
	$(RUN_TOOL) -m dna_asic.rivals --target $(TARGET) $(ARGS)

nasaic: setup
	$(RUN_TOOL) -m dna_asic.nasaic $(if $(filter-out runs/latest,$(RUN)),--run $(RUN)) --target $(TARGET) --seed $(SEED) $(ARGS)

silicon: setup
	$(RUN_TOOL) -m dna_asic.silicon --target $(TARGET) --seed $(SEED) $(ARGS)

compare: setup
	$(RUN_TOOL) -m dna_asic.compare --run $(RUN) $(ARGS)

report: setup
	$(RUN_TOOL) -m dna_asic.page --run $(RUN) $(ARGS)

reproduce: setup
	$(RUN_TOOL) -m dna_asic.reproduce $(ARGS)

runs: $(STAMP)
	$(RUN_TOOL) -m dna_asic.list_runs $(ARGS)

doctor: $(STAMP)
	$(RUN_TOOL) -m dna_asic.doctor $(ARGS)

docs: $(STAMP)
	$(PY) -m sphinx -q -W --keep-going docs build/docs
	@echo "docs: page=build/docs/index.html"

lock: $(STAMP)
	@mkdir -p build
	$(PY) -m pip install $(PIP_FLAGS) --dry-run --ignore-installed --quiet --report build/lock.json -e ".[dev]"
	$(RUN_TOOL) -m dna_asic.lock build/lock.json

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/lint-imports --no-cache

test: setup browser lint
	$(RUN_TOOL) -m pytest -q -n auto --dist loadfile --no-loadscope-reorder -m "not slow" $(ARGS)

test-all: setup browser lint
	$(RUN_TOOL) -m pytest -q -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

clean:
	rm -rf build docs/api sim_build .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path "./$(VENV)/*" -prune -exec rm -rf {} +
