"""Reward coupling (method section 5): Spearman of differenced series at lags −3…3 with a phase-randomised null.

Two series that both drift correlate whatever they are, so differences are correlated, and the null keeps each reward's
own autocorrelation: surrogates have its power spectrum with random phases (Theiler et al. 1992, doi
10.1016/0167-2789(92)90102-S).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import norm, rankdata

from headscope.errors import InputError
from headscope.results.coupling import Coupling
from headscope.results.dynamics import RewardCount

Series = Float[np.ndarray, "_"]

LAGS = 3
DRAWS = 1000


def reward_coupling(
    runs: Sequence[tuple["Series", "Series"]], *, lags: int = LAGS, draws: int = DRAWS, seed: int = 0
) -> Coupling:
    """Coupling of (reward, heads) per checkpoint, one pair of series per seed, all in the order of the steps.

    1. Difference both series; a checkpoint without a reward (NaN) cuts the run in two.
    2. Rank within each stretch and correlate at each lag; pool the stretches, weighted by their points.
    3. The same with the phases of every differenced reward drawn at random.

    A stretch of fewer than 3 differences after shifting says nothing and is left out; where all are, NaN with 0 points.

    Raises InputError where a run's two series differ in length.
    """
    shifts = np.arange(-lags, lags + 1)
    stretches = [stretch for rewards, heads in runs for stretch in _stretches(rewards, heads)]
    rng = np.random.default_rng(seed)
    observed, points = _pooled([(x[None], y) for x, y in stretches], shifts, 1)
    null, _ = _pooled([(_surrogates(x, draws, rng), y) for x, y in stretches], shifts, draws)
    found = observed[0]
    error = np.sqrt((1 + found**2 / 2) / np.maximum(points - 3, 1e-9))
    half = np.where(points > 3, float(norm.ppf(0.975)) * error, np.nan)
    z = np.arctanh(np.clip(found, -1 + 1e-9, 1 - 1e-9))
    after = shifts >= 0
    return Coupling(
        lags=shifts,
        correlation=found,
        low=np.tanh(z - half),
        high=np.tanh(z + half),
        p_value=np.where(points > 0, (1 + (null >= found - 1e-12).sum(axis=0)) / (1 + draws), np.nan),
        points=points,
        after_p=_largest_p(found[after], null[:, after]),
        seeds=len(runs),
        draws=draws,
        seed=seed,
    )


def coupling_series(rows: Sequence[RewardCount]) -> tuple["Series", "Series"]:
    """Reward and number of new heads at each checkpoint, for ``reward_coupling``."""
    ordered = sorted(rows, key=lambda row: row.step)
    return np.array([row.reward for row in ordered], dtype=np.float64), np.array([float(row.new) for row in ordered])


def _stretches(rewards: "Series", heads: "Series") -> list[tuple["Series", "Series"]]:
    """Differences of both series within each run of checkpoints that have a reward."""
    if len(rewards) != len(heads):
        raise InputError(f"a run has {len(rewards)} rewards and {len(heads)} head counts; one of each per checkpoint")
    cuts = np.flatnonzero(~np.isfinite(rewards))
    parts = zip(np.split(rewards, cuts), np.split(heads, cuts), strict=True)
    kept = [(x[np.isfinite(x)], y[np.isfinite(x)]) for x, y in parts]
    return [(np.diff(x), np.diff(y)) for x, y in kept if len(x) > 3]


def _pooled(
    stretches: "Sequence[tuple[Float[np.ndarray, 'draw _'], Series]]", shifts: "Int[np.ndarray, 'lag']", draws: int
) -> tuple["Float[np.ndarray, 'draw lag']", "Int[np.ndarray, 'lag']"]:
    """Correlation over all stretches at each lag, for every draw of the first series; and the points behind it."""
    weighted, points = np.zeros((draws, len(shifts))), np.zeros(len(shifts), dtype=np.int64)
    for x, y in stretches:
        for index, lag in enumerate(shifts.tolist()):
            early = x[:, max(0, -lag) : x.shape[1] - max(0, lag)]
            late = y[max(0, lag) : len(y) - max(0, -lag)]
            if len(late) >= 3:
                weighted[:, index] += len(late) * _spearman(early, late)
                points[index] += len(late)
    return np.divide(weighted, points, out=np.full(weighted.shape, np.nan), where=points > 0), points


def _spearman(x: "Float[np.ndarray, 'draw point']", y: "Float[np.ndarray, 'point']") -> "Float[np.ndarray, 'draw']":
    """Of each row with ``y``; 0 where one of the two does not change: it follows nothing."""
    one, other = rankdata(x, axis=1) - (len(y) + 1) / 2, rankdata(y) - (len(y) + 1) / 2
    scale = np.sqrt((one**2).sum(axis=1) * (other @ other))
    correlation: np.ndarray = np.divide(one @ other, scale, out=np.zeros(len(x)), where=scale > 0)
    return correlation


def _surrogates(series: "Series", draws: int, rng: np.random.Generator) -> "Float[np.ndarray, 'draw point']":
    """The same power spectrum, random phases; mean and (for an even length) the highest frequency stay real."""
    spectrum = np.fft.rfft(series)
    turned = spectrum * np.exp(2j * np.pi * rng.random((draws, len(spectrum))))
    turned[:, 0] = spectrum[0]
    if len(series) % 2 == 0:
        turned[:, -1] = abs(spectrum[-1]) * rng.choice((-1.0, 1.0), size=draws)
    surrogates: np.ndarray = np.fft.irfft(turned, len(series), axis=1)
    return surrogates


def _largest_p(found: "Float[np.ndarray, 'lag']", null: "Float[np.ndarray, 'draw lag']") -> float:
    """Of the largest correlation, against the largest of each draw; NaN where nothing was correlated."""
    known = np.isfinite(found)
    if not known.any():
        return float("nan")
    largest = null[:, known].max(axis=1)
    return float((1 + (largest >= found[known].max() - 1e-12).sum()) / (1 + len(null)))
