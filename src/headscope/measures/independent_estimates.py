"""Arithmetic on independent estimates: differences, and the mean over seeds."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from headscope.errors import InputError
from headscope.measures.intervals import LEVEL, without_interval
from headscope.results.estimate import Estimate


def scale_estimate(estimate: Estimate, factor: float) -> Estimate:
    """Return the estimate in another unit; ``factor`` is above 0."""
    low, high = factor * estimate.low, factor * estimate.high
    return Estimate(factor * estimate.value, low, high, estimate.n, estimate.method, estimate.seed)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """Return first − second of two independent estimates, by the square-and-add method (Zou and Donner 2008, doi
    10.1002/sim.3095): the distances from the values to their interval ends are added as squares.
    """
    value = first.value - second.value
    low = value - float(np.hypot(first.value - first.low, second.high - second.value))
    high = value + float(np.hypot(first.high - first.value, second.value - second.low))
    method = first.method if first.method == second.method else f"{first.method} and {second.method}"
    return Estimate(value, low, high, min(first.n, second.n), f"difference, {method}")


def welch_difference(first: "Float[np.ndarray, 'unit']", second: "Float[np.ndarray, 'other_unit']") -> Estimate:
    """Return mean of first − mean of second for independent samples of unequal variance, with Welch's t interval.

    n counts both samples. There is no interval if a sample has one unit; without any variance the interval is the
    value.
    """
    value = float(first.mean() - second.mean())
    method, n = f"Welch t {LEVEL:.0%}", len(first) + len(second)
    if min(len(first), len(second)) < 2:
        return without_interval(n, method, value=value)
    parts = np.array([first.var(ddof=1) / len(first), second.var(ddof=1) / len(second)])
    variance = float(parts.sum())
    # Welch and Satterthwaite's degrees of freedom; without any variance they do not matter.
    spread = float((parts**2 / np.array([len(first) - 1, len(second) - 1])).sum())
    freedom = variance**2 / spread if spread > 0 else 1.0
    half_width = float(stdtrit(freedom, 0.5 + LEVEL / 2)) * variance**0.5
    return Estimate(value, value - half_width, value + half_width, n, method)


def pool_estimates(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean over seeds of estimates on the same units (the pairs), with half-widths √(w² + s²).

    w, the mean distance from value to interval end, does not shrink with the number of seeds; s is Student's t interval
    of the values between seeds. A single estimate is returned unchanged. Raises InputError if there is none.
    """
    if not estimates:
        raise InputError("found no estimate; the mean over seeds needs at least one")
    if len(estimates) == 1:
        return estimates[0]
    values = np.array([estimate.value for estimate in estimates])
    lows = np.array([estimate.low for estimate in estimates])
    highs = np.array([estimate.high for estimate in estimates])
    seeds = len(values)
    value = float(values.mean())
    # The two errors are independent: their squares add up.
    seed_error = float(stdtrit(seeds - 1, 0.5 + LEVEL / 2) * values.std(ddof=1) / np.sqrt(seeds))
    low = value - float(np.hypot((values - lows).mean(), seed_error))
    high = value + float(np.hypot((highs - values).mean(), seed_error))
    fewest = min(estimate.n for estimate in estimates)
    return Estimate(value, low, high, fewest, f"{estimates[0].method}, {seeds} seeds")
