"""Adaptive nodes whose error is small beside the sampling error over pairs: the yardstick, and nodes under it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.precision import EXACT, relative

from headscope.circuits import attribute
from headscope.circuits.adaptive_quadrature import TOLERANCE, AdaptiveQuadrature
from headscope.circuits.budget import Budget
from headscope.circuits.error_ratio import LARGEST_ERROR_RATIO, error_ratio, first_tolerance
from headscope.pairs import Pairs
from headscope.results.edges import EdgeScores

EPSILON = float(np.finfo(np.float32).eps)


def true_ratio(scores: EdgeScores, exact: EdgeScores) -> float:
    error = scores.head_importance - exact.head_importance
    scatter = exact.pair_heads.std(axis=0, ddof=1) / np.sqrt(len(exact.pair_heads))
    return float(np.linalg.norm(error) / np.linalg.norm(scatter))


def test_the_ratio_is_the_hand_summed_one() -> None:
    heads = np.array([[[3.0, 1.0]], [[1.0, 1.0]]])  # standard error: √2 / √2 = 1 of the first head, 0 of the second
    errors, changes = np.array([0.1, 0.2]), np.array([2.0, 2.0])
    random = np.sqrt((0.1 * 3) ** 2 + (0.2 * 1) ** 2 + 0.1**2 + 0.2**2) / 2
    systematic = 0.5 / 4 * np.sqrt(2**2 + 1**2)
    found = error_ratio(heads, errors, np.array([0.7, -0.2]), changes)
    assert found == pytest.approx(0.5 * np.hypot(random, systematic))
    assert error_ratio(heads, errors, np.array([0.2, -0.2]), changes) == pytest.approx(0.5 * random)


def test_pairs_that_agree_have_no_ratio_unless_there_is_no_error() -> None:
    heads, zeros = np.ones((3, 2, 2)), np.zeros(3)
    assert error_ratio(heads, np.full(3, 0.01), zeros, zeros) == np.inf
    assert error_ratio(heads, zeros, zeros, zeros) == 0


@given(pairs=st.integers(2, 10**6))
def test_more_pairs_are_integrated_more_finely(pairs: int) -> None:
    assert TOLERANCE <= first_tolerance(2 * pairs) <= first_tolerance(pairs) <= 0.2


def test_a_sharp_step_gets_more_nodes_by_its_slope_alone() -> None:
    def nodes_of(width: float) -> tuple[int, float]:
        path = AdaptiveQuadrature.of_slopes(EPSILON, 0.1)
        while len(path.next_alphas):
            alphas = path.next_alphas
            losses = 10 * (1 - np.tanh((alphas - 0.37) / width))
            slopes = losses * (1 - losses / 20) * 2 / width
            path.add(slopes[:, None, None], losses)
        return len(path.alphas), abs(path.missed) / 20

    flat, sharp = nodes_of(1.0), nodes_of(0.01)
    assert flat[0] == 5
    assert 10 < sharp[0] < 40
    assert max(flat[1], sharp[1]) < 0.2  # what the loss misses counts half


@pytest.mark.parametrize("architecture", ["qwen3", "mistral", "gpt2", "gemma2", "olmo2"])
def test_fewer_nodes_stay_within_the_ratio(tiny_model: Any, ragged_pairs: Any, architecture: str) -> None:
    model, pairs = tiny_model(architecture), ragged_pairs(count=8)
    exact, fine, coarse = (
        attribute(model, pairs, nodes=256),
        attribute(model, pairs, tolerance=0.01),
        attribute(model, pairs),
    )
    settings = coarse.settings
    assert settings["adaptive_converged"]
    assert true_ratio(coarse, exact) <= LARGEST_ERROR_RATIO
    assert settings["adaptive_tolerance"] > TOLERANCE
    assert settings["adaptive_share"] <= LARGEST_ERROR_RATIO
    assert settings["nodes_mean"] < fine.settings["nodes_mean"]


def test_a_path_that_changes_faster_gets_more_nodes(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs = tiny_model("qwen3"), ragged_pairs(count=8)

    def waves(frequency: float) -> Any:
        def metric(logits: Any, clean: Any) -> Any:
            return (frequency * (logits - clean).square().mean((-1, -2)).add(1e-3).sqrt()).sin() + 2

        return metric

    smooth, sharp = attribute(model, pairs, metric=waves(0.3)), attribute(model, pairs, metric=waves(10.0))
    assert sharp.settings["nodes_mean"] > 1.5 * smooth.settings["nodes_mean"]


def test_pairs_that_agree_and_single_pairs_are_integrated_to_one_percent(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs = tiny_model("qwen3"), ragged_pairs(count=1)
    for same in (pairs, pairs[[0, 0, 0]]):
        scores, requested = attribute(model, same), attribute(model, same, tolerance=0.01)
        assert scores.settings["adaptive_tolerance"] == TOLERANCE
        assert scores.settings["adaptive_converged"]
        assert np.array_equal(scores.pair_heads, requested.pair_heads)
        assert np.array_equal(scores.edges, requested.edges)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("architecture", ["gpt2", "olmo2"])
def test_order_and_batches_of_pairs_change_nothing(tiny_model: Any, ragged_pairs: Any, architecture: str) -> None:
    model, pairs = tiny_model(architecture), ragged_pairs(count=6)
    expected, order = attribute(model, pairs, keep_pairs=True), [3, 0, 5, 1, 4, 2]
    assert expected.settings["adaptive_tolerance"] > TOLERANCE
    others = [attribute(model, pairs, keep_pairs=True, batch=batch) for batch in (1, 4)]
    for other in others:
        assert relative(other.pair_edges, expected.pair_edges) < EXACT
        assert other.settings["nodes_mean"] == expected.settings["nodes_mean"]
    shuffled = attribute(model, pairs[order], keep_pairs=True)
    assert relative(shuffled.pair_edges, expected.pair_edges[order]) < EXACT
    assert relative(shuffled.edges, expected.edges) < EXACT


@pytest.mark.usefixtures("float64")
def test_rows_that_may_not_wait_are_contracted_at_once(
    tiny_model: Any, ragged_pairs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pairs = tiny_model("olmo2"), ragged_pairs(count=4)
    expected = attribute(model, pairs)
    for most in (0, 12):
        monkeypatch.setattr(Budget, "held_rows", lambda *_, most=most: most)
        assert relative(attribute(model, pairs).edges, expected.edges) < EXACT


def test_sets_whose_ratio_is_too_large_are_refined_until_it_is_not(
    tiny_model: Any, ragged_pairs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pairs = tiny_model("mistral"), ragged_pairs(count=8)
    monkeypatch.setattr("headscope.circuits.gradient_attribution.LARGEST_ERROR_RATIO", 0.02)
    coarse = attribute(model, pairs, keep_pairs=True)
    exact = attribute(model, pairs, nodes=256)
    assert coarse.settings["adaptive_share"] <= 0.02 or coarse.settings["adaptive_tolerance"] == TOLERANCE
    assert coarse.settings["adaptive_tolerance"] < first_tolerance(8)
    assert true_ratio(coarse, exact) < 0.03
    assert relative(coarse.edges, coarse.pair_edges.mean(axis=0)) < 1e-5


def test_pairs_equal_to_themselves_score_nothing(tiny_model: Any, ragged_pairs: Any) -> None:
    pairs = ragged_pairs(count=3)
    some = Pairs.from_tokens(pairs.clean, [*pairs.clean[:2], pairs.corrupt[2]])
    edges = attribute(tiny_model("qwen3"), some, keep_pairs=True).pair_edges
    assert edges is not None
    assert [each.any() for each in edges] == [False, False, True]
