"""Pages and reference are built without a warning, and what is dead is found."""

import doctest
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def build(root: Path, out: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "docs", out],
                          cwd=root, capture_output=True, text=True)


def test_docs_are_built_without_a_warning(tmp_path):
    done = build(ROOT, tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "api/dna_asic/dna_asic.spec.html").read_text()
    assert 'id="dna_asic.spec.layer.LayerShape"' in page and "Loop bounds of one layer" in page
    assert "make search" in (tmp_path / "index.html").read_text()


def test_docs_wrong_links(tmp_path):
    """A page that is not there, a file that is not there, a docstring that does not parse."""
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs/conf.py", tmp_path / "docs")
    for package in ("dna_asic", "rtl_gen", "sim", "flows"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "flows/broken.py").write_text('"""Emphasis *without end."""\n')
    (tmp_path / "README.md").write_text("See `docs/gone.md`.\n")
    (tmp_path / "docs/index.md").write_text("# Pages\n[here](nowhere.md) and `sim/there.py`, `docs/conf.py`\n")
    done = build(tmp_path, tmp_path / "out")
    assert done.returncode == 1
    for said in ("'docs/gone.md' is no file", "'sim/there.py' is no file", "nowhere.md", "Inline emphasis"):
        assert said in done.stderr, done.stderr
    assert "conf.py' is no file" not in done.stderr


@pytest.mark.parametrize("page", ["model.md", "numerics.md"])
def test_worked_examples_of_the_pages(page):
    result = doctest.testfile(str(ROOT / "docs" / page), module_relative=False)
    assert result.attempted >= 5 and not result.failed
