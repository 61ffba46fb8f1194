"""``audit``: what a published table of scores can show."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headscope.cli.options import Json, print_json

if TYPE_CHECKING:
    from headscope.evaluation.audit import Audit

File = Annotated[Path, typer.Argument(help="CSV, Markdown or JSON: rows are models, columns benchmarks.")]
Sizes = Annotated[list[str] | None, typer.Option("--n", help="Problems of a column, as AMC=83. Repeatable.")]
Against = Annotated[str | None, typer.Option(help="The row the others are compared with; the first by default.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("audit")(audit_command)


def audit_command(file: File, sizes: Sizes = None, against: Against = None, json: Json = False) -> int:
    """Which scores are multiples of 1/n, and which differences could have been told from chance."""
    from headscope.evaluation.audit import audit
    from headscope.evaluation.score_table import read_score_table

    found = audit(read_score_table(file), _sizes(sizes or []), against=against)
    if json:
        print_json({"open": str(file), **found.as_dict()})
    else:
        _print(found)
        print(file)
    return 0


def _sizes(given: Sequence[str]) -> dict[str, int]:
    from headscope.errors import InputError

    sizes = {}
    for each in given:
        name, equals, count = each.rpartition("=")
        if not equals or not name or not count.isdigit():
            raise InputError(f"--n {each!r} is not of the form COLUMN=COUNT")
        sizes[name] = int(count)
    return sizes


def _print(found: "Audit") -> None:
    from headscope.studies.summaries import markdown

    columns = [
        _of(each.group)
        | {
            "column": each.name,
            "n": str(each.n),
            "multiples of 1/n": f"{each.multiples} of {each.cells} (by accident {each.chance:.0%})",
            "answers per problem": "over 64" if each.samples is None else f"{each.samples} or more",
            "least one answer each can show": f"{100 * each.fewest:.1f} points",
            "found 4 times in 5": "-" if each.samples is None else f"{100 * each.detectable:.1f} points",
        }
        for each in found.columns
    ]
    cells = [
        _of(each.group)
        | {
            "row": each.row,
            "column": each.column,
            "score": each.printed,
            "problems": "-" if each.count is None else str(each.count),
            "95 %": "-" if each.low is None or each.high is None else f"{100 * each.low:.0f}-{100 * each.high:.0f}",
        }
        for each in found.cells
    ]
    differences = [
        _of(each.group)
        | {
            "row": each.row,
            "against": each.against,
            "column": each.column,
            "problems": f"{each.problems:+d}",
            "smallest p": f"{each.p_value:.2g}",
            "could be shown": "yes" if each.shown else "no",
        }
        for each in found.differences
    ]
    print("\n\n".join(filter(None, map(markdown, (columns, cells, differences)))))
    if differences:
        hidden = sum(not each.shown for each in found.differences)
        print(f"\n{hidden} of {len(differences)} differences of single answers could not have been told from chance")
    if found.unread:
        print(f"cells without a number, not audited: {', '.join(found.unread)}")
    if found.unknown:
        print(f"number of problems unknown, not audited: {', '.join(found.unknown)}; give it with --n COLUMN=COUNT")


def _of(group: str) -> dict[str, str]:
    """Whose rows; no column where the table has but one group."""
    return {"of": group} if group else {}
