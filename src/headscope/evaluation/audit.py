"""Audit a published table of scores: which cells are a whole number of problems out of n, and which differences
could have been told from chance.

1. A score with one answer per problem is a multiple of 1/n. A cell that is one, rounded or cut to its printed digits,
   very likely had one answer; how likely by accident, ``chance`` says. Any other cell had several, or another n:
   the fewest answers that allow all cells of a benchmark, ``samples`` says.
2. Between two such cells some problems flipped. The kindest reading is that all flipped the same way, and that the
   counts are as far apart as their printed digits allow: the exact McNemar p of that reading is the smallest the data
   can have had. If even it is above 0.05, no analysis could have told the difference from chance.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import product

from headscope.errors import InputError, suggestion
from headscope.evaluation.score_table import ScoreTable, problem_count
from headscope.measures.intervals import wilson
from headscope.measures.paired_tests import fewest_flips, flip_p_value, smallest_detectable
from headscope.results.numbers import ALPHA

MOST_SAMPLES = 64
"""Answers per problem up to which a column's scores are explained."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One score.

    group, row, column: its place in the table.
    printed: as in the table.
    count: problems solved of n, None if the score is no multiple of 1/n; of several that read alike the nearest.
    low, high: Wilson's interval with one answer per problem, None without a count.
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

    group, name: its place in the table.
    n: problems.
    cells: its scores.
    multiples: scores that are multiples of 1/n.
    chance: share of all scores with their digits that are.
    samples: the fewest answers per problem that allow every cell, None if up to MOST_SAMPLES do not.
    fewest: the smallest difference single answers can show.
    detectable: the difference that ``samples`` answers find 4 times in 5; NaN if that is None.
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
    """Two cells of one column.

    group, row, column: of the one cell. against: the row of the other.
    problems: solved more than by the row compared with, by the nearest counts.
    p_value: the smallest that McNemar's test can give with any counts that read like the two scores.
    shown: whether it can be at most 0.05.
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
    """The audit of one table.

    unknown: columns whose number of problems is not known. unread: cells that hold no number.
    """

    columns: tuple[Column, ...]
    cells: tuple[Cell, ...]
    differences: tuple[Difference, ...]
    unknown: tuple[str, ...]
    unread: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return asdict(self)


def audit(table: ScoreTable, sizes: Mapping[str, int] | None = None, *, against: str | None = None) -> Audit:
    """Audit every column whose number of problems is given (``sizes``), stated in its name, or known.

    against: the row that the others of its group are compared with; a group without such a row has no differences.
        None takes the first of each group.
    Raises InputError for a size of a column that is not there or below 1, a row that is not there, a score outside the
    scale, or no column of known size.
    """
    counts = _problem_counts(table, sizes or {})
    if against is not None and against not in table.labels:
        raise InputError(f"row {against!r} is not in the table{suggestion(against, table.labels)}")
    percent = _is_in_percent(table)  # once for the whole table: one column may hold nothing above 1 %
    columns: list[Column] = []
    cells: list[Cell] = []
    differences: list[Difference] = []
    for group, (index, name) in product(dict.fromkeys(table.groups), enumerate(table.columns)):
        n = counts[name]
        printed = _printed_scores(table, group, index)
        if n is None or not printed:
            continue
        column_cells = _cells(group, name, n, printed, percent=percent)
        cells += column_cells
        columns.append(_column(n, column_cells, percent=percent))
        differences += _differences(n, column_cells, against, percent=percent)
    unknown = tuple(name for name, n in counts.items() if n is None)
    return Audit(tuple(columns), tuple(cells), tuple(differences), unknown, table.unread)


def _problem_counts(table: ScoreTable, sizes: Mapping[str, int]) -> dict[str, int | None]:
    """Return the number of problems by column, None if it is not known."""
    for name, size in sizes.items():
        if name not in table.columns:
            raise InputError(f"column {name!r} is not in the table{suggestion(name, table.columns)}")
        if size < 1:
            raise InputError(f"column {name!r} cannot have {size} problems; allowed: 1 or more")
    counts = {name: sizes.get(name) or problem_count(name) for name in table.columns}
    if all(n is None for n in counts.values()):
        raise InputError(f"the number of problems of no column is known ({', '.join(counts)}); give COLUMN=COUNT")
    return counts


def _printed_scores(table: ScoreTable, group: str, index: int) -> dict[str, str]:
    """Return the scores of column ``index`` in ``group`` by row, without empty cells."""
    printed = {}
    for label, row_group, row in zip(table.labels, table.groups, table.cells, strict=True):
        if row_group == group and row[index]:
            printed[label] = row[index]
    return printed


def _is_in_percent(table: ScoreTable) -> bool:
    """Return whether scores are percentages; they are shares of 1 only if nothing in the whole table exceeds 1."""
    return any(Fraction(cell) > 1 for row in table.cells for cell in row if cell)


def _cells(group: str, name: str, n: int, printed: Mapping[str, str], *, percent: bool) -> list[Cell]:
    cells = []
    whole = 100 if percent else 1
    for label, text in printed.items():
        if not 0 <= Fraction(text) <= whole:
            raise InputError(f"score {text} of {label!r} in column {name!r} is outside 0-{whole}")
        count = _nearest_count(text, n, percent)
        interval = None if count is None else wilson(count, n)
        low = None if interval is None else interval.low
        high = None if interval is None else interval.high
        cells.append(Cell(group, label, name, text, count, low, high))
    return cells


def _matching_counts(text: str, n: int, percent: bool) -> range:
    """Return the counts whose share of n, rounded or cut to the digits of ``text``, reads like it.

    Fractions throughout: whether 26.65 rounds to 26.7 must not depend on its binary representation.
    """
    whole = 100 if percent else 1
    share = Fraction(text) / whole
    step = Fraction(1, 10 ** _digits(text)) / whole
    # Rounding may have gone either way, by up to half a step; cutting only down, by less than a whole one.
    lowest = math.ceil((share - step / 2) * n)
    end = math.ceil((share + step) * n)
    return range(max(lowest, 0), min(end, n + 1))


def _nearest_count(text: str, n: int, percent: bool) -> int | None:
    """Return the matching count whose share is nearest to ``text``, the lower of two; None if none matches."""
    share = Fraction(text) / (100 if percent else 1)
    return min(_matching_counts(text, n, percent), key=lambda count: abs(count - share * n), default=None)


def _column(n: int, cells: list[Cell], *, percent: bool) -> Column:
    samples = _fewest_samples(n, cells, percent=percent)
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


def _fewest_samples(n: int, cells: list[Cell], *, percent: bool) -> int | None:
    """Return the fewest answers per problem with which every cell is a multiple; None if MOST_SAMPLES are too few."""
    for samples in range(1, MOST_SAMPLES + 1):
        if all(_matching_counts(cell.printed, n * samples, percent) for cell in cells):
            return samples
    return None


def _digits(text: str) -> int:
    """Count the printed decimals."""
    return len(text.partition(".")[2])


@lru_cache(maxsize=256)
def _chance(n: int, digits: int, percent: bool) -> float:
    """Return the share of all scores with so many decimals that are multiples of 1/n."""
    scores = (100 if percent else 1) * 10**digits
    texts = (f"{score / 10**digits:.{digits}f}" for score in range(scores + 1))
    return float(sum(bool(_matching_counts(text, n, percent)) for text in texts) / (scores + 1))


def _differences(n: int, cells: list[Cell], against: str | None, *, percent: bool) -> list[Difference]:
    """Compare every cell with that of the group's first row, or of the row ``against``.

    Scores that are no multiple of 1/n are left out.
    """
    first = next((cell for cell in cells if against in (None, cell.row)), None)
    if first is None or first.count is None:
        return []
    first_counts = _matching_counts(first.printed, n, percent)
    differences = []
    for cell in cells:
        if cell.count is None or cell is first:
            continue
        problems = cell.count - first.count
        counts = _matching_counts(cell.printed, n, percent)
        most_flips = max(counts[-1] - first_counts[0], first_counts[-1] - counts[0])
        p_value = flip_p_value(most_flips, 0)
        is_shown = p_value <= ALPHA
        differences.append(Difference(cell.group, cell.row, first.row, cell.column, problems, p_value, is_shown))
    return differences
