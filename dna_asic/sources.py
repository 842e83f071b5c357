"""What kept results depend on."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

PACKAGE = Path(__file__).parent


def sources_digest(parts: Iterable[str]) -> str:
    """Changes with the sources and data of these modules and folders of the package, as "cost" or "cosearch/das.py"."""
    digest = hashlib.sha256()
    for part in sorted(parts):
        root = PACKAGE / part
        files = [root] if root.is_file() else [p for p in root.rglob("*") if p.suffix in (".py", ".yaml")]
        for path in sorted(files):
            digest.update(path.relative_to(PACKAGE).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]
