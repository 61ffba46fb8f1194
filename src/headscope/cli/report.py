"""``report``: write the HTML page of a run directory again, from what is saved."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headscope.cli.options import Json, RunPath, print_json, print_tables, tables_json
from headscope.cli.terminal import say
from headscope.errors import InputError

if TYPE_CHECKING:
    from headscope.runs import RunDirectory


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report_command)


def report_command(
    path: RunPath,
    picture: Annotated[Path | None, typer.Option(help="Also save the overview figure (PNG or SVG).")] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Draw every figure and table of the paper into DIR (PDF, SVG, PNG, CSV, LaTeX)."
        ),
    ] = None,
    formats: Annotated[
        list[str] | None, typer.Option("--format", help="With --figures: pdf, svg or png alone. Repeatable.")
    ] = None,
    json: Json = False,
) -> int:
    """Render report/report.html and print the tables of ``run``; needs neither a GPU nor the models.

    The page of a run elsewhere (s3://…, https://…), or in a folder that cannot be written, is NAME-report.html in the
    working folder.

    With --figures, draw the paper's figures and tables instead, and print which the run can show and what it lacks.
    """
    from headscope.report import RunResults, render, verb_tables
    from headscope.runs import RunDirectory

    run = RunDirectory.open(path)
    if formats and figures is None:
        raise InputError("--format is of --figures DIR, which is not given; the page has one format")
    if picture is not None and figures is not None:
        raise InputError("--picture is of the page, and --figures draws every figure instead; give one of them")
    if figures is not None:
        return _write_figures(run, figures, formats, as_json=json)
    if picture is not None and picture.suffix not in (".png", ".svg"):
        raise InputError(f"--picture {picture} ends in {picture.suffix or 'nothing'}; .png and .svg are drawn")
    if picture is not None and not picture.parent.is_dir():
        raise InputError(f"--picture {picture} lies in {picture.parent}, which does not exist; name a folder that does")
    page = render(run)
    tables = verb_tables("run", RunResults(run))
    if picture is not None:
        from headscope.report.paper import overview_figure

        overview_figure(run).savefig(picture, dpi=150)
    if json:
        print_json({"run": str(run), "open": str(page)} | tables_json(tables))
    else:
        print_tables(tables)
        say(page)
    return 0


def _write_figures(run: "RunDirectory", folder: Path, formats: list[str] | None, *, as_json: bool) -> int:
    """Write the figures of the paper, and print a row for each and the folder."""
    from headscope.report.paper import FORMATS, write_figures

    written = write_figures(run, folder, formats or FORMATS)
    tables = [written.table()]
    if as_json:
        print_json({"run": str(run), "open": str(folder / "index.html")} | tables_json(tables))
    else:
        print_tables(tables)
        say(folder)
    return 0
