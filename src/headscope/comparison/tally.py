"""How many heads or edges have each status between two models, as observed and in every resample of the pairs."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer, Num

from headscope.comparison.resampling import Resampling
from headscope.results.counts import COUNTED, Counts, LayerProfile
from headscope.results.emergence import Status, status_grid
from headscope.results.estimate import Estimate

LEVEL = 0.95
_COUNTED = tuple(Status[name.upper()] for name in COUNTED)
_SWAPPED = (Status.KEPT, Status.LOST, Status.NEW, Status.CONTINGENT)


@dataclass(frozen=True, eq=False)
class Frequencies:
    """Inclusion frequency of one model: as observed, and as each resample would itself have found it.

    group: what is counted apart, the layers of heads; edges are one group.
    """

    observed: Float[np.ndarray, "group member"]
    draws: Float[np.ndarray, "resample group member"]
    pairs: int


@dataclass(frozen=True, eq=False)
class Tally:
    """Numbers kept, new, lost and contingent: as observed, and per resample, in each group.

    draws is empty where nothing was resampled; the observed numbers are NaN where nothing is known.
    """

    observed: Float[np.ndarray, "status group"]
    draws: Float[np.ndarray, "resample status group"]
    pairs: int

    @classmethod
    def unknown(cls, groups: int) -> "Tally":
        """Where there is nothing to count."""
        return cls(np.full((len(_COUNTED), groups), np.nan), np.empty((0, len(_COUNTED), groups)), 0)

    @classmethod
    def between(cls, base: Frequencies, post: Frequencies, how: Resampling) -> "Tally":
        """Statuses of post against base, resample by resample."""
        shared = min(len(base.draws), len(post.draws))
        observed = status_grid(base.observed, post.observed, core=how.core, contingent=how.contingent)
        draws = status_grid(base.draws[:shared], post.draws[:shared], core=how.core, contingent=how.contingent)
        return cls(_numbers(observed), _numbers(draws), min(base.pairs, post.pairs))

    def either_way(self) -> "Tally":
        """The mean of both directions: between base and itself, new and lost are draws of one number."""
        swap = [_COUNTED.index(status) for status in _SWAPPED]
        return Tally((self.observed + self.observed[swap]) / 2, (self.draws + self.draws[:, swap]) / 2, self.pairs)

    def minus(self, null: "Tally") -> "Tally":
        """The excess over a null."""
        shared = min(len(self.draws), len(null.draws))
        return Tally(self.observed - null.observed, self.draws[:shared] - null.draws[:shared], self.pairs)

    def counts(self, seed: int) -> Counts:
        """Over all groups, with percentile intervals over the resamples."""
        columns = zip(self.observed.sum(axis=-1), self.draws.sum(axis=-1).T, strict=True)
        return Counts(*(count_estimate(float(value), draws, self.pairs, seed) for value, draws in columns))

    def profile(self, null: "Tally") -> LayerProfile:
        """Group by group, with the null and the excess."""
        excess = self.minus(null)
        low, high = _limits(self.draws)
        excess_low, excess_high = _limits(excess.draws)
        return LayerProfile(self.observed, low, high, null.observed, excess.observed, excess_low, excess_high)


def _numbers(status: "Integer[np.ndarray, '*rows group member']") -> "Float[np.ndarray, '*rows status group']":
    numbers = [(status == counted).sum(axis=-1) for counted in _COUNTED]
    return np.stack(numbers, axis=-2).astype(np.float64)


def _limits(
    draws: "Num[np.ndarray, 'resample *grid']",
) -> tuple["Float[np.ndarray, '*grid']", "Float[np.ndarray, '*grid']"]:
    """The interval's two ends; NaN without draws."""
    if len(draws) == 0:
        return np.full(draws.shape[1:], np.nan), np.full(draws.shape[1:], np.nan)
    low, high = np.quantile(draws, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=0)
    return np.asarray(low), np.asarray(high)


def count_estimate(value: float, draws: "Num[np.ndarray, 'resample']", pairs: int, seed: int) -> Estimate:
    """A number of heads or edges with its percentile interval over the resamples."""
    if len(draws) == 0:
        return Estimate(value, float("nan"), float("nan"), pairs, "not resampled")
    low, high = _limits(draws)
    # Resampling flickers more than the data did, so that the draws of a count near 0 may all lie above it.
    return Estimate(value, min(value, float(low)), max(value, float(high)), pairs, f"pair bootstrap {LEVEL:.0%}", seed)
