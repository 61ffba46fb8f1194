"""Similarity of two methods, tasks or seeds: Jaccard of head sets with its chance level, rank correlation of scores.

Two sets of 56 among 336 heads share 9 by chance, so a Jaccard index needs its chance level. The number of heads that
two random sets of fixed sizes share is hypergeometric; if the numbers per layer are fixed too, it is the sum of one
such number per layer. Both are computed exactly.
"""

import numpy as np
from jaxtyping import Float, Int

from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.measures.intervals import LEVEL, rank_correlation_interval, without_interval
from headscope.results.estimate import Estimate
from headscope.results.overlap import Overlap


def overlap(first: HeadSet, second: HeadSet, layers: int, heads: int, *, by_layer: bool = True) -> Overlap:
    """Return the overlap of two sets of heads of one model with ``layers`` × ``heads`` heads.

    by_layer: random sets have as many heads in each layer as the real ones; otherwise only the same total, which
    counts two sets in the same layers as an overlap.

    Raises InputError for a head outside the model.
    """
    from scipy.stats import hypergeom

    first_grid, second_grid = first.grid(layers, heads), second.grid(layers, heads)
    if not by_layer:
        first_grid, second_grid = first_grid.reshape(1, -1), second_grid.reshape(1, -1)
    # chances[n]: that random sets share n heads in all, the convolution of the layers' hypergeometric numbers.
    chances = np.ones(1)
    for first_row, second_row in zip(first_grid, second_grid, strict=True):
        first_count, second_count = int(first_row.sum()), int(second_row.sum())
        counts = np.arange(min(first_count, second_count) + 1)
        chances = np.convolve(chances, hypergeom.pmf(counts, len(first_row), first_count, second_count))
    shared = int((first_grid & second_grid).sum())
    jaccards = _jaccard(np.arange(len(chances)), len(first), len(second))
    cumulative = np.cumsum(chances)
    # Rounding may leave the sum of all chances below 0.975, past the end of the array.
    highest = min(len(jaccards) - 1, int(np.searchsorted(cumulative, 0.975)))
    return Overlap(
        jaccard=float(_jaccard(np.array([shared]), len(first), len(second))[0]),
        chance=float(chances @ jaccards),
        chance_low=float(jaccards[int(np.searchsorted(cumulative, 0.025))]),
        chance_high=float(jaccards[highest]),
        p_value=min(1.0, float(chances[shared:].sum())),  # rounding may add up beyond 1
        shared=shared,
        first=len(first),
        second=len(second),
        by_layer=by_layer,
    )


def rank_correlation(first: "Float[np.ndarray, 'layer head']", second: "Float[np.ndarray, 'layer head']") -> Estimate:
    """Return Spearman's correlation of two full score vectors over heads, with Bonett and Wright's (2000) interval.

    NaN if one of them is constant. Raises InputError if the shapes differ or there are fewer than 4 heads.
    """
    if first.shape != second.shape or first.size < 4:
        raise InputError(
            f"scores of {first.shape} and {second.shape} heads cannot be ranked; one shape and 4 heads are needed"
        )
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return without_interval(first.size, "constant scores")
    from scipy.stats import spearmanr

    value = float(spearmanr(first.ravel(), second.ravel()).statistic)
    low, high = rank_correlation_interval(np.array(value), np.array(first.size))
    return Estimate(value, float(low), float(high), first.size, f"Bonett-Wright {LEVEL:.0%}")


def _jaccard(shared: "Int[np.ndarray, 'count']", first: int, second: int) -> "Float[np.ndarray, 'count']":
    union = first + second - shared
    return np.asarray(np.divide(shared, union, out=np.full(len(shared), np.nan), where=union > 0))
