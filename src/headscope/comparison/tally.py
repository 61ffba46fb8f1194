"""How many heads or edges have each status between two models, as observed and in every resample of the pairs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer, Num

from headscope.comparison.resampling import Resampling
from headscope.measures.intervals import LEVEL, expanded_tails
from headscope.results.counts import COUNTED, Counts, LayerProfile
from headscope.results.emergence import Status, status_grid
from headscope.results.estimate import Estimate

_ENDS = (0.5 - LEVEL / 2, 0.5 + LEVEL / 2)
_COUNTED = tuple(Status[name.upper()] for name in COUNTED)

Sides = tuple[Float[np.ndarray, "cut group member"], Float[np.ndarray, "cut group member"]]
"""Inclusion frequencies of one model on the two sides of every cut of its pairs."""


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

    @classmethod
    def null(cls, sides: Sides, pairs: int, how: Resampling) -> "Tally":
        """Base against itself, cut by cut and both ways; observed is the mean over the cuts."""
        ways = [status_grid(*way, core=how.core, contingent=how.contingent) for way in (sides, sides[::-1])]
        draws = np.concatenate([_numbers(way) for way in ways])
        return cls(draws.mean(axis=0), draws, pairs)

    def counts(self, seed: int) -> Counts:
        """Over all groups, with intervals over pairs."""
        columns = zip(self.observed.sum(axis=-1), self.draws.sum(axis=-1).T, strict=True)
        return Counts(*(count_estimate(float(value), draws, self.pairs, seed) for value, draws in columns))

    def range(self) -> Counts:
        """Of a null: the means, with the range that holds the numbers of 95 % of the cuts."""
        low, high = _quantiles(self.draws.sum(axis=-1), _ENDS)
        method = f"range of {LEVEL:.0%} of the cuts" if len(self.draws) else "not resampled"
        ends = zip(self.observed.sum(axis=-1).tolist(), low.tolist(), high.tolist(), strict=True)
        return Counts(*(Estimate(value, least, most, self.pairs, method) for value, least, most in ends))

    def excess(self, null: "Tally", seed: int) -> Counts:
        """Counts less the null's means. The scatter is that of the resamples and of the null's cuts alike: where no
        resample shows a change, pairs drawn anew still might.
        """
        value, draws = self.observed - null.observed, self._scatter(null)
        columns = zip(value.sum(axis=-1), draws.sum(axis=-1).T, null.observed.sum(axis=-1), strict=True)
        return Counts(
            *(count_estimate(float(each), some, self.pairs, seed, least=-float(less)) for each, some, less in columns)
        )

    def _scatter(self, null: "Tally") -> "Float[np.ndarray, 'resample status group']":
        """Around 0; empty where one of the two is."""
        if not len(self.draws) or not len(null.draws):
            return np.empty((0, *self.draws.shape[1:]))
        return np.concatenate([each.draws - each.draws.mean(axis=0) for each in (self, null)])

    def p_value(self, null: "Tally") -> float:
        """Share of the null's cuts with at least as many new heads or edges, the observation itself counted in."""
        if not len(null.draws):
            return float("nan")
        new = COUNTED.index("new")
        return float((1 + (null.draws.sum(axis=-1)[:, new] >= self.observed[new].sum()).sum()) / (1 + len(null.draws)))

    def profile(self, null: "Tally") -> LayerProfile:
        """Group by group, with the null and the excess."""
        excess = self.observed - null.observed
        ends = _limits(self.observed, self.draws, self.pairs)
        excess_ends = _limits(excess, self._scatter(null), self.pairs, -null.observed)
        return LayerProfile(self.observed, *ends, null.observed, excess, *excess_ends)


def _numbers(status: "Integer[np.ndarray, '*rows group member']") -> "Float[np.ndarray, '*rows status group']":
    numbers = [(status == counted).sum(axis=-1) for counted in _COUNTED]
    return np.stack(numbers, axis=-2).astype(np.float64)


def count_estimate(
    value: float, draws: "Num[np.ndarray, 'resample']", pairs: int, seed: int, *, least: float = 0.0
) -> Estimate:
    """A number of heads or edges with its interval over the resamples; ``least``: the smallest it can be.

    One pair is the same in every resample, and says nothing of others: no interval.
    """
    if len(draws) == 0 or pairs < 2:
        return Estimate(value, float("nan"), float("nan"), pairs, "one pair" if pairs == 1 else "not resampled")
    low, high = _limits(np.asarray(value), draws, pairs, least)
    return Estimate(value, min(value, float(low)), max(value, float(high)), pairs, f"pair bootstrap {LEVEL:.0%}", seed)


def _limits(
    observed: "Num[np.ndarray, '*grid']",
    draws: "Num[np.ndarray, 'resample *grid']",
    pairs: int,
    least: "float | Num[np.ndarray, '*grid']" = 0.0,
) -> tuple["Float[np.ndarray, '*grid']", "Float[np.ndarray, '*grid']"]:
    """The interval's two ends; NaN without draws.

    A resample flickers more than the data did, by the noise of both, so that draws of a count near 0 lie above it:
    their scatter is taken around their own mean and put around what was observed.
    """
    low, high = _quantiles(draws - (draws.mean(axis=0) if len(draws) else 0), expanded_tails(pairs, LEVEL))
    return np.asarray(np.maximum(observed + low, least)), np.asarray(observed + high)


def _quantiles(
    draws: "Num[np.ndarray, 'resample *grid']", ends: Sequence[float]
) -> tuple["Float[np.ndarray, '*grid']", "Float[np.ndarray, '*grid']"]:
    if len(draws) == 0:
        return np.full(draws.shape[1:], np.nan), np.full(draws.shape[1:], np.nan)
    low, high = np.quantile(draws, ends, axis=0)
    return np.asarray(low), np.asarray(high)
