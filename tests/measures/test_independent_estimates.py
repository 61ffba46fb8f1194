"""Arithmetic on estimates."""

import numpy as np
import pytest

from headscope.errors import InputError
from headscope.measures.independent_estimates import difference, pool_estimates, scale_estimate
from headscope.results.estimate import Estimate


def test_difference_adds_the_half_widths_as_sides_of_a_right_angle() -> None:
    change = difference(Estimate(5.0, 2.0, 6.0, 8, "a"), Estimate(1.0, 0.0, 5.0, 4, "a"))
    assert (change.value, change.low, change.high, change.n) == (4.0, -1.0, pytest.approx(4 + np.sqrt(2)), 4)


def test_one_seed_is_its_own_mean_and_none_is_refused() -> None:
    estimate = Estimate(0.5, 0.4, 0.7, 8, "a")
    assert pool_estimates([estimate]) == estimate
    assert scale_estimate(estimate, 2.0).high == 1.4
    with pytest.raises(InputError, match="at least one"):
        pool_estimates([])


def test_shared_noise_does_not_shrink_with_the_seeds() -> None:
    pooled = pool_estimates([Estimate(0.5, 0.4, 0.7, 8, "a")] * 5)
    assert (pooled.low, pooled.high) == (pytest.approx(0.4), pytest.approx(0.7))


def test_the_mean_over_seeds_covers_the_truth() -> None:
    rng, covered = np.random.default_rng(0), []
    for _ in range(600):
        pairs = rng.normal(scale=0.5)  # shared by the seeds
        seeds = [Estimate(v, v - 0.98, v + 0.98, 8, "a") for v in (pairs + rng.normal(scale=1.0, size=3)).tolist()]
        pooled = pool_estimates(seeds)
        covered.append(pooled.low <= 0 <= pooled.high)
    assert 0.93 <= np.mean(covered) <= 0.99
