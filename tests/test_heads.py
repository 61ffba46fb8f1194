"""Heads: spellings, set arithmetic, the grid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headscope.errors import InputError
from headscope.heads import HeadId, HeadSet, top_heads

heads = st.frozensets(st.tuples(st.integers(0, 5), st.integers(0, 7)))


@pytest.mark.parametrize("name", ["L3H5", "l3h5", "3.5", "a3.h5", " L3H5 ", HeadId(3, 5), (3, 5)])
def test_every_spelling_is_the_same_head(name: object) -> None:
    assert HeadId.parse(name) == HeadId(3, 5)
    assert str(HeadId.parse(name)) == "L3H5"


@pytest.mark.parametrize("name", ["H5", "L3", "3-5", "m3", "", "L3H5x"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="write it as L3H5"):
        HeadId.parse(name)


@given(heads, heads)
def test_set_arithmetic_is_that_of_sets(left: frozenset[tuple[int, int]], right: frozenset[tuple[int, int]]) -> None:
    first, second = HeadSet.of(left), HeadSet.of(right)
    assert set(first | second) == left | right
    assert set(first & second) == left & right
    assert set(first - second) == left - right
    assert HeadSet.of(first.names()) == first
    assert HeadSet.from_grid(first.grid(6, 8)) == first
    assert sum(first.layer_profile().values()) == len(first) == first.grid(6, 8).sum()


def test_the_range_is_named() -> None:
    with pytest.raises(InputError, match="L2H0 does not exist: the model has layers 0-1 and heads 0-3"):
        HeadSet.of(["L2H0"]).grid(2, 4)
    assert np.array_equal(HeadSet.of(["L1H0"]).grid(2, 2), [[False, False], [True, False]])


def test_top_heads_are_ordered_by_size_whatever_their_sign():
    values = np.array([[0.0, -3.0], [2.0, 0.0]])
    assert top_heads(values, 3) == [HeadId(0, 1), HeadId(1, 0), HeadId(0, 0)]


def test_one_name_is_a_head_and_not_its_letters():
    assert HeadSet.of("L3H5") == HeadSet.of(["L3H5"])
    assert "L3H5" in HeadSet.of([(3, 5)])
    assert HeadSet.of(HeadId(3, 5)) == HeadSet.of([[3, 5]]) == HeadSet.of(np.array([[3, 5]])) == HeadSet.of("L3H5")
    grid = np.zeros((4, 6), dtype=bool)
    grid[3, 5] = True
    assert HeadSet.of(grid) == HeadSet.of("L3H5")
    for wrong in ((1, 2, 3), 5, (0.7, 1), (True, 1)):
        with pytest.raises(InputError, match="is not a head's name"):
            HeadId.parse(wrong)
