"""Permutation tests: the rank of an observed statistic among draws made under the null hypothesis.

Expensive draws are made sequentially (Besag and Clifford 1991, Sequential Monte Carlo p-values, doi
10.1093/biomet/78.2.301): in batches of ``LOOK_EVERY`` as long as the rank is open. It is settled once
``exceedances_to_stop`` draws reach the observation, because the observation cannot be rare any more.

Besag and Clifford look after every draw and report p = h / l, for h exceedances among l draws. Here whole batches are
drawn, and p stays (g + 1) / (l + 1) with all g exceedances among all l draws made, never less than h / l. It is valid
at every
stop: for a bound a, let k be the first batch at which a test may both stop and report p ≤ a, which takes g + 1 ≤ a (l_k
+ 1). A test that stopped before k reported more than a, and one that goes on past k had fewer exceedances at k than one
that stops there. So p ≤ a implies g + 1 ≤ a (l_k + 1) at the fixed size l_k, which under the null has a chance of at
most a.
"""

import math

import numpy as np
from jaxtyping import Num

from headscope.results.numbers import ALPHA

_TIE = 1e-12
"""Equal statistics summed in another order may differ in their last bits; a draw this little below is a tie."""

LOOK_EVERY = 20
"""Draws made before the rank is looked at, and again between two looks: a round number that reaches p ≤ 0.05."""

LEAST_EXCEEDANCES = 10
"""Draws that reach the observation before a sequence may stop. By then p's standard error is a third of p (1 / √10)."""


def permutation_rank(observed: float, null: "Num[np.ndarray, 'draw']") -> int:
    """Return the rank of ``observed`` among itself and the draws, 1 for the largest; ties count against it, and so do
    draws that are NaN."""
    return 1 + int((~(null < observed - _TIE)).sum())


def permutation_p_value(observed: float, null: "Num[np.ndarray, 'draw']") -> float:
    """Return the one-sided p-value of a value of ``observed`` or more; NaN without draws, or if it is NaN.

    The observation is counted among the draws (the + 1 rule of Phipson and Smyth 2010, doi 10.2202/1544-6115.1585), so
    p is never 0 and the test keeps its level with any number of draws. Negate both to test for a small statistic.
    """
    if len(null) == 0 or math.isnan(observed):
        return math.nan
    return permutation_rank(observed, null) / (1 + len(null))


def fewest_draws(alpha: float = ALPHA) -> int:
    """Return the smallest number of draws with which p ≤ ``alpha`` is possible: 19 for 0.05."""
    return math.ceil(1 / alpha - 1e-9) - 1  # 1e-9 mends the rounding of the quotient


def exceedances_to_stop(most: int, alpha: float = ALPHA) -> int:
    """Return how many of at most ``most`` draws must reach the observation for the sequence to stop: 10 of 200.

    From then on p ≤ ``alpha`` is impossible, now and with all draws, so that stopping changes no decision at ``alpha``.
    """
    # All draws reject with g exceedances if g + 1 ≤ alpha (most + 1); 1e-9 mends the rounding of the product.
    return max(LEAST_EXCEEDANCES, math.floor(alpha * (most + 1) + 1e-9))


def is_rank_open(observed: float, null: "Num[np.ndarray, 'draw']", most: int, alpha: float = ALPHA) -> bool:
    """Return whether more draws than those of ``null``, up to ``most``, are needed to know the rank of ``observed``."""
    exceedances = permutation_rank(observed, null) - 1
    return len(null) < most and exceedances < exceedances_to_stop(most, alpha)
