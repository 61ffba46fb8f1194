"""Cross-model patching: which heads surely carry a difference, and how much of it."""

import numpy as np

from headscope.comparison import gap_closure
from headscope.results.cross_patch import CrossPatch


def cross_patch(closed: np.ndarray) -> CrossPatch:
    return CrossPatch(np.ones(len(closed), dtype=np.float32), closed.astype(np.float32), 0.0)


def test_heads_that_always_carry_are_sure_and_noise_is_not() -> None:
    closed = np.random.default_rng(0).normal(size=(64, 2, 3))
    closed[:, 0, 1] = 0.5
    closed[:, 1, 2] -= 1
    closure = gap_closure(cross_patch(closed))
    assert (closure.low[0, 1], closure.value[0, 1], closure.high[0, 1]) == (0.5, 0.5, 0.5)
    assert closure.excludes_zero[0, 1]
    assert closure.high[1, 2] < 0
    assert closure.value[0, 0] == closed[:, 0, 0].astype(np.float32).mean(dtype=np.float64)
    assert not closure.excludes_zero[0, 0]


def test_intervals_cover_and_follow_the_pairs_that_are_taken() -> None:
    covered = []
    for seed in range(60):
        closure = gap_closure(cross_patch(np.random.default_rng(seed).exponential(size=(40, 1, 4))))
        covered.append(((closure.low <= 1) & (closure.high >= 1)).mean())
    assert 0.88 <= np.mean(covered) <= 0.99
    closed = np.random.default_rng(1).normal(size=(12, 1, 2))
    assert np.array_equal(gap_closure(cross_patch(closed), pairs=5).low, gap_closure(cross_patch(closed[:5])).low)
    assert np.isnan(gap_closure(cross_patch(closed), pairs=1).low).all()
