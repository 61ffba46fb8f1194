"""Inclusion frequencies where they are known exactly."""

import numpy as np
import pytest

from headscope.comparison.activity import head_activity, pooled_margins, resampled_frequency
from headscope.comparison.resampling import PAPER_EDGES, PAPER_TAU, Resampling
from headscope.errors import InputError
from headscope.measures.intervals import resamples
from headscope.measures.selection import top_fraction
from headscope.results.graph import Graph
from headscope.results.pruning import prune

GRAPH = Graph(2, 3)
ALL = Resampling(fraction=1.0, resamples=100, seed=3)


def test_a_head_of_every_pair_is_core_and_one_of_none_absent(routed_scores) -> None:
    activity = head_activity(routed_scores(GRAPH, [["L0H1", "L1H2"]] * 8), ALL)
    assert {(layer, head) for layer, head in np.argwhere(activity.core).tolist()} == {(0, 1), (1, 2)}
    assert activity.frequency[~activity.core].max() == 0
    assert not activity.contingent.any()


def test_a_head_of_one_pair_is_in_the_resamples_that_drew_it(routed_scores) -> None:
    pairs = [["L0H0", "L1H1"], *[["L0H0"]] * 7]
    activity = head_activity(routed_scores(GRAPH, pairs), ALL)
    drawn = (resamples(8, count=100, seed=3)[:, 0] > 0).mean()
    assert activity.frequency[1, 1] == pytest.approx(drawn)
    assert activity.contingent[1, 1]
    assert activity.pooled_margins[1, 1] >= 0


def test_the_fraction_decides_who_is_in(routed_scores, scores_of) -> None:
    weak = routed_scores(GRAPH, [["L0H0"]] * 4).pair_edges + 0.5 * routed_scores(GRAPH, [["L1H1"]] * 4).pair_edges
    two_edges = Resampling(fraction=2 / GRAPH.real.sum(), resamples=10)
    activity = head_activity(scores_of(GRAPH, weak), two_edges)
    assert np.argwhere(activity.core).tolist() == [[0, 0]]
    # Halfway between 1, of the edges that are in, and 0.5, of the first ones outside.
    assert activity.pooled_margins[0, 0] == pytest.approx(np.log(2) / 2)
    assert activity.pooled_margins[1, 1] == pytest.approx(-np.log(2) / 2)


def test_heads_far_from_the_threshold_stay_where_they_are_in_every_draw(routed_scores, scores_of) -> None:
    rng = np.random.default_rng(0)
    strong = routed_scores(GRAPH, [["L0H0", "L0H2", "L1H1"]] * 12).pair_edges
    edges = strong * rng.lognormal(sigma=0.4, size=(12, *GRAPH.real.shape)) + 0.002 * GRAPH.real
    activity = head_activity(scores_of(GRAPH, edges.astype(np.float32)), Resampling(edges=6, resamples=100))
    assert np.argwhere(activity.frequency == 1).tolist() == [[0, 0], [0, 2], [1, 1]]
    assert (activity.resampled_frequency() == activity.frequency).all()


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6, 1e30])
def test_a_circuit_with_room_for_edges_without_effect_has_the_heads_with_one(routed_scores, scores_of, scale) -> None:
    edges = routed_scores(GRAPH, [["L0H1", "L1H2"]] * 8).pair_edges * np.float32(scale)
    activity = head_activity(scores_of(GRAPH, edges), ALL)
    assert np.isfinite(activity.margins).all()
    assert (activity.resampled_frequency() == activity.core).all()


def test_a_tenth_of_the_resamples_is_a_tenth_in_every_draw() -> None:
    margins = np.where(np.arange(200)[:, None] < 20, 1.0, -1.0)
    assert resampled_frequency(margins, np.array([[-1.0]])) == 0.1


def test_small_chunks_change_nothing(noisy, monkeypatch) -> None:
    scores = noisy(GRAPH, 0, 1)
    resampling = Resampling(fraction=0.2, resamples=20)
    whole = head_activity(scores, resampling).margins
    monkeypatch.setattr("headscope.comparison.activity._CHUNK_BYTES", 1)
    assert np.allclose(head_activity(scores, resampling).margins, whole, atol=1e-5)


def test_pooled_margins_agree_with_and_without_the_pairs(noisy) -> None:
    scores = noisy(GRAPH, 0, 1)
    assert np.allclose(
        head_activity(scores, Resampling(0.2, 5)).pooled_margins, pooled_margins(scores, Resampling(0.2)), atol=1e-5
    )


def test_resampled_frequency_follows_the_margin(noisy) -> None:
    activity = head_activity(noisy(GRAPH, 0, 1), Resampling(fraction=0.2, resamples=100))
    drawn = activity.resampled_frequency()
    assert drawn.shape == activity.margins.shape
    by_margin = np.take_along_axis(drawn, activity.margins.argsort(axis=0), axis=0)
    assert (np.diff(by_margin, axis=0) >= 0).all()
    at_the_median = np.median(drawn, axis=0)
    assert np.abs(at_the_median - activity.frequency).max() < 0.05


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fraction": 0.0}, r"^fraction is 0\.0; "),
        ({"fraction": 1.5}, r"^fraction is 1\.5; "),
        ({"resamples": 0}, "^resamples is 0; "),
        ({"core": 0.2, "contingent": 0.5}, r"^the thresholds are contingent 0\.5 and core 0\.2; "),
        ({"edges": 0}, "^edges is 0; "),
        ({"tau": -0.1}, r"^tau is -0\.1; "),
        ({"tau": float("nan")}, "^tau is nan; "),
    ],
)
def test_settings_outside_their_range_are_refused(wrong, message) -> None:
    with pytest.raises(InputError, match=message):
        Resampling(**wrong)


def test_scores_without_pairs_or_with_nan_are_refused(routed_scores, scores_of) -> None:
    scores = routed_scores(GRAPH, [["L0H0"]] * 2)
    bare = type(scores)(**{**scores.__dict__, "pair_edges": None})
    with pytest.raises(InputError, match="keep_pairs=True"):
        head_activity(bare)
    broken = scores.pair_edges.copy()
    broken[1, 0, 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        head_activity(type(scores)(**{**scores.__dict__, "pair_edges": broken}))


def test_a_larger_circuit_holds_the_smaller_ones(noisy) -> None:
    small = head_activity(noisy(GRAPH, 0, 1), Resampling(fraction=0.1, resamples=30))
    for fraction in (0.2, 0.4, 1.0):
        large = small.at(Resampling(fraction=fraction, resamples=30))
        assert (large.frequency >= small.frequency).all()
        assert (large.edge_counts >= small.edge_counts).all()
        small = large
    assert (small.edge_counts == 30).all()


def test_another_size_is_what_it_would_have_been_from_the_start(noisy) -> None:
    scores, resampling = noisy(GRAPH, 0, 1), Resampling(fraction=0.3, resamples=30)
    moved, direct = head_activity(scores, Resampling(0.1, 30)).at(resampling), head_activity(scores, resampling)
    assert np.array_equal(moved.margins, direct.margins)
    assert np.array_equal(moved.edge_counts, direct.edge_counts)


def test_edges_are_counted_where_pruning_leaves_them(noisy) -> None:
    scores, resampling = noisy(GRAPH, 0, 1, 6), Resampling(fraction=0.2, resamples=20)
    activity = head_activity(scores, resampling)
    weights = resamples(6, count=20, seed=0)
    means = np.einsum("rp,pfb->rfb", weights, np.abs(scores.pair_edges)).astype(np.float32)
    pruned = prune(GRAPH, top_fraction(GRAPH, means, 0.2)).sum(axis=0).ravel()[activity.pooled_paths.blocks.index]
    assert np.array_equal(activity.edge_counts, pruned)
    margins = activity.edge_margins(np.arange(len(pruned)))
    assert np.array_equal((margins >= 0).sum(axis=0), pruned)


def test_tau_and_a_number_of_edges_are_the_papers_rule(routed_scores, scores_of) -> None:
    weak = routed_scores(GRAPH, [["L0H0"]] * 4).pair_edges + 0.05 * routed_scores(GRAPH, [["L1H1"]] * 4).pair_edges
    scores = scores_of(GRAPH, weak)
    assert np.argwhere(head_activity(scores, Resampling(edges=PAPER_EDGES, tau=PAPER_TAU)).core).tolist() == [[0, 0]]
    assert np.argwhere(head_activity(scores, Resampling(edges=5000)).core).tolist() == [[0, 0], [1, 1]]
    assert np.argwhere(head_activity(scores, Resampling(edges=2)).core).tolist() == [[0, 0]]
