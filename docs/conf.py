"""Sphinx: these pages, and a reference of every module from its docstrings. Warnings are errors (`make docs`)."""

import re
import sys
from pathlib import Path

from sphinx.addnodes import pending_xref
from sphinx.util import logging

ROOT = Path(__file__).parents[1]
PACKAGES = ("dna_asic", "rtl_gen", "sim", "flows")
FOLDERS = "|".join([*PACKAGES, "tests", "benchmarks", "docs", *(p.name for p in (ROOT / "dna_asic").glob("*/"))])
FILE = re.compile(rf"`((?:{FOLDERS})/(?!\S*\.json`)[\w./-]*)`")
sys.path.insert(0, str(ROOT))

project = "dna-asic"
extensions = ["myst_parser", "sphinx.ext.apidoc", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
apidoc_modules = [{"path": f"../{package}", "destination": f"api/{package}", "module_first": True,
                   "automodule_options": {"members"}} for package in PACKAGES]
default_role = "code"
autodoc_member_order = "bysource"
autodoc_use_type_comments = False
toc_object_entries = False
myst_heading_anchors = 3
html_theme = "alabaster"
html_show_sourcelink = False


def setup(app):
    """Connect what Sphinx does not check, and what it need not look up."""
    app.connect("source-read", files_exist)
    app.connect("doctree-read", plain_foreign_types)


def files_exist(app, page, source):
    """Warn of a file that a page names and the project lacks."""
    text = source[0] + ((ROOT / "README.md").read_text(encoding="utf-8") if page == "index" else "")
    for name in FILE.findall(text):
        if not any((root / name).exists() for root in (ROOT, ROOT / "dna_asic")):
            logging.getLogger(__name__).warning("'%s' is no file of the project", name, location=page)


def plain_foreign_types(app, doctree):
    """Types that are not of this project are text: each would be looked for among all names in vain."""
    for reference in list(doctree.findall(pending_xref)):
        if reference["refdomain"] == "py" and reference["reftarget"].split(".")[0] not in PACKAGES:
            reference.replace_self(reference.children)
