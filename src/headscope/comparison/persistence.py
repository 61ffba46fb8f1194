"""Measures of how long new heads stay: persistence, turnover, remaining share and half-life, with their intervals."""

import math

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from headscope.comparison.dynamics import apply_hysteresis
from headscope.measures.intervals import bootstrap, wilson, without_interval
from headscope.results.dynamics import Dynamics
from headscope.results.estimate import Estimate
from headscope.results.persistence import Persistence

Weights = Float[np.ndarray, "head"]

SEED = 0
"""Of the resamples of heads."""


def persistence(dynamics: Dynamics) -> Persistence:
    """Return how long one run's emergent heads stay, after the run's own hysteresis.

    NaN if nothing was established; one head has no interval.

    Compare runs of two regimes, or a run with its null twin, by ``measures.independent_estimates.difference``.
    """
    hold = dynamics.hold
    states = apply_hysteresis(dynamics.emergent, hold)
    states = states[:, states.any(axis=0)]  # heads that were established at any checkpoint
    # A head comes after ``hold`` checkpoints with it and leaves after as many without it; those that came later than
    # this could not be seen to leave.
    could_leave = states.argmax(axis=0) <= len(states) - 2 * hold
    if could_leave.any():
        remaining = wilson(int(states[-1, could_leave].sum()), int(could_leave.sum()))
    else:
        remaining = without_interval(0, "no head that could have left")
    states = states[: len(states) - hold + 1]  # nothing can change at the checkpoints behind these
    before, after = states[:-1], states[1:]
    return Persistence(
        persistence=_ratio((before & after).sum(axis=0), before.sum(axis=0)),
        turnover=_ratio((before ^ after).sum(axis=0), (before | after).sum(axis=0)),
        remaining=remaining,
        half_life=_half_life(*_spells(states, dynamics.steps[: len(states)])),
        heads=states.shape[1],
        checkpoints=len(dynamics.steps),
    )


def _ratio(part: "Int[np.ndarray, 'head']", whole: "Int[np.ndarray, 'head']") -> Estimate:
    """Return Σ part / Σ whole, with an interval from resampling heads, each with all its checkpoints."""
    is_at_risk = whole > 0
    part, whole = part[is_at_risk], whole[is_at_risk]
    if len(part) == 0:
        return without_interval(0, "no head to follow")
    ratio = float(part.sum() / whole.sum())
    if len(part) == 1:
        return without_interval(1, "one head", value=ratio)

    def statistic(weights: Weights) -> float:
        total = float(weights @ whole)
        return float(weights @ part) / total if total > 0 else ratio

    return bootstrap(statistic, len(part), unit="head")


def _spells(
    states: "Bool[np.ndarray, 'checkpoint head']", steps: "Int[np.ndarray, 'checkpoint']"
) -> tuple["Float[np.ndarray, 'spell']", "Bool[np.ndarray, 'spell']", "Int[np.ndarray, 'spell']"]:
    """Return each spell's length in steps, whether its end was observed, and its head.

    An end is dated to the first checkpoint without the head.
    """
    changes = np.diff(states.astype(np.int8), axis=0, prepend=0)
    lengths, ended, owners = [], [], []
    for head in range(states.shape[1]):
        starts = np.flatnonzero(changes[:, head] > 0)
        ends = np.flatnonzero(changes[:, head] < 0)
        for number, start in enumerate(starts):
            # A spell without an end lasts to the last checkpoint and is censored there.
            end = ends[number] if number < len(ends) else len(steps) - 1
            lengths.append(float(steps[end] - steps[start]))
            ended.append(number < len(ends))
            owners.append(head)
    return np.array(lengths), np.array(ended, dtype=bool), np.array(owners, dtype=np.int64)


def _half_life(
    lengths: "Float[np.ndarray, 'spell']",
    ended: "Bool[np.ndarray, 'spell']",
    owners: "Int[np.ndarray, 'spell']",
) -> Estimate:
    """Return the median length of the spells, with an interval from resampling heads."""
    if len(lengths) == 0:
        return without_interval(0, "no head to follow")
    heads = int(owners.max()) + 1
    median = _median(lengths, ended, np.ones(len(lengths)))
    if heads == 1:
        return without_interval(1, "Kaplan-Meier, one head", value=median)
    # A head's spells belong together: heads are drawn, and all their spells with them.
    draws = np.random.default_rng(SEED).multinomial(heads, [1 / heads] * heads, size=200)
    medians = [_median(lengths, ended, weights[owners]) for weights in draws]
    low, high = np.quantile(medians, [0.025, 0.975], method="inverted_cdf")  # some are infinite: no averaging
    return Estimate(median, float(low), float(high), heads, "Kaplan-Meier, head bootstrap 95%", SEED)


def _median(
    lengths: "Float[np.ndarray, 'spell']", ended: "Bool[np.ndarray, 'spell']", weights: "Num[np.ndarray, 'spell']"
) -> float:
    """Return Kaplan and Meier's (1958) median of spells; infinite if it is not reached."""
    surviving = 1.0
    for length in np.unique(lengths[ended]):
        # A spell censored at this length was still at risk.
        at_risk = float(weights[lengths >= length].sum())
        deaths = float(weights[(lengths == length) & ended].sum())
        surviving *= 1 - deaths / at_risk if at_risk else 1.0
        # A product of fractions that is one half may be above it in the last bit.
        if surviving <= 0.5 + 1e-9:
            return float(length)
    return math.inf
