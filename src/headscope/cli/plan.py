"""``plan``: what a study would do, before anything is loaded, and what it would cost, once that has been measured."""

from collections import Counter
from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING, Annotated

import typer

from headscope.cli.option_groups import StudyOptions, flatten_groups
from headscope.cli.options import (
    Json,
    Out,
    print_json,
    print_tables,
    run_folder,
    tables_json,
)
from headscope.cli.terminal import say

if TYPE_CHECKING:
    from headscope.runs import RunDirectory, Unit
    from headscope.studies.costs.estimate import Budget, Rates, StudyCost
    from headscope.studies.study_file.study import Study

Cost = Annotated[
    bool,
    typer.Option(
        "--cost", help="Load the models and run small units of every kind once, to say what the rest will cost."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plan")(flatten_groups(plan_command))


def plan_command(study: StudyOptions, out: Out = None, cost: Cost = False, json: Json = False) -> int:
    """Print the units a study asks for, which of them are done, and what the others cost if that has been measured."""
    from headscope.runs import RunDirectory
    from headscope.studies.answers.evaluate import detectable_differences
    from headscope.studies.claim_facts import gap_lines, gaps_json, study_gaps
    from headscope.studies.costs.estimate import variants_with_unknown_steps
    from headscope.studies.costs.table import clock_seconds, clock_sentence, cost_table
    from headscope.studies.plan import plan
    from headscope.studies.preflight import find_small_counts

    chosen = study.read()
    run = RunDirectory(run_folder(chosen.name, out))
    run.check_lock()
    run.check_free(chosen.name)
    units, noise = plan(chosen, run), detectable_differences(chosen)
    foreseen, costs = study_cost(chosen, run, measure=cost)
    warnings = find_small_counts(chosen)
    gaps = study_gaps(chosen) if chosen.variants else {}
    tables = [] if costs is None else [cost_table(costs)]
    if json:
        rows = [
            {"kind": unit.kind, "digest": unit.digest, "labels": unit.labels, "done": run.is_done(unit)}
            for unit in units
        ]
        header = {"study": chosen.name, "run": str(run.path)}
        print_json(
            {**header, "units": rows, "detectable": noise, "warnings": warnings, "claims": gaps_json(gaps)}
            | tables_json(tables)
            | ({} if costs is None else {"seconds": clock_seconds(costs)})
        )
    else:
        print_plan(foreseen, run)
        if costs is None and (unknown := variants_with_unknown_steps(chosen, run)):
            where = "plan --cost finds out how many steps the epochs are, and train.max_steps says it"
            say(f"one checkpoint is counted of {', '.join(unknown)}: {where}")
        print_tables(tables)
        if costs is None:
            say("plan --cost measures what this takes in time, memory and disk")
        else:
            say("estimated from small units of each kind, run on this machine; answers may come out longer or shorter")
            if sentence := clock_sentence(costs):
                say(sentence)
        cells = []
        for row in noise:
            difference = "unknown" if isnan(row["difference"]) else f"{row['difference']:.1%}"
            cells.append(f"{row['task']} {difference} ({row['problems']} × {row['samples']})")
        for warning in warnings:
            say(f"warning: {warning}")
        for line in gap_lines(gaps):
            say(line)
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


def study_cost(
    study: "Study", run: "RunDirectory", goal: str = "run", *, measure: bool
) -> "tuple[list[Unit], StudyCost | None]":
    """Return the plan of ``goal``, and what those of its units cost that are not done.

    By rates measured before or, if ``measure``, now; None without. With rates the plan has the checkpoints of trainings
    whose number of steps only their data tells.
    """
    from headscope.studies.costs.estimate import estimate, with_measured_steps
    from headscope.studies.plan import plan

    units = plan(study, run, goal)
    rates = _study_rates(study, measure=measure)
    if rates is None:
        return units, None
    units = plan(with_measured_steps(study, run, rates.facts), run, goal)
    return units, estimate(units, run, rates)


def make_budget(study: "Study", run: "RunDirectory", goal: str, seconds: float) -> "Budget":
    """Return the budget of a run. Raises InputError if a single unit that is not done takes longer."""
    from headscope.studies.costs.estimate import Budget, estimate
    from headscope.studies.plan import plan

    rates = _study_rates(study, measure=True)
    assert rates is not None
    estimate(plan(study, run, goal), run, rates).check_budget(seconds)
    return Budget(seconds, rates)


def _study_rates(study: "Study", *, measure: bool) -> "Rates | None":
    from headscope.cli.progress import for_terminal
    from headscope.studies.costs.pilot import cached_rates, measure_rates

    rates = cached_rates(study)
    return measure_rates(study, for_terminal()) if rates is None and measure else rates
