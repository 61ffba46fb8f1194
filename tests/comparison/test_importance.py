"""Importance by hand-summed numbers."""

from typing import Any

import numpy as np
import pytest

from headscope.comparison import (
    Resampling,
    change_q_values,
    emergence,
    head_importance,
    importance_change,
    relative_change,
    relative_changes,
)
from headscope.errors import InputError
from headscope.measures.multiplicity import q_values
from headscope.results.circuit import Circuit
from headscope.results.edges import EdgeScores
from headscope.results.graph import Graph

GRAPH = Graph(2, 2)


def test_importance_is_the_share_of_outgoing_score(routed_scores) -> None:
    importance = head_importance(routed_scores(GRAPH, [["L0H0", "L1H1"], ["L0H0"]]))
    assert importance.value.tolist() == pytest.approx(np.array([[2 / 3, 0], [0, 1 / 3]]))
    assert importance.value.sum() == pytest.approx(1)
    assert (importance.low <= importance.value).all()
    assert (importance.value <= importance.high).all()


def test_within_a_circuit_only_its_edges_count(routed_scores) -> None:
    scores = routed_scores(GRAPH, [["L0H0", "L1H1"]] * 2)
    edges = np.zeros(GRAPH.real.shape, dtype=bool)
    edges[GRAPH.head_source(1, 1), -1] = True
    assert head_importance(scores, Circuit(GRAPH, edges)).value.tolist() == [[0, 0], [0, 1]]
    bare = type(scores)(**{**scores.__dict__, "pair_edges": None})
    with pytest.raises(InputError, match="keep_pairs=True"):
        head_importance(bare, Circuit(GRAPH, edges))


def test_nothing_scored_is_no_importance(routed_scores) -> None:
    assert head_importance(routed_scores(GRAPH, [[], []])).value.max() == 0


def test_relative_change_is_antisymmetric_and_bounded() -> None:
    base, post = np.array([[0.5, 0.0], [0.2, 0.3]]), np.array([[0.1, 0.4], [0.2, 0.3]])
    forward = relative_change(base, post)
    assert forward == pytest.approx(-relative_change(post, base))
    assert forward[0, 1] == pytest.approx(1, abs=1e-5)
    assert forward[1].tolist() == [0, 0]
    assert relative_change(np.zeros((1, 1)), np.zeros((1, 1))).tolist() == [[0]]


def test_the_change_of_a_pair_is_weighed_by_student(routed_scores) -> None:
    """One of two pairs moves: change 1/2, standard error 1/2, one degree of freedom."""
    base = routed_scores(GRAPH, [["L0H0"], ["L0H0"]])
    post = routed_scores(GRAPH, [["L0H0"], ["L1H1"]])
    change = importance_change(base, post)
    assert change.p_value is not None
    assert change.value[1, 1] == pytest.approx(0.5)
    assert change.p_value[1, 1] == pytest.approx(0.5)  # t = 1 with one degree of freedom
    assert change.p_value[0, 1] == 1
    assert change.high[1, 1] - change.value[1, 1] == pytest.approx(12.706 * 0.5, rel=1e-3)


def test_one_pair_has_no_interval(routed_scores) -> None:
    scores = routed_scores(GRAPH, [["L0H0"]])
    assert np.isnan(importance_change(scores, scores).low).all()


def test_relative_changes_follow_the_checkpoints(routed_scores) -> None:
    base, post = routed_scores(GRAPH, [["L0H0"]] * 4), routed_scores(GRAPH, [["L1H1"]] * 4)
    series = [
        emergence(base, post_scores, resampling=Resampling(fraction=1.0, resamples=20)) for post_scores in (base, post)
    ]
    by_checkpoint = relative_changes(series)
    assert by_checkpoint[0].tolist() == [[0, 0], [0, 0]]
    assert by_checkpoint[1].tolist() == pytest.approx(np.array([[-1, 0], [0, 1]]), abs=1e-5)
    assert (change_q_values(series)[0] == 1).all()
    assert change_q_values(series)[1, 1, 1] == 0


def _alike(sums: np.ndarray) -> tuple[Any, ...]:
    """The last arguments of ``EdgeScores`` of heads whose edges have one sign: flow and net are the same."""
    heads = sums.astype(np.float32)
    return heads, None, 0.0, 0.0, {}, None, heads


def test_changes_are_covered_and_none_is_false_discovery() -> None:
    """Importances of known size, half of them changed: coverage, false positives and false discoveries."""
    rng = np.random.default_rng(0)
    size = np.array([[1.0, 2.0], [1.5, 0.5]])
    later = np.array([[1.4, 1.6], [1.5, 0.5]])  # the last two stay
    empty = np.zeros(GRAPH.real.shape, dtype=np.float32)
    covered, false, discovered = [], [], []
    for _ in range(250):
        shared = np.exp(0.5 * rng.normal(size=(40, 2, 2)))
        pairs_before = size * shared * np.exp(0.3 * rng.normal(size=(40, 2, 2)))
        pairs_after = later * shared * np.exp(0.3 * rng.normal(size=(40, 2, 2)))
        before = EdgeScores(GRAPH, empty, empty, *_alike(pairs_before))
        after = EdgeScores(GRAPH, empty, empty, *_alike(pairs_after))
        change = importance_change(before, after)
        truth = (later - size) / 5
        covered.append((change.low <= truth) & (truth <= change.high))
        assert change.p_value is not None
        false.append(change.p_value[1] <= 0.05)
        chosen = q_values(change.p_value) <= 0.05
        discovered.append(chosen[1].sum() / max(1, chosen.sum()))
    assert 0.92 <= np.mean(covered) <= 0.97
    assert 0.02 <= np.mean(false) <= 0.08
    assert np.mean(discovered) <= 0.05
