"""Sets of like importance."""

import numpy as np
import pytest

from headscope.comparison.importance_matched import importance_matched_sets
from headscope.errors import InputError
from headscope.heads import HeadSet

IMPORTANCE = np.exp(-np.arange(48.0) / 4).reshape(
    6, 8
)  # each head's neighbours in rank are its neighbours in importance
HEADS = HeadSet.of(["L2H4", "L4H0"])  # the 20th and the 32nd


def test_every_head_has_a_stand_in_of_like_importance() -> None:
    sets = importance_matched_sets(HEADS, IMPORTANCE, 8, 0)
    assert len(set(sets)) == len(sets) == 8
    for drawn in sets:
        ranks = sorted(8 * head.layer + head.head for head in drawn)
        assert abs(ranks[0] - 20) <= 2
        assert abs(ranks[1] - 32) <= 2
        assert not drawn & HEADS
    assert list(sets) == list(importance_matched_sets(HEADS, IMPORTANCE, 8, 0))


def test_neighbours_widen_until_there_are_sets_enough() -> None:
    assert len(importance_matched_sets(HEADS, IMPORTANCE, 200, 0)) == 200
    few = importance_matched_sets(HeadSet.of(["L0H0"]), IMPORTANCE[:1], 20, 0)
    assert sorted(map(str, few)) == [f"L0H{head}" for head in range(1, 8)]


def test_excluded_heads_stay_out_and_impossible_sets_are_refused() -> None:
    exclude = HeadSet.of(["L2H3", "L2H5"])
    assert not any(drawn & exclude for drawn in importance_matched_sets(HEADS, IMPORTANCE, 8, 0, exclude=exclude))
    assert importance_matched_sets(HeadSet.of([(0, head) for head in range(8)]), IMPORTANCE[:1], 5, 0) == ()
    with pytest.raises(InputError, match="at least one of each"):
        importance_matched_sets(HeadSet(()), IMPORTANCE, 5, 0)
