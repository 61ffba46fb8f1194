"""``plan``: what a study would do, before anything is loaded."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from headscope.cli.options import (
    Base,
    Json,
    Out,
    Posts,
    Settings,
    StudyArgument,
    Tasks,
    choose_study,
    print_json,
    run_folder,
)
from headscope.cli.terminal import say

if TYPE_CHECKING:
    from headscope.runs import RunDirectory, Unit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plan")(plan_command)


def plan_command(
    study: StudyArgument = "lab",
    out: Out = None,
    settings: Settings = None,
    base: Base = None,
    post: Posts = None,
    task: Tasks = None,
    json: Json = False,
) -> int:
    """Print the units a study asks for, and which of them are done."""
    from headscope.runs import RunDirectory
    from headscope.studies.evaluate import detectable_differences
    from headscope.studies.plan import plan
    from headscope.studies.preflight import find_small_counts

    chosen = choose_study(study, settings, base, post, task)
    run = RunDirectory(run_folder(chosen.name, out))
    run.check_lock()
    units, noise = plan(chosen, run), detectable_differences(chosen)
    warnings = find_small_counts(chosen)
    if json:
        rows = [
            {"kind": unit.kind, "digest": unit.digest, "labels": unit.labels, "done": run.is_done(unit)}
            for unit in units
        ]
        header = {"study": chosen.name, "run": str(run.path)}
        print_json({**header, "units": rows, "detectable": noise, "warnings": warnings})
    else:
        print_plan(units, run)
        cells = [f"{row['task']} {row['difference']:.1%} ({row['problems']} × {row['samples']})" for row in noise]
        for warning in warnings:
            say(f"warning: {warning}")
        say(f"smallest difference of pass@1 that would be found 4 times in 5: {', '.join(cells)}")
        say(run.path)
    return 0


def print_plan(units: "Sequence[Unit]", run: "RunDirectory") -> None:
    """Print one line: how many units of each kind, and how many of them are there already."""
    planned = Counter(unit.kind for unit in units)
    finished = Counter(unit.kind for unit in units if run.is_done(unit))
    parts = []
    for kind, count in planned.items():
        parts.append(f"{count} {kind}" + (f" ({finished[kind]} done)" if finished[kind] else ""))
    say(f"plan: {len(units)} units: {', '.join(parts)}")
