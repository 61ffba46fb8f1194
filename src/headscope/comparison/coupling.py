"""Reward coupling (method section 5): Spearman of differenced series at lags −3…3 with a phase-randomised null.

Two series with trends correlate even if unrelated, so differences are correlated, and the null keeps each reward's
autocorrelation: surrogates have its power spectrum with random phases (Theiler et al. 1992, doi
10.1016/0167-2789(92)90102-S).
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from headscope.errors import InputError
from headscope.measures.intervals import rank_correlation_interval
from headscope.measures.permutation import permutation_p_value
from headscope.results.coupling import Coupling
from headscope.results.dynamics import RewardCount
from headscope.results.emergence import Emergence

Series = Float[np.ndarray, "_"]

FEWEST_DIFFERENCES = 3
"""Differences of one run that are correlated, at least."""
LAGS = 3
"""Checkpoints by which the heads may come before or after the reward."""

DRAWS = 1000
"""Random-phase surrogates of each reward series."""


def reward_coupling(
    runs: Sequence[tuple["Series", "Series"]], *, lags: int = LAGS, draws: int = DRAWS, seed: int = 0
) -> Coupling:
    """Return the coupling of reward and number of heads; ``runs`` holds a pair of series by checkpoint for each seed.

    1. Difference both series; a checkpoint without a reward (NaN) cuts the run in two.
    2. Rank within each stretch and correlate at each lag; pool the stretches, weighted by their points.
    3. Do the same with the phases of every differenced reward drawn at random.

    A stretch of fewer than 3 differences after shifting is left out; if all are, the result is NaN with 0 points.

    Raises InputError if a run's two series differ in length.
    """
    shifts = np.arange(-lags, lags + 1)
    stretches = []
    for rewards, heads in runs:
        stretches += _difference_stretches(rewards, heads)
    rng = np.random.default_rng(seed)
    observed, points = _pool_correlations([(x[None], y) for x, y in stretches], shifts, 1)
    # The phases of the reward are drawn and the heads stay: both series keep their own autocorrelation.
    null, _ = _pool_correlations([(_draw_surrogates(x, draws, rng), y) for x, y in stretches], shifts, draws)
    correlation = observed[0]
    low, high = rank_correlation_interval(correlation, points)
    after = shifts >= 0
    return Coupling(
        lags=shifts,
        correlation=correlation,
        low=low,
        high=high,
        p_value=np.array([permutation_p_value(*pair) for pair in zip(correlation.tolist(), null.T, strict=True)]),
        points=points,
        after_p=_largest_p_value(correlation[after], null[:, after]),
        seeds=len(runs),
        draws=draws,
        seed=seed,
    )


def coupling_series(rows: Sequence[RewardCount]) -> tuple["Series", "Series"]:
    """Return reward and number of new heads at each checkpoint, for ``reward_coupling``."""
    rows = sorted(rows, key=lambda row: row.step)
    return np.array([row.reward for row in rows], dtype=np.float64), np.array([float(row.new) for row in rows])


def change_mass_series(
    series: Sequence[tuple[int, Emergence]], rows: Sequence[RewardCount]
) -> tuple["Series", "Series"]:
    """Return reward and mass of importance gained at each checkpoint, for ``reward_coupling``.

    The mass is Σ over heads of max(0, importance in post − in base), the share of all score that moved to other heads.
    Unlike a number of heads it does not depend on the circuit.
    """
    rewards = {row.step: row.reward for row in rows}
    masses, logged = [], []
    for step, result in sorted(series, key=lambda checkpoint: checkpoint[0]):
        masses.append(float(np.maximum(result.importance_change.value, 0).sum()))
        logged.append(rewards.get(step, math.nan))
    return np.array(logged, dtype=np.float64), np.array(masses)


def mass_coupling(runs: Sequence[tuple[Sequence[tuple[int, Emergence]], Sequence[RewardCount]]]) -> Coupling:
    """Return the coupling of reward and mass of importance gained, over the runs of one recipe.

    runs: per seed the series of comparisons, and the rewards of its checkpoints.
    """
    return reward_coupling([change_mass_series(series, rewards) for series, rewards in runs])


def _difference_stretches(rewards: "Series", heads: "Series") -> list[tuple["Series", "Series"]]:
    """Return the differences of both series within each run of checkpoints that have a reward."""
    if len(rewards) != len(heads):
        raise InputError(f"a run has {len(rewards)} rewards and {len(heads)} head counts; one of each per checkpoint")
    cuts = np.flatnonzero(~np.isfinite(rewards))
    stretches = []
    for x, y in zip(np.split(rewards, cuts), np.split(heads, cuts), strict=True):
        has_reward = np.isfinite(x)  # all but the first of a stretch, at which the series was cut
        if has_reward.sum() > FEWEST_DIFFERENCES:
            stretches.append((_differences(x[has_reward]), _differences(y[has_reward])))
    return stretches


def _differences(series: "Series") -> "Series":
    """Return the differences, of which equal ones are equal: 0.3 − 0.2 and 0.2 − 0.1 would be ranked by rounding."""
    unit = 1e-9 * float(np.ptp(series))
    differences = np.diff(series)
    return np.asarray(np.round(differences / unit) * unit if unit > 0 else np.zeros_like(differences))


def _pool_correlations(
    stretches: "Sequence[tuple[Float[np.ndarray, 'draw _'], Series]]", shifts: "Int[np.ndarray, 'lag']", draws: int
) -> tuple["Float[np.ndarray, 'draw lag']", "Int[np.ndarray, 'lag']"]:
    """Return the correlation over all stretches at each lag, for every draw of the first series, and its points."""
    weighted = np.zeros((draws, len(shifts)))
    points = np.zeros(len(shifts), dtype=np.int64)
    for x, y in stretches:
        for index, lag in enumerate(shifts.tolist()):
            if abs(lag) >= len(y):
                continue
            # A positive lag pairs each change of the reward with a later change of the heads.
            early = x[:, max(0, -lag) : x.shape[1] - max(0, lag)]
            late = y[max(0, lag) : len(y) - max(0, -lag)]
            if len(late) >= FEWEST_DIFFERENCES:
                weighted[:, index] += len(late) * _spearman(early, late)
                points[index] += len(late)
    return np.divide(weighted, points, out=np.full(weighted.shape, np.nan), where=points > 0), points


def _spearman(x: "Float[np.ndarray, 'draw point']", y: "Float[np.ndarray, 'point']") -> "Float[np.ndarray, 'draw']":
    """Return the correlation of each row with ``y``; 0 if one of the two is constant."""
    from scipy.stats import rankdata

    middle = (len(y) + 1) / 2  # the mean rank, also with ties
    x_ranks, y_ranks = rankdata(x, axis=1) - middle, rankdata(y) - middle
    scale = np.sqrt((x_ranks**2).sum(axis=1) * (y_ranks @ y_ranks))
    return np.asarray(np.divide(x_ranks @ y_ranks, scale, out=np.zeros(len(x)), where=scale > 0))


def _draw_surrogates(series: "Series", draws: int, rng: np.random.Generator) -> "Float[np.ndarray, 'draw point']":
    """Return series of the same power spectrum with random phases."""
    spectrum = np.fft.rfft(series)
    turned = spectrum * np.exp(2j * np.pi * rng.random((draws, len(spectrum))))
    # The mean and, for an even length, the highest frequency are real in a real series: no phase, a sign at most.
    turned[:, 0] = spectrum[0]
    if len(series) % 2 == 0:
        turned[:, -1] = abs(spectrum[-1]) * rng.choice((-1.0, 1.0), size=draws)
    return np.asarray(np.fft.irfft(turned, len(series), axis=1))


def _largest_p_value(correlation: "Float[np.ndarray, 'lag']", null: "Float[np.ndarray, 'draw lag']") -> float:
    """Return the p-value of the largest correlation against the largest of each draw; NaN without correlations."""
    is_known = np.isfinite(correlation)
    if not is_known.any():
        return math.nan
    return permutation_p_value(float(correlation[is_known].max()), null[:, is_known].max(axis=1))
