"""What each head carries of the difference between two models: cross-model patching, with intervals over pairs."""

from functools import partial

import numpy as np

from headscope.measures.intervals import bootstrap
from headscope.results.counts import HeadEstimates
from headscope.results.cross_patch import CrossPatch


def gap_closure(patched: CrossPatch, *, pairs: int | None = None, seed: int = 0) -> HeadEstimates:
    """Return how much of the gap each head closes, in nats, the mean over pairs, with 95 % intervals over them.

    Positive if the source's head brings its behaviour into the other model; ``excludes_zero`` says for which heads
    the pairs are sure. One pair has no interval.

    Args:
        patched: what every head of the source closes of the gap, pair by pair.
        pairs: use only the first so many.
        seed: of the bootstrap.
    """
    closed = patched.closed[:pairs].astype(np.float64)  # stored as float32, which sums over pairs would round
    count, *grid = closed.shape
    value = closed.mean(axis=0)
    if count < 2:
        return HeadEstimates(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
    columns = closed.reshape(count, -1).T
    estimates = [bootstrap(partial(np.dot, column), count, unit="pair", seed=seed) for column in columns]
    low = np.array([estimate.low for estimate in estimates]).reshape(grid)
    high = np.array([estimate.high for estimate in estimates]).reshape(grid)
    return HeadEstimates(value, low, high)
