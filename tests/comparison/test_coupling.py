"""Reward coupling: a planted lag is found, two drifting series are not coupled."""

import numpy as np
import pytest

from headscope.comparison import reward_coupling
from headscope.comparison.coupling import coupling_series
from headscope.errors import InputError
from headscope.results.codec import from_json, to_json
from headscope.results.coupling import Coupling
from headscope.results.dynamics import RewardCount


def test_heads_that_follow_by_two_checkpoints_are_found_at_lag_two() -> None:
    rng = np.random.default_rng(0)
    reward = np.cumsum(rng.normal(size=30))
    heads = np.concatenate([[0.0, 0.0], reward[:-2]])
    coupling = reward_coupling([(reward, heads)], draws=99)
    assert coupling.lags.tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert coupling.lags[coupling.best] == 2
    assert coupling.correlation[coupling.best] == pytest.approx(1)
    assert coupling.points.tolist() == [26, 27, 28, 29, 28, 27, 26]
    assert coupling.after_p == pytest.approx(0.01)
    assert coupling.low[coupling.best] > 0.9


def test_seeds_are_pooled_and_their_points_counted() -> None:
    up, down = np.array([0.0, 1, 3, 4, 8, 9]), np.array([0.0, 1, 3, 4, 8, 9])
    single, pooled = reward_coupling([(up, down)], draws=9), reward_coupling([(up, down), (up, -down)], draws=9)
    assert (single.points[3], pooled.points[3], pooled.seeds) == (5, 10, 2)
    assert single.correlation[3] == pytest.approx(1)
    assert pooled.correlation[3] == pytest.approx(0)


def test_differences_do_not_cross_a_checkpoint_without_reward() -> None:
    reward = np.array([np.nan, 0, 1, 3, 2, np.nan, 5, 1, 2, 9])
    coupling = reward_coupling([(reward, np.arange(10.0) ** 2)], draws=9)
    assert coupling.points[3] == 6
    empty = reward_coupling([(np.full(5, np.nan), np.arange(5.0))], draws=9)
    assert empty.points.tolist() == [0] * 7
    assert np.isnan(empty.correlation).all()
    assert np.isnan(empty.after_p)


def test_lags_beyond_a_run_have_no_points() -> None:
    rng = np.random.default_rng(0)
    coupling = reward_coupling([(rng.random(9), rng.random(9))], lags=10)
    assert coupling.points[np.abs(coupling.lags) > 5].max() == 0


def test_a_count_that_never_changes_follows_nothing() -> None:
    coupling = reward_coupling([(np.random.default_rng(0).random(15), np.zeros(15))], draws=19)
    assert (coupling.correlation == 0).all()
    assert coupling.after_p == 1


def test_rising_together_is_no_coupling() -> None:
    """Independent random walks: their levels correlate, the test rejects at its nominal rate."""
    rejected = []
    for trial in range(80):
        rng = np.random.default_rng(trial)
        walks = [np.cumsum(0.5 + rng.normal(size=14)) for _ in range(2)]
        rejected.append(reward_coupling([(walks[0], walks[1])], draws=39, seed=trial).after_p <= 0.05)
    assert np.mean(rejected) <= 0.125  # 0.05 expected; 10 of 80 would be three standard errors above


def test_series_are_read_in_the_order_of_the_steps() -> None:
    rows = [RewardCount(20, 0.5, 0.0, 1, 3, 2, 0), RewardCount(10, 0.25, 0.0, 1, 3, 1, 0)]
    rewards, heads = coupling_series(rows)
    assert (rewards.tolist(), heads.tolist()) == ([0.25, 0.5], [1, 2])
    with pytest.raises(InputError, match="3 rewards and 2 head counts"):
        reward_coupling([(np.zeros(3), np.zeros(2))])


def test_coupling_survives_json() -> None:
    coupling = reward_coupling([(np.arange(8.0), np.arange(8.0) ** 2)], draws=9)
    assert to_json(from_json(Coupling, to_json(coupling), "test")) == to_json(coupling)


@pytest.mark.parametrize("step", [0.125, 0.1, 0.05])
def test_a_reward_that_grows_by_equal_steps_has_no_order(step: float) -> None:
    heads = np.cumsum(np.random.default_rng(0).integers(0, 4, 14)).astype(float)
    coupling = reward_coupling([(step * np.arange(14.0), heads)], draws=9)
    assert np.nanmax(np.abs(coupling.correlation)) == 0
