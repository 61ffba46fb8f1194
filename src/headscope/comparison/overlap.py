"""How alike two methods, tasks or seeds are: Jaccard of head sets with its chance level, rank correlation of scores.

Two sets of 56 among 336 heads share 9 by chance; a Jaccard without its chance level says nothing. The number two random
sets of fixed sizes share is hypergeometric; with the layers' profiles held fixed too, it is the sum of one such number
per layer. Both are computed exactly.
"""

import math

import numpy as np
from jaxtyping import Float
from scipy.stats import hypergeom, norm, spearmanr

from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.measures.intervals import LEVEL
from headscope.results.estimate import Estimate
from headscope.results.overlap import Overlap


def overlap(first: HeadSet, second: HeadSet, layers: int, heads: int, *, by_layer: bool = True) -> Overlap:
    """Overlap of two sets of heads of one model with ``layers`` × ``heads`` heads.

    by_layer: random sets have as many heads in each layer as the real ones; otherwise only as many in all, which calls
    it an overlap when two sets merely sit in the same layers.

    Raises InputError for a head outside the model.
    """
    ones, twos = first.grid(layers, heads), second.grid(layers, heads)
    if not by_layer:
        ones, twos = ones.reshape(1, -1), twos.reshape(1, -1)
    chances = np.ones(1)
    for one, two in zip(ones, twos, strict=True):
        shared = np.arange(min(int(one.sum()), int(two.sum())) + 1)
        chances = np.convolve(chances, hypergeom.pmf(shared, len(one), int(one.sum()), int(two.sum())))
    both = int((ones & twos).sum())
    sizes = len(first), len(second)
    jaccards = _jaccard(np.arange(len(chances)), *sizes)
    below = np.cumsum(chances)
    return Overlap(
        jaccard=float(_jaccard(np.array([both]), *sizes)[0]),
        chance=float(chances @ jaccards),
        chance_low=float(jaccards[int(np.searchsorted(below, 0.025))]),
        chance_high=float(jaccards[min(len(jaccards) - 1, int(np.searchsorted(below, 0.975)))]),
        p_value=min(1.0, float(chances[both:].sum())),
        shared=both,
        first=sizes[0],
        second=sizes[1],
        by_layer=by_layer,
    )


def rank_correlation(
    first: "Float[np.ndarray, 'layer head']", second: "Float[np.ndarray, 'layer head']", *, level: float = LEVEL
) -> Estimate:
    """Spearman's correlation of two full score vectors over heads, with Bonett and Wright's (2000) interval.

    NaN where one of them is constant. Raises InputError where the shapes differ or there are fewer than 4 heads.
    """
    if first.shape != second.shape or first.size < 4:
        raise InputError(
            f"scores of {first.shape} and {second.shape} heads cannot be ranked; one shape and 4 heads are needed"
        )
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return Estimate(math.nan, math.nan, math.nan, first.size, "constant scores")
    value = float(spearmanr(first.ravel(), second.ravel()).statistic)
    half = float(norm.ppf(0.5 + level / 2)) * math.sqrt((1 + value**2 / 2) / (first.size - 3))
    z = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, value)))
    low, high = min(value, math.tanh(z - half)), max(value, math.tanh(z + half))
    return Estimate(value, low, high, first.size, f"Bonett-Wright {level:.0%}")


def _jaccard(shared: "np.ndarray", first: int, second: int) -> "Float[np.ndarray, 'count']":
    union = first + second - shared
    ratio: np.ndarray = np.divide(shared, union, out=np.full(len(shared), np.nan), where=union > 0)
    return ratio
