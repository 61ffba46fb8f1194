"""Two variants on the same problems: the exact test of their flips, and what a design can detect at all."""

import math

import numpy as np
from jaxtyping import Bool
from scipy.stats import binom, t

from headscope.errors import InputError
from headscope.measures.intervals import LEVEL
from headscope.results.estimate import Estimate
from headscope.results.measures import McNemar

POWER = 0.8
WITHIN = 1 / 6
"""Mean of p (1 − p) over problems whose chances p of being solved are spread evenly over [0, 1]."""


def mcnemar(after: "Bool[np.ndarray, '_']", before: "Bool[np.ndarray, '_']") -> McNemar:
    """One answer per problem from either variant (McNemar 1947, in its exact binomial form).

    Raises InputError where the numbers of problems differ.
    """
    if len(after) != len(before):
        raise InputError(f"flips need the same problems twice; found {len(before)} and {len(after)}")
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    return McNemar(gained, lost, len(after), flip_p_value(gained, lost))


def flip_p_value(gained: int, lost: int) -> float:
    """Two-sided exact p of ``gained`` against ``lost`` flips; 1 where nothing flipped."""
    return min(1.0, 2 * float(binom.cdf(min(gained, lost), gained + lost, 0.5)))


def fewest_flips(level: float = LEVEL) -> int:
    """How many problems must flip, all the same way, before McNemar's test can reject: 6 at 95 %."""
    return 1 + math.ceil(math.log2(1 / (1 - level)))


def smallest_detectable(
    problems: int, samples: int, *, within: float = WITHIN, power: float = POWER, level: float = LEVEL
) -> float:
    """The smallest difference of pass@1 between two variants that a paired comparison finds with ``power``.

    The noise of a difference is that of the samples, 2 · within / samples per problem; the change itself is taken as
    equal on all problems, so this is a lower bound. With one sample no fewer flips than ``fewest_flips`` can show it.
    within: mean of p (1 − p) over problems. NaN for fewer than two problems.
    """
    if problems < 2:
        return math.nan
    reach = float(t.ppf(0.5 + level / 2, problems - 1) + t.ppf(power, problems - 1))
    found = reach * math.sqrt(2 * within / samples / problems)
    floor = fewest_flips(level) / problems if samples == 1 else 0.0
    return min(1.0, max(found, floor))


def detectable_given(change: Estimate, *, power: float = POWER, level: float = LEVEL) -> float:
    """The same from a measured paired difference: what its interval's width says of the noise there really was."""
    if change.n < 2:
        return math.nan
    quantile = float(t.ppf(0.5 + level / 2, change.n - 1))
    return float((change.high - change.low) / 2 * (quantile + t.ppf(power, change.n - 1)) / quantile)
