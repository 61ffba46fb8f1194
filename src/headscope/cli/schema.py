"""``schema``: the study file's JSON Schema, for editors."""

import typer

from headscope.cli.options import Json
from headscope.cli.terminal import say_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("schema")(schema_command)


def schema_command(json: Json = True) -> int:
    """Print the JSON Schema of study files; an editor reads it if a file begins with `# yaml-language-server:
    $schema=study.schema.json`."""
    from headscope.studies.study_file.schema import write_schema

    say_json(write_schema().rstrip("\n"))
    return 0
