"""Run folders written by hand: four layers on a small chip, with what each stage would leave."""

import json
from pathlib import Path

from chips import make_chip, make_chips

from dna_asic.cost import evaluate_design
from dna_asic.mapping.layout import hardware_shapes
from dna_asic.mapping.mapper import trivial_mapping
from dna_asic.quantize import save_quant
from dna_asic.report.files import write_json_atomically
from dna_asic.runs import RunFolder
from dna_asic.spec.design import Design, design_to_yaml
from dna_asic.spec.record import to_plain
from dna_asic.technology import load_technology
from sim.four_layers import four_layers


def make_run(folder: Path, chunks: int = 1, name: str = "small") -> tuple[RunFolder, Design]:
    """A finished search of four layers; with two chunks they take turns."""
    quant, chip = four_layers(), make_chip("kc-tree-2x3") if chunks == 1 else make_chips(*["kc-tree-2x3"] * chunks)
    assignment = {layer.name: n % chunks for n, layer in enumerate(quant.network.layers)} if chunks > 1 else {}
    mappings = {layer: trivial_mapping(shape, alone, alone.chunk)
                for layer, shape in hardware_shapes(quant.network, chip.port_bytes)
                for alone in [chip.alone[assignment.get(layer, 0)]]}
    design = Design(target="asic-28nm", seed=3, choices=(), network=quant.network, accelerator=chip, mappings=mappings,
                    assignment=assignment)
    report = evaluate_design(hardware_shapes(quant.network, chip.port_bytes), chip, mappings,
                             load_technology("asic-28nm"), design.pipeline)
    run = RunFolder.create(name, folder)
    (run.path / "design.yaml").write_text(design_to_yaml(design))
    save_quant(quant, run.path / "quant")
    write_json_atomically(run.path / "report.json", to_plain(report))
    write_json_atomically(run.path / "arguments.json", {"dataset": "digits", "image_size": None})
    write_json_atomically(run.path / "summary.json", {
        "int8_test_accuracy": 0.97, "dataset": "digits", "latency_cycles": report.latency_cycles,
        "latency_s": report.latency_s, "period_cycles": report.period_cycles, "energy_j": report.energy_j,
        "area_mm2": report.area_mm2, "edp_js": report.edp_js})
    run.finish()
    return run, design


def add_stages(run: RunFolder, layers: list[str]) -> None:
    """History, comparison, simulation and synthesis, of round figures."""
    blank = dict.fromkeys(("task_loss", "hw_loss", "alpha_entropy", "gamma_entropy", "sampled_edp_js", "best_edp_js",
                           "choices"))
    joint = {"task_loss": 0.5, "hw_loss": 1.5, "alpha_entropy": 1.1, "gamma_entropy": 1.2, "sampled_edp_js": 2e-9,
             "best_edp_js": 1e-9, "choices": ["k3_e1"]}
    write_json_atomically(run.path / "history.json", [
        {"epoch": 0, "weight_loss": 2.0} | blank, *({"epoch": n, "weight_loss": 1 / n} | joint for n in (1, 2, 3))])
    summary = json.loads((run.path / "summary.json").read_text())
    write_json_atomically(run.stage("sim") / "report.json", {
        "simulator": "icarus", "images": 2, "layers": len(layers), "bytes": 3092, "mismatches": 0,
        "cycles_model": summary["latency_cycles"], "cycles_rtl": float(summary["latency_cycles"]),
        "layer_cycles": {name: 1000 + n for n, name in enumerate(layers)}})
    energy = {"latency_cycles": 1.0, "logic_j": 1e-6, "sram_j": 2e-6, "sram_leakage_j": 1e-9, "dram_j": 3e-6,
              "energy_j": 6e-6, "edp_js": 4e-10, "origin": dict.fromkeys(
                  ("logic_j", "sram_j", "sram_leakage_j", "dram_j"), "model")}
    write_json_atomically(run.stage("synth") / "synth.json", {
        "library": "predictive28", "library_nm": 28, "library_note": "predictive", "scaling_note": "none",
        "activity": "assumed", "clk_period_ns": 1.0, "findings": ["memories are stubs"], "area_mm2": 0.2,
        "cells": 1234, "slack_ps": 5.0, "power_mw": 7.0, "leakage_mw": 0.1,
        "area_um2_by_block": {"chunk_0/core": 150000.0, "sram": 50000.0},
        "power_mw_by_block": {"chunk_0/core": 7.0}, "energy": energy})
    rows = [{"name": name, "origin": "modelled", "pes": 6, "cycles": 5000, "latency_s": 1e-5, "energy_j": 1e-5,
             "area_mm2": 0.2, "edp_js": edp} for name, edp in (("this design", 1e-10), ("NASAIC template dla", 3e-10))]
    write_json_atomically(run.stage("compare") / "compare.json", {
        "rows": rows, "failures": [], "published": {
            "source": "a paper", "mark": "[M]", "mark_meaning": "from memory", "rows": [
                {"workload": "W1", "flow": flow, "cifar10_pct": 92.0, "energy": energy, "cycles": 10}
                for flow, energy in (("NASAIC", 2.0), ("NAS->ASIC", 5.0))]}})
