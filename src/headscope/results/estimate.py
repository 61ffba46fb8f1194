"""A number with what it must carry: interval, method, n and seed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A point estimate with its interval.

    value, low, high: same unit; NaN if undefined (n = 0).
    n: independent units behind it (problems, pairs that are problems of their own, random sets): what was resampled,
        not rows.
    method: how the interval was made, in words a report can print ("Wilson 95 %", "problem bootstrap 95 %").
    seed: of the resampling; None for closed forms.
    """

    value: float
    low: float
    high: float
    n: int
    method: str
    seed: int | None = None

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"
