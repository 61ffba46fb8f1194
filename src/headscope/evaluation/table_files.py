"""Rows of a table file: JSON, JSONL or Parquet."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headscope.errors import InputError

Row = dict[str, Any]
"""Cells by column, whatever JSON or Parquet holds."""


def read_table(path: Path, title: str = "table") -> list[Row]:
    """Read the rows of a ``.json`` (a list of objects), ``.jsonl`` or ``.parquet`` file.

    title: what errors call the file, such as ``task file``.
    Raises InputError if the file is missing, of another type, not what its suffix says, or empty.
    """
    if path.suffix not in _READERS:
        raise InputError(f"{title} {path} cannot be read; allowed: {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"{title} {path} does not exist; correct its path")
    content = _READERS[path.suffix](path)
    if not content:
        raise InputError(f"{title} {path} is empty: it has no rows, and at least one is needed")
    rows: list[Row] = []
    for number, row in enumerate(content, start=1):
        if not isinstance(row, dict):
            raise InputError(f"row {number} of {path} is no object with named columns but {row!r:.40}")
        rows.append(row)
    return rows


def _read_json(path: Path) -> list[object]:
    text = read_text(path)
    first_line, _, more = text.strip().partition("\n")
    if more and first_line.startswith("{") and first_line.rstrip().endswith("}"):  # JSON lines, by another name
        return _parse_lines(text, path)
    rows = _parse_json(text, str(path)) if text.strip() else []
    if not isinstance(rows, list):
        raise InputError(f"{path} holds a {type(rows).__name__}, not a list of objects")
    return rows


def _read_jsonl(path: Path) -> list[object]:
    return _parse_lines(read_text(path), path)


def _parse_lines(text: str, path: Path) -> list[object]:
    rows: list[object] = []
    # Not splitlines: JSON strings may hold U+2028, U+0085 and other line breaks as they are.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            rows.append(_parse_json(line, f"line {number} of {path}"))
    return rows


def _read_parquet(path: Path) -> list[object]:
    import pyarrow.lib
    import pyarrow.parquet

    try:
        rows: list[object] = pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.lib.ArrowInvalid as error:
        raise InputError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}") from error
    return rows


def read_text(path: Path) -> str:
    """Read a file's text, its line ends as they are. Raises InputError if it is not UTF-8."""
    try:
        # utf-8-sig: spreadsheets begin their files with a byte order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error


def _parse_json(text: str, origin: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{origin} is not JSON: {error.msg} at column {error.colno}") from error


_READERS: dict[str, Callable[[Path], list[object]]] = {
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
SUFFIXES = tuple(_READERS)
