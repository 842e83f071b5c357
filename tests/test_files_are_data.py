"""Files that a user names are data: no code of the project reads them so that code of theirs could run."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("dna_asic", "rtl_gen", "sim", "flows", "benchmarks")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
NEVER = {"pickle.load", "pickle.loads", "pickle.Unpickler", "pickle._Unpickler", "marshal.load", "marshal.loads",
         "shelve.open", "dill.load", "dill.loads", "cloudpickle.load", "cloudpickle.loads", "joblib.load",
         "yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "os.system", "os.popen", "eval", "exec",
         "torch.hub.load", "torch.jit.load", "pandas.read_pickle", "numpy.loads", "tempfile.mktemp"}


def faults(tree: ast.AST) -> list[str]:
    """What in a module might run code of a file, or write outside a folder, with its line."""
    names = imported(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and unrestrained(node, names):
            found.append(f"an unpickler without find_class of its own, line {node.lineno}")
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func, names)
        given = {k.arg: k.value for k in node.keywords}
        says = lambda key, value: isinstance(given.get(key), ast.Constant) and given[key].value == value  # noqa: E731,B023
        last = name.rpartition(".")[2]
        if name in NEVER or last == "read_pickle":
            found.append(f"{name}, line {node.lineno}")
        elif name == "torch.load" and not says("weights_only", True):
            found.append(f"torch.load without weights_only=True, line {node.lineno}")
        elif name == "numpy.load" and not says("allow_pickle", False):
            found.append(f"numpy.load without allow_pickle=False, line {node.lineno}")
        elif name == "yaml.load" and not safe_loader(given.get("Loader"), tree):
            found.append(f"yaml.load without a safe loader, line {node.lineno}")
        elif last in ("extractall", "extract") and not says("filter", "data"):
            found.append(f"{last} without filter='data', line {node.lineno}")
        elif last == "unpack_archive" and not says("filter", "data"):
            found.append(f"unpack_archive without filter='data', line {node.lineno}")
        elif says("shell", True) or last in ("create_subprocess_shell", "getoutput", "getstatusoutput"):
            found.append(f"a shell in {name}, line {node.lineno}")
    return found


def imported(tree: ast.AST) -> dict[str, str]:
    """{name in the module: what it names}."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {a.asname or a.name.partition(".")[0]: a.name if a.asname else a.name.partition(".")[0]
                      for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return names


def dotted(node: ast.AST, names: dict[str, str]) -> str:
    """The full name of what is called; what is not a name is left out."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, names)}.{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def unrestrained(node: ast.ClassDef, names: dict[str, str]) -> bool:
    """A class of unpicklers that find whatever global a file names."""
    return any(dotted(base, names) in ("pickle.Unpickler", "pickle._Unpickler") for base in node.bases) and not any(
        isinstance(part, ast.FunctionDef) and part.name == "find_class" for part in node.body)


def safe_loader(node: ast.AST | None, tree: ast.AST) -> bool:
    """SafeLoader, or a class of the module that is one."""
    if node is None:
        return False
    safe = {c.name for c in ast.walk(tree) if isinstance(c, ast.ClassDef)
            and any(ast.unparse(base) in ("yaml.SafeLoader", "yaml.CSafeLoader") for base in c.bases)}
    return ast.unparse(node) in safe | {"yaml.SafeLoader", "yaml.CSafeLoader"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_can_run_code(path):
    assert faults(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("source", [
    "import pickle\npickle.load(f)", "from pickle import loads as read\nread(b)", "import torch\ntorch.load(p)",
    "import torch as t\nt.load(p, weights_only=False)", "import numpy as np\nnp.load(p)",
    "import numpy\nnumpy.load(p, allow_pickle=True)", "import yaml\nyaml.load(t)",
    "import yaml\nyaml.load(t, Loader=yaml.Loader)",
    "import yaml\nclass A(yaml.Loader): pass\nyaml.load(t, Loader=A)", "import tarfile\ntarfile.open(p).extractall(d)",
    "import zipfile\nzipfile.ZipFile(p).extract(m, filter='tar')", "import shutil\nshutil.unpack_archive(p)",
    "import subprocess\nsubprocess.run(c, shell=True)", "eval(text)", "import os\nos.system(c)",
    "import pandas as pd\npd.read_pickle(p)", "import pickle\nclass A(pickle.Unpickler): pass",
])
def test_faults_wrong_sources_are_found(source):
    assert len(faults(ast.parse(source))) == 1


@pytest.mark.parametrize("source", [
    "import torch\ntorch.load(p, weights_only=True)", "import numpy as np\nnp.load(p, allow_pickle=False)",
    "import yaml\nclass A(yaml.SafeLoader): pass\nyaml.load(t, Loader=A)", "import yaml\nyaml.safe_load(t)",
    "import tarfile\ntarfile.open(p).extractall(d, filter='data')", "import subprocess\nsubprocess.run(['a'])",
    "import pickle\nisinstance(e, pickle.UnpicklingError)",
    "import pickle\nclass A(pickle._Unpickler):\n def find_class(self, module, name): raise ValueError",
    "model.eval()", "re.compile(x)",
])
def test_faults_right_sources_pass(source):
    assert faults(ast.parse(source)) == []


def test_all_sources_are_walked():
    assert len(SOURCES) > 150 and any(p.name == "record.py" for p in SOURCES)
