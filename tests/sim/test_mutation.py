"""A fault in the PE's Verilog makes its bench fail: the benches see what they should."""

import pytest
from mutation import mutate

from dna_asic.errors import ToolError, VerificationError
from sim.blocks.blocks import block_verilog, run_block
from sim.runner import find_tool

SEED = 1
# What to find in a module of the emitted text, and what to put in its place.
MUTATIONS = {
    "sign of the product": ("pe", r"\$signed\((w)\) \* \$signed\((i)\)", r"\1 * $signed(\2)"),
    "address of W is off by one": ("operand_file_3", r"\.read_port__addr\((read_address_0)\)",
                                   r".read_port__addr(\1 + 2'd1)"),
    "psum is not accumulated": ("accumulator", r"\$signed\(base\) \+ (\$signed\(term\))", r"\1"),
}


@pytest.fixture(scope="module")
def verilog():
    """The PE's Verilog, free of faults."""
    try:
        find_tool("icarus")
    except ToolError as missing:
        pytest.skip(str(missing))
    return block_verilog("pe")


@pytest.mark.simulator
@pytest.mark.parametrize("name", MUTATIONS)
def test_fault_is_found(verilog, name, tmp_path):
    with pytest.raises(VerificationError, match="computes_and_drains: "):
        run_block("pe", mutate(verilog, *MUTATIONS[name]), simulator="icarus", seed=SEED,
                  build_root=tmp_path / "builds", work=tmp_path)


@pytest.mark.simulator
def test_no_fault_is_found(verilog, tmp_path):
    run_block("pe", verilog, simulator="icarus", seed=SEED, build_root=tmp_path / "builds", work=tmp_path)


def test_mutate_wrong_pattern():
    with pytest.raises(AssertionError, match="must occur once in module m\\*, not 0 times"):
        mutate("module m(a);\nendmodule\n", "m", "b", "c")
