"""``traces``: how the answers of a run go right and wrong, step by step, from what is saved."""

import json as json_text
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from headscope.cli.options import Json, RunPath, print_json, print_tables, tables_json
from headscope.cli.terminal import say, say_json, say_text

if TYPE_CHECKING:
    from headscope.cli.saved_answers import SavedAnswers
    from headscope.results.codec import Json as JsonValue

Variant = Annotated[
    list[str] | None, typer.Option("--variant", help="Only answers of this variant, or of base. Repeatable.")
]
Task = Annotated[list[str] | None, typer.Option("--task", help="Only answers to this task. Repeatable.")]
Problem = Annotated[str | None, typer.Option("--problem", help="Show every model's answer to this problem.")]
Sample = Annotated[int, typer.Option("--sample", min=0, help="Which of the answers to the problem.")]
Lines = Annotated[bool, typer.Option("--jsonl", help="Print every step of every answer, one JSON object per line.")]

_ROWS = 4096
"""Steps that are objects at a time."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("traces")(traces_command)


def traces_command(
    path: RunPath,
    variant: Variant = None,
    task: Task = None,
    problem: Problem = None,
    sample: Sample = 0,
    jsonl: Lines = False,
    json: Json = False,
) -> int:
    """Say how answers go right and wrong: lost ones, loops, slips, failures, re-checks; nothing is drawn again."""
    from headscope.cli.progress import for_terminal
    from headscope.cli.saved_answers import answers_to_problem, choose_answers
    from headscope.errors import InputError
    from headscope.runs import RunDirectory

    if jsonl and json:
        raise InputError("--json and --jsonl are two formats; give one of them")
    run = RunDirectory.open(path)
    chosen = choose_answers(run, variant or (), task or (), for_terminal())
    if problem is not None:
        chosen = answers_to_problem(run, chosen, problem, sample)
    if jsonl:
        for line in _lines(chosen, problem):
            say_json(json_text.dumps(line, ensure_ascii=False))
    elif problem is not None:
        _show_problem(str(run), chosen, problem, sample, json=json)
    else:
        _show_table(str(run), chosen, json=json)
    return 0


def _show_table(path: str, chosen: "list[SavedAnswers]", *, json: bool) -> None:
    from headscope.report.run_results import RunResults
    from headscope.report.sentences import make_sentences
    from headscope.report.tables.traces import traces

    summaries = [(answers.labels, answers.summary) for answers in chosen]
    table = traces(summaries)
    notes = [
        f"{answers.name}: {note}"
        for answers, (_, summary) in zip(chosen, summaries, strict=True)
        for note in summary.notes
    ]
    places = [answers.labels for answers in chosen]
    results = RunResults(chosen[0].run)
    compared = [(unit.labels, unit.whole) for unit in results.transitions if unit.labels in places]
    masked = [(unit.labels, unit.whole) for unit in results.masked_evaluations if unit.labels in places]
    sentences = make_sentences(summaries, compared, masked)
    if json:
        print_json({"run": path, "open": path, "sentences": sentences} | tables_json([table]) | {"notes": notes})
        return
    for sentence in sentences:
        say(sentence)
    if sentences:
        say()
    print_tables([table])
    for note in notes:
        say(note)
    say(path)


def _lines(chosen: "list[SavedAnswers]", problem: str | None) -> "Iterator[dict[str, JsonValue]]":
    """Yield every step; spans are pairs of the first place and the one after the last, tokens null if unknown."""
    for answers in chosen:
        # One model's steps at a time, and few of them as objects: those of a whole run may not fit in memory.
        steps = answers.read_traces(None if problem is None else [problem]).steps
        for start in range(0, len(steps), _ROWS):
            for row in steps[start : start + _ROWS].to_dict("records"):
                yield answers.place | _step_json({str(name): value for name, value in row.items()})


def _step_json(row: "dict[str, JsonValue]") -> "dict[str, JsonValue]":
    characters, tokens = [row.pop("start"), row.pop("end")], [row.pop("first_token"), row.pop("last_token")]
    spans = {"characters": characters, "tokens": tokens if tokens[0] >= 0 else None}
    head = {"problem": row.pop("problem"), "sample": row.pop("sample"), "index": row.pop("step")}
    return head | spans | row | {"marks": [mark for mark in row["marks"].split("\n") if mark]}


def _show_problem(path: str, chosen: "list[SavedAnswers]", problem: str, sample: int, *, json: bool) -> None:
    from headscope.cli.side_by_side import side_by_side, width_of_terminal

    marked = [answers.marked_answer(problem, sample) for answers in chosen]
    if json:
        print_json({"run": path, "open": path, "problem": problem, "answers": [answer.as_json() for answer in marked]})
        return
    gold = ", ".join(dict.fromkeys(" or ".join(answer.gold.split("\n")) for answer in marked))
    say(f"{problem}: accepted {gold or 'nothing'}")
    say()
    say_text(side_by_side([(answer.title, answer.lines) for answer in marked], width_of_terminal()))
    say()
    say_text(_legend([icon for answer in marked for icon, _, _ in answer.lines]))
    say(path)


def _legend(icons: list[str]) -> str:
    from headscope.report.answer_marks import MARK_KINDS

    used = set("".join(icons))
    return "\n".join(f"{kind.icon} {kind.name}: {kind.meaning}" for kind in MARK_KINDS.values() if kind.icon in used)
