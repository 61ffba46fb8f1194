"""Arguments and options that several commands share."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headscope.cli.terminal import say_json, say_text
from headscope.lab.builtin_studies import builtin_studies

if TYPE_CHECKING:
    from headscope.results.codec import Json as JsonValue
    from headscope.results.table import Table


def complete_study(incomplete: str) -> list[str]:
    """Return the built-in studies that begin so, for the shell's completion; files it completes itself."""
    return [name for name in builtin_studies() if name.startswith(incomplete)]


StudyArgument = Annotated[
    str,
    typer.Argument(autocompletion=complete_study, help="A study file (YAML) or a built-in study; none means the lab."),
]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Override one key, as eval.samples=4. Repeatable.")]
Out = Annotated[Path | None, typer.Option("--out", help="Run directory; runs/NAME by default.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Base = Annotated[str | None, typer.Option(help="Without a study file: the base model (folder or hub id).")]
Posts = Annotated[
    list[str] | None, typer.Option("--post", help="Without a study file: a post-trained model. Repeatable.")
]
Tasks = Annotated[
    list[str] | None, typer.Option("--task", help="Without a study file: a task by name or file. Repeatable.")
]
RunPath = Annotated[str, typer.Argument(help="A run directory, also s3://…, gs://…, https://….")]


def run_folder(name: str, out: Path | None) -> Path:
    """Return the folder that a study's results go to. Raises InputError for a URL."""
    from headscope.runs.remote import local_folder

    return local_folder(out) if out else Path("runs") / name


def parse_duration(text: str) -> float:
    """Return the seconds of ``90s``, ``45m``, ``1.5h`` or ``2d``. Raises InputError for anything else."""
    from headscope.errors import InputError

    match = re.fullmatch(r"(\d+(?:\.\d+)?) *(s|m|min|h|d)", text.strip())
    if match is None or not float(match[1]):
        raise InputError(f"budget {text!r} is no length of time; give a number with s, m, h or d, as 90m or 2h")
    return float(match[1]) * {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}[match[2]]


def print_json(value: "dict[str, JsonValue]") -> None:
    """Print one JSON object on standard output.

    JSON has neither number: NaN, which is unknown, becomes null, and infinity the text ``Infinity``.
    """
    from headscope.results.codec import to_json

    say_json(json.dumps(to_json(value), ensure_ascii=False, allow_nan=False))


def print_tables(tables: "Iterable[Table]") -> None:
    """Print the tables that have rows as Markdown, an empty line after each."""
    for table in tables:
        if table.rows:
            say_text(f"{table.markdown()}\n")


def tables_json(tables: "Iterable[Table]") -> "dict[str, JsonValue]":
    """Return the rows of each table by its name, with the full numbers."""
    return {table.name: table.records() for table in tables}
