"""How numbers are written for readers: rounded, with their interval, a dash where nothing is known."""

import math
from dataclasses import replace

from headscope.results.estimate import Estimate

UNKNOWN = "–"


def rounded(value: float | None, digits: int = 2, *, sign: bool = False) -> str:
    """A decimal with ``digits`` places; ``–`` for NaN and None. ``sign`` also writes a plus; what rounds to 0 has none.

    >>> rounded(-0.5, 1), rounded(0.25, sign=True), rounded(-0.04, 1, sign=True), rounded(float("nan"))
    ('−0.5', '+0.25', '0.0', '–')
    """
    if value is None or math.isnan(value):
        return UNKNOWN
    if round(value, digits) == 0:
        return f"{0:.{digits}f}"
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", "−")


def count(value: float | None) -> str:
    """A number of heads: whole numbers without a point, halves and means with one place."""
    if value is None or math.isnan(value):
        return UNKNOWN
    return rounded(value, 0 if float(value).is_integer() else 1)


def with_interval(estimate: Estimate, digits: int = 2, *, sign: bool = False) -> str:
    """``0.71 [0.68, 0.74]``; the value alone where there is no interval, a dash where there is no value."""
    value = rounded(estimate.value, digits, sign=sign)
    if any(map(math.isnan, (estimate.value, estimate.low, estimate.high))):
        return value
    low, high = (rounded(bound, digits, sign=sign) for bound in (estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


def count_with_interval(estimate: Estimate, *, sign: bool = False) -> str:
    """A number of heads with its interval: ``5 [2, 7]``."""
    if not all(math.isnan(x) or float(x).is_integer() for x in (estimate.value, estimate.low, estimate.high)):
        return with_interval(estimate, 1, sign=sign)
    return with_interval(estimate, 0, sign=sign)


def share_with_interval(estimate: Estimate) -> str:
    """A share in per cent with its interval: ``5.0 [4.2, 6.1] %``."""
    percent = (100 * estimate.value, 100 * estimate.low, 100 * estimate.high)
    return with_interval(replace(estimate, value=percent[0], low=percent[1], high=percent[2]), 1) + " %"
