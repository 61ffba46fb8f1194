"""Pairs of one problem: arithmetic by hand, and what taking them for independent would claim."""

from dataclasses import replace

import numpy as np
import pytest

from headscope.comparison import Resampling, gap_closure, importance_change
from headscope.comparison.activity import head_activity
from headscope.comparison.importance import influence, shares
from headscope.comparison.split_half_null import split_halves
from headscope.measures.intervals import bootstrap, resamples
from headscope.pairs import ProblemGroups
from headscope.results.cross_patch import CrossPatch
from headscope.results.edges import EdgeScores
from headscope.results.graph import Graph

GRAPH = Graph(2, 3)
PROBLEMS, PAIRS = 8, 8
CORRELATION = 0.8


def sampled(seed: int) -> EdgeScores:
    """Head sums whose noise is shared within a problem; its pairs remember it."""
    draw = np.random.default_rng(seed)
    shared = np.repeat(draw.normal(size=(PROBLEMS, 2, 3)), PAIRS, axis=0)
    noise = np.sqrt(CORRELATION) * shared + np.sqrt(1 - CORRELATION) * draw.normal(size=(PROBLEMS * PAIRS, 2, 3))
    nothing = np.zeros(GRAPH.real.shape, dtype=np.float32)
    labels = tuple(f"{seed} {problem}" for problem in range(PROBLEMS) for _ in range(PAIRS))
    sums = np.exp(0.5 * noise).astype(np.float32)
    return EdgeScores(GRAPH, nothing, nothing, sums, None, 0.0, 0.0, problems=labels, pair_net=sums)


def independent(scores: EdgeScores) -> EdgeScores:
    """The same pairs, each taken for a problem of its own."""
    return replace(scores, problems=None)


def test_pairs_taken_for_independent_find_changes_where_there_are_none() -> None:
    """The positive control: a model against itself on other problems."""
    by_pairs, by_problems = [], []
    for trial in range(100):
        base, post = sampled(2 * trial), sampled(2 * trial + 1)
        by_problems.append(importance_change(base, post, paired=False).p_value)
        by_pairs.append(importance_change(independent(base), independent(post), paired=False).p_value)
    assert np.mean(np.stack(by_pairs) <= 0.05) > 0.3
    assert np.mean(np.stack(by_problems) <= 0.05) < 0.08


def test_pairs_taken_for_independent_miss_the_mean() -> None:
    """The same of a bootstrap interval; the truth is the mean over all problems there are, 1."""
    groups = ProblemGroups(np.repeat(np.arange(PROBLEMS), PAIRS))
    covered = {"pairs": 0, "problems": 0}
    for trial in range(200):
        draw = np.random.default_rng(trial)
        values = 1 + np.repeat(draw.normal(size=PROBLEMS), PAIRS) + draw.normal(size=PROBLEMS * PAIRS) / 2
        for name, units in (("pairs", PROBLEMS * PAIRS), ("problems", groups)):
            interval = bootstrap(values.__matmul__, units, seed=trial)
            covered[name] += interval.low <= 1 <= interval.high
    assert covered["pairs"] < 120
    assert covered["problems"] > 180


def test_a_resample_draws_problems_with_all_their_pairs() -> None:
    groups = ProblemGroups.of((("a", "b", "a", "c", "a"), 5))
    weights = resamples(groups, count=50, seed=2)
    drawn = np.random.default_rng(2).multinomial(3, np.full(3, 1 / 3), size=50)
    values = np.array([1.0, 5.0, 2.0, 7.0, 6.0])
    # By hand: of the problems drawn, all values over their number.
    expected = (drawn * [9.0, 5.0, 7.0]).sum(axis=1) / (drawn * [3, 1, 1]).sum(axis=1)
    np.testing.assert_allclose(weights @ groups.means(values), expected)
    np.testing.assert_allclose(groups.pair_weights(weights) @ values, expected)
    assert groups.average(groups.means(values)) == pytest.approx(values.mean())


def test_pairs_that_are_problems_of_their_own_are_drawn_as_before() -> None:
    named = ProblemGroups.of((tuple("dcba"), 4))
    np.testing.assert_array_equal(resamples(named, count=20, seed=1), resamples(4, count=20, seed=1))
    assert bootstrap(np.sum, named).method == "pair bootstrap 95%"


def test_the_influence_of_a_problem_is_that_of_all_its_pairs() -> None:
    """Leaving a problem out moves the shares as its influence says, to first order."""
    draw = np.random.default_rng(0)
    numbers = np.array([0] * 40 + list(range(1, 200)))
    sums = draw.lognormal(size=(len(numbers), 2, 3))
    groups = ProblemGroups(numbers)
    moved = influence(sums, groups)
    np.testing.assert_allclose(moved.mean(axis=0), 0, atol=1e-12)
    without = shares(sums[numbers != 0].mean(axis=0)) - shares(sums.mean(axis=0))
    expected = -moved[0] / len(groups) * len(numbers) / (numbers != 0).sum()
    np.testing.assert_allclose(without, expected, rtol=0.1, atol=1e-4)


def test_halves_hold_a_problem_on_one_side() -> None:
    draw = np.random.default_rng(0)
    edges = draw.random((6, *GRAPH.real.shape)).astype(np.float32) * GRAPH.real
    mean = edges.mean(axis=0)
    heads = GRAPH.head_grid(edges.sum(axis=2))
    scores = EdgeScores(GRAPH, mean, mean, heads, edges, 0.0, 0.0, problems=tuple("aaabcd"))
    halves = split_halves(scores, None, Resampling(0.2, 20))
    assert (halves.size.problems, halves.size.pairs, halves.spread) == (2, 3, pytest.approx(np.sqrt(2)))
    weights = halves.activity.weights
    assert weights.shape == (20, 4)  # problems
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
    assert (((weights[0::2] > 0) ^ (weights[1::2] > 0)).all(axis=1)).all()
    # A problem weighs as much as it has pairs.
    assert {round(float(weight), 4) for weight in weights.ravel()} == {0.0, 0.25, 0.5, 0.75}
    assert head_activity(scores, Resampling(0.2, 20)).size == scores.problem_groups.size


def test_a_gap_is_closed_with_intervals_over_problems() -> None:
    closed = np.repeat(np.random.default_rng(0).random((4, 2, 3)), 3, axis=0).astype(np.float32)
    patched = CrossPatch(np.ones(12, dtype=np.float32), closed, 0.0, {}, tuple("aaabbbcccddd"))
    by_problem = gap_closure(patched)
    once = gap_closure(CrossPatch(np.ones(4, dtype=np.float32), closed[::3], 0.0))
    for name in ("value", "low", "high"):
        np.testing.assert_allclose(getattr(by_problem, name), getattr(once, name))
    assert np.isnan(gap_closure(patched, pairs=3).low).all()  # the pairs of one problem
