"""Every block's Verilog in every simulator, under its cocotb bench."""

import pytest

from dna_asic.errors import SpecError, ToolError
from sim.blocks.blocks import BLOCKS, block_verilog, make_block, run_block
from sim.runner import SIMULATORS, find_tool

SEED = 1


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    """Folder of all builds of this run."""
    return tmp_path_factory.mktemp("builds")


@pytest.fixture(scope="module", params=BLOCKS)
def verilog(request):
    """(block, its Verilog), made once for all simulators."""
    return request.param, block_verilog(request.param)


@pytest.mark.simulator
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_block(verilog, simulator, builds, tmp_path):
    try:
        find_tool(simulator)
    except ToolError as missing:
        pytest.skip(str(missing))
    block, text = verilog
    print(f"seed {SEED}")
    run_block(block, text, simulator=simulator, seed=SEED, build_root=builds, work=tmp_path)


def test_block_wrong_name():
    with pytest.raises(SpecError, match="Block must be one of pe, .*, not 'alu'"):
        make_block("alu")
