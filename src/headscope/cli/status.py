"""``status``: how far a run directory is."""

import typer

from headscope.cli.options import Json, RunPath, print_json, print_tables, tables_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status_command)


def status_command(path: RunPath, json: Json = False) -> int:
    """Done, failed and missing units of a run directory, by kind."""
    from headscope.report.sanitising import plain_text
    from headscope.report.tables.coverage import coverage as coverage_table
    from headscope.runs import RunDirectory
    from headscope.runs.coverage import coverage

    run = RunDirectory.open(path)
    covered = coverage(run)
    tables = [coverage_table(covered)]
    if json:
        failures = [{"unit": name, "reason": reason} for name, reason in covered.failures]
        print_json({"run": str(run.path)} | tables_json(tables) | {"failures": failures})
        return 0
    print_tables(tables)
    for name, reason in covered.failures:
        print(plain_text(f"{name} failed: {reason}"))
    print(run.path)
    return 0
