"""Weighted sums of measurements of every head, with t intervals and p-values.

A cell is one measurement: its value per head, and the *influence* of each problem on it, which is how far the problem's
pairs move the value to first order (the delta method; mean 0 over problems). Cells measured on the same pairs share
their noise: their influences are added problem by problem before the variance is taken. Cells of other pairs are
independent samples (Welch). Student's t is used, because tests over many heads ask for p-values far smaller than one
over the number of resamples.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.special import stdtr, stdtrit

from headscope.comparison.ablation import FEWEST_PROBLEMS
from headscope.comparison.head_sweep import HeadSweep
from headscope.errors import InputError
from headscope.measures.intervals import LEVEL
from headscope.results.counts import HeadEstimates

RESOLUTION = float(np.finfo(np.float32).eps)
"""The smallest relative difference that a float32 score can show."""
_HALVINGS = 80
"""Steps of the bisection for a pooled p-value, in its logarithm: far below what is printed."""
_LEAST_P = 1e-300


def sum_or_zero(terms: "Sequence[Float[np.ndarray, '*grid']]") -> "Float[np.ndarray, '*grid']":
    """Return the sum, and 0 if it is within the rounding of float32 scores.

    The rounding of equal cells is the same in every pair, which a test would take for a change.
    """
    total = np.asarray(sum(terms))
    size = np.asarray(sum(np.abs(term) for term in terms))
    return np.where(np.abs(total) <= RESOLUTION * size, 0.0, total)


def head_estimates(
    value: "Float[np.ndarray, 'layer head']", samples: "Sequence[Float[np.ndarray, '_ layer head']]"
) -> HeadEstimates:
    """Return t interval and two-sided p-value of ``value`` from the influences of problems on it: Student's for one
    sample of problems, Welch's for several independent ones; NaN if a sample has fewer than 2 problems.
    """
    return HeadEstimates(value, *t_interval(value, samples))


def t_interval(
    value: "Float[np.ndarray, '*grid']", samples: "Sequence[Float[np.ndarray, '_ *grid']]"
) -> tuple["Float[np.ndarray, '*grid']", "Float[np.ndarray, '*grid']", "Float[np.ndarray, '*grid']"]:
    """Return both ends of the t interval of ``value`` and its two-sided p-value, as ``head_estimates`` does."""
    if min(len(influences) for influences in samples) < 2:
        unknown = np.full_like(value, np.nan)
        return unknown, unknown, unknown
    variances = np.stack([influences.var(axis=0, ddof=1) / len(influences) for influences in samples])
    variance = variances.sum(axis=0)
    # Welch and Satterthwaite's degrees of freedom; of one sample exactly n − 1.
    freedoms = np.array([len(influences) - 1 for influences in samples])
    spread = (variances**2 / np.expand_dims(freedoms, tuple(range(1, variances.ndim)))).sum(axis=0)
    # Without any variance the freedom does not matter; that of the smallest sample is used.
    freedom = np.divide(variance**2, spread, out=np.full_like(spread, float(freedoms.min())), where=spread > 0)
    error = np.sqrt(variance)
    half_width = stdtrit(freedom, 0.5 + LEVEL / 2) * error
    # Without spread between problems, any change has p = 0 and no change has p = 1.
    statistic = np.divide(np.abs(value), error, out=np.where(value == 0, 0.0, np.inf), where=error > 0)
    return value - half_width, value + half_width, np.asarray(2 * stdtr(freedom, -statistic))


def text_estimates(changes: "Float[np.ndarray, 'text head']", sweep: HeadSweep) -> HeadEstimates:
    """Return the mean over texts of the change of every head in ``sweep``, the columns of ``changes``.

    Other heads are NaN; p-values are NaN below 10 texts.
    """
    values = np.full((len(changes), *sweep.shape), np.nan)
    for column, head in enumerate(sweep.heads):
        values[:, head.layer, head.head] = changes[:, column]
    mean = values.mean(axis=0)
    estimates = head_estimates(mean, [values - mean])
    assert estimates.p_value is not None
    is_tested = ~np.isnan(mean) & (len(changes) >= FEWEST_PROBLEMS)
    return HeadEstimates(mean, estimates.low, estimates.high, np.where(is_tested, estimates.p_value, np.nan))


def pool_head_estimates(estimates: Sequence[HeadEstimates], problems: int) -> HeadEstimates:
    """Return the mean over seeds that share their problems, half-widths √(w² + s²) as in ``pool_estimates``.

    w, the mean half-width over problems, does not shrink with the number of seeds; s is Student's t interval of the
    values between seeds. The p-value is one minus the level at which this interval would just touch 0.

    Args:
        estimates: one per seed, each with a symmetric 95 % interval of Student's t.
        problems: behind each of them, the fewest if they differ.

    Raises:
        InputError: if there is no estimate.
    """
    if not estimates:
        raise InputError("found no estimate; the mean over seeds needs at least one")
    if len(estimates) == 1:
        return estimates[0]
    values = np.stack([estimate.value for estimate in estimates])
    seeds, value = len(values), values.mean(axis=0)
    width = np.stack([estimate.high - estimate.low for estimate in estimates]).mean(axis=0) / 2
    error = width / stdtrit(problems - 1, 0.5 + LEVEL / 2)
    seed_error = values.std(axis=0, ddof=1) / np.sqrt(seeds)

    def half_width(p_value: "Float[np.ndarray, '*grid']") -> "Float[np.ndarray, '*grid']":
        quantiles = -stdtrit(problems - 1, p_value / 2), -stdtrit(seeds - 1, p_value / 2)
        return np.asarray(np.hypot(quantiles[0] * error, quantiles[1] * seed_error))

    reach = half_width(np.full_like(value, 1 - LEVEL))
    low, high = np.full_like(value, np.log(_LEAST_P)), np.zeros_like(value)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        holds_zero = half_width(np.exp(middle)) >= np.abs(value)
        low, high = np.where(holds_zero, middle, low), np.where(holds_zero, high, middle)
    p_value = np.where(np.isnan(reach), np.nan, np.where(value == 0, 1.0, np.exp(high)))
    return HeadEstimates(value, value - reach, value + reach, p_value)
