"""Matched sets: the same layers, other heads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headscope.comparison import layer_matched_sets
from headscope.comparison.control_sets import control_sets
from headscope.errors import InputError
from headscope.heads import HeadSet

GRIDS = st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=4, max_size=4).filter(
    lambda rows: any(map(any, rows)) and not all(all(row) or not any(row) for row in rows)
)


@given(GRIDS, st.integers(0, 99))
@settings(max_examples=50)
def test_sets_are_distinct_matched_and_never_the_real_one(rows, seed) -> None:
    heads = HeadSet.from_grid(np.array(rows))
    drawn = layer_matched_sets(heads, 4, 5, 10, seed)
    assert len(set(drawn)) == len(drawn) <= 10
    for control in drawn:
        assert control.layer_profile() == heads.layer_profile()
        assert control != heads
        for layer in {head.layer for head in control & heads}:
            assert sum(rows[layer]) > 5 / 2, "a layer with heads enough shares none with the real set"


def test_excluded_heads_stay_out() -> None:
    heads, exclude = HeadSet.of(["L0H0"]), HeadSet.of(["L0H1", "L0H2"])
    drawn = layer_matched_sets(heads, 1, 5, 10, 0, exclude=exclude)
    assert sorted(map(str, drawn)) == ["L0H3", "L0H4"]


def test_large_models_are_drawn_without_listing() -> None:
    heads = HeadSet.of([(layer, head) for layer in range(0, 28, 2) for head in range(3)])
    drawn = layer_matched_sets(heads, 28, 12, 200, 0)
    assert len(set(drawn)) == 200
    assert drawn[0] == layer_matched_sets(heads, 28, 12, 200, 0)[0]
    assert drawn[0] != layer_matched_sets(heads, 28, 12, 200, 1)[0]
    assert not any(control & heads for control in drawn)


def test_drawing_without_listing_never_gives_the_real_set(monkeypatch) -> None:
    monkeypatch.setattr("headscope.comparison.layer_matched._LISTED", 0)
    heads = HeadSet.of(["L0H0", "L0H1", "L0H2"])
    drawn = [layer_matched_sets(heads, 1, 4, 1, seed)[0] for seed in range(40)]
    assert heads not in drawn
    assert len(set(drawn)) == 3


def test_draws_are_uniform() -> None:
    drawn = [layer_matched_sets(HeadSet.of(["L0H0"]), 1, 5, 1, seed)[0].heads[0].head for seed in range(400)]
    assert np.bincount(drawn, minlength=5)[1:].min() > 70
    assert 0 not in drawn


def test_what_has_no_match_is_refused() -> None:
    full = HeadSet.of(["L0H0", "L0H1"])
    assert layer_matched_sets(full, 1, 2, 5, 0) == ()
    with pytest.raises(InputError, match="does not exist"):  # and is not taken for a set without others
        control_sets(HeadSet.of(["L9H0"]), HeadSet(()), np.ones((2, 4)), 20, 0)
    with pytest.raises(InputError, match="empty"):
        layer_matched_sets(HeadSet.of([]), 1, 2, 5, 0)
    with pytest.raises(InputError, match="does not exist"):
        layer_matched_sets(full, 1, 1, 5, 0)
    with pytest.raises(InputError, match="count is 0"):
        layer_matched_sets(full, 2, 4, 0, 0)
