"""Points, fit, judgement and record of `python -m dna_asic.silicon`; synthesis is a stand-in."""

import dataclasses
import json
import re

import pytest

from dna_asic.cost import area_terms, clocked_flip_flops, flip_flops
from dna_asic.gads.presets import presets
from dna_asic.silicon import __main__ as command
from dna_asic.silicon.fit import fit, predict, report_of, with_values
from dna_asic.silicon.judge import figures_of, last_line, limits_broken, summary
from dna_asic.silicon.measure import Measured, block_of, mappings, point_key
from dna_asic.silicon.nvdla import nvdla_table, published, sized
from dna_asic.silicon.points import is_training, points
from dna_asic.technology import load_technology
from dna_asic.technology.table import CALIBRATED

TECHNOLOGY = load_technology("asic-28nm")
CHIPS = points(9, 0, 1.0)


def silicon_of(chip, technology, area=1.0, power=1.0):
    """What would be measured if the coefficients were right but for these factors."""
    blocks = area_terms(chip)
    um2 = {b: area * sum(n * technology[name] for name, n in terms.items()) for b, terms in blocks.items()}
    report = report_of(chip, with_values(technology, {"noc_pj_per_bit_mm": 0.0}))
    pj, ns = report.energy_pj_by_level, report.latency_cycles * chip.clk_period_ns
    moving = dict.fromkeys(blocks, 0.0) | {
        block: power * pj[level] / ns for block, level in
        (("pe_array", "mac"), ("rf", "rf"), ("noc", "noc"), ("postprocess", "postprocess"), ("control", "control"))}
    idle = {b: power * n * technology["ff_write_pj"] / chip.clk_period_ns for b, n in clocked_flip_flops(chip).items()}
    return Measured(key="", name=chip.name, cells=1, cycles=report.latency_cycles, mean_activity=0.1, area_um2=um2,
                    flip_flops=flip_flops(chip), clock_mw=idle, idle_mw=idle, moving_mw=moving,
                    leakage_mw={b: power * technology.leakage_mw(um2[b] / area) for b in blocks})


def test_points_are_a_prefix_and_cover():
    all_points = points(24, 0, 1.0)
    assert points(9, 0, 1.0) == all_points[:9] and points(9, 1, 1.0) != all_points[:9]
    assert set(presets()) < {p.name for p in all_points} and len({p.name for p in all_points}) == 24
    chunks = [c for p in all_points for c in p.chunks]
    assert {len(p.chunks) for p in all_points} == {1, 2}
    assert min(c.pes for c in chunks) == 4 and max(c.pes for c in chunks) == 256
    assert len({(c.row_dim, c.col_dim) for c in chunks}) > 15
    assert {c.reduction.value for c in chunks} == {"tree", "drain"}
    assert {c.delivery.value for c in chunks} == {"multicast", "systolic"}
    assert sum(map(is_training, range(24))) == 16


def test_mappings_know_no_price():
    dear = with_values(TECHNOLOGY, {"mac_pj": 99.0, "rf_base_pj_per_bit": 99.0})
    assert mappings(CHIPS[0]) == mappings(CHIPS[0])
    assert point_key(CHIPS[0], TECHNOLOGY, 0) == point_key(CHIPS[0], dear, 0)
    assert point_key(CHIPS[0], TECHNOLOGY, 0) != point_key(CHIPS[0], TECHNOLOGY, 1)
    larger = with_values(TECHNOLOGY, {"cell_site_um2": 1.0})
    assert point_key(CHIPS[0], TECHNOLOGY, 0) != point_key(CHIPS[0], larger, 0)


@pytest.mark.parametrize("module,block", [
    ("operand_file_3.rf", "rf"), ("accumulator_4x20.rf_o", "rf"), ("accumulator_4x20", "pe_array"),
    ("pe", "pe_array"), ("operand_file_3", "pe_array"), ("feed_w_3x4_from_4", "pe_array"),
    ("pe_line_kc_tree", "pe_array"), ("adder_tree_4x16", "pe_array"), ("chip.chunk_1.core.array", "pe_array"),
    ("chip.chunk_0.core.input_fill.nest", "noc"), ("chip.chunk_0.core.gb_o", "psum"), ("requantiser", "postprocess"),
    ("chip.chunk_0.core.sequencer.rf", "sequencer"), ("chip.chunk_0.tiles", "sequencer"), ("chip", "control"),
    ("chip.chunk_0.reader.issue", "dma"), ("chip.chunk_0.write_bus", "dma"), ("chip.chunk_0.core", "control"),
    ("chip.chunk_0.post.params", "postprocess"), ("chip.registers", "control")])
def test_block_of_module(module, block):
    assert block_of(module) == block


def test_fit_finds_the_coefficients():
    start = with_values(TECHNOLOGY, dict.fromkeys(CALIBRATED, 1.0))
    found = fit([(chip, silicon_of(chip, TECHNOLOGY)) for chip in CHIPS], start)
    assert found.keys() == CALIBRATED.keys()
    for name in ("rf_area_um2", "lane_area_um2", "ff_write_pj", "mac_pj", "postprocess_pj", "control_pj",
                 "noc_pj_per_bit"):
        assert found[name] == pytest.approx(TECHNOLOGY[name], rel=0.02), name
    for chip in CHIPS[2::3]:
        one = figures_of(chip, silicon_of(chip, TECHNOLOGY), predict(chip, with_values(start, found)), False)
        assert abs(one.area_pct) < 0.5 and abs(one.power_pct) < 0.5


def test_summary_takes_unseen_points_only():
    chip = CHIPS[0]
    model = predict(chip, TECHNOLOGY)
    found = [figures_of(chip, silicon_of(chip, TECHNOLOGY, area=1 / a, power=1 / p), model, training)
             for a, p, training in ((9.0, 9.0, True), (1.1, 1.0, False), (0.8, 1.3, False))]
    assert summary(found) == pytest.approx({"area_mean_pct": 15, "area_worst_pct": 20, "power_mean_pct": 15,
                                            "power_worst_pct": 30}, abs=0.01)
    assert last_line(found) == ("silicon: points=3 area_mean_pct=15.0 area_worst_pct=20.0 power_mean_pct=15.0 "
                                "power_worst_pct=30.0")
    assert limits_broken(found) == ["area_mean_pct 15.0 is above 10", "power_mean_pct 15.0 is above 10",
                                    "power_worst_pct 30.0 is above 25"]
    assert limits_broken(found[:1] + [dataclasses.replace(found[0], training=False, model_um2=float("nan"))])


def stand_in(monkeypatch, **factors):
    """Measure by the model; returns the names of the points that were measured."""
    seen = []

    def measure(chip, technology, seed, folder, cache, progress):
        folder.mkdir(parents=True)
        seen.append(chip.name)
        return dataclasses.replace(silicon_of(chip, technology, **factors), key=point_key(chip, technology, seed))

    monkeypatch.setattr(command, "measure", measure)
    return seen


def test_command_goes_on_and_reports(monkeypatch, tmp_path, capsys):
    seen, arguments = stand_in(monkeypatch), ["--points", "9", "--runs-dir", str(tmp_path)]
    assert command.main(arguments) == 0
    folder = tmp_path / "silicon" / "asic-28nm-seed0"
    (folder / f"{CHIPS[4].name}.json").unlink()
    assert command.main(arguments) == 0
    assert seen == [c.name for c in CHIPS] + [CHIPS[4].name]
    last = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r"silicon: points=9 area_mean_pct=0\.0 area_worst_pct=0\.0 power_mean_pct=\d\.\d "
                        r"power_worst_pct=\d\.\d", last)
    record = json.loads((folder / "silicon.json").read_text())
    assert len(record["points"]) == 9 and (folder / "silicon.png").stat().st_size > 5000
    assert not list(folder.glob("*/"))[1:]


def test_command_fails_beyond_the_limits(monkeypatch, tmp_path, capsys):
    stand_in(monkeypatch, area=2.0)
    assert command.main(["--points", "9", "--runs-dir", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1].startswith("silicon: points=9 area_mean_pct=50.0")
    assert "area_worst_pct 50.0 is above 25" in captured.err


def test_command_calibrates(monkeypatch, tmp_path):
    stand_in(monkeypatch, area=2.0)
    written = []
    monkeypatch.setattr(command, "write_calibrated", lambda *arguments: written.append(arguments))
    assert command.main(["--points", "9", "--runs-dir", str(tmp_path), "--calibrate"]) == 0
    (values, node_nm, source), = written
    assert values["lane_area_um2"] == pytest.approx(2 * TECHNOLOGY["lane_area_um2"], rel=0.02) and node_nm == 28
    assert source == "calibrated: make silicon, seed 0, 9 points, predictive28 library [D]"


def test_command_wrong_points(tmp_path, capsys):
    assert command.main(["--points", "3", "--runs-dir", str(tmp_path)]) == 2
    assert "--points must be at least 9" in capsys.readouterr().err


def test_nvdla_sizes():
    for row in published().rows:
        chunk = sized(row.macs, row.buffer_kb).chunk
        assert chunk.pes == row.macs and chunk.gb_w_bytes + chunk.gb_i_bytes == 1024 * row.buffer_kb
    lines = nvdla_table().splitlines()
    assert lines[2].split()[:3] == ["2,048", "512", "5.5"] and "[T]" in lines[-1]
    head = next(n for n, line in enumerate(lines) if "TOPS/W" in line)
    rows = [[float(word.replace(",", "")) for word in line.split()] for line in lines[head + 2:head + 9]]
    assert [row[0] for row in rows] == [row.macs for row in published().rows]
    for macs, nvdla, model, ratio, busy, *shares in rows:
        assert ratio == pytest.approx(model / nvdla, rel=0.01) and sum(shares) == pytest.approx(1, abs=0.01)
        assert 0 < busy <= 1 and 1 / 5 < ratio < 5, macs
    assert rows[0][1] == pytest.approx(2 * 2048 / 766, rel=0.01)
