"""Two variants on the same problems: the exact test of their flips, and the smallest detectable difference."""

import math

import numpy as np
from jaxtyping import Bool
from scipy.special import stdtrit

from headscope.errors import InputError
from headscope.measures.intervals import LEVEL
from headscope.results.estimate import Estimate
from headscope.results.measures import McNemar

POWER = 0.8
"""How often a difference of the smallest detectable size is found."""

SAMPLE_VARIANCE = 1 / 6
"""Mean of p (1 − p) over problems whose chances p of being solved are spread evenly over [0, 1]."""


def mcnemar(after: "Bool[np.ndarray, '_']", before: "Bool[np.ndarray, '_']") -> McNemar:
    """Return the exact McNemar test (1947, binomial form) of two variants with one answer per problem each.

    Raises InputError if the numbers of problems differ.
    """
    if len(after) != len(before):
        raise InputError(f"flips need the same problems twice; found {len(before)} and {len(after)}")
    gained = int((after & ~before).sum())
    lost = int((before & ~after).sum())
    return McNemar(gained, lost, len(after), flip_p_value(gained, lost))


def flip_p_value(gained: int, lost: int) -> float:
    """Return the two-sided exact p-value of ``gained`` against ``lost`` flips; 1 if nothing flipped."""
    from scipy.stats import binom  # here, because it takes three seconds to import

    return min(1.0, 2 * float(binom.cdf(min(gained, lost), gained + lost, 0.5)))


def fewest_flips(level: float = LEVEL) -> int:
    """Return the fewest problems that must flip, all in one direction, for McNemar's test to reject: 6 at 95 %."""
    # The two-sided p of n flips one way is 2 · (1/2)^n.
    return 1 + math.ceil(math.log2(1 / (1 - level)))


def smallest_detectable(problems: int, samples: int, *, variance: float = SAMPLE_VARIANCE) -> float:
    """Return the smallest difference of pass@1 between two variants that a paired comparison detects with power 0.8.

    A difference has the samples' noise, 2 · variance / samples per problem. The change is assumed equal on all
    problems, so this is a lower bound. NaN for fewer than two problems.

    ``variance`` is the mean of p (1 − p) over the problems.
    """
    if problems < 2:
        return math.nan
    quantiles = float(stdtrit(problems - 1, 0.5 + LEVEL / 2) + stdtrit(problems - 1, POWER))
    detectable = quantiles * math.sqrt(2 * variance / samples / problems)
    # With one sample each problem flips or does not: fewer flips than the exact test needs show nothing.
    floor = fewest_flips() / problems if samples == 1 else 0.0
    return min(1.0, max(detectable, floor))


def detectable_from(change: Estimate) -> float:
    """Return the smallest detectable difference, computed from the interval of a measured paired difference."""
    if change.n < 2:
        return math.nan
    quantile = float(stdtrit(change.n - 1, 0.5 + LEVEL / 2))
    return float((change.high - change.low) / 2 * (quantile + stdtrit(change.n - 1, POWER)) / quantile)
