"""Rows of a table file: JSON, JSONL or Parquet."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headscope.errors import InputError


def read_table(path: Path) -> list[dict[str, Any]]:
    """The rows of a ``.json`` (a list of objects), ``.jsonl`` or ``.parquet`` file.

    Raises InputError where the file is missing, of another type, not what its suffix says, or empty.
    """
    if path.suffix not in _READERS:
        raise InputError(f"{path} is not a table this can read; allowed: {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    rows = _READERS[path.suffix](path)
    if not rows:
        raise InputError(f"{path} has no rows; a task needs at least one")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise InputError(f"row {number} of {path} is no object with named columns but {row!r:.40}")
    return rows


def _read_json(path: Path) -> list[Any]:
    rows = _decoded(contents(path), str(path))
    if not isinstance(rows, list):
        raise InputError(f"{path} holds a {type(rows).__name__}, not a list of objects")
    return rows


def _read_jsonl(path: Path) -> list[Any]:
    # Not splitlines: JSON strings may hold U+2028, U+0085 and other line breaks as they are.
    lines = contents(path).split("\n")
    return [_decoded(line, f"line {number} of {path}") for number, line in enumerate(lines, start=1) if line.strip()]


def _read_parquet(path: Path) -> list[Any]:
    import pyarrow.lib
    import pyarrow.parquet

    try:
        rows: list[Any] = pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.lib.ArrowInvalid as error:
        raise InputError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}") from error
    return rows


def contents(path: Path) -> str:
    """A file's text, its line ends as they are. Raises InputError where it is not UTF-8."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error


def _decoded(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is not JSON: {error.msg} at column {error.colno}") from error


_READERS: dict[str, Callable[[Path], list[Any]]] = {
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
SUFFIXES = tuple(_READERS)
