"""The rank among random draws and its p-value, by hand, and the level of the test."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headscope.measures.permutation import fewest_draws, permutation_p_value, permutation_rank

NULL = np.array([0.0, 1.0, 2.0])


def test_the_observation_is_counted_among_the_draws_and_ties_count_against_it() -> None:
    assert [permutation_rank(value, NULL) for value in (3.0, 2.0, 1.5, 1.0, -1.0)] == [1, 2, 2, 3, 4]
    assert permutation_p_value(1.0, NULL) == 3 / 4
    assert permutation_p_value(3.0, NULL) == 1 / 4


def test_sums_in_another_order_are_ties() -> None:
    assert 0.1 + 0.2 + 0.3 > 0.3 + 0.2 + 0.1
    assert permutation_rank(0.1 + 0.2 + 0.3, np.array([0.3 + 0.2 + 0.1])) == 2


def test_without_draws_or_an_observation_there_is_no_p_value() -> None:
    assert math.isnan(permutation_p_value(1.0, np.zeros(0)))
    assert math.isnan(permutation_p_value(math.nan, NULL))
    assert permutation_rank(1.0, np.zeros(0)) == 1


def test_nineteen_draws_are_the_fewest_that_reach_five_percent() -> None:
    assert fewest_draws() == 19
    assert permutation_p_value(1.0, np.zeros(19)) <= 0.05 < permutation_p_value(1.0, np.zeros(18))
    assert fewest_draws(0.01) == 99


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=30), st.integers(-5, 5).map(float))
def test_rank_and_p_value_say_the_same(null: list[int], observed: float) -> None:
    """What others recovered by rounding: the rank is p times the number of sets."""
    draws = np.array(null)
    assert permutation_rank(observed, draws) == round(permutation_p_value(observed, draws) * (1 + len(draws)))


def test_the_test_keeps_its_level() -> None:
    rng = np.random.default_rng(0)
    p_values = np.array([permutation_p_value(float(row[0]), row[1:]) for row in rng.normal(size=(4000, 40))])
    assert abs((p_values <= 0.05).mean() - 0.05) < 0.01  # standard error 0.0034
