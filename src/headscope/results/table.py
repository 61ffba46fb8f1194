"""A table: rows of values that read the same on the page, in a terminal, and in a model's card."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from headscope.pairs.problems import SampleSize
from headscope.plain_text import plain_line
from headscope.results.codec import Json, to_json
from headscope.results.estimate import Estimate
from headscope.results.frames import Record, flatten
from headscope.results.numbers import (
    UNKNOWN,
    format_count,
    format_count_estimate,
    format_estimate,
    format_p,
    format_share,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Cell:
    """A value with words of its own. text: as people read it. value: the full numbers behind it, for JSON."""

    text: str
    value: object


Value = Cell | str | int | float | None
"""What a table shows in a cell. Floats are shown with three digits; None and NaN are a dash."""

Row = dict[str, Value]
"""One value per column, by the column's name."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of the same columns. name: letters and dashes. caption: what a row is, with n; for the page alone.

    Raises ValueError if a row has other columns than the first.
    """

    kind: ClassVar[str] = "table"
    name: str
    rows: tuple[Mapping[str, Value], ...]
    caption: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if tuple(row) != self.columns:
                raise ValueError(f"a row of table {self.name} has the columns {tuple(row)}, the first {self.columns}")

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the headings; none without a row."""
        return tuple(self.rows[0]) if self.rows else ()

    def markdown(self) -> str:
        """Return the table as Markdown, aligned for a terminal; empty text if it has no rows."""
        if not self.rows:
            return ""
        lines = [[_one_line(column) for column in self.columns]]
        lines += [[_one_line(display_text(value)) for value in row.values()] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        # The last column often holds a sentence: padding it would wrap every line of a terminal.
        widths[-1] = len(lines[0][-1])
        padded = ["| " + " | ".join(map(str.ljust, cells, widths)) + " |" for cells in lines]
        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        return "\n".join([padded[0], rule, *padded[1:]])

    def records(self) -> list[dict[str, Json]]:
        """Return one JSON object per row, with the full numbers."""
        return [{column: to_json(full_value(value)) for column, value in row.items()} for row in self.rows]

    def frame(self) -> "pd.DataFrame":
        """Return the full numbers as a DataFrame; an estimate is six columns, as in ``results.frames``."""
        import pandas as pd

        rows: list[Record] = []
        for row in self.rows:
            columns: Record = {}
            for name, value in row.items():
                columns |= flatten(name, full_value(value)) or {name: None}
            rows.append(columns)
        return pd.DataFrame(rows)


def display_text(value: Value) -> str:
    """Return how a value is shown."""
    if isinstance(value, Cell):
        return value.text
    if value is None or value != value:
        return UNKNOWN
    if isinstance(value, str):
        return value
    return (f"{value:.3g}" if isinstance(value, float) else str(value)).replace("-", "−")


def full_value(value: Value) -> object:
    """Return the numbers behind what is shown."""
    return value.value if isinstance(value, Cell) else value


def _one_line(text: str) -> str:
    return plain_line(text).replace("|", "\\|")


def estimate_cell(estimate: Estimate | None, digits: int = 2, *, sign: bool = False) -> Value:
    """Return the cell of an estimate with its interval; None for None."""
    return None if estimate is None else Cell(format_estimate(estimate, digits, sign=sign), estimate)


def interval_columns(name: str, estimate: Estimate, prefix: str = "") -> Row:
    """Return the columns of an estimate and both ends of its interval, as plain numbers."""
    return {name: estimate.value, f"{prefix}low": estimate.low, f"{prefix}high": estimate.high}


def count_cell(estimate: Estimate, *, sign: bool = False) -> Cell:
    """Return the cell of a number of heads with its interval."""
    return Cell(format_count_estimate(estimate, sign=sign), estimate)


def count_and_null_cell(count: Estimate, null: Estimate) -> Cell:
    """Return the cell of a number of heads, with the number that chance would show in brackets."""
    text = f"{format_count_estimate(count)} ({format_count(null.value)})"
    return Cell(text, {"count": count, "null": null})


def pairs_cell(size: SampleSize) -> Cell:
    """Return the number of pairs, as ``15 × 4`` if so many problems have several."""
    return Cell(size.short, size)


def share_cell(estimate: Estimate) -> Cell:
    """Return the cell of a share in per cent with its interval."""
    return Cell(format_share(estimate), estimate)


def percent_cell(share: float) -> Cell:
    """Return the cell of a share in per cent."""
    return Cell(f"{share:.1%}", share)


def p_cell(p_value: float) -> Cell:
    """Return the cell of a p-value."""
    return Cell(format_p(p_value), p_value)
