"""``cite``: the papers, models and data of a study or run, as BibTeX."""

from pathlib import Path
from typing import Annotated

import typer

from headscope.cli.options import Json, Settings, complete_study, print_json
from headscope.cli.terminal import say_text

Cited = Annotated[
    str, typer.Argument(autocompletion=complete_study, help="A study (file or built-in name) or a run directory.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("cite")(cite_command)


def cite_command(study: Cited = "lab", settings: Settings = None, json: Json = False) -> int:
    """Print what a study or a run rests on as BibTeX: headscope, its paper, methods, models and data."""
    from headscope.runs import RunDirectory
    from headscope.studies.cite import cite
    from headscope.studies.reading import read_study

    if Path(study).is_dir():
        content = RunDirectory.open(study).lock()["study"]
    else:
        content = read_study(study, settings or []).model_dump(mode="json")
    text = cite(content)
    if json:
        print_json({"study": content["name"], "bibtex": text})
    else:
        say_text(text.rstrip("\n"))
    return 0
