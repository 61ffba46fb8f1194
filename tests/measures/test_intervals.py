"""Intervals against known formulas and exact tests, and their coverage by simulation."""

import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, t

from headscope.measures.intervals import (
    bootstrap,
    bootstrap_mean,
    bootstraps,
    mean_share,
    paired_difference,
    paired_p_value,
    rank_correlation_interval,
    resamples,
    wilson,
)
from headscope.pairs.problems import ProblemGroups


@settings(max_examples=60)
@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_matches_scipy(counts):
    successes, n = counts
    estimate = wilson(successes, n)
    reference = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert (estimate.low, estimate.high) == pytest.approx((reference.low, reference.high), abs=1e-12)
    assert (estimate.value, estimate.n) == (successes / n, n)


def test_wilson_of_nothing_is_everything():
    estimate = wilson(0, 0)
    assert np.isnan(estimate.value)
    assert (estimate.low, estimate.high, estimate.n) == (0, 1, 0)


def test_weights_are_multinomial_shares():
    weights = resamples(7, count=500, seed=1)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights * 7, np.round(weights * 7), atol=1e-12)
    np.testing.assert_allclose(weights.mean(axis=0), 1 / 7, atol=0.02)
    np.testing.assert_array_equal(weights, resamples(7, count=500, seed=1))


@pytest.mark.parametrize("interval", [bootstrap_mean, mean_share])
def test_at_large_n_a_mean_has_the_normal_interval(interval):
    values = np.random.default_rng(0).beta(2, 3, 2000)
    estimate = interval(values)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert estimate.value == pytest.approx(values.mean())
    assert (estimate.low, estimate.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_a_statistic_of_weights_is_bootstrapped_over_units():
    values = np.random.default_rng(0).normal(3, 2, 200)
    estimate = bootstrap(lambda weights: float(weights @ values), 200, count=2000)
    half = 1.96 * values.std() / np.sqrt(200)
    assert estimate.value == pytest.approx(values.mean())
    assert (estimate.low, estimate.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.15 * half)


def test_statistics_computed_together_have_the_intervals_of_each():
    values = np.random.default_rng(3).gamma(2.0, size=(2, 12))
    values[1, 0] = np.nan
    for n in (12, ProblemGroups.of((tuple("aabbccddeeff"), 12)), ProblemGroups.of((("a",) * 12, 12))):
        together = bootstraps(lambda weights: values @ weights, n, seed=4)
        alone = [bootstrap(lambda weights, row=row: float((values @ weights)[row]), n, seed=4) for row in (0, 1)]
        np.testing.assert_equal([asdict(estimate) for estimate in together], [asdict(estimate) for estimate in alone])


@pytest.mark.parametrize("solved", [0, 3, 30])
def test_shares_of_one_sample_have_wilsons_interval(solved):
    assert mean_share((np.arange(30) < solved).astype(float)) == wilson(solved, 30)


def test_shares_that_differ_less_are_worth_more_problems():
    similar, apart = np.tile([0.4, 0.6], 15), np.tile([0.0, 1.0], 15)
    assert mean_share(similar).high - mean_share(similar).low < 0.5 * (mean_share(apart).high - mean_share(apart).low)
    assert mean_share(np.full(30, 0.5)).low > mean_share(apart).low


def test_a_handful_that_agrees_does_not_promise_too_much():
    """One of 30 problems is ever solved: once in 16. Its own spread would make it worth 480 single answers."""
    shares = np.zeros(30)
    shares[0] = 1 / 16
    p = 1 / 480
    spread = (p * (1 / 16 - p)) / (p * (1 - p))  # the variance over p (1 - p)
    worth = 30 / ((spread * 1 + 1) / (1 + 1))
    z = t.ppf(0.975, 29)
    centre, half = p + z * z / (2 * worth), z * np.sqrt(p * (1 - p) / worth + z * z / (4 * worth**2))
    estimate = mean_share(shares)
    assert estimate.high == pytest.approx((centre + half) / (1 + z * z / worth))
    assert estimate.high > 0.05
    assert mean_share(1 - shares).low == pytest.approx(1 - estimate.high)


def test_one_problem_says_nothing_of_others():
    estimate = mean_share(np.array([0.5]))
    assert (estimate.value, estimate.low, estimate.high) == (0.5, 0, 1)


def test_a_change_of_single_answers_has_agresti_and_mins_interval():
    """Ten problems of forty gained, four lost: 0.5 added to each cell of the 2 x 2 table, by hand."""
    change = np.repeat([1.0, -1.0, 0.0], [10, 4, 26])
    estimate = paired_difference(change.clip(0), -change.clip(max=0))
    gained, lost, n = 10.5, 4.5, 42
    centre = (gained - lost) / n
    error = np.sqrt(((gained + lost) / n - centre**2) / (n - 1))
    half = t.ppf(0.975, 39) * error
    assert estimate.value == pytest.approx(6 / 40)
    assert (estimate.low, estimate.high) == pytest.approx((centre - half, centre + half))


def test_no_change_at_all_is_not_certainty():
    same = np.random.default_rng(0).random(30)
    estimate = paired_difference(same, same)
    assert estimate.value == 0
    assert estimate.high == -estimate.low > 0.05


def test_no_values_have_no_interval():
    assert np.isnan(bootstrap_mean(np.array([])).low)


def test_paired_difference_uses_the_pairing():
    before = np.random.default_rng(0).random(50) * 0.9
    estimate = paired_difference(before + 0.1, before)
    assert estimate.value == pytest.approx(0.1)
    assert estimate.high - estimate.low < 0.03
    assert "paired" in estimate.method


SHAPES = {"many solved never or always": (0.6, 0.9), "hard": (0.2, 1.8), "easy": (5, 1), "even": (2, 2)}
SHAPES |= {"one or two carry it": (0.05, 0.95)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("n", "samples"), [(30, 1), (30, 4), (30, 16), (100, 16)])
def test_a_95_percent_interval_of_accuracy_covers_93_to_97_percent(shape, n, samples):
    """The standard error of 2000 trials is 0.5 %; with one sample it is Wilson's own lattice, up to 97.7 %."""
    alpha, beta = SHAPES[shape]
    rng = np.random.default_rng(n)
    trials = rng.binomial(samples, rng.beta(alpha, beta, (2000, n))) / samples
    truth = alpha / (alpha + beta)
    covered = np.mean([estimate.low <= truth <= estimate.high for estimate in map(mean_share, trials)])
    assert 0.925 <= covered <= 0.98


@pytest.mark.parametrize(("n", "samples", "shift"), [(30, 4, 0.1), (30, 16, 0.02), (30, 16, -0.1), (100, 4, 0.02)])
def test_a_95_percent_interval_of_a_difference_covers_93_to_97_percent(n, samples, shift):
    rng = np.random.default_rng(n)

    def drawn(count):
        chance = rng.beta(0.6, 0.9, (count, n))
        moved = np.clip(chance + shift * rng.normal(1, 1, chance.shape), 0, 1)
        return rng.binomial(samples, moved) / samples, rng.binomial(samples, chance) / samples

    truth = np.subtract(*drawn(40_000)).mean()
    estimates = [paired_difference(*pair) for pair in zip(*drawn(2000), strict=True)]
    assert 0.925 <= np.mean([estimate.low <= truth <= estimate.high for estimate in estimates]) <= 0.975


@pytest.mark.parametrize(("gain", "loss"), [(0.03, 0.0), (0.05, 0.02), (0.2, 0.05)])
def test_the_interval_of_rare_flips_never_covers_too_little(gain, loss):
    draws = np.random.default_rng(0).random((2000, 30))
    estimates = [paired_difference((draw < gain) * 1.0, (draw > 1 - loss) * 1.0) for draw in draws]
    assert np.mean([estimate.low <= gain - loss <= estimate.high for estimate in estimates]) >= 0.93


def test_the_mean_of_skewed_lengths_is_covered():
    rng = np.random.default_rng(0)
    trials = rng.lognormal(5, 0.5, (500, 30))
    estimates = [bootstrap_mean(trial, count=500) for trial in trials]
    assert 0.92 <= np.mean([estimate.low <= np.exp(5.125) <= estimate.high for estimate in estimates]) <= 0.98


def test_equal_units_have_a_point_interval_and_one_has_none():
    equal = bootstrap_mean(np.full(9, 0.5))
    assert (equal.low, equal.high) == (0.5, 0.5)
    for one in (bootstrap_mean(np.array([0.5])), bootstrap(lambda weights: float(weights @ [0.5]), 1)):
        assert (one.value, one.n, one.method) == (0.5, 1, "one problem")
        assert np.isnan([one.low, one.high]).all()


def test_a_rank_correlations_interval_is_bonett_and_wrights() -> None:
    low, high = rank_correlation_interval(np.array([0.5, 0.0, 0.5, 1.0]), np.array([28, 28, 3, 28]))
    # tanh(artanh r ± 1.959964 · √((1 + r² / 2) / (n − 3))); three points say nothing.
    half_widths = np.array([0.415771, 0.391993, np.nan])
    z = np.arctanh([0.5, 0.0, 0.5])
    assert low[:3] == pytest.approx(np.tanh(z - half_widths), abs=1e-6, nan_ok=True)
    assert high[:3] == pytest.approx(np.tanh(z + half_widths), abs=1e-6, nan_ok=True)
    assert (low[3], high[3]) == (pytest.approx(1.0), 1.0)


@pytest.mark.parametrize("samples", [3, 5, 6, 7, 10, 12])
def test_units_that_did_not_change_are_none_that_did(samples: int) -> None:
    """Shares of ``samples`` answers: differences of differences that are 0 are so but for their last bits."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, samples + 1, (3, 30))
    after, before = counts[0] / samples + counts[1] / samples, counts[2] / samples
    shifted = after - before
    exact = (counts[0] + counts[1] - counts[2]) / samples
    exact[:3] += 1 / samples
    plain = np.concatenate([np.ones(3), np.zeros(27)]) / samples, np.zeros(30)
    found, expected = paired_difference(exact, shifted, bound=2.0), paired_difference(*plain, bound=2.0)
    assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert paired_p_value(exact, shifted) == pytest.approx(paired_p_value(*plain))


def test_a_statistic_that_is_undefined_in_some_resamples_has_the_interval_of_the_others() -> None:
    def mean_of_first(weights: np.ndarray) -> float:
        return float(weights[:2] @ [1.0, 3.0] / weights[:2].sum()) if weights[:2].sum() else math.nan

    estimate = bootstrap(mean_of_first, 4)
    assert 1 <= estimate.low <= estimate.value == 2 <= estimate.high <= 3
    assert math.isnan(bootstrap(lambda weights: math.nan, 4).low)
