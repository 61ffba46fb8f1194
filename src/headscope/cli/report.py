"""``report``: write the HTML page of a run directory again, from what is saved."""

from pathlib import Path
from typing import Annotated

import typer

from headscope.cli.options import Json, RunPath, print_json, print_tables, tables_json
from headscope.cli.terminal import say


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report_command)


def report_command(
    path: RunPath,
    picture: Annotated[Path | None, typer.Option(help="Also save the overview figure (PNG or SVG).")] = None,
    json: Json = False,
) -> int:
    """Render report/report.html and print the tables of ``run``; needs neither a GPU nor the models."""
    from headscope.report import RunResults, render, verb_tables
    from headscope.runs import RunDirectory

    run = RunDirectory.open(path)
    page = render(run)
    tables = verb_tables("run", RunResults(run))
    if picture is not None:
        from headscope.report.paper import overview_figure

        overview_figure(run).savefig(picture, dpi=150)
    if json:
        print_json({"run": str(run.path), "open": str(page)} | tables_json(tables))
    else:
        print_tables(tables)
        say(page)
    return 0
