"""Published score tables: rows are models, columns benchmarks. CSV, Markdown or JSON, cells as they are printed."""

import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headscope.errors import InputError
from headscope.evaluation.tables import contents, read_table

SIZES = {
    "aime24": 30,
    "aime2024": 30,
    "aime25": 30,
    "aime2025": 30,
    "amc": 83,
    "math500": 500,
    "gsm8k": 1319,
    "gpqa": 198,
    "gpqadiamond": 198,
}
"""Problems of benchmarks known by name (letters and digits of the column's name, in lower case)."""

_NUMBER = re.compile(r"[~≈↑↓\s]*([-+]?\d+(?:\.\d+)?|\.\d+)(?=$|[\s%(±])")
_NOTHING = ("", "-", "–", "—", "n/a", "N/A")
_STATED = re.compile(r"\(\s*(?:n\s*=\s*)?(\d+)\s*\)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Published:
    """A table of scores.

    labels: of the rows. groups: whose rows they are, "" where the table has but one group. columns: benchmarks.
    cells: [row][column] the number as printed, "" where there is none. unread: what stood in such a cell, where it was
    neither empty nor a dash.
    """

    labels: tuple[str, ...]
    groups: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    unread: tuple[str, ...] = ()


def read_published(path: Path) -> Published:
    """Scores of a ``.csv``, ``.md`` (its first table), ``.json`` or ``.jsonl`` file.

    The first column names the rows. Where it leaves cells empty or repeats them, and the second holds no number either
    (model, method, scores), it names groups of rows, an empty cell that of the row above.
    Of a cell such as ``**26.6** (-3.4)`` the first number counts. Columns without any number are left out.
    Raises InputError where the file is missing, of another type, has no column of numbers, or one row twice in a group.
    """
    if path.suffix not in (".csv", ".md", ".json", ".jsonl"):
        raise InputError(f"{path} is no table this can audit; allowed: .csv, .md, .json, .jsonl")
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    rows = {".csv": _csv, ".md": _markdown}.get(path.suffix, _json)(path)
    if len(rows) < 2:
        raise InputError(f"{path} has no table with a head and at least one row")
    head, body = rows[0], [row for row in rows[1:] if any(cell.strip() for cell in row)]
    ragged = [number for number, row in enumerate(body, start=1) if len(row) != len(head)]
    if ragged:
        raise InputError(f"row {ragged[0]} of {path} has {len(body[ragged[0] - 1])} cells and the head {len(head)}")
    kept = [index for index in range(1, len(head)) if any(_number(row[index]) for row in body)]
    if not kept:
        raise InputError(f"{path} has no column of numbers beside its first, which names the rows")
    first = [_plain(row[0]) for row in body]
    grouped = kept[0] > 1 and ("" in first or len(set(first)) < len(first))
    groups = _filled(first) if grouped else [""] * len(body)
    labels = [_plain(row[1]) for row in body] if grouped else first
    twice = [each for each, count in Counter(zip(groups, labels, strict=True)).items() if count > 1]
    if twice:
        raise InputError(f"{path} has row {twice[0][1]!r} twice; name rows apart, or their groups in a first column")
    return Published(
        tuple(labels),
        tuple(groups),
        tuple(_plain(head[index]) for index in kept),
        tuple(tuple(_number(row[index]) for index in kept) for row in body),
        tuple(_plain(row[i]) for row in body for i in kept if not _number(row[i]) and _plain(row[i]) not in _NOTHING),
    )


def problems_of(column: str) -> int | None:
    """How many problems a column's name says or is known to have: ``AMC (83)``, ``GPQA (n = 198)``, ``AIME'24``."""
    stated = _STATED.search(column)
    return int(stated.group(1)) if stated else SIZES.get(re.sub(r"[^a-z0-9]", "", column.lower()))


def _csv(path: Path) -> list[list[str]]:
    return [row for row in csv.reader(contents(path).splitlines()) if row]


def _markdown(path: Path) -> list[list[str]]:
    """Rows of the first block of lines that begin with a bar, the rule below the head left out."""
    rows: list[list[str]] = []
    for line in contents(path).split("\n"):
        text = line.strip()
        if not text.startswith("|"):
            if rows:
                break
            continue
        cells = [cell.strip() for cell in text.strip("|").split("|")]
        if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            rows.append(cells)
    return rows


def _json(path: Path) -> list[list[str]]:
    rows: list[dict[str, Any]] = read_table(path)
    head = list(dict.fromkeys(name for row in rows for name in row))
    return [head, *(["" if row.get(name) is None else str(row[name]) for name in head] for row in rows)]


def _filled(cells: list[str]) -> list[str]:
    """Each cell, or where it is empty the one above."""
    found: list[str] = []
    for cell in cells:
        found.append(cell or (found[-1] if found else ""))
    return found


def _number(cell: str) -> str:
    """The number a cell begins with, "" where it begins with none: ``x1.3`` is a name."""
    found = _NUMBER.match(_plain(cell))
    text = "" if found is None else found.group(1)
    return f"0{text}" if text.startswith(".") else text


def _plain(cell: str) -> str:
    return re.sub(r"<[^>]*>|[*_`$]", "", cell).strip()
