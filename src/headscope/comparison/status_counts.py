"""Numbers of heads or edges of each status between two models, as observed and in every resample of the problems."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
from jaxtyping import Float, Num

from headscope.comparison.resampling import Resampling
from headscope.measures.intervals import LEVEL, expanded_tails, without_interval
from headscope.measures.permutation import permutation_p_value
from headscope.pairs import SampleSize
from headscope.results.counts import COUNTED, Counts, LayerProfile
from headscope.results.emergence import Status, status_grid
from headscope.results.estimate import Estimate

_ENDS = (0.5 - LEVEL / 2, 0.5 + LEVEL / 2)
_COUNTED = tuple(Status[name.upper()] for name in COUNTED)

Sides = tuple[Float[np.ndarray, "cut group member"], Float[np.ndarray, "cut group member"]]
"""Inclusion frequencies of one model on the two sides of every cut of its problems."""


@dataclass(frozen=True, eq=False)
class Frequencies:
    """Inclusion frequencies of one model.

    observed: from all pairs. draws: those that would result if each resample were the data.
    Heads are counted by group, which is their layer; edges are one group.
    """

    observed: Float[np.ndarray, "group member"]
    draws: Float[np.ndarray, "resample group member"]
    size: SampleSize


@dataclass(frozen=True, eq=False)
class StatusCounts:
    """Numbers of kept, new, lost and contingent members of each group.

    observed: from all pairs; NaN if unknown. draws: per resample; empty without resamples.
    """

    observed: Float[np.ndarray, "status group"]
    draws: Float[np.ndarray, "resample status group"]
    size: SampleSize

    @classmethod
    def unknown(cls, groups: int) -> "StatusCounts":
        """Return the counts of a comparison that could not be made."""
        return cls(np.full((len(_COUNTED), groups), np.nan), np.empty((0, len(_COUNTED), groups)), SampleSize(0, 0))

    @classmethod
    def compare(cls, base: Frequencies, post: Frequencies, resampling: Resampling) -> "StatusCounts":
        """Return the counts of post against base by resample."""
        # A model without per-pair edges has no draws, and neither has a comparison with it.
        shared = min(len(base.draws), len(post.draws))
        observed = _count_statuses(base.observed, post.observed, resampling)
        draws = _count_statuses(base.draws[:shared], post.draws[:shared], resampling)
        return cls(observed, draws, min(base.size, post.size, key=attrgetter("problems")))

    @classmethod
    def split_half(cls, sides: Sides, size: SampleSize, resampling: Resampling) -> "StatusCounts":
        """Return counts of the base against itself by cut; observed is the mean over the cuts.

        Both directions are counted, as direction has no meaning here.
        """
        first, second = sides
        forth = _count_statuses(first, second, resampling)
        back = _count_statuses(second, first, resampling)
        draws = np.concatenate([forth, back])  # new heads one way are the lost ones the other way
        return cls(draws.mean(axis=0), draws, size)

    def counts(self, seed: int) -> Counts:
        """Return the counts over all groups, with intervals over problems."""
        columns = zip(self.observed.sum(axis=-1), self.draws.sum(axis=-1).T, strict=True)
        return Counts(*(count_estimate(float(value), draws, self.size, seed) for value, draws in columns))

    def cut_range(self) -> Counts:
        """Return the means of a null, with the range of 95 % of the cuts."""
        lows, highs = _quantiles(self.draws.sum(axis=-1), _ENDS)
        method = f"range of {LEVEL:.0%} of the cuts" if len(self.draws) else "not resampled"
        columns = zip(self.observed.sum(axis=-1).tolist(), lows.tolist(), highs.tolist(), strict=True)
        return Counts(*(Estimate(value, low, high, self.size.problems, method) for value, low, high in columns))

    def excess(self, null: "StatusCounts", seed: int) -> Counts:
        """Return the counts less the null's means.

        The interval includes the variation of the resamples and of the null's cuts: if no resample shows a change, new
        problems still might.
        """
        excess = (self.observed - null.observed).sum(axis=-1)
        columns = zip(excess, self._scatter(null).sum(axis=-1).T, null.observed.sum(axis=-1), strict=True)
        estimates = []
        for value, draws, null_mean in columns:
            # No count is below 0, so no excess is below minus the null.
            estimates.append(count_estimate(float(value), draws, self.size, seed, least=-float(null_mean)))
        return Counts(*estimates)

    def _scatter(self, null: "StatusCounts") -> "Float[np.ndarray, 'resample status group']":
        """Return the draws of both, each minus its mean; empty if one of the two has none."""
        if not len(self.draws) or not len(null.draws):
            return np.empty((0, *self.draws.shape[1:]))
        return np.concatenate([self.draws - self.draws.mean(axis=0), null.draws - null.draws.mean(axis=0)])

    def p_value(self, null: "StatusCounts") -> float:
        """Return the share of the null's cuts with at least as many new heads or edges; NaN without cuts."""
        new = COUNTED.index("new")
        return permutation_p_value(float(self.observed[new].sum()), null.draws.sum(axis=-1)[:, new])

    def layer_profile(self, null: "StatusCounts") -> LayerProfile:
        """Return the counts group by group, with the null and the excess."""
        excess = self.observed - null.observed
        problems = self.size.problems
        low, high = _limits(self.observed, self.draws, problems)
        excess_low, excess_high = _limits(excess, self._scatter(null), problems, -null.observed)
        return LayerProfile(self.observed, low, high, null.observed, excess, excess_low, excess_high)


def count_estimate(
    value: float, draws: "Num[np.ndarray, 'resample']", size: SampleSize, seed: int, *, least: float = 0.0
) -> Estimate:
    """Return a number of heads or edges with its interval over the resamples; ``least`` is its smallest possible value.

    A single problem, which is the same in every resample, has no interval.
    """
    n = size.problems
    if len(draws) == 0 or n < 2:
        return without_interval(n, f"one {size.unit}" if n == 1 else "not resampled", value=value)
    low, high = _limits(np.asarray(value), draws, n, least)
    method = f"{size.unit} bootstrap {LEVEL:.0%}"
    return Estimate(value, min(value, float(low)), max(value, float(high)), n, method, seed)


def _count_statuses(
    base: "Float[np.ndarray, '*rows group member']",
    post: "Float[np.ndarray, '*rows group member']",
    resampling: Resampling,
) -> "Float[np.ndarray, '*rows status group']":
    status = status_grid(base, post, core=resampling.core, contingent=resampling.contingent)
    numbers = [(status == counted).sum(axis=-1) for counted in _COUNTED]
    return np.stack(numbers, axis=-2).astype(np.float64)


def _limits(
    observed: "Num[np.ndarray, '*grid']",
    draws: "Num[np.ndarray, 'resample *grid']",
    problems: int,
    least: "float | Num[np.ndarray, '*grid']" = 0.0,
) -> tuple["Float[np.ndarray, '*grid']", "Float[np.ndarray, '*grid']"]:
    """Return the interval's two ends; NaN without draws, and of a single problem, which is the same in each of them."""
    # A resample flickers more than the data did, by the noise of both, so that draws of a count near 0 lie above it:
    # their scatter is taken around their own mean and put around what was observed.
    centred = draws - draws.mean(axis=0) if len(draws) else draws
    low, high = _quantiles(centred if problems > 1 else centred[:0], expanded_tails(problems))
    return np.asarray(np.maximum(observed + low, least)), np.asarray(observed + high)


def _quantiles(
    draws: "Num[np.ndarray, 'resample *grid']", ends: Sequence[float]
) -> tuple["Float[np.ndarray, '*grid']", "Float[np.ndarray, '*grid']"]:
    if len(draws) == 0:
        return np.full(draws.shape[1:], np.nan), np.full(draws.shape[1:], np.nan)
    low, high = np.quantile(draws, ends, axis=0)
    return np.asarray(low), np.asarray(high)
