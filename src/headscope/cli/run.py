"""``run`` and the verbs that are a part of it: train, discover, compare, ablate, eval."""

import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headscope.cli.options import (
    Base,
    Json,
    Out,
    Posts,
    Settings,
    StudyArgument,
    Tasks,
    chosen_study,
    print_json,
    run_folder,
)

if TYPE_CHECKING:
    from headscope.runs import Outcome, RunDirectory

VERBS = {
    "run": "Train, sample, discover, compare, ablate, evaluate and report; the same command resumes.",
    "train": "Only the training of a study's variants.",
    "discover": "Up to the circuits: openings, pairs, edge scores of every checkpoint.",
    "compare": "Up to the comparison: kept, new and lost heads with their null.",
    "ablate": "Up to the verdicts: head sets removed while the model generates, beside matched random sets.",
    "eval": "Only the evaluation: samples, pass@k, rates.",
}

Claims = Annotated[bool, typer.Option("--claims", help="Judge the claims C1-C10 on all finished results.")]
Retry = Annotated[bool, typer.Option("--retry", help="Try units again that failed before.")]


def register(app: typer.Typer) -> None:
    """Add one command per verb."""
    for verb, text in VERBS.items():
        app.command(verb, help=text)(_command(verb))


def _command(verb: str) -> Any:
    def command(
        study: StudyArgument = "lab",
        out: Out = None,
        settings: Settings = None,
        base: Base = None,
        post: Posts = None,
        task: Tasks = None,
        retry: Retry = False,
        claims: Claims = False,
        json: Json = False,
    ) -> int:
        chosen = chosen_study(study, settings, base, post, task)
        tables = (_claims,) if claims else ()
        return _run(verb, chosen, run_folder(chosen.name, out), retry=retry, json=json, also=tables)

    return command if verb == "compare" else _without(command, "claims")


def _without(command: Any, option: str) -> Any:
    """The command as typer sees it, with one option less: its default stands."""
    signature = inspect.signature(command)
    command.__signature__ = signature.replace(
        parameters=[each for name, each in signature.parameters.items() if name != option]
    )
    return command


Tables = dict[str, list[dict[str, str]]]


def _run(
    verb: str,
    study: Any,
    out: Path,
    *,
    retry: bool,
    json: bool,
    also: "Sequence[Callable[[Any, RunDirectory], Tables]]",
) -> int:
    from headscope.cli.plan import print_plan
    from headscope.cli.progress import for_terminal
    from headscope.runs import RunDirectory
    from headscope.studies.plan import plan
    from headscope.studies.run import run_study
    from headscope.training import processes

    if not processes.is_first():
        from headscope.studies.follow import follow

        follow(study, out, goal=verb, retry=retry)
        return 0
    if not json:
        print_plan(plan(study, RunDirectory(out), verb), RunDirectory(out))
    run, outcome = run_study(study, out, goal=verb, progress=for_terminal(), retry=retry)
    page = _render(study, run) if verb == "run" else run.path
    tables = _tables(verb, run)
    for more in also:
        tables |= more(study, run)
    if json:
        print_json(_result(run, outcome, page) | tables)
    else:
        _print_end(run, outcome, page, tables)
    return outcome.exit_code


def _claims(study: Any, run: "RunDirectory") -> Tables:
    from headscope.studies.claims import judge_run, table

    return {"claims": table(judge_run(study, run))}


def _render(study: Any, run: "RunDirectory") -> Path:
    """The report, which shows the claims too."""
    from headscope.report import render
    from headscope.studies.claims import judge_run

    if study.variants:
        judge_run(study, run)
    return render(run)


def _tables(verb: str, run: "RunDirectory") -> Tables:
    from headscope.studies import summaries

    tables = {
        "eval": {"accuracy": summaries.accuracy},
        "discover": {"circuits": summaries.circuits},
        "compare": {
            "counts": summaries.counts,
            "prompts": summaries.prompts,
            "modes": summaries.modes,
            "overlaps": summaries.overlaps,
        },
        "ablate": {"verdicts": summaries.verdicts, "evidence": summaries.evidence},
        "run": {"accuracy": summaries.accuracy, "heads": summaries.heads, "verdicts": summaries.verdicts},
    }.get(verb, {})
    return {name: table(run) for name, table in tables.items()}


def _result(run: "RunDirectory", outcome: "Outcome", page: Path) -> dict[str, Any]:
    counted = {name: getattr(outcome, name) for name in ("done", "reused", "failed", "skipped", "seconds")}
    return {"run": str(run.path), "open": str(page), "exit_code": outcome.exit_code} | counted


def _print_end(run: "RunDirectory", outcome: "Outcome", page: Path, tables: Tables) -> None:
    from headscope.runs import provenance
    from headscope.studies.summaries import markdown

    for rows in tables.values():
        if rows:
            print(f"\n{markdown(rows)}")
    for record in run.find("train"):
        print(f"{record.labels['variant']} is trained on what {record.folder / 'trained_on.txt'} shows")
    for reason in dict.fromkeys(outcome.failed.values()):
        first, *others = [name for name, each in outcome.failed.items() if each == reason]
        also = f" and {len(others)} more" if others else ""
        print(f"failed: {first}{also}: {reason}", file=sys.stderr)
    if outcome.skipped:
        print(
            f"skipped: {len(outcome.skipped)} units that need these, {outcome.skipped[0]} first",
            file=sys.stderr,
        )
    spent = sorted(outcome.seconds.items(), key=lambda item: -item[1])
    times = ", ".join(f"{kind} {seconds:.0f} s" for kind, seconds in spent if seconds >= 0.5) or "nothing to do"
    print(f"\n{outcome.done} units done, {outcome.reused} reused; peak memory {provenance.peak_memory_gib():.1f} GiB")
    print(f"time: {times}")
    print(page)
