from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from headscope.errors import InputError
from headscope.evaluation.passk import pass_at_1, pass_at_k, success_at_k
from headscope.measures.intervals import wilson
from headscope.measures.pass_at_k import pass_at_k_by_problem

matrices = st.tuples(st.integers(1, 4), st.integers(1, 7)).flatmap(lambda shape: arrays(bool, shape))


@settings(max_examples=60)
@given(matrices)
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_sample(correct):
    for k in range(1, correct.shape[1] + 1):
        subsets = list(combinations(range(correct.shape[1]), k))
        by_hand = [np.mean([row[list(subset)].any() for subset in subsets]) for row in correct]
        np.testing.assert_allclose(pass_at_k_by_problem(correct, k), by_hand, atol=1e-12)


@settings(max_examples=30)
@given(matrices, st.randoms(use_true_random=False))
def test_laws(correct, random):
    samples = correct.shape[1]
    curve = [pass_at_k(correct, k).value for k in range(1, samples + 1)]
    assert all(later >= earlier - 1e-12 for earlier, later in pairwise(curve))
    assert curve[0] == pytest.approx(correct.mean())
    assert curve[-1] == pytest.approx(success_at_k(correct, samples).value)
    order = random.sample(range(samples), samples)
    assert pass_at_k(correct[:, order], samples // 2 + 1) == pass_at_k(correct, samples // 2 + 1)


def test_no_overflow_with_many_samples():
    correct = np.zeros((1, 2000), dtype=bool)
    correct[0, 0] = True
    assert pass_at_k(correct, 1000).value == pytest.approx(0.5)


def test_success_at_k_reads_the_first_k_in_order():
    correct = np.array([[False, True, False], [False, False, True], [True, False, False], [False, False, False]])
    assert [success_at_k(correct, k).value for k in (1, 2, 3)] == [0.25, 0.5, 0.75]
    assert success_at_k(correct, 2) == wilson(2, 4)


def test_nothing_solved_is_not_certainty():
    estimate = pass_at_1(np.zeros((30, 4), dtype=bool))
    assert (estimate.value, estimate.low) == (0.0, 0.0)
    assert estimate.high == wilson(0, 30).high > 0.1


def test_an_interval_says_its_n_and_method():
    correct = np.random.default_rng(0).random((30, 8)) < np.linspace(0, 1, 30)[:, None]
    estimate = pass_at_1(correct)
    assert estimate.n == 30
    assert "Wilson over problems" in estimate.method
    assert estimate.low < estimate.value < estimate.high


@pytest.mark.parametrize("k", [0, 5])
@pytest.mark.parametrize("measure", [pass_at_k, success_at_k])
def test_k_out_of_range_is_refused(measure, k):
    with pytest.raises(InputError, match=f"k = {k} .* allowed: 1-4"):
        measure(np.ones((2, 4), dtype=bool), k)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([[2, 0], [0, 0]], "values of int64 beside 0 and 1"),
        ([[0.5, 0.0]], "values of float64 beside 0 and 1"),
        ([[float("nan"), 0.0]], "values of float64 beside 0 and 1"),
        ([True, False], "1 axes"),
        ([[True], [True, False]], "1 axes"),
    ],
)
def test_a_table_of_anything_else_than_verdicts_is_refused(table, message):
    for measure in (pass_at_k, success_at_k):
        with pytest.raises(InputError, match=f"the table of verdicts has {message}"):
            measure(table, 1)


def test_verdicts_may_be_lists_and_numbers():
    table = [[1, 0], [0, 0]]
    assert pass_at_k(table, 1) == pass_at_k(np.array(table, dtype=bool), 1)
