"""Corrections for many tests, by hand."""

import numpy as np
import pytest

from headscope.errors import InputError
from headscope.measures.multiplicity import holm, q_values


def test_q_values_are_benjamini_and_hochbergs() -> None:
    q = q_values(np.array([[0.01, 0.04], [0.03, 0.5]]))
    assert q.ravel().tolist() == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])


def test_what_was_not_tested_counts_for_nothing() -> None:
    q = q_values(np.array([0.01, np.nan, 0.04]))
    assert q[[0, 2]].tolist() == pytest.approx([0.02, 0.04])
    assert np.isnan(q[1])
    assert np.isnan(q_values(np.array([np.nan]))).all()
    with pytest.raises(InputError, match="outside 0 and 1"):
        q_values(np.array([1.5]))


def test_holm_by_hand() -> None:
    assert holm(np.array([0.04, 0.01, 0.03])).tolist() == pytest.approx([0.06, 0.03, 0.06])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


def test_false_discoveries_stay_below_the_level() -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(400):
        p = rng.random(60)
        p[:20] **= 6  # 20 real effects
        discovered = q_values(p) <= 0.1
        shares.append(discovered[20:].sum() / max(1, discovered.sum()))
    assert np.mean(shares) <= 0.1
    assert np.mean(shares) > 0.03
