"""Summary of one model's answers to one task: rates with intervals, failures by kind, and associations of right answers
with re-checks and strategies."""

import math
from collections import Counter

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from headscope.errors import InputError
from headscope.measures.intervals import bootstrap, bootstrap_mean, mean_share
from headscope.results.estimate import Estimate
from headscope.results.traces import GroupAnswers, MarkUse, SplitAccuracy, Traces, TraceSummary, sort_counts
from headscope.traces.marks import lexicon


def summarise(traces: Traces, seed: int = 0) -> TraceSummary:
    """Return the summary of traces. seed: seed of the bootstrap.

    Raises InputError if there are no answers.
    """
    answers = traces.answers
    if answers.empty:
        raise InputError("the traces hold no answers; at least one is needed")
    right = (answers["verdict"] == "correct").to_numpy(dtype=bool)
    problem_codes, problems = pd.factorize(answers["problem"])
    rechecked = (answers["rechecks"] > 0).to_numpy(dtype=bool)
    has_position = right & (answers["tokens_to_right"] >= 0).to_numpy(dtype=bool)
    to_right, tokens = answers["tokens_to_right"].to_numpy(), np.maximum(answers["tokens"].to_numpy(), 1)
    abandoned = answers["abandoned_tokens"].to_numpy()
    return TraceSummary(
        reader=traces.reader,
        problems=len(problems),
        samples=len(answers) // len(problems),
        right=int(right.sum()),
        lost=_share(answers["lost"], problem_codes),
        loop=_share(answers["loop"], problem_codes),
        slip=_share(answers["slip"] != "", problem_codes),
        lost_of_wrong=_share(answers["lost"][~right], problem_codes[~right]),
        efficiency=_mean(to_right / tokens, has_position, problem_codes, seed),
        wasted_tokens=_mean(tokens - to_right, has_position, problem_codes, seed),
        groups=_groups(answers, right),
        failures=sort_counts(Counter(filter(None, answers["failure"]))),
        slips=sort_counts(Counter(filter(None, traces.steps["slip"]))),
        rechecks=_splits(right, rechecked, answers["group"]),
        recheck_difference=_difference(right, rechecked, answers["group"], problem_codes, seed),
        abandoned_tokens=_mean(abandoned, ~right & (abandoned >= 0), problem_codes, seed),
        marks=_marks(traces, right, problem_codes, seed) if traces.reader == "text" else (),
        checked=int(answers["checked"].sum()),
        unchecked=int(answers["unchecked"].sum()),
        notes=traces.notes,
    )


def _share(trait: "pd.Series[bool]", problems: np.ndarray) -> Estimate:
    """Return the share of answers with a trait, over problems."""
    return mean_share(trait.groupby(problems).mean().to_numpy(dtype=np.float64))


def _mean(
    values: Float[np.ndarray, "answer"], chosen: Bool[np.ndarray, "answer"], problems: np.ndarray, seed: int
) -> Estimate | None:
    """Return the mean of the chosen answers' values over the problems that have one; None if none has."""
    if not chosen.any():
        return None
    means = pd.Series(values[chosen], dtype=np.float64).groupby(problems[chosen]).mean()
    return bootstrap_mean(means.to_numpy(), seed=seed)


def _groups(answers: pd.DataFrame, right: Bool[np.ndarray, "answer"]) -> tuple[GroupAnswers, ...]:
    groups = []
    for group in sorted(answers["group"].unique()):
        in_group = (answers["group"] == group).to_numpy(dtype=bool)
        groups.append(
            GroupAnswers(
                group,
                answers=int(in_group.sum()),
                right=int(right[in_group].sum()),
                lost=int(answers["lost"][in_group].sum()),
                loop=int(answers["loop"][in_group].sum()),
                slip=int((answers["slip"][in_group] != "").sum()),
                tokens_right=_length(answers["tokens"][in_group & right]),
                tokens_wrong=_length(answers["tokens"][in_group & ~right]),
            )
        )
    return tuple(groups)


def _length(tokens: "pd.Series[int]") -> float | None:
    return float(tokens.mean()) if len(tokens) else None


def _splits(
    right: Bool[np.ndarray, "answer"], trait: Bool[np.ndarray, "answer"], groups: "pd.Series[str]"
) -> tuple[SplitAccuracy, ...]:
    splits = []
    for group in sorted(groups.unique()):
        in_group = (groups == group).to_numpy(dtype=bool)
        with_trait, without_trait = in_group & trait, in_group & ~trait
        splits.append(
            SplitAccuracy(
                group,
                right_with=int(right[with_trait].sum()),
                answers_with=int(with_trait.sum()),
                right_without=int(right[without_trait].sum()),
                answers_without=int(without_trait.sum()),
            )
        )
    return tuple(splits)


def _difference(
    right: Bool[np.ndarray, "answer"],
    trait: Bool[np.ndarray, "answer"],
    groups: "pd.Series[str]",
    problems: np.ndarray,
    seed: int,
) -> Estimate | None:
    """Return P(right | trait) − P(right | none), standardised to the groups of the answers with the trait.

    Problems are resampled. Groups in which all or no answers have the trait are left out.
    """
    count = int(problems.max()) + 1
    tables = []
    for group in sorted(groups.unique()):
        in_group = (groups == group).to_numpy(dtype=bool)
        if not (in_group & trait).any() or not (in_group & ~trait).any():
            continue
        columns = [in_group & trait & right, in_group & trait, in_group & ~trait & right, in_group & ~trait]
        tables.append(np.stack([np.bincount(problems, weights=column, minlength=count) for column in columns]))
    if not tables:
        return None
    counts = np.stack(tables)  # [group, column, problem]

    def statistic(weights: "Float[np.ndarray, 'problem']") -> float:
        right_with, answers_with, right_without, answers_without = np.moveaxis(counts @ weights, 1, 0)
        both = (answers_with > 0) & (answers_without > 0)
        if not both.any():
            return 0.0
        gaps = right_with[both] / answers_with[both] - right_without[both] / answers_without[both]
        return float(np.average(gaps, weights=answers_with[both]))

    return bootstrap(statistic, count, seed=seed)


def _marks(traces: Traces, right: Bool[np.ndarray, "answer"], problems: np.ndarray, seed: int) -> tuple[MarkUse, ...]:
    answers, steps = traces.answers, traces.steps
    marked = steps[steps["marks"] != ""]
    keys = pd.MultiIndex.from_frame(answers[["problem", "sample"]])
    tokens = int(answers["tokens"].sum())  # 0 if none were kept
    uses = []
    for mark in lexicon():
        # An array of truth values: an empty list would choose no columns and not no rows.
        signed = marked[np.array([mark in marks.split("\n") for marks in marked["marks"]], dtype=bool)]
        has_mark = keys.isin(pd.MultiIndex.from_frame(signed[["problem", "sample"]]))
        trait = np.asarray(has_mark, dtype=bool)
        uses.append(
            MarkUse(
                mark,
                1000 * len(signed) / tokens if tokens else math.nan,
                _splits(right, trait, answers["group"]),
                _difference(right, trait, answers["group"], problems, seed),
            )
        )
    return tuple(uses)
