"""Published score tables: rows are models, columns benchmarks. CSV, Markdown or JSON, cells as they are printed."""

import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from headscope.errors import InputError
from headscope.evaluation.table_files import read_table, read_text

PROBLEM_COUNTS = {
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

# Only at the cell's beginning, and followed by what may stand after a score: of ``1.5B`` nothing is read.
_NUMBER = re.compile(r"[~≈↑↓\s]*([-+]?\d+(?:\.\d+)?|\.\d+)(?=$|[\s%(±])")
_NOTHING = ("", "-", "–", "—", "n/a", "N/A")
_STATED = re.compile(r"\(\s*(n\s*=\s*)?(\d+)\s*\)", re.IGNORECASE)
_YEARS = range(1990, 2040)


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """A table of scores.

    labels: of the rows.
    groups: the group each row belongs to, "" if the table has but one.
    columns: benchmarks.
    cells: [row][column] the number as printed, "" if there is none.
    unread: the text of cells without a number that are neither empty nor a dash.
    """

    labels: tuple[str, ...]
    groups: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    unread: tuple[str, ...] = ()


def read_score_table(path: Path) -> ScoreTable:
    """Read the scores of a ``.csv``, ``.md`` (its first table), ``.json`` or ``.jsonl`` file.

    The first column names the rows. If it leaves cells empty or repeats them, and the second holds no number either
    (model, method, scores), it names groups of rows, an empty cell that of the row above.
    Of a cell such as ``**26.6** (-3.4)`` the first number counts. Columns without any number are left out.

    Raises:
        InputError: if the file is missing, of another type, has no column of numbers, or one row twice in a group.
    """
    head, body = _read_rows(path)
    scored = [index for index in range(1, len(head)) if any(_number(row[index]) for row in body)]
    if not scored:
        raise InputError(f"{path} has no column of numbers beside its first, which names the rows")
    first = [_plain(row[0]) for row in body]
    is_grouped = scored[0] > 1 and ("" in first or len(set(first)) < len(first))
    groups = _fill_down(first) if is_grouped else [""] * len(body)
    labels = [_plain(row[1]) for row in body] if is_grouped else first
    for (_, label), count in Counter(zip(groups, labels, strict=True)).items():
        if count > 1:
            raise InputError(f"{path} has row {label!r} twice; name rows apart, or their groups in a first column")
    cells: list[tuple[str, ...]] = []
    unread: list[str] = []
    for row in body:
        numbers = tuple(_number(row[index]) for index in scored)
        texts = [_plain(row[index]) for index in scored]
        cells.append(numbers)
        unread += [text for text, number in zip(texts, numbers, strict=True) if not number and text not in _NOTHING]
    columns = tuple(_plain(head[index]) for index in scored)
    return ScoreTable(tuple(labels), tuple(groups), columns, tuple(cells), tuple(unread))


def _read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows that are not empty, all of one width."""
    if path.suffix not in (".csv", ".md", ".json", ".jsonl"):
        raise InputError(f"{path} is no table this can audit; allowed: .csv, .md, .json, .jsonl")
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    rows = {".csv": _read_csv, ".md": _read_markdown}.get(path.suffix, _read_json)(path)
    if len(rows) < 2:
        raise InputError(f"{path} has no table with a head and at least one row")
    head = rows[0]
    body = [row for row in rows[1:] if any(cell.strip() for cell in row)]
    for number, row in enumerate(body, start=1):
        if len(row) != len(head):
            raise InputError(f"row {number} of {path} has {len(row)} cells and the head {len(head)}")
    return head, body


def problem_count(column: str) -> int | None:
    """Return how many problems a column's name is known for, or states: ``AIME'24``, ``AMC (83)``, ``GPQA (n = 198)``.

    None if it is neither. A year in brackets states nothing, so ``AIME (2024)`` is known and ``AMC (2023)`` is not.
    """
    known = PROBLEM_COUNTS.get(re.sub(r"[^a-z0-9]", "", column.lower()))
    if known is not None:
        return known
    for stated in _STATED.finditer(column):
        count = int(stated[2])
        if stated[1] or count not in _YEARS:
            return count
    return None


def _read_csv(path: Path) -> list[list[str]]:
    return [row for row in csv.reader(read_text(path).splitlines()) if row]


def _read_markdown(path: Path) -> list[list[str]]:
    """Return the rows of the first block of lines that begin with a bar, without the rule below the head."""
    rows: list[list[str]] = []
    for line in read_text(path).split("\n"):
        text = line.strip()
        if not text.startswith("|"):
            if rows:
                break
            continue
        cells = [cell.strip() for cell in text.strip("|").split("|")]
        if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            rows.append(cells)
    return rows


def _read_json(path: Path) -> list[list[str]]:
    records = read_table(path)
    head = list(dict.fromkeys(name for record in records for name in record))
    rows = [["" if record.get(name) is None else str(record[name]) for name in head] for record in records]
    return [head, *rows]


def _fill_down(cells: list[str]) -> list[str]:
    """Return the cells with every empty one filled from above."""
    filled: list[str] = []
    for cell in cells:
        filled.append(cell or (filled[-1] if filled else ""))
    return filled


def _number(cell: str) -> str:
    """Return the number a cell begins with, "" if it begins with none: ``x1.3`` is a name."""
    match = _NUMBER.match(_plain(cell))
    text = "" if match is None else match.group(1)
    return f"0{text}" if text.startswith(".") else text


def _plain(cell: str) -> str:
    """Return a cell without HTML tags and Markdown's marks."""
    return re.sub(r"<[^>]*>|[*_`$]", "", cell).strip()
