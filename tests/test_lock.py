"""The lock file: whole, within what pyproject.toml asks for, and compared by `doctor`."""

import tomllib

import pytest
from packaging.requirements import Requirement

from dna_asic import doctor, lock
from dna_asic.errors import SpecError
from dna_asic.versions import SOURCES


def test_lock_holds_every_dependency_within_its_bounds():
    project = tomllib.loads((SOURCES.parent / "pyproject.toml").read_text())["project"]
    locked = lock.read_lock()
    wanted = [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["dev"]]
    assert len(wanted) > 20
    for requirement in wanted:
        name = lock.canonical(requirement.name)
        assert name in locked and requirement.specifier.contains(locked[name]), str(requirement)


def test_lock_from_a_report_of_pip():
    items = [("torch", "2.13.0+cpu"), ("PyYAML", "6.0.4"), ("dna-asic", "0.1.0"), ("a.b_c", "1")]
    report = {"install": [{"metadata": {"name": name, "version": version}} for name, version in items]}
    assert lock.lock_text(report) == lock.HEAD + "a-b-c==1\npyyaml==6.0.4\ntorch==2.13.0\n"


@pytest.mark.parametrize("lines", ["numpy>=2", "numpy", "numpy==1\nnumpy==2", "torch==2.13.0+cpu"])
def test_lock_wrong_line(tmp_path, lines):
    (tmp_path / "x.lock").write_text(f"# head\n\n{lines}\n")
    with pytest.raises(SpecError, match="line [34]: must be 'name==version', each name once"):
        lock.read_lock(tmp_path / "x.lock")


def test_doctor_names_what_differs_from_the_lock(tmp_path, monkeypatch):
    path = tmp_path / "x.lock"
    assert doctor.lock(path).state == "absent"
    path.write_text("numpy==2.0\ntorch==2.13.0\nnot-installed==1\n")
    monkeypatch.setattr(lock, "package_version", {"numpy": "2.0", "torch": "2.13.0+cpu"}.get)
    assert doctor.lock(path).state == "ok" and not doctor.lock(path).remedy
    monkeypatch.setattr(lock, "package_version", {"numpy": "2.1", "torch": "2.13.0+cu130"}.get)
    found = doctor.lock(path)
    assert not found.needed and found.state == "differs" and found.found == "1 of 3 differ"
    assert found.remedy == "numpy 2.1 instead of 2.0: make setup"
