"""Arguments and options that several commands share."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from headscope.studies.study import Study

StudyArgument = Annotated[str, typer.Argument(help="A study file (YAML) or a built-in study; none means the lab.")]
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
RunPath = Annotated[Path, typer.Argument(help="A run directory.")]


def run_folder(name: str, out: Path | None) -> Path:
    """Where a study's results go."""
    return out or Path("runs") / name


def chosen_study(
    study: str,
    settings: Sequence[str] | None,
    base: str | None,
    posts: Sequence[str] | None,
    tasks: Sequence[str] | None,
) -> "Study":
    """The study a file, a built-in name, or ``--base``, ``--post`` and ``--task`` describe."""
    from headscope.errors import InputError
    from headscope.studies.reading import adhoc_study, read_study

    if (posts or tasks) and not base:
        raise InputError("--post and --task describe a study without a file, which needs --base too")
    if base and study != "lab":
        raise InputError(f"found both study {study} and --base {base}; give one of them")
    return adhoc_study(base, posts or [], tasks or [], settings or []) if base else read_study(study, settings or [])


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on standard output."""
    print(json.dumps(value, ensure_ascii=False))
