"""Permutation tests: the place of an observed statistic among draws made under the null hypothesis."""

import math

import numpy as np
from jaxtyping import Num

from headscope.measures.multiplicity import ALPHA

_TIE = 1e-12
"""Equal statistics summed in another order may differ in their last bits; a draw this little below is a tie."""


def permutation_rank(observed: float, null: "Num[np.ndarray, 'draw']") -> int:
    """Return the place of ``observed`` among itself and the draws, 1 for the largest; ties count against it."""
    return 1 + int((null >= observed - _TIE).sum())


def permutation_p_value(observed: float, null: "Num[np.ndarray, 'draw']") -> float:
    """Return the one-sided p-value of so large an ``observed``; NaN without draws, or if nothing was observed.

    The observation is counted among the draws (the + 1 rule of Phipson and Smyth 2010, doi 10.2202/1544-6115.1585), so
    p is never 0 and the test keeps its level with any number of draws. Negate both to ask about a small statistic.
    """
    if len(null) == 0 or math.isnan(observed):
        return math.nan
    return permutation_rank(observed, null) / (1 + len(null))


def fewest_draws(alpha: float = ALPHA) -> int:
    """Return how many draws there must be before p ≤ ``alpha`` can be reached: 19 for 0.05."""
    return round(1 / alpha) - 1
