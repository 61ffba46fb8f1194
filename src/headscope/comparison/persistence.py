"""How long emergent heads stay: persistence, turnover, what remains, and the half-life, with intervals over heads."""

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from headscope.comparison.dynamics import established
from headscope.measures.intervals import bootstrap, wilson
from headscope.results.dynamics import Dynamics
from headscope.results.estimate import Estimate
from headscope.results.persistence import Persistence

Weights = Float[np.ndarray, "head"]


def persistence(dynamics: Dynamics, *, seed: int = 0) -> Persistence:
    """Of one run's emergent heads, after the run's own hysteresis. NaN where nothing was established; one head has no
    interval.

    Runs of two regimes are compared by ``measures.independent_estimates.difference`` of these estimates; so is a run
    with its null twin.
    """
    states = established(dynamics.emergent, dynamics.hold)
    states = states[:, states.any(axis=0)]
    before, after = states[:-1], states[1:]
    heads = states.shape[1]
    remaining = wilson(int(states[-1].sum()), heads) if len(states) > 1 else _nothing("fewer than two checkpoints")
    return Persistence(
        persistence=_ratio((before & after).sum(axis=0), before.sum(axis=0), seed),
        turnover=_ratio((before ^ after).sum(axis=0), (before | after).sum(axis=0), seed),
        remaining=remaining,
        half_life=_half_life(*_spells(states, dynamics.steps), seed),
        heads=heads,
        checkpoints=len(states),
    )


def _ratio(part: "Int[np.ndarray, 'head']", whole: "Int[np.ndarray, 'head']", seed: int) -> Estimate:
    """Σ part / Σ whole; a head's checkpoints belong together, so heads are resampled."""

    def statistic(weights: Weights) -> float:
        total = float(weights @ whole)
        return float(weights @ part) / total if total > 0 else pooled

    seen = whole > 0
    part, whole = part[seen], whole[seen]
    if len(part) == 0:
        return _nothing("no head to follow")
    pooled = float(part.sum() / whole.sum())
    if len(part) == 1:
        return replace(_nothing("one head"), value=pooled, n=1)
    return bootstrap(statistic, len(part), unit="head", seed=seed)


def _spells(
    states: "Bool[np.ndarray, 'checkpoint head']", steps: "Int[np.ndarray, 'checkpoint']"
) -> tuple["Float[np.ndarray, 'spell']", "Bool[np.ndarray, 'spell']", "Int[np.ndarray, 'spell']"]:
    """Length in steps, whether its end was seen, and the head of each spell; an end is dated to the first checkpoint
    without the head.
    """
    changes = np.diff(states.astype(np.int8), axis=0, prepend=0)
    lengths, ended, owners = [], [], []
    for head in range(states.shape[1]):
        starts, ends = np.flatnonzero(changes[:, head] > 0), np.flatnonzero(changes[:, head] < 0)
        for number, start in enumerate(starts):
            end = ends[number] if number < len(ends) else len(steps) - 1
            lengths.append(float(steps[end] - steps[start]))
            ended.append(number < len(ends))
            owners.append(head)
    return np.array(lengths), np.array(ended, dtype=bool), np.array(owners, dtype=np.int64)


def _half_life(
    lengths: "Float[np.ndarray, 'spell']",
    ended: "Bool[np.ndarray, 'spell']",
    owners: "Int[np.ndarray, 'spell']",
    seed: int,
) -> Estimate:
    if len(lengths) == 0:
        return _nothing("no head to follow")
    order = np.argsort(lengths, kind="stable")
    heads = int(owners.max()) + 1
    found = [
        _median(lengths[order], ended[order], weights[owners[order]])
        for weights in (np.ones(heads), *np.random.default_rng(seed).multinomial(heads, [1 / heads] * heads, size=200))
    ]
    if heads == 1:
        return replace(_nothing("Kaplan-Meier, one head"), value=found[0], n=1)
    low, high = np.quantile(found[1:], [0.025, 0.975], method="inverted_cdf")  # some are infinite: no averaging
    return Estimate(found[0], float(low), float(high), heads, "Kaplan-Meier, head bootstrap 95%", seed)


def _median(
    lengths: "Float[np.ndarray, 'spell']", ended: "Bool[np.ndarray, 'spell']", weights: "Num[np.ndarray, 'spell']"
) -> float:
    """Kaplan and Meier's (1958) median of spells sorted by length; infinite where it is not reached."""
    surviving = 1.0
    for length in np.unique(lengths[ended]):
        at_risk = float(weights[lengths >= length].sum())
        deaths = float(weights[(lengths == length) & ended].sum())
        surviving *= 1 - deaths / at_risk if at_risk else 1.0
        if surviving <= 0.5:
            return float(length)
    return math.inf


def _nothing(why: str) -> Estimate:
    return Estimate(math.nan, math.nan, math.nan, 0, why)
