"""``score``: check saved responses again, with today's checker or against another task's gold answers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headscope.cli.options import Json, print_json, print_tables
from headscope.cli.terminal import say

if TYPE_CHECKING:
    from headscope.studies.score import Rescored

Saved = Annotated[Path, typer.Argument(help="A run directory, or a folder with samples.parquet.")]
TaskOption = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="Gold answers of this task or file, instead of the saved ones; with column names as in a study file: "
        "'{file: mine.jsonl, answer: gold}'.",
    ),
]
Data = Annotated[Path | None, typer.Option("--data-dir", help="Folder with the files of named benchmarks.")]
Scored = Annotated[Path | None, typer.Option("--out", help="Write the new verdicts and measures below this folder.")]
Ks = Annotated[list[int] | None, typer.Option("--k", help="For pass@k; 1 and all samples by default. Repeatable.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("score")(score_command)


def score_command(
    saved: Saved,
    task: TaskOption = None,
    data_dir: Data = None,
    k: Ks = None,
    out: Scored = None,
    json: Json = False,
) -> int:
    """Check saved samples again; nothing is sampled, and what was saved stays as it is."""
    from headscope.cli.progress import for_terminal
    from headscope.studies.reading import read_task
    from headscope.studies.score import score

    gold_task = None if task is None else read_task(task, data_dir)
    rescored = score(saved, gold_task, ks=tuple(k or ()), out=out, progress=for_terminal())
    if json:
        print_json({"open": str(out or saved), "scored": [result.as_dict() for result in rescored]})
    else:
        _print(rescored)
        say(out or saved)
    return 0


def _print(rescored: "list[Rescored]") -> None:
    from headscope.results.table import Table

    print_tables([Table("scored", tuple(result.row() for result in rescored))])
    for result in rescored:
        for change, count in result.changes.items():
            say(f"{result.name}: {count} × {change}")
