"""Transitions from one model's answers to another's: problems that became right or wrong, tests, and kinds of failure.

Two answers to one problem are compared by their shares of right samples (Fisher's exact test per problem, adjusted over
problems after Benjamini and Hochberg) and, one answer per problem, by McNemar's exact test.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from headscope.errors import InputError
from headscope.measures.intervals import paired_difference
from headscope.measures.multiplicity import q_values
from headscope.measures.paired_tests import mcnemar
from headscope.results.samples import Samples
from headscope.results.traces import Traces, sort_counts
from headscope.results.transitions import Transition, Transitions

Failures = dict[str, list[str]]
"""The kinds of failure of a problem's wrong answers, in the answers' order; no problem without one."""


def compare_answers(before: Samples, after: Samples, read_before: Traces, read_after: Traces) -> Transitions:
    """Return the transitions between the answers of two models.

    Problems that only one of them answered are left out and counted in the notes.

    Args:
        before: answers of the first model.
        after: answers of the second model.
        read_before: traces of ``before``.
        read_after: traces of ``after``.

    Raises InputError if they have no problem in common.
    """
    asked_after = set(after.problems)
    shared = [problem for problem in before.problems if problem in asked_after]
    if not shared:
        raise InputError(
            f"{before.model} and {after.model} were asked different problems of {after.task}; transitions need the same"
        )
    right_before, right_after = _right(before, shared), _right(after, shared)
    failures_before, failures_after = _failures(read_before), _failures(read_after)
    first_before, first_after = right_before[:, 0], right_after[:, 0]
    rows = _compare_problems(before, after, shared, failures_before, failures_after)
    return Transitions(
        samples=after.correct.shape[1],
        flips=mcnemar(first_after, first_before),
        both_right=int((first_before & first_after).sum()),
        both_wrong=int((~first_before & ~first_after).sum()),
        change=paired_difference(right_after.mean(axis=1), right_before.mean(axis=1)),
        problems=tuple(rows),
        newly_wrong=_count(failures_after, [row.problem for row in rows if row.after < row.before]),
        wrong_in_both=_count(failures_after, [row.problem for row in rows if row.before == row.after == 0]),
        greedy=all(samples.settings.get("sampling", {}).get("temperature") == 0 for samples in (before, after)),
        notes=_notes(before, after, shared),
    )


def _compare_problems(
    before: Samples,
    after: Samples,
    problems: Sequence[str],
    failures_before: Failures,
    failures_after: Failures,
) -> list[Transition]:
    """Return the transition of each problem."""
    right_before, right_after = _right(before, problems), _right(after, problems)
    firsts_before, firsts_after = _first_answers(before, problems), _first_answers(after, problems)
    p_values = [_fisher(*pair) for pair in zip(right_before, right_after, strict=True)]
    adjusted = q_values(np.array([np.nan if p_value is None else p_value for p_value in p_values]))
    groups = dict(zip(after.problems, after.groups, strict=True))
    rows = []
    for index, problem in enumerate(problems):
        rows.append(
            Transition(
                problem=problem,
                group=groups[problem],
                before=float(right_before[index].mean()),
                after=float(right_after[index].mean()),
                p_value=p_values[index],
                q_value=None if p_values[index] is None else float(adjusted[index]),
                failure=failures_after.get(problem, [""])[0],
                failure_before=failures_before.get(problem, [""])[0],
                divergence=_divergence(firsts_before[index], firsts_after[index]),
            )
        )
    return rows


def _right(samples: Samples, problems: Sequence[str]) -> Bool[np.ndarray, "problem sample"]:
    """Return which answers to these problems are right."""
    places = {problem: place for place, problem in enumerate(samples.problems)}
    right: Bool[np.ndarray, "problem sample"] = samples.correct[[places[problem] for problem in problems]]
    return right


def _fisher(before: Bool[np.ndarray, "_"], after: Bool[np.ndarray, "_"]) -> float | None:
    """Return the two-sided p-value of the two shares of right answers; None with one answer each."""
    if len(before) < 2 and len(after) < 2:
        return None
    from scipy.stats import fisher_exact

    table = np.array([[int(side.sum()), len(side) - int(side.sum())] for side in (before, after)])
    return float(fisher_exact(table).pvalue)


def _first_answers(samples: Samples, problems: Sequence[str]) -> list[Int[np.ndarray, "_"]]:
    """Return the token ids of each problem's first answer; none if they were not kept."""
    firsts = samples.table[samples.table["sample"] == 0]
    ids = dict(zip(firsts["problem"], firsts["token_ids"], strict=True))
    return [np.asarray(ids[problem], dtype=np.int64) for problem in problems]


def _divergence(before: Int[np.ndarray, "_"], after: Int[np.ndarray, "_"]) -> int | None:
    """Return the first token at which two answers differ; the shorter one's length if the other begins with it."""
    if not len(before) or not len(after):
        return None
    length = min(len(before), len(after))
    differing = np.flatnonzero(before[:length] != after[:length])
    if len(differing):
        return int(differing[0])
    return None if len(before) == len(after) else length


def _failures(traces: Traces) -> Failures:
    """Return the kinds of failure of every wrong answer, by problem."""
    wrong: pd.DataFrame = traces.answers[traces.answers["failure"] != ""]
    return {str(problem): list(rows) for problem, rows in wrong.groupby("problem", sort=False)["failure"]}


def _count(failures: Failures, problems: Sequence[str]) -> dict[str, int]:
    return sort_counts(Counter(kind for problem in problems for kind in failures.get(problem, [])))


def _notes(before: Samples, after: Samples, shared: Sequence[str]) -> tuple[str, ...]:
    left_out = len(set(before.problems) ^ set(after.problems))
    if not left_out:
        return ()
    return (f"{left_out} problems that only one of the two was asked are left out; {len(shared)} are compared",)
