"""``audit``: what a published table of scores can show."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headscope.cli.options import Json, print_json, print_tables
from headscope.cli.terminal import say

if TYPE_CHECKING:
    from headscope.evaluation.audit import Audit
    from headscope.results.table import Row, Table

File = Annotated[Path, typer.Argument(help="CSV, Markdown or JSON: rows are models, columns benchmarks.")]
Sizes = Annotated[list[str] | None, typer.Option("--n", help="Problems of a column, as AMC=83. Repeatable.")]
Against = Annotated[str | None, typer.Option(help="The row the others are compared with; the first by default.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("audit")(audit_command)


def audit_command(file: File, sizes: Sizes = None, against: Against = None, json: Json = False) -> int:
    """Check which scores are multiples of 1/n, and which differences could have been told from chance."""
    from headscope.evaluation.audit import audit
    from headscope.evaluation.score_table import read_score_table

    result = audit(read_score_table(file), _parse_sizes(sizes or []), against=against)
    if json:
        print_json({"open": str(file), **result.as_dict()})
    else:
        _print(result)
        say(file)
    return 0


def _parse_sizes(options: Sequence[str]) -> dict[str, int]:
    from headscope.errors import InputError

    sizes = {}
    for option in options:
        name, equals, count = option.rpartition("=")
        if not equals or not name or not count.isdigit():
            raise InputError(f"--n {option!r} is not of the form COLUMN=COUNT")
        sizes[name] = int(count)
    return sizes


def _print(audit: "Audit") -> None:
    print_tables([_columns_table(audit), _cells_table(audit), _differences_table(audit)])
    if audit.differences:
        hidden = sum(not difference.shown for difference in audit.differences)
        total = len(audit.differences)
        say(f"{hidden} of {total} differences of single answers could not have been told from chance")
    if audit.unread:
        say(f"cells without a number, not audited: {', '.join(audit.unread)}")
    if audit.unknown:
        say(f"number of problems unknown, not audited: {', '.join(audit.unknown)}; give it with --n COLUMN=COUNT")


def _columns_table(audit: "Audit") -> "Table":
    from headscope.results.table import Table

    rows: list[Row] = []
    for column in audit.columns:
        row: Row = {
            "column": column.name,
            "n": column.n,
            "multiples of 1/n": f"{column.multiples} of {column.cells} (by accident {column.chance:.0%})",
            "answers per problem": "over 64" if column.samples is None else f"{column.samples} or more",
            "least one answer each can show": f"{100 * column.fewest:.1f} points",
            "found 4 times in 5": None if column.samples is None else f"{100 * column.detectable:.1f} points",
        }
        rows.append(_group_column(column.group) | row)
    return Table("columns", tuple(rows))


def _cells_table(audit: "Audit") -> "Table":
    from headscope.results.table import Table

    rows: list[Row] = []
    for cell in audit.cells:
        interval = None
        if cell.low is not None and cell.high is not None:
            interval = f"{100 * cell.low:.0f}-{100 * cell.high:.0f}"
        row: Row = {
            "row": cell.row,
            "column": cell.column,
            "score": cell.printed,
            "problems": cell.count,
            "95 %": interval,
        }
        rows.append(_group_column(cell.group) | row)
    return Table("cells", tuple(rows))


def _differences_table(audit: "Audit") -> "Table":
    from headscope.results.numbers import format_number, format_p
    from headscope.results.table import Table

    rows: list[Row] = []
    for difference in audit.differences:
        row: Row = {
            "row": difference.row,
            "against": difference.against,
            "column": difference.column,
            "problems": format_number(float(difference.problems), 0, sign=True),
            "smallest p": format_p(difference.p_value),
            "could be shown": "yes" if difference.shown else "no",
        }
        rows.append(_group_column(difference.group) | row)
    return Table("differences", tuple(rows))


def _group_column(group: str) -> "Row":
    """Return whose rows they are; no column if the table has but one group."""
    return {"of": group} if group else {}
