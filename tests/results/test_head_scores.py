"""Head scores: their mean, their files, what is refused."""

from pathlib import Path

import numpy as np
import pytest

from headscope.errors import InputError
from headscope.results.head_scores import HeadScores


def test_saving_and_loading_is_the_identity(tmp_path: Path) -> None:
    scores = HeadScores(np.random.default_rng(0).normal(size=(3, 2, 4)).astype(np.float32), 1.5, {"metric": "kl"})
    scores.save(tmp_path)
    again = HeadScores.load(tmp_path)
    np.testing.assert_array_equal(again.pair_heads, scores.pair_heads)
    assert (again.seconds, again.settings) == (1.5, {"metric": "kl"})
    with pytest.raises(InputError, match="missing"):
        HeadScores.load(tmp_path / "elsewhere")


def test_the_mean_is_signed_and_over_pairs() -> None:
    scores = HeadScores(np.array([[[1, -2]], [[3, 2]]], dtype=np.float32), 0.0)
    np.testing.assert_array_equal(scores.mean, [[2, 0]])


def test_a_score_that_is_not_finite_names_its_layer() -> None:
    values = np.zeros((2, 3, 4), dtype=np.float32)
    values[1, 2, 0] = np.inf
    with pytest.raises(InputError, match="first in layer 2"):
        HeadScores(values, 0.0)
