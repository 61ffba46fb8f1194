"""Transitions: problems that became right or wrong, how sure that is, and why the newly wrong ones are wrong."""

from headscope.report.run_results import RunResults
from headscope.results.numbers import format_p
from headscope.results.table import Cell, Row, Table, Value, estimate_cell, p_cell
from headscope.results.transitions import Transition, Transitions
from headscope.runs.records import Finished


def transitions(results: RunResults) -> Table:
    """Return per variant, task and step what became of each problem's first answer, and the change of pass@1."""
    units = transitions_by_task(results)
    rows = tuple(_place(unit) | _columns(unit.whole) for unit in units)
    if any(unit.whole.notes for unit in units):
        rows = tuple(row | {"notes": "; ".join(unit.whole.notes)} for row, unit in zip(rows, units, strict=True))
    caption = (
        "First answers, base → variant: the four cells of the table of right and wrong, in problems. p: exact McNemar "
        "test of the two cells that changed, for each row alone. Δ pass@1: over all answers, paired by problem, 95 % "
        "interval over problems. Sure: problems whose shares of right answers differ at q ≤ 0.05."
    )
    return Table("transitions", rows, caption)


def transitions_by_task(results: RunResults) -> list[Finished[Transitions]]:
    """Return the transitions task by task."""
    tasks = {task: place for place, task in enumerate(results.tasks)}
    return sorted(results.transitions, key=lambda unit: tasks.get(unit.labels["task"], len(tasks)))


def _place(unit: Finished[Transitions]) -> Row:
    return {"task": unit.labels["task"], "variant": unit.labels["variant"], "step": unit.labels["step"]}


def _columns(result: Transitions) -> Row:
    flips = result.flips
    return {
        "right → right": result.both_right,
        "wrong → right": flips.gained,
        "right → wrong": flips.lost,
        "wrong → wrong": result.both_wrong,
        "p": p_cell(flips.p_value),
        "Δ pass@1": estimate_cell(result.change, sign=True),
        "problems × samples": f"{len(result.problems)} × {result.samples}",
        "sure": _count_certain(result),
    }


def _count_certain(result: Transitions) -> Cell | None:
    """Return how many problems changed for sure; None if each has but one answer."""
    if all(problem.q_value is None for problem in result.problems):
        return None
    sure = [problem for problem in result.problems if problem.q_value is not None and problem.q_value <= 0.05]
    gained = sum(problem.after > problem.before for problem in sure)
    return Cell(f"+{gained} −{len(sure) - gained}", {"gained": gained, "lost": len(sure) - gained})


def failure_changes(results: RunResults) -> Table:
    """Return why answers to newly wrong problems are wrong, next to those to problems neither model answers."""
    rows: list[Row] = []
    for unit in transitions_by_task(results):
        newly, both = unit.whole.newly_wrong, unit.whole.wrong_in_both
        for kind in sorted(set(newly) | set(both), key=lambda kind: (-newly.get(kind, 0), -both.get(kind, 0), kind)):
            shares = {"newly wrong": _share(kind, newly), "wrong in both": _share(kind, both)}
            rows.append(_place(unit) | {"failure": kind} | shares)
    caption = (
        "Why the variant's wrong answers are wrong. Newly wrong: to problems that the base answers right more often; "
        "wrong in both: to problems that no answer of either gets right. Counts of answers, and shares of the column."
    )
    return Table("failure-changes", tuple(rows), caption)


def _share(kind: str, counts: dict[str, int]) -> Cell | None:
    total = sum(counts.values())
    if not total:
        return None
    count = counts.get(kind, 0)
    return Cell(f"{count} of {total} ({count / total:.0%})", {"count": count, "of": total})


def changed_problems(result: Transitions) -> list[Transition]:
    """Return the problems whose share of right answers changed, the most significant change first."""
    changed = [problem for problem in result.problems if problem.before != problem.after]
    return sorted(changed, key=lambda problem: (_p_value(problem), -abs(problem.after - problem.before)))


def _p_value(problem: Transition) -> float:
    return 1.0 if problem.p_value is None else problem.p_value


def flips(results: RunResults) -> Table:
    """Return every problem that became right or wrong more often."""
    rows = tuple(
        _place(unit) | flip_columns(row)
        for unit in transitions_by_task(results)
        for row in changed_problems(unit.whole)
    )
    caption = (
        "Problems whose share of right answers changed, the most significant first. q: Fisher's exact test, adjusted "
        "over problems; a dash if there is one answer each. Failure: of the first wrong answer of the model that is "
        "wrong more often."
    )
    return Table("changed-problems", rows, caption)


def flip_columns(transition: Transition) -> dict[str, Value]:
    """Return what is said of one changed problem."""
    is_gain = transition.after > transition.before
    q_value = transition.q_value
    return {
        "problem": transition.problem,
        "tier": transition.group,
        "change": "newly right" if is_gain else "newly wrong",
        "before": transition.before,
        "after": transition.after,
        "q": None if q_value is None else Cell(format_p(q_value), q_value),
        "failure": transition.failure_before if is_gain else transition.failure,
    }
