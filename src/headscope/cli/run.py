"""``run`` and the verbs that are a part of it: train, discover, compare, ablate, eval."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headscope.cli.option_groups import StudyOptions, flatten_groups
from headscope.cli.options import (
    Json,
    Out,
    parse_duration,
    print_json,
    print_tables,
    run_folder,
    tables_json,
)
from headscope.cli.terminal import say

if TYPE_CHECKING:
    from headscope.report import RunResults
    from headscope.results.table import Table
    from headscope.runs import Outcome, RunDirectory
    from headscope.studies.costs.estimate import StudyCost
    from headscope.studies.study_file.study import Study

_NAMED_TRAININGS = 4
"""Trainings of which the end of a verb says where their rendered data lies; a study may have fifty."""

VERBS = {
    "run": "Train, sample, discover, compare, ablate, evaluate and report; the same command resumes.",
    "train": "Only the training of a study's variants.",
    "discover": "Up to the circuits: openings, pairs, edge scores of every checkpoint.",
    "compare": "Up to the comparison: kept, new and lost heads with their null.",
    "ablate": "Up to the verdicts: head sets removed while the model generates, next to matched random sets.",
    "eval": "Only the evaluation: samples, pass@k, rates.",
}

Claims = Annotated[bool, typer.Option("--claims", help="Judge the claims C1-C10 on all finished results.")]
Retry = Annotated[bool, typer.Option("--retry", help="Try units again that failed before.")]
Budget = Annotated[
    str | None,
    typer.Option("--budget", help="Time for this call (90m, 2h): it ends before the first unit that would pass it."),
]

Executor = Annotated[
    str | None,
    typer.Option(
        "--executor", help="local: units one by one here; processes: several workers at a time; ray: on a cluster."
    ),
]
Workers = Annotated[
    int | None, typer.Option("--workers", help="Of executors processes and ray; one per GPU, or per core, by default.")
]
Address = Annotated[
    str | None,
    typer.Option("--address", help="Of the Ray cluster, HOST:PORT or auto; RAY_ADDRESS, or a local one, by default."),
]


def register(app: typer.Typer) -> None:
    """Add one command per verb."""
    for verb, text in VERBS.items():
        app.command(verb, help=text)(_command(verb))


@dataclass(frozen=True)
class ExecutorOptions:
    """Options of the executor, in place of the study's."""

    executor: Executor = None
    workers: Workers = None
    address: Address = None

    def settings(self, kind: str) -> list[str]:
        """Return the options in the words of ``--set``. kind: of the study's own executor.

        Keys of another kind are left out; those of the same are kept.
        """
        keys = {"workers": self.workers, "address": self.address}
        options = {name: value for name, value in keys.items() if value is not None}
        if self.executor is None and not options:
            return []
        chosen = self.executor or ("ray" if self.address is not None else "processes" if kind == "local" else kind)
        if chosen != kind:
            return [f"executor={json.dumps({'kind': chosen, **options})}"]
        return [f"executor.{name}={json.dumps(value)}" for name, value in options.items()]


@dataclass(frozen=True)
class RunOptions:
    """Options of how a verb is run and what it prints."""

    out: Out = None
    retry: Retry = False
    claims: Claims = False
    budget: Budget = None
    json: Json = False


def _command(verb: str) -> Callable[..., int]:
    def command(study: StudyOptions, executor: ExecutorOptions, options: RunOptions) -> int:
        settings = study.settings or []
        # As the file has it: --workers alone must not take a study off its cluster.
        plain = study.read([setting for setting in settings if not setting.startswith("executor")])
        # First, so that ``--set executor.threads=2`` adds to it.
        chosen = study.read([*executor.settings(plain.executor.kind), *settings])
        return _run(verb, chosen, options)

    return flatten_groups(command, without=() if verb == "compare" else ("claims",))


def _run(verb: str, study: "Study", options: RunOptions) -> int:
    from headscope.cli.plan import make_budget, print_plan, study_cost
    from headscope.cli.progress import for_terminal
    from headscope.errors import InputError
    from headscope.report import RunResults, render
    from headscope.runs import RunDirectory
    from headscope.runs.presence import leaders
    from headscope.studies.run import discard_damaged, plan_key, run_study
    from headscope.training import processes

    seconds = None if options.budget is None else parse_duration(options.budget)
    out, retry = run_folder(study.name, options.out), options.retry
    if seconds is not None and processes.count() > 1:
        raise InputError("--budget is for one process, and this run has several; leave it out")
    if not processes.is_first():
        from headscope.studies.follow import follow

        follow(study, out, goal=verb, retry=retry)
        return 0
    if retry:
        # Before the plan, which lists the checkpoints of finished trainings.
        for address, problem in discard_damaged(study, RunDirectory(out), verb).items():
            say(f"damaged, done again: {address}: {problem}", error=True)
    if not options.json:
        units, cost = study_cost(study, RunDirectory(out), verb, measure=False)
        print_plan(units, RunDirectory(out))
        _print_cost(cost)
    for worker in [worker for worker in leaders(out) if worker.plan == plan_key(study, verb)]:
        say(f"{worker} is at work in {out} too; units that it does are waited for, not done twice", error=True)
    budget = None if seconds is None else make_budget(study, RunDirectory(out), verb, seconds)
    run, outcome = run_study(study, out, goal=verb, progress=for_terminal(), retry=retry, discard=False, budget=budget)
    if options.claims or (verb == "run" and study.variants):
        from headscope.studies.claims import judge_run

        judge_run(study, run)  # before the report, which shows the claims too
    page = render(run) if verb == "run" else run.path
    findings = _findings(verb, RunResults(run), claims=options.claims)
    if options.json:
        print_json(_outcome_json(run, outcome, page) | findings.as_json())
    else:
        _print_end(run, outcome, page, findings)
    return outcome.exit_code


def _print_cost(cost: "StudyCost | None") -> None:
    """Say how long what is not done will take, if ``plan --cost`` has measured it."""
    from headscope.results.numbers import format_duration

    if cost is not None and cost.units:
        seconds = sum(cost.seconds.values())
        say(f"about {format_duration(seconds)} by what plan --cost measured on this machine")


@dataclass(frozen=True)
class _Findings:
    """Output of a verb that is done: sentences, tables and warnings."""

    sentences: tuple[str, ...]
    tables: "list[Table]"
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """Return sentences and warnings as lists, and the tables by name."""
        return {"sentences": list(self.sentences), "warnings": list(self.warnings), **tables_json(self.tables)}


def _findings(verb: str, results: "RunResults", *, claims: bool) -> _Findings:
    from headscope.report import unfinished_answers, verb_tables
    from headscope.report.effect_sentences import effect_sentences
    from headscope.report.findings import findings
    from headscope.report.sentences import answer_sentences
    from headscope.report.tables.claims import claims as claims_table
    from headscope.report.tables.heads import unfaithful_circuits

    tables = verb_tables(verb, results) + ([claims_table(results)] if claims else [])
    sentences: tuple[str, ...] = ()
    if verb == "run":
        sentences = tuple(finding.text for finding in findings(results))
    elif verb == "eval":
        sentences = answer_sentences(results)
    elif verb == "compare":
        sentences = effect_sentences(results)
    warnings: tuple[str, ...] = ()
    if verb in ("run", "eval"):  # the others draw no answers
        warnings += unfinished_answers(results)
    if verb in ("run", "compare"):
        warnings += unfaithful_circuits(results)
    return _Findings(sentences, tables, warnings)


def _outcome_json(run: "RunDirectory", outcome: "Outcome", page: Path) -> dict[str, object]:
    fields = {name: getattr(outcome, name) for name in ("done", "reused", "failed", "skipped", "seconds", "stopped")}
    fields["unit_warnings"] = outcome.warnings
    return {"run": str(run.path), "open": str(page), "exit_code": outcome.exit_code} | fields


def _print_end(run: "RunDirectory", outcome: "Outcome", page: Path, findings: _Findings) -> None:
    from headscope.runs import provenance
    from headscope.training.run_record import RENDERED

    say()
    for sentence in findings.sentences:
        say(sentence)
    if findings.sentences:
        say()
    print_tables(findings.tables)
    trained = run.find("train")
    for record in trained[:_NAMED_TRAININGS]:
        say(f"{record.labels['variant']} is trained on what {record.folder / RENDERED} shows")
    if len(trained) > _NAMED_TRAININGS:
        say(f"{len(trained) - _NAMED_TRAININGS} more trainings say theirs in {run.path}/units/train/*/{RENDERED}")
    for warning in findings.warnings:
        say(f"warning: {warning}")
    for warning in outcome.warnings:
        say(f"warning: {warning}", error=True)
    _print_failures(outcome)
    if outcome.stopped:
        say(f"stopped before {outcome.stopped}, which the budget does not hold; the same command goes on")
    spent = sorted(outcome.seconds.items(), key=lambda item: -item[1])
    times = ", ".join(f"{kind} {seconds:.0f} s" for kind, seconds in spent if seconds >= 0.5) or "nothing to do"
    say(f"{outcome.done} units done, {outcome.reused} reused; peak memory {provenance.peak_memory_gib():.1f} GiB")
    say(f"time: {times}")
    say(page)


def _print_failures(outcome: "Outcome") -> None:
    from headscope.runs.failures import by_reason

    for line in by_reason(outcome.failed.items()):
        say(f"failed: {line}", error=True)
    if outcome.skipped:
        first, count = outcome.skipped[0], len(outcome.skipped)
        units = f"{count} units that need these, {first} first" if count > 1 else f"1 unit that needs these, {first}"
        say(f"skipped: {units}", error=True)
