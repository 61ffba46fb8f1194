"""``status``: how far a run directory is, also while processes on any machine are at work in it."""

import time
from typing import TYPE_CHECKING

import typer

from headscope.cli.options import Json, RunPath, print_json, print_tables, tables_json
from headscope.cli.terminal import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headscope.runs.coverage import Coverage, Running

WATCH_SECONDS = 5.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status_command)


def status_command(
    path: RunPath,
    check: bool = typer.Option(False, "--check", help="Read every file of every finished unit, to find damage."),
    watch: bool = typer.Option(False, "--watch", help="Say it again every few seconds while anybody is at work there."),
    json: Json = False,
) -> int:
    """Print done, running, failed and missing units of a run directory, by kind; 1 if any is damaged or failed."""
    from headscope.cli.progress import for_terminal
    from headscope.progress import SILENT
    from headscope.runs import RunDirectory
    from headscope.runs.coverage import coverage

    run = RunDirectory.open(path)
    while True:
        covered = coverage(run, check_files=check, progress=for_terminal() if check else SILENT)
        _print_status(str(run), covered, json=json)
        if not watch or not covered.running:
            return 1 if covered.failures or covered.damages else 0
        time.sleep(WATCH_SECONDS)


def _print_status(path: str, covered: "Coverage", *, json: bool) -> None:
    from headscope.report.tables.coverage import coverage as coverage_table

    tables = [coverage_table(covered)]
    seconds_left = covered.seconds_left
    if json:
        failures = [{"unit": name, "reason": reason} for name, reason in covered.failures]
        damages = [{"unit": name, "reason": reason} for name, reason in covered.damages]
        running = [_running_json(unit) for unit in covered.running]
        problems = {"failures": failures, "damages": damages, "running": running, "seconds_left": seconds_left}
        problems["unmeasured"] = list(covered.unmeasured)
        print_json({"run": path} | tables_json(tables) | problems)
        return
    print_tables(tables)
    for unit in covered.running:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unit.since))
        bar = "" if unit.worker.note in ("", unit.name) else f": {unit.worker.note}"
        say(f"{unit.name} is being computed by {unit.worker} since {since}{bar}")
    for name, reason in covered.failures:
        say(f"{name} failed: {reason}")
    for name, reason in covered.damages:
        say(f"{name} is damaged: {reason}; run the study with --retry to do it again")
    if seconds_left is not None:
        say(_describe_time_left(seconds_left, covered.unmeasured))
    say(path)


def _describe_time_left(seconds: float, unmeasured: "Sequence[str]") -> str:
    from headscope.results.numbers import format_duration

    if not unmeasured:
        return f"about {format_duration(seconds)} left, by what finished units of each kind took"
    kinds = ", ".join(unmeasured)
    return f"at least {format_duration(seconds)} left, by what finished units took; of {kinds} none is finished yet"


def _running_json(unit: "Running") -> dict[str, object]:
    worker = unit.worker
    place = {"host": worker.host, "process": worker.process, "note": worker.note}
    return {"unit": unit.name, "since": unit.since} | place
