"""Cohorts and events of hand-written histories."""

import numpy as np
import pytest

from headscope.comparison import head_dynamics, reward_against_counts
from headscope.comparison.dynamics import apply_hysteresis
from headscope.errors import InputError


def history(result, rows: list[str]) -> list[tuple[int, object]]:
    """One string per checkpoint, one digit per head of one layer; the first head is core in base."""
    base = np.array([[1.0, 0.0, 0.0]])
    posts = (np.array([[float(digit) for digit in row]]) for row in rows)
    return [(10 * (number + 1), result(base, post)) for number, post in enumerate(posts)]


def test_cohorts_stack_to_the_emergent_heads(result) -> None:
    dynamics = head_dynamics(history(result, ["110", "111", "001", "011"]))
    assert dynamics.cohorts.tolist() == [[1, 1, 0, 1], [0, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert dynamics.cohorts.sum(axis=0).tolist() == dynamics.emergent.sum(axis=(1, 2)).tolist()
    assert dynamics.kept_counts.tolist() == [1, 1, 0, 0]
    assert dynamics.first.tolist() == [[-1, 0, 1]]


def test_frequency_is_split_between_base_and_emergent(result) -> None:
    dynamics = head_dynamics(history(result, ["110", "111", "001", "011"]))
    assert dynamics.base_frequency.tolist() == [[0.5, 0, 0]]
    assert dynamics.emergent_frequency.tolist() == [[0, 0.75, 0.75]]
    assert str(dynamics.final) == "L0H1 L0H2"


def test_births_deaths_and_returns_need_two_checkpoints(result) -> None:
    rows = ["010", "010", "001", "010", "010", "000", "000", "010", "011", "001"]
    dynamics = head_dynamics(history(result, rows))
    events = [(event.step, event.head, event.kind) for event in dynamics.events]
    # L0H1 misses checkpoint 30 alone, which is flicker; L0H2 appears at 30 alone, and last at 90 and 100.
    expected = [(10, "L0H1", "birth"), (60, "L0H1", "death"), (80, "L0H1", "return"), (90, "L0H2", "birth")]
    assert events == expected


def test_without_hysteresis_every_change_counts(result) -> None:
    dynamics = head_dynamics(history(result, ["010", "000", "010"]), hold=1)
    assert [event.kind for event in dynamics.events] == ["birth", "death", "return"]


def test_established_equals_its_input_where_nothing_flickers() -> None:
    active = np.array([0, 0, 1, 1, 1, 0, 0, 1, 1], dtype=bool).reshape(-1, 1, 1)
    assert np.array_equal(apply_hysteresis(active, 2), active)
    assert not apply_hysteresis(np.array([0, 1, 0, 1, 0], dtype=bool).reshape(-1, 1, 1), 2).any()


def test_contingent_heads_are_not_emergent(result) -> None:
    dynamics = head_dynamics([(1, result(np.array([[0.5, 0.0]]), np.array([[1.0, 0.5]])))])
    assert not dynamics.emergent.any()
    assert not dynamics.retained.any()


def test_rewards_are_those_since_the_checkpoint_before(result) -> None:
    series = history(result, ["110", "011", "011"])
    rows = reward_against_counts(series, [5, 10, 11, 20], [0.0, 1.0, 0.25, 0.75])
    assert [(row.step, row.reward, row.reward_sd, row.logged) for row in rows[:2]] == [
        (10, 0.5, 0.5, 2),
        (20, 0.5, 0.25, 2),
    ]
    assert np.isnan(rows[2].reward)
    assert [(row.kept, row.new, row.lost) for row in rows] == [(1, 1, 0), (0, 2, 1), (0, 2, 1)]


def test_bad_series_are_refused(result) -> None:
    series = history(result, ["110", "011"])
    with pytest.raises(InputError, match="no checkpoint"):
        head_dynamics([])
    with pytest.raises(InputError, match="repeat"):
        head_dynamics([series[0], series[0]])
    with pytest.raises(InputError, match="another base"):
        head_dynamics([series[0], (99, result(np.array([[0.0, 0.0, 1.0]]), np.zeros((1, 3))))])
    with pytest.raises(InputError, match="one per step"):
        reward_against_counts(series, [1, 2], [0.5])
    with pytest.raises(InputError, match="hold is 0"):
        head_dynamics(series, hold=0)
