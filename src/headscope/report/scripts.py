"""The page's ES modules as one inline module: a file opened from disk cannot import another.

Modules are joined in the order of their imports. Each keeps its top-level names unique, which the browser
itself enforces once they share a scope, and imports only as ``import { a, b } from "./other.js";``.
"""

import re
from pathlib import Path

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=async function|function|const|class)", re.MULTILINE)


def join_modules(entry: Path) -> str:
    """Return ``entry`` and all it imports, each once, imported modules first."""
    parts: dict[Path, str] = {}

    def visit(path: Path) -> None:
        if path in parts:
            return
        source = path.read_text(encoding="utf-8")
        for name in _IMPORT.findall(source):
            visit(path.with_name(name))
        parts[path] = _EXPORT.sub("", _IMPORT.sub("", source))

    visit(entry)
    return "\n".join(parts.values())
