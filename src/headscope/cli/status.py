"""``status``: how far a run directory is."""

import typer

from headscope.cli.options import Json, RunPath, print_json, print_tables, tables_json
from headscope.cli.terminal import say


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status_command)


def status_command(path: RunPath, json: Json = False) -> int:
    """Print done, damaged, failed and missing units of a run directory, by kind; 1 if any is damaged or failed."""
    from headscope.cli.progress import for_terminal
    from headscope.report.tables.coverage import coverage as coverage_table
    from headscope.runs import RunDirectory
    from headscope.runs.coverage import coverage

    run = RunDirectory.open(path)
    covered = coverage(run, check_files=True, progress=for_terminal())
    tables = [coverage_table(covered)]
    if json:
        failures = [{"unit": name, "reason": reason} for name, reason in covered.failures]
        damages = [{"unit": name, "reason": reason} for name, reason in covered.damages]
        print_json({"run": str(run.path)} | tables_json(tables) | {"failures": failures, "damages": damages})
    else:
        print_tables(tables)
        for name, reason in covered.failures:
            say(f"{name} failed: {reason}")
        for name, reason in covered.damages:
            say(f"{name} is damaged: {reason}; run the study with --retry to do it again")
        say(run.path)
    return 1 if covered.failures or covered.damages else 0
