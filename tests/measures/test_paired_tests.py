"""Flips by hand, and what a design can detect by simulation."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from headscope.errors import InputError
from headscope.measures.intervals import paired_difference
from headscope.measures.paired_tests import detectable_from, fewest_flips, flip_p_value, mcnemar, smallest_detectable


def test_mcnemar_counts_flips_and_agrees_with_the_binomial_test():
    before = np.array([True] * 10 + [False] * 20)
    after = np.array([False] * 2 + [True] * 17 + [False] * 11)
    test = mcnemar(after, before)
    assert (test.gained, test.lost, test.n) == (9, 2, 30)
    assert test.p_value == pytest.approx(binomtest(2, 11).pvalue)


def test_one_problem_more_shows_nothing():
    """The paper's 30.0 -> 26.6 on AIME: 9 problems, then 8."""
    assert flip_p_value(0, 1) == 1
    assert flip_p_value(0, 0) == 1


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_fewest_flips_is_where_the_test_can_first_reject(level):
    fewest = fewest_flips(level)
    assert flip_p_value(fewest, 0) <= 1 - level < flip_p_value(fewest - 1, 0)


@pytest.mark.parametrize(("problems", "samples"), [(30, 16), (100, 4), (500, 1)])
def test_a_difference_of_that_size_is_found_four_times_in_five(problems, samples):
    """Chances spread over [0, 1] as far as a constant change leaves room, so the noise is a little below 1/6."""
    rng = np.random.default_rng(0)
    size = smallest_detectable(problems, samples)
    detected = []
    for _ in range(600):
        chance = rng.uniform(0, 1 - size, problems)
        after = rng.binomial(samples, chance + size) / samples
        before = rng.binomial(samples, chance) / samples
        detected.append(paired_difference(after, before).low > 0)
    assert 0.75 <= np.mean(detected) <= 0.9


def test_single_samples_cannot_show_less_than_the_fewest_flips():
    assert smallest_detectable(30, 1) >= 6 / 30
    assert smallest_detectable(30, 1, variance=0.001) == 6 / 30
    assert math.isnan(smallest_detectable(1, 4))


def test_more_samples_and_problems_detect_less():
    sizes = [smallest_detectable(n, k) for n, k in ((30, 1), (30, 4), (30, 16), (500, 16))]
    assert sizes == sorted(sizes, reverse=True)


def test_what_was_detectable_follows_from_the_measured_noise():
    change = paired_difference(np.tile([0.5, 0.7, 0.4], 30), np.full(90, 0.5))
    half = (change.high - change.low) / 2
    assert 1.3 * half < detectable_from(change) < 1.5 * half


def test_other_numbers_of_problems_are_refused():
    with pytest.raises(InputError, match="3 and 2"):
        mcnemar(np.ones(2, dtype=bool), np.ones(3, dtype=bool))
