"""The flow on a small design, with the predictive library."""

import dataclasses
import gzip

import pytest

from dna_asic.errors import SpecError, ToolError
from dna_asic.technology import load_technology
from flows.openroad import steps
from flows.openroad.checkers import check_all_mapped, check_clock, check_library
from flows.openroad.flow import _area_by_block, _by_block, run_flow, top_module
from flows.openroad.netlist import plain_netlist
from flows.openroad.platforms import find_library
from flows.openroad.power import ASSUMED_ACTIVITY
from flows.openroad.synthesis import area_metrics
from flows.openroad.timing import timing_metrics

CLK_NS = 4.0


def flow(rtl, target="asic-28nm", **options):
    """Run the flow beside the file."""
    return run_flow(rtl=rtl, out=rtl.parent / "synth", clk_period_ns=CLK_NS, technology=load_technology(target),
                    **options)


@pytest.fixture
def tools():
    """Skip by name where a tool is missing."""
    try:
        steps.require_program("sta", "apt-get install opensta")
    except ToolError as error:
        pytest.skip(str(error))


@pytest.mark.sta
def test_flow_area_and_power_add_up(rtl, tools):
    lines = []
    record = flow(rtl, progress=lines.append)
    pes = [record.area_um2_by_block[f"pe_{i}"] for i in range(4)]
    assert len(set(pes)) == 1 and pes[0] > 0
    assert record.macros == {"sram_64x32": 1}
    sram = load_technology("asic-28nm").sram_area_um2(64, 32)
    assert record.area_um2_by_block["sram"] == sram
    logic = sum(record.area_um2_by_block.values()) - sram
    assert logic / record.library_logic_area_um2 == pytest.approx(record.power_mw / record.library_power_mw, rel=0.5)
    assert record.cells > 1000
    assert "slack" in record.critical_path
    assert record.activity.startswith("assumed") and record.mean_activity == pytest.approx(ASSUMED_ACTIVITY, rel=0.01)
    assert [line for line in lines if not line.startswith("  ")][-1].startswith("[5/5]")
    assert sum(line.startswith(("  1/2 ", "  2/2 ")) for line in lines) == 2


@pytest.mark.sta
def test_flow_second_run_is_cached_and_follows_activity(rtl, tools):
    first = flow(rtl)
    waves = rtl.parent / "activity.vcd.gz"
    waves.write_bytes(gzip.compress(waves_of_pes((0, 1, 3, 7)).encode()))
    second, again = flow(rtl, waves=waves), flow(rtl, waves=waves)
    assert not first.cached and not second.cached and again == dataclasses.replace(second, cached=True)
    power = [second.power_mw_by_block[f"pe_{i}"] for i in range(4)]
    clocks = [second.clock_mw_by_block[f"pe_{i}"] for i in range(4)]
    assert power == sorted(power) and power[0] < power[1] < power[3] and clocks[0] == pytest.approx(clocks[3])
    assert "every net in each of 65 cycles" in second.activity and "lack" not in second.activity
    assert "every net in each of 20 cycles" in flow(rtl, waves=waves, waves_cycles=20).activity


def waves_of_pes(weights):
    """Waves of the small design in which PE n takes the weight 0 or weights[n] in turn; nothing accumulates."""
    head = ["$scope module tb $end", "$var wire 1 ! clk $end", "$scope module dut $end"]
    named = {"en": 1, "rst": 1, "a": 6, "y": 32, "d": 32, "sum": 32} | {f"a{n}": 32 for n in range(4)}
    head += [f"$var wire {bits} c{name} {name} $end" for name, bits in named.items()]
    for n in range(4):
        head += [f"$scope module pe_{n} $end", *(f"$var wire {bits} p{n}{name} {name} $end" for name, bits in (
            ("en", 1), ("rst", 1), ("w", 8), ("x", 8), ("acc", 32), ("p", 16))), "$upscope $end"]
    lines = [*head, "$scope module mem $end", "$upscope $end", "$upscope $end", "$upscope $end",
             "$enddefinitions $end", "#0", "0!", *(f"b0 p{n}{name}" for n in range(4) for name in ("w", "acc", "p")),
             *(f"b1 p{n}x" for n in range(4))]
    for cycle in range(65):
        lines += [f"#{10 * cycle + 5}", "1!", *(f"b{w * (cycle % 2):b} p{n}w" for n, w in enumerate(weights)),
                  *(f"b{w * (1 - cycle % 2):b} p{n}p" for n, w in enumerate(weights)), f"#{10 * cycle + 10}", "0!"]
    return "\n".join(lines) + "\n"


@pytest.mark.sta
def test_flow_wrong_verilog(rtl, tools):
    rtl.write_text("module chip(input clk); missing m(.clk(clk)); endmodule\n")
    with pytest.raises(ToolError, match="missing"):
        flow(rtl)


def test_require_program_wrong(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError, match="apt-get install opensta"):
        steps.require_program("sta", "apt-get install opensta")
    with pytest.raises(ToolError, match="pip install nothing"):
        steps.require_module("no_such_module", "pip install nothing")


def test_top_module_wrong():
    assert top_module("// x\nmodule top_1 (a);") == "top_1"
    with pytest.raises(SpecError, match="make rtl"):
        top_module("")


def test_area_metrics_multiplies_instances():
    modules = {"t": {"area_um2": 5.0, "sequential_area_um2": 1.0, "cells": {"a": 2, "INV": 5, "sram_4x8": 1}},
               "a": {"area_um2": 1.0, "sequential_area_um2": 1.0, "cells": {"INV": 1, "b": 3}},
               "b": {"area_um2": 3.0, "sequential_area_um2": 1.0, "cells": {"DFF": 2, "sram_2x8": 1}}}
    metrics = area_metrics(modules, "t")
    assert metrics["cell_types"] == {"DFF": 12, "INV": 7}
    assert metrics["macros"] == {"sram_2x8": 6, "sram_4x8": 1}
    assert metrics["cells"] == 19
    assert metrics["logic_area_um2"] == 5 + 2 * (1 + 3 * 3) and metrics["sequential_area_um2"] == 1 + 2 * (1 + 3)
    assert metrics["modules"]["a"] == {"instances": 2, "area_um2": 10.0, "own_area_um2": 1.0, "flip_flops": 0}
    assert metrics["modules"]["b"] == {"instances": 6, "area_um2": 3.0, "own_area_um2": 3.0, "flip_flops": 2}
    with pytest.raises(ToolError, match="left no such module"):
        area_metrics(modules, "u")


def test_check_all_mapped_wrong_cell():
    with pytest.raises(ToolError, match=r"\$_DFF_P_"):
        check_all_mapped({"cell_types": {"INV": 1, "$_DFF_P_": 2}})


def test_timing_metrics_of_log():
    log = ("Startpoint: core/pe/_1_ (rising)\n 0.0000 0.0000 0.0000 ^ core/pe/_1_/CK (DFF_X1)\n"
           " 9.1 0.02 0.1000 0.1000 v core/pe/_1_/Q (DFF_X1)\n 2.0 0.01 0.0500 0.1500 ^ core/pe/_2_/ZN (INV_X1)\n"
           " 2.0 0.01 0.0200 0.1700 ^ core/_7_/Z (BUF_X1)\n 0.01 0.0000 0.1700 ^ out (out)\nslack (MET)\n"
           "METRIC worst_slack_ns 0.25\nMETRIC total_negative_slack_ns 0\nMETRIC done 1\n")
    metrics = timing_metrics(log)
    assert metrics["worst_slack_ns"] == 0.25
    assert [block for block, _ in metrics["path_blocks"]] == ["core/pe", "core"]
    assert [ns for _, ns in metrics["path_blocks"]] == pytest.approx([0.15, 0.02])


def test_timing_metrics_wrong_log():
    with pytest.raises(ToolError, match="Error: x.lib"):
        timing_metrics("Error: x.lib, line 1\nMETRIC done 1\n")
    with pytest.raises(ToolError, match="did not finish"):
        timing_metrics("")


def test_plain_netlist_declarations_and_assignments():
    text = ("module m(w, y);\n  input signed [2:0] w;\n  output [5:3] y;\n  wire \\a[0] ;\n"
            "  assign { y[5], \\a[0] , y[4:3] } = { w, 1'b1 };\n  assign y = 3'b10;\nendmodule\n")
    assert plain_netlist(text) == (
        "module m(w, y);\n  input [2:0] w ;\n  output [5:3] y ;\n  wire \\a[0] ;\n"
        "  assign y [5] = w [2];\n  assign \\a[0]  = w [1];\n  assign y [4] = w [0];\n  assign y [3] = 1'b1;\n"
        "  assign y [5] = 1'b0;\n  assign y [4] = 1'b1;\n  assign y [3] = 1'b0;\nendmodule\n")


def test_check_library_wrong_cells(tmp_path):
    library = find_library(load_technology("asic-28nm"), tmp_path)
    text = library.liberty.read_text()
    library.liberty.write_text(text.replace("cell (BUF_X4)", "cell (BUFFER)"))
    with pytest.raises(SpecError, match="'predictive28.lib' lacks BUF_X4; take the whole library"):
        check_library(library)
    library.liberty.write_text(text.replace(" ff (", " latch ("))
    with pytest.raises(SpecError, match="lacks any flip-flop"):
        check_library(library)
    library.liberty.write_text(text[:5000])
    with pytest.raises(SpecError, match="the file is damaged"):
        check_library(library)


@pytest.mark.parametrize("clk_ns", [0.0, -1.0, 0.01, float("nan")])
def test_check_clock_wrong(clk_ns):
    with pytest.raises(SpecError, match="is impossible: two flip-flops with nothing between them take about 0.06"):
        check_clock(clk_ns, load_technology("asic-28nm"), 28)


def test_check_clock_is_longer_in_an_older_library():
    technology = load_technology("asic-28nm")
    check_clock(0.08, technology, 28)
    with pytest.raises(SpecError, match="at 45 nm"):
        check_clock(0.08, technology, 45)


def test_blocks_are_children_of_the_top_and_of_its_chunks():
    netlist = ("module chip (clk);\n  \\chip.chunk_0  chunk_0 (\n  );\n  registers registers (\n  );\n"
               "  AND2 g (\n  );\nendmodule\nmodule \\chip.chunk_0 (clk);\n  core core (\n  );\nendmodule\n"
               "module registers (clk);\nendmodule\nmodule core (clk);\n  pe pe_0 (\n  );\nendmodule\n"
               "module pe (clk);\nendmodule\n")
    own = {"chip": 1, "chip.chunk_0": 30, "registers": 10, "core": 50, "pe": 20}
    area = _area_by_block(netlist, {name: {"own_area_um2": um2} for name, um2 in own.items()}, "chip", 2.0)
    assert area == {"top": 2.0, "chunk_0": 60.0, "chunk_0/core": 140.0, "registers": 20.0}
    assert _by_block({"": 1.0, "chunk_0": 2.0, "chunk_0/core": 3.0, "chunk_0/core/array": 4.0, "pe_0/x": 5.0}, 1.0) == {
        "chunk_0": 2.0, "chunk_0/core": 7.0, "pe_0": 5.0, "top": 1.0}
