"""Persistence, turnover and half-life of hand-written histories, and their coverage."""

import math

import numpy as np
import pytest

from headscope.comparison import head_dynamics, persistence
from headscope.comparison.persistence import _median
from headscope.results.codec import from_json, to_json
from headscope.results.dynamics import Dynamics
from headscope.results.persistence import Persistence


def run_of(rows: list[str], hold: int = 1) -> Dynamics:
    """One string per checkpoint, ten steps apart, one digit per head: emergent or not."""
    emergent = np.array([[[digit == "1" for digit in row]] for row in rows])
    nothing = np.zeros_like(emergent)
    first = np.where(emergent.any(axis=0), emergent.argmax(axis=0), -1)
    return Dynamics(10 * np.arange(1, len(rows) + 1), emergent, nothing, nothing[0], first, hold, ())


def test_persistence_and_turnover_by_hand() -> None:
    lifetime = persistence(run_of(["110", "110", "100", "101"]))
    # At risk: 2 + 2 + 1 heads, of which 2 + 1 + 1 stay. Changed: 0 + 1 + 1 of 2 + 2 + 2.
    assert lifetime.persistence.value == pytest.approx(4 / 5)
    assert lifetime.turnover.value == pytest.approx(2 / 6)
    # The third head came at the last checkpoint, and could not be seen to leave.
    assert (lifetime.remaining.value, lifetime.remaining.n) == (1 / 2, 2)
    assert (lifetime.heads, lifetime.checkpoints) == (3, 4)


def test_hysteresis_of_the_run_is_kept() -> None:
    lifetime = persistence(run_of(["10", "11", "10", "10"], hold=2))
    assert lifetime.heads == 1
    assert lifetime.persistence.value == 1


@pytest.mark.parametrize(
    ("rows", "remaining", "followed"),
    [
        (["1", "1", "0", "0"], 0, 1),
        (["1", "1", "1", "1"], 1, 1),
        (["1", "1", "1", "0"], 1, 1),  # one checkpoint without it may be flicker
        (["1", "1", "0"], math.nan, 0),
        (["0", "1", "1", "0"], math.nan, 0),
    ],
)
def test_of_heads_that_stay_those_are_counted_that_could_have_left(rows, remaining: float, followed: int) -> None:
    found = persistence(run_of(rows, hold=2)).remaining
    assert (found.value, found.n) == (pytest.approx(remaining, nan_ok=True), followed)


def test_a_change_that_cannot_be_confirmed_is_none_that_did_not_happen() -> None:
    """Of three transitions the last could not be seen: the head that left then is neither there nor gone."""
    lifetime = persistence(run_of(["11", "11", "01", "01"], hold=2))
    assert (lifetime.persistence.value, lifetime.persistence.n) == (3 / 4, 2)
    assert persistence(run_of(["1", "1", "1"], hold=2)).persistence.n == 1


def test_half_life_is_kaplan_and_meiers_median() -> None:
    # Spells of 10, 20 and 30 steps end; one lasts to the end. Survival 3/4, then 1/2 after 20 steps.
    lifetime = persistence(run_of(["1111", "0111", "0011", "0001", "0001"]))
    assert lifetime.half_life.value == 20
    lengths, ended = np.array([10.0, 20.0, 30.0, 40.0]), np.array([True, True, True, False])
    assert _median(lengths, ended, np.ones(4)) == 20
    assert _median(lengths, np.zeros(4, dtype=bool), np.ones(4)) == math.inf
    # A spell cut off at 10 leaves the risk set: survival 1, then 2/3 at 20, then 1/3 at 30.
    assert _median(lengths, np.array([False, True, True, False]), np.ones(4)) == 30


def test_where_nothing_emerged_there_is_nothing_to_follow(result) -> None:
    still = result(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0]]))
    lifetime = persistence(head_dynamics([(10, still), (20, still)]))
    assert lifetime.heads == lifetime.persistence.n == lifetime.half_life.n == 0
    assert math.isnan(lifetime.persistence.value)
    alone = persistence(run_of(["11"]))
    assert alone.remaining.n == 0


def test_one_head_has_no_interval() -> None:
    lifetime = persistence(run_of(["10", "10", "00", "00"]))
    for estimate, value in ((lifetime.persistence, 1 / 2), (lifetime.turnover, 1 / 2), (lifetime.half_life, 20)):
        assert (estimate.value, estimate.n) == (value, 1)
        assert math.isnan(estimate.low)
        assert math.isnan(estimate.high)


def test_persistence_survives_json() -> None:
    lifetime = persistence(run_of(["110", "110", "100", "101"]))
    assert from_json(Persistence, to_json(lifetime), "test") == lifetime


def test_intervals_cover_the_chance_to_stay() -> None:
    """Heads that each leave with chance 0.2 and enter with chance 0.3."""
    covered = []
    for trial in range(60):
        rng = np.random.default_rng(trial)
        states = np.zeros((12, 40), dtype=bool)
        for now in range(1, 12):
            states[now] = np.where(states[now - 1], rng.random(40) > 0.2, rng.random(40) < 0.3)
        rows = ["".join("01"[int(on)] for on in row) for row in states]
        lifetime = persistence(run_of(rows)).persistence
        covered.append(lifetime.low <= 0.8 <= lifetime.high)
    assert np.mean(covered) >= 0.9


@pytest.mark.parametrize("heads", [24, 28, 30, 38])
def test_half_of_the_spells_is_half_whatever_their_number(heads: int) -> None:
    lengths = np.arange(1.0, heads + 1)
    assert _median(lengths, np.ones(heads, dtype=bool), np.ones(heads)) == heads / 2
