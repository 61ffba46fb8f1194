"""The rank among random draws and its p-value, by hand, and the level of the test."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headscope.measures.permutation import (
    LOOK_EVERY,
    exceedances_to_stop,
    fewest_draws,
    is_rank_open,
    permutation_p_value,
    permutation_rank,
)

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
    for alpha in (0.03, 0.05 / 3, 0.05 / 7, 0.07, 0.2):
        fewest = fewest_draws(alpha)
        assert 1 / (fewest + 1) <= alpha * (1 + 1e-9) < 1 / fewest


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=30), st.integers(-5, 5).map(float))
def test_rank_and_p_value_say_the_same(null: list[int], observed: float) -> None:
    """What others recovered by rounding: the rank is p times the number of sets."""
    draws = np.array(null)
    assert permutation_rank(observed, draws) == round(permutation_p_value(observed, draws) * (1 + len(draws)))


def test_the_test_keeps_its_level() -> None:
    rng = np.random.default_rng(0)
    p_values = np.array([permutation_p_value(float(row[0]), row[1:]) for row in rng.normal(size=(4000, 40))])
    assert abs((p_values <= 0.05).mean() - 0.05) < 0.01  # standard error 0.0034


def draw_in_turn(observed: float, null: np.ndarray) -> np.ndarray:
    """The draws made until the rank is settled."""
    count = LOOK_EVERY
    while is_rank_open(observed, null[:count], len(null)):
        count += LOOK_EVERY
    return null[:count]


def test_ten_exceedances_settle_the_rank_among_two_hundred() -> None:
    assert [exceedances_to_stop(most) for most in (19, 40, 200, 219, 999)] == [10, 10, 10, 11, 50]
    low, high = np.zeros(15), np.ones(10)
    assert is_rank_open(0.5, low, 200)
    assert is_rank_open(0.5, np.concatenate([low, high[:9]]), 200)
    assert not is_rank_open(0.5, np.concatenate([low, high]), 200)
    assert not is_rank_open(0.5, low, 15)  # there are no more


def test_a_sequence_keeps_its_level_at_every_bound_and_draws_fewer() -> None:
    """Also with ties, and at bounds that only an early stop can report."""
    rng = np.random.default_rng(1)
    for rows in (rng.normal(size=(4000, 201)), rng.integers(0, 12, (4000, 201)).astype(float)):
        drawn = [draw_in_turn(float(row[0]), row[1:]) for row in rows]
        p_values = np.array([permutation_p_value(float(row[0]), null) for row, null in zip(rows, drawn, strict=True)])
        for bound in (0.01, 0.05, 0.06, 0.1, 0.2, 0.3, 0.5, 11 / 21, 0.7, 0.9):
            error = 3 * math.sqrt(bound * (1 - bound) / len(rows))
            assert (p_values <= bound).mean() <= bound + error
        assert np.mean([len(null) for null in drawn]) < 60  # of 200


@given(st.integers(19, 300), st.integers(0, 10**6), st.floats(-1, 4))
def test_stopping_changes_no_decision(most: int, seed: int, observed: float) -> None:
    null = np.random.default_rng(seed).normal(size=most)
    drawn = draw_in_turn(observed, null)
    assert (permutation_p_value(observed, drawn) <= 0.05) == (permutation_p_value(observed, null) <= 0.05)


def test_power_is_that_of_all_draws() -> None:
    rng = np.random.default_rng(2)
    rejected = {"in turn": 0, "all": 0}
    for row in rng.normal(size=(1000, 201)):
        observed = float(row[0]) + 2
        rejected["in turn"] += permutation_p_value(observed, draw_in_turn(observed, row[1:])) <= 0.05
        rejected["all"] += permutation_p_value(observed, row[1:]) <= 0.05
    assert rejected["in turn"] == rejected["all"] > 600


def test_a_draw_that_could_not_be_measured_makes_nothing_rare() -> None:
    null = np.full(19, -1.0)
    assert permutation_p_value(0.0, null) == 1 / 20
    null[3] = np.nan
    assert permutation_p_value(0.0, null) == 2 / 20
