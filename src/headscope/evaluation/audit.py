"""What a published table of scores can show: which cells are so many problems of n, and which differences could have
been told from chance.

1. A score with one answer per problem is a multiple of 1/n. A cell that is one, rounded or cut to its printed digits,
   very likely had one answer; how likely by accident, ``chance`` says. A cell that is none had several, or another n:
   the fewest answers that allow all cells of a benchmark, ``samples`` says.
2. Between two such cells some problems flipped. The kindest reading is that all flipped the same way: the exact McNemar
   p of that reading is the smallest the data can have had. Where even it is above 0.05, no analysis could have told the
   difference from chance.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import Any

from headscope.errors import InputError, suggestion
from headscope.evaluation.published import Published, problems_of
from headscope.measures.intervals import wilson
from headscope.measures.multiplicity import ALPHA
from headscope.measures.paired_tests import fewest_flips, flip_p_value, smallest_detectable

MOST_SAMPLES = 64


@dataclass(frozen=True, slots=True)
class Cell:
    """One score.

    printed: as in the table. count: problems solved of n, None where the score is no multiple of 1/n. low, high:
    Wilson's interval with one answer per problem, None without a count.
    """

    group: str
    row: str
    column: str
    printed: str
    count: int | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Column:
    """One benchmark in one group of rows.

    multiples: cells that are multiples of 1/n, of ``cells``. chance: share of all scores with their digits that are.
    samples: the fewest answers per problem that allow every cell, None where up to 64 do not.
    fewest: the smallest difference single answers can show. detectable: what ``samples`` answers find 4 times in 5; NaN
    where that is None.
    """

    group: str
    name: str
    n: int
    cells: int
    multiples: int
    chance: float
    samples: int | None
    fewest: float
    detectable: float


@dataclass(frozen=True, slots=True)
class Difference:
    """Two cells of one column. problems: solved more than by the row compared with; p_value: smallest that McNemar's
    test can give; shown: whether it can be at most 0.05.
    """

    group: str
    row: str
    against: str
    column: str
    problems: int
    p_value: float
    shown: bool


@dataclass(frozen=True, slots=True)
class Audit:
    """Of one table. unknown: columns whose number of problems is not known. unread: cells that hold no number."""

    columns: tuple[Column, ...]
    cells: tuple[Cell, ...]
    differences: tuple[Difference, ...]
    unknown: tuple[str, ...]
    unread: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def audit(table: Published, sizes: Mapping[str, int] | None = None, *, against: str | None = None) -> Audit:
    """Audit every column whose number of problems is given (``sizes``), stated in its name, or known.

    against: the row that the others of its group are compared with, none where a group has no such row; None takes the
        first of each group.
    Raises InputError for a size of a column that is not there or below 1, a row that is not there, a score outside the
    scale, or no column of known size.
    """
    sizes = sizes or {}
    for name, size in sizes.items():
        if name not in table.columns:
            raise InputError(f"column {name!r} is not in the table{suggestion(name, table.columns)}")
        if size < 1:
            raise InputError(f"column {name!r} cannot have {size} problems; allowed: 1 or more")
    known = {name: sizes.get(name) or problems_of(name) for name in table.columns}
    unknown = tuple(name for name, n in known.items() if n is None)
    if len(unknown) == len(known):
        raise InputError(f"the number of problems of no column is known ({', '.join(unknown)}); give COLUMN=COUNT")
    if against is not None and against not in table.labels:
        raise InputError(f"row {against!r} is not in the table{suggestion(against, table.labels)}")
    columns, cells, differences = [], [], []
    for group, (place, name) in product(dict.fromkeys(table.groups), enumerate(table.columns)):
        n = known[name]
        printed = {
            label: row[place]
            for label, within, row in zip(table.labels, table.groups, table.cells, strict=True)
            if within == group and row[place]
        }
        if n is None or not printed:
            continue
        found = _cells(group, name, n, printed, percent=_in_percent(table))
        cells += found
        columns.append(_column(n, found, percent=_in_percent(table)))
        differences += _differences(found, against)
    return Audit(tuple(columns), tuple(cells), tuple(differences), unknown, table.unread)


def _in_percent(table: Published) -> bool:
    """Shares of 1 only where nothing in the whole table exceeds it."""
    return any(Fraction(cell) > 1 for row in table.cells for cell in row if cell)


def _cells(group: str, name: str, n: int, printed: Mapping[str, str], *, percent: bool) -> list[Cell]:
    found = []
    for label, text in printed.items():
        whole = 100 if percent else 1
        if not 0 <= Fraction(text) <= whole:
            raise InputError(f"score {text} of {label!r} in column {name!r} is outside 0-{whole}")
        count = _count(text, n, percent)
        interval = None if count is None else wilson(count, n)
        low, high = (None, None) if interval is None else (interval.low, interval.high)
        found.append(Cell(group, label, name, text, count, low, high))
    return found


def _count(text: str, n: int, percent: bool) -> int | None:
    """The count whose share of n, rounded or cut to the digits of ``text``, reads like it."""
    unit, share = _unit(text), Fraction(text) / (100 if percent else 1)
    step = unit / (100 if percent else 1)
    for count in {round(share * n), int(share * n), int(share * n) + 1}:
        error = Fraction(count, n) - share
        if 0 <= count <= n and (abs(error) <= step / 2 or 0 <= error < step):
            return count
    return None


def _unit(text: str) -> Fraction:
    """What the last printed digit is worth."""
    return Fraction(1, 10 ** _digits(text))


def _column(n: int, cells: list[Cell], *, percent: bool) -> Column:
    every = range(1, MOST_SAMPLES + 1)
    fitting = (k for k in every if all(_count(cell.printed, n * k, percent) is not None for cell in cells))
    samples = next(fitting, None)
    return Column(
        group=cells[0].group,
        name=cells[0].column,
        n=n,
        cells=len(cells),
        multiples=sum(cell.count is not None for cell in cells),
        chance=sum(_chance(n, _digits(cell.printed), percent) for cell in cells) / len(cells),
        samples=samples,
        fewest=min(1.0, fewest_flips() / n),
        detectable=math.nan if samples is None else smallest_detectable(n, samples),
    )


def _digits(text: str) -> int:
    return len(text.partition(".")[2])


@lru_cache(maxsize=256)
def _chance(n: int, digits: int, percent: bool) -> float:
    scores = (100 if percent else 1) * 10**digits
    texts = (f"{score / 10**digits:.{digits}f}" for score in range(scores + 1))
    return float(sum(_count(text, n, percent) is not None for text in texts) / (scores + 1))


def _differences(cells: list[Cell], against: str | None) -> list[Difference]:
    """Against the group's first row, or that named ``against``; none where either score is no multiple of 1/n."""
    first = next((cell for cell in cells if against in (None, cell.row)), None)
    if first is None or first.count is None:
        return []
    found = []
    for cell in cells:
        if cell.count is None or cell is first:
            continue
        flips = cell.count - first.count
        p_value = flip_p_value(abs(flips), 0)
        found.append(Difference(cell.group, cell.row, first.row, cell.column, flips, p_value, p_value <= ALPHA))
    return found
