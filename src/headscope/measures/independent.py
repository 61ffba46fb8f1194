"""Arithmetic on estimates that were made apart: differences, and the mean over seeds."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import t

from headscope.errors import InputError
from headscope.measures.intervals import LEVEL
from headscope.results.estimate import Estimate


def scaled(estimate: Estimate, factor: float) -> Estimate:
    """The estimate in another unit; ``factor`` is above 0."""
    value, low, high = (factor * end for end in (estimate.value, estimate.low, estimate.high))
    return Estimate(value, low, high, estimate.n, estimate.method, estimate.seed)


def difference(one: Estimate, other: Estimate) -> Estimate:
    """one − other, of independent estimates, by the square-and-add method (Zou and Donner 2008, doi 10.1002/sim.3095):
    the distances from value to interval end are added as the sides of a right angle are.
    """
    value = one.value - other.value
    low = value - float(np.hypot(one.value - one.low, other.high - other.value))
    high = value + float(np.hypot(one.high - one.value, other.value - other.low))
    method = one.method if one.method == other.method else f"{one.method} and {other.method}"
    return Estimate(value, low, high, min(one.n, other.n), f"difference, {method}")


def pooled(estimates: Sequence[Estimate], *, level: float = LEVEL) -> Estimate:
    """Mean over seeds whose estimates share their units (the pairs): half-widths √(w² + s²).

    w, the mean distance of the interval's end, does not shrink with the number of seeds; s is Student's t interval of
    the values between seeds. One estimate is returned as it is. Raises InputError for none.
    """
    if not estimates:
        raise InputError("found no estimate; the mean over seeds needs at least one")
    if len(estimates) == 1:
        return estimates[0]
    values, lows, highs = (np.array([getattr(each, end) for each in estimates]) for end in ("value", "low", "high"))
    seeds, value = len(values), float(values.mean())
    between = float(t.ppf(0.5 + level / 2, seeds - 1) * values.std(ddof=1) / np.sqrt(seeds))
    low = value - float(np.hypot((values - lows).mean(), between))
    high = value + float(np.hypot((highs - values).mean(), between))
    return Estimate(value, low, high, min(each.n for each in estimates), f"{estimates[0].method}, {seeds} seeds")
