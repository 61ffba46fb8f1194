"""An estimate with its interval, method, sample size and seed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A point estimate with its interval.

    value, low, high: same unit; NaN if undefined (n = 0).
    n: number of independent units (problems, pairs that are their own problems, random sets), not of rows.
    method: method of the interval, as a report shows it ("Wilson 95 %", "problem bootstrap 95 %").
    seed: seed of the resampling; None for closed forms.
    """

    value: float
    low: float
    high: float
    n: int
    method: str
    seed: int | None = None

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"
