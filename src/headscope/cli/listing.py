"""``ls``: what can be named in a study file."""

from enum import StrEnum
from typing import TYPE_CHECKING, cast

import typer

from headscope.cli.options import Json, print_json
from headscope.cli.terminal import say_text

if TYPE_CHECKING:
    from headscope.results.codec import Json as JsonValue


class Kind(StrEnum):
    """One kind of thing that can be listed."""

    TASKS = "tasks"
    DATASETS = "datasets"
    MODELS = "models"
    STUDIES = "studies"
    PRESETS = "presets"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ls")(ls_command)


def ls_command(kind: Kind | None = typer.Argument(None), json: Json = False) -> int:
    """List built-in tasks, data sets, models, studies and training presets, or one kind of them."""
    kinds = list(Kind) if kind is None else [kind]
    if json:
        presets = _presets()
        print_json({name.value: presets if name == Kind.PRESETS else _names(name) for name in kinds})
    elif kind is not None:
        say_text("\n".join(_lines(kind)))
    else:
        say_text("\n\n".join("\n  ".join([f"{name.value}:", *_lines(name)]) for name in kinds))
    return 0


def _names(kind: Kind) -> list[str]:
    if kind == Kind.STUDIES:
        from headscope.lab.builtin_studies import builtin_studies

        return builtin_studies()
    if kind == Kind.MODELS:
        from headscope.model_files.named_models import NAMES

        return list(NAMES)
    if kind == Kind.PRESETS:
        return list(_presets())
    from headscope.studies.data.sources import dataset_names, task_names

    return task_names() if kind == Kind.TASKS else dataset_names()


def _lines(kind: Kind) -> list[str]:
    """Return the names of a kind; presets with their values."""
    if kind != Kind.PRESETS:
        return _names(kind)
    return [
        f"{name}: {', '.join(f'{key} {value}' for key, value in values.items())}" for name, values in _presets().items()
    ]


def _presets() -> dict[str, dict[str, "JsonValue"]]:
    from headscope.training import PRESETS

    return cast('dict[str, dict[str, "JsonValue"]]', PRESETS)
