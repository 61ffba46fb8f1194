import time
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headscope.errors import InputError
from headscope.evaluation.majority import majority_at_k, majority_at_k_by_problem

RIGHT = 0


def by_brute_force(cast, k):
    """Vote in every subset; 0 is the right answer, None abstains."""
    wins = []
    for subset in combinations(cast, k):
        count = Counter(vote for vote in subset if vote is not None)
        first = [vote for vote, votes in count.items() if votes == max(count.values())]
        wins.append((RIGHT in first) / len(first) if first else 0.0)
    return np.mean(wins)


@settings(max_examples=60)
@given(st.lists(st.sampled_from([0, 0, 1, 1, 2, 3, None]), min_size=1, max_size=9), st.data())
def test_it_equals_a_vote_in_every_subset(cast, data):
    k = data.draw(st.integers(1, len(cast)))
    correct = np.array([[vote == RIGHT for vote in cast]])
    assert majority_at_k_by_problem(correct, [cast], k) == pytest.approx([by_brute_force(cast, k)])


def test_known_votes():
    cast = [[0, 0, 1], [0, 1, 1], [None, None, 0], [None, None, None], [0, 1, 2]]
    correct = np.array([[vote == RIGHT for vote in row] for row in cast])
    np.testing.assert_allclose(majority_at_k_by_problem(correct, cast, 3), [1, 0, 1, 0, 1 / 3])
    np.testing.assert_allclose(majority_at_k_by_problem(correct, cast, 1), correct.mean(axis=1))
    assert majority_at_k(correct, cast, 3).value == pytest.approx(7 / 15)


def test_sixty_four_samples_of_many_answers_are_quick_and_lie_between_0_and_1():
    rng = np.random.default_rng(0)
    cast = rng.integers(0, 12, (50, 64)).tolist()
    correct = np.array(cast) == RIGHT
    start = time.process_time()
    for k in (1, 8, 32, 64):
        shares = majority_at_k_by_problem(correct, cast, k)
        assert ((shares >= 0) & (shares <= 1 + 1e-12)).all()
    assert time.process_time() - start < 10


def test_k_out_of_range_is_refused():
    with pytest.raises(InputError, match=r"k = 4 .* allowed: 1-3"):
        majority_at_k(np.ones((1, 3), dtype=bool), [[0, 0, 0]], 4)


def test_votes_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"one answer for each of the 1 × 3 samples"):
        majority_at_k(np.array([[True, False, False]]), [["a", "b"]], 1)
