"""Traces: how often answers are lost, loop or slip, and what goes with a re-check or a sign of a strategy."""

from collections.abc import Iterable, Mapping, Sequence

from headscope.report.run_results import model_name
from headscope.results.codec import Json
from headscope.results.table import Cell, Row, Table, estimate_cell, share_cell
from headscope.results.traces import MarkUse, SplitAccuracy, TraceSummary
from headscope.traces.marks import lexicon

Placed = tuple[Mapping[str, Json], TraceSummary]
"""The labels of a unit (variant, step, task) and its summary."""

MOST_FREQUENT = 3
"""Kinds of failure in a row."""


def traces(summaries: Sequence[Placed]) -> Table:
    """Return one row per task, model and step."""
    tasks = list(dict.fromkeys(labels["task"] for labels, _ in summaries))
    ordered = sorted(summaries, key=lambda placed: tasks.index(placed[0]["task"]))
    rows = tuple(_place(labels) | _columns(summary) for labels, summary in ordered)
    caption = (
        "What the answers have in common, with 95 % intervals over problems. Lost: wrong although the right answer was "
        "stated before; loop: repeats itself; slip: a step does not follow and nothing puts it right; shares of all "
        "answers. Efficiency: of right answers, the share of their tokens up to the first right statement. Failures: "
        "wrong answers by kind. Right answers among those with and without a re-check: an association, no effect."
    )
    return Table("traces", rows, caption)


def _place(labels: Mapping[str, Json]) -> Row:
    return {"task": labels["task"], "model": model_name(labels), "step": labels["step"]}


def _columns(summary: TraceSummary) -> Row:
    efficiency = summary.efficiency
    most = list(summary.failures.items())[:MOST_FREQUENT]
    having, lacking = total_split(summary.rechecks)
    return {
        "answers": summary.answers,
        "right": summary.right,
        "lost": share_cell(summary.lost),
        "loop": share_cell(summary.loop),
        "slip": share_cell(summary.slip),
        "efficiency": None if efficiency is None else share_cell(efficiency),
        "failures": Cell(", ".join(f"{kind} {count}" for kind, count in most) or "none", summary.failures),
        "right with re-check": share_of(*having),
        "without": share_of(*lacking),
    }


def share_of(right: int, answers: int) -> Cell | None:
    """Return the cell of right answers out of some; None if there is no answer."""
    return Cell(f"{right} of {answers}", {"right": right, "answers": answers}) if answers else None


def total_split(splits: Iterable[SplitAccuracy]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return right answers and answers of all groups together: of those with the trait, and of the others."""
    splits = list(splits)
    having = sum(split.right_with for split in splits), sum(split.answers_with for split in splits)
    return having, (sum(split.right_without for split in splits), sum(split.answers_without for split in splits))


def failures_data(summaries: Sequence[Placed], name: str = "reasons") -> Table:
    """Return the data of a figure of failures, which has the same name."""
    rows: list[Row] = []
    for labels, summary in summaries:
        for kind, count in summary.failures.items():
            shares: Row = {"failure": kind, "answers": count, "share of all answers": count / summary.answers}
            rows.append(_place(labels) | shares | {"problems": summary.problems, "samples": summary.samples})
    return Table(name, tuple(rows), "One row per task, model, evaluated step and kind of failure.")


def marks(summaries: Sequence[Placed]) -> Table:
    """Return how often each strategy's signs stand in the answers in running text, and how right these are."""
    rows: list[Row] = []
    for labels, summary in summaries:
        rows += [_place(labels) | _mark_columns(use) for use in summary.marks]
    caption = (
        "An association, no effect: signs of strategies in running text, and how often answers with and without them "
        "are right. Per 1,000 tokens: steps with a sign. Difference: with minus without, within tiers, each weighed by "
        "its answers with a sign; 95 % interval over problems. The words that count as signs stand below."
    )
    return Table("marks", tuple(rows), caption)


def _mark_columns(use: MarkUse) -> Row:
    having, lacking = total_split(use.splits)
    return {
        "sign of": use.mark,
        "per 1,000 tokens": use.per_1000,
        "right with": share_of(*having),
        "right without": share_of(*lacking),
        "difference": estimate_cell(use.difference, sign=True),
    }


def lexicon_table() -> Table:
    """Return the words that count as signs of each strategy."""
    rows: list[Row] = [{"sign of": strategy, "words": "; ".join(signs)} for strategy, signs in lexicon().items()]
    return Table("lexicon", tuple(rows), "Words that count as signs, whole words, capitals aside. A sign is no proof.")
