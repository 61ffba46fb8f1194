"""Format numbers for readers: rounded, with their interval, and as a dash if unknown."""

import math

from headscope.results.estimate import Estimate

ALPHA = 0.05
"""A p-value at or below it, adjusted if there are several tests, is believed."""

LARGE_RESIDUAL = 0.05
"""A residual above this says that the path integral is not settled."""

UNKNOWN = "–"


def format_number(value: float | None, digits: int = 2, *, sign: bool = False) -> str:
    """Return a decimal with ``digits`` places; ``–`` for NaN and None.

    ``sign`` also writes a plus; what rounds to 0 has no sign.

    >>> format_number(-0.5, 1), format_number(0.25, sign=True), format_number(-0.04, 1, sign=True)
    ('−0.5', '+0.25', '0.0')
    """
    if value is None or math.isnan(value):
        return UNKNOWN
    if round(value, digits) == 0:
        return f"{0:.{digits}f}"
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", "−")


def format_count(value: float | None) -> str:
    """Return a number of heads: whole numbers without a point, halves and means with one place."""
    if value is None or math.isnan(value):
        return UNKNOWN
    return format_number(value, 0 if float(value).is_integer() else 1)


def format_estimate(estimate: Estimate, digits: int = 2, *, sign: bool = False, scale: float = 1.0) -> str:
    """Return ``0.71 [0.68, 0.74]``, times ``scale``; the value alone if there is no interval, a dash if no value."""
    ends = [scale * end for end in (estimate.value, estimate.low, estimate.high)]
    value, low, high = [format_number(end, digits, sign=sign) for end in ends]
    return value if any(map(math.isnan, ends)) else f"{value} [{low}, {high}]"


def format_count_estimate(estimate: Estimate, *, sign: bool = False) -> str:
    """Return a number of heads with its interval: ``5 [2, 7]``, or ``1.5 [0.3, 4.0]`` if one is not whole."""
    ends = (estimate.value, estimate.low, estimate.high)
    is_whole = all(math.isnan(end) or float(end).is_integer() for end in ends)
    return format_estimate(estimate, 0 if is_whole else 1, sign=sign)


def format_share(estimate: Estimate) -> str:
    """Return a share in per cent with its interval: ``5.0 [4.2, 6.1] %``."""
    return f"{format_estimate(estimate, 1, scale=100.0)} %"


def format_p(p_value: float) -> str:
    """Return a p-value with three places, and below 0.01 with two significant digits: ``0.188``, ``1.5e−12``.

    One that is too small for a float, as of tens of thousands of answers, is ``< 1e−300``: no test gives 0.
    """
    if p_value == 0:
        return "< 1e−300"
    if p_value < 0.01:
        return f"{p_value:.2g}".replace("-", "−")
    return format_number(p_value, 3)


def state_p(p_value: float) -> str:
    """Return ``p = 0.188``, or ``p < 1e−300``."""
    text = format_p(p_value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def format_residual(residual: float) -> str:
    """Return a residual of the path integral, marked if it is large."""
    text = f"{residual:.1e}".replace("-", "−")
    return f"{text} (above {LARGE_RESIDUAL:.0%})" if residual > LARGE_RESIDUAL else text


def format_duration(seconds: float) -> str:
    """Return a duration with two digits and its unit: ``45 s``, ``3.2 min``, ``16 h``, ``4.5 days``."""
    for length, name in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 1.5 * length:
            return f"{_two_digits(seconds / length)} {name}"
    return f"{_two_digits(seconds)} s"


def format_bytes(count: float) -> str:
    """Return bytes with two digits: ``340 MiB``, ``1.2 GiB``."""
    for size, name in ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB")):
        if count >= size:
            return f"{_two_digits(count / size)} {name}"
    return f"{math.ceil(count / 1024)} KiB"


def _two_digits(value: float) -> str:
    if value >= 100:
        return f"{float(f'{value:.2g}'):.0f}"
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"
