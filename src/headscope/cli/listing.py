"""``ls``: what can be named in a study file."""

from enum import StrEnum

import typer

from headscope.cli.options import Json, print_json
from headscope.cli.terminal import say_text


class Kind(StrEnum):
    """What can be listed."""

    TASKS = "tasks"
    MODELS = "models"
    STUDIES = "studies"
    PRESETS = "presets"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ls")(ls_command)


def ls_command(kind: Kind, json: Json = False) -> int:
    """List built-in tasks, models, studies or training presets."""
    from headscope.model_files.named_models import NAMES
    from headscope.studies.reading import builtin_studies
    from headscope.studies.sources import task_names
    from headscope.training import PRESETS

    names = {
        Kind.TASKS: task_names(),
        Kind.MODELS: list(NAMES),
        Kind.STUDIES: builtin_studies(),
        Kind.PRESETS: list(PRESETS),
    }[kind]
    if json:
        print_json({kind.value: names})
    else:
        say_text("\n".join(names))
    return 0
