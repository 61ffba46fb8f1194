"""The part of the difference between two models that each head carries, with intervals over problems."""

from functools import partial

import numpy as np

from headscope.measures.intervals import bootstrap
from headscope.pairs import ProblemGroups
from headscope.results.counts import HeadEstimates
from headscope.results.cross_patch import CrossPatch


def gap_closure(patched: CrossPatch, *, pairs: int | None = None) -> HeadEstimates:
    """Return how much of the gap each head closes, in nats, the mean over pairs, with 95 % intervals over problems.

    Positive if the source's head brings its behaviour into the other model; ``excludes_zero`` marks heads whose
    interval excludes 0. A single problem has no interval.

    Args:
        patched: result of ``cross_patch``.
        pairs: number of first pairs to use; None uses all.
    """
    closed = patched.closed[:pairs].astype(np.float64)  # stored as float32, which sums over pairs would round
    count, *grid = closed.shape
    value = closed.mean(axis=0)
    groups = ProblemGroups.of((None if patched.problems is None else patched.problems[:pairs], count))
    if len(groups) < 2:
        return HeadEstimates(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
    columns = closed.reshape(count, -1).T
    estimates = [bootstrap(partial(np.dot, column), groups) for column in columns]
    low = np.array([estimate.low for estimate in estimates]).reshape(grid)
    high = np.array([estimate.high for estimate in estimates]).reshape(grid)
    return HeadEstimates(value, low, high)
