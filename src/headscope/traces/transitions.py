"""From one model's answers to another's: which problems became right or wrong, how sure that is, and what went wrong.

Two answers to one problem are compared by their shares of right samples (Fisher's exact test per problem, adjusted over
problems after Benjamini and Hochberg) and, one answer per problem, by McNemar's exact test.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact

from headscope.errors import InputError
from headscope.measures.intervals import paired_difference
from headscope.measures.multiplicity import q_values
from headscope.measures.paired_tests import mcnemar
from headscope.results.samples import Samples
from headscope.results.traces import Traces, numbered
from headscope.results.transitions import Transition, Transitions


def compare_answers(before: Samples, after: Samples, read_before: Traces, read_after: Traces) -> Transitions:
    """Return the transitions between the answers of two models.

    Args:
        before: answers of the first model.
        after: of the second one.
        read_before: the traces of ``before``.
        read_after: the traces of ``after``.

    Problems that only one of them was asked are left out, and counted in the notes.

    Raises InputError if they have no problem in common.
    """
    shared = [problem for problem in before.problems if problem in set(after.problems)]
    if not shared:
        raise InputError(
            f"{before.model} and {after.model} were asked different problems of {after.task}; transitions need the same"
        )
    right = [_shares(samples, shared) for samples in (before, after)]
    firsts = [_first_answers(samples, shared) for samples in (before, after)]
    failures = [_failures(traces) for traces in (read_before, read_after)]
    p_values = [_fisher(*pair) for pair in zip(*right, strict=True)]
    tested = np.array([np.nan if p is None else p for p in p_values])
    adjusted = q_values(tested)
    groups = dict(zip(after.problems, after.groups, strict=True))
    rows = []
    for index, problem in enumerate(shared):
        kinds = [next(iter(failures[side].get(problem, [])), "") for side in (0, 1)]
        rows.append(
            Transition(
                problem=problem,
                group=groups[problem],
                before=float(right[0][index].mean()),
                after=float(right[1][index].mean()),
                p_value=p_values[index],
                q_value=None if p_values[index] is None else float(adjusted[index]),
                failure=kinds[1],
                failure_before=kinds[0],
                divergence=_divergence(firsts[0][index], firsts[1][index]),
            )
        )
    first_right = [np.array([shares[0] > 0 for shares in side]) for side in right]
    flips = mcnemar(first_right[1], first_right[0])
    return Transitions(
        samples=after.correct.shape[1],
        flips=flips,
        both_right=int((first_right[0] & first_right[1]).sum()),
        both_wrong=int((~first_right[0] & ~first_right[1]).sum()),
        change=paired_difference(np.array([row.after for row in rows]), np.array([row.before for row in rows])),
        problems=tuple(rows),
        newly_wrong=_count(failures[1], [row.problem for row in rows if row.after < row.before]),
        wrong_in_both=_count(failures[1], [row.problem for row in rows if row.before == row.after == 0]),
        greedy=all(samples.settings.get("sampling", {}).get("temperature") == 0 for samples in (before, after)),
        notes=_notes(before, after, shared),
    )


def _shares(samples: Samples, problems: Sequence[str]) -> list[np.ndarray]:
    """Return per problem 1 for every right answer and 0 for the others."""
    places = {problem: place for place, problem in enumerate(samples.problems)}
    return [samples.correct[places[problem]].astype(float) for problem in problems]


def _fisher(before: np.ndarray, after: np.ndarray) -> float | None:
    """Return the two-sided p of the two shares of right answers; None if there is one answer each."""
    if len(before) < 2 and len(after) < 2:
        return None
    table = np.array([[int(side.sum()), len(side) - int(side.sum())] for side in (before, after)])
    return float(fisher_exact(table).pvalue)


def _first_answers(samples: Samples, problems: Sequence[str]) -> list[np.ndarray]:
    firsts = samples.table[samples.table["sample"] == 0]
    ids = dict(zip(firsts["problem"], firsts["token_ids"], strict=True))
    return [np.asarray(ids[problem]) for problem in problems]


def _divergence(before: np.ndarray, after: np.ndarray) -> int | None:
    """Return the first token in which two answers differ; the shorter one's length if it begins the other."""
    if not len(before) or not len(after):
        return None
    length = min(len(before), len(after))
    differing = np.flatnonzero(before[:length] != after[:length])
    if len(differing):
        return int(differing[0])
    return None if len(before) == len(after) else length


def _failures(traces: Traces) -> dict[str, list[str]]:
    """Return the kinds of failure of every wrong answer, by problem."""
    wrong: pd.DataFrame = traces.answers[traces.answers["failure"] != ""]
    return {str(problem): list(rows) for problem, rows in wrong.groupby("problem", sort=False)["failure"]}


def _count(failures: dict[str, list[str]], problems: Sequence[str]) -> dict[str, int]:
    return numbered(Counter(kind for problem in problems for kind in failures.get(problem, [])))


def _notes(before: Samples, after: Samples, shared: Sequence[str]) -> tuple[str, ...]:
    left_out = len(set(before.problems) ^ set(after.problems))
    if not left_out:
        return ()
    return (f"{left_out} problems that only one of the two was asked are left out; {len(shared)} are compared",)
