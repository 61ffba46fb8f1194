"""Emergence where the answer is known, its laws, and its null on noise."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headscope.comparison import Resampling, doubled_heads, emergence, emergence_by_method
from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.results.emergence import Status
from headscope.results.graph import Graph

GRAPH = Graph(3, 4)
LAWS = settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
SEEDS = st.integers(0, 1000)


def test_kept_new_lost_and_contingent_are_read_off(routed_scores) -> None:
    base = routed_scores(GRAPH, [["L0H0", "L1H1"]] * 8)
    post = routed_scores(GRAPH, [["L0H0", "L2H2", "L2H3"], *[["L0H0", "L2H2"]] * 7])
    comparison = emergence(base, post, resampling=Resampling(fraction=1.0))
    assert (str(comparison.kept), str(comparison.new), str(comparison.lost)) == ("L0H0", "L2H2", "L1H1")
    assert str(comparison.contingent) == "L2H3"
    assert comparison.status[2, 2] == Status.NEW
    assert (comparison.status == Status.ABSENT).sum() == 12 - 4


def test_identical_pairs_leave_nothing_to_doubt(routed_scores) -> None:
    base = routed_scores(GRAPH, [["L0H0", "L1H1"]] * 8)
    post = routed_scores(GRAPH, [["L0H0", "L2H2"]] * 8)
    comparison = emergence(base, post, resampling=Resampling(fraction=1.0))
    for counts in (comparison.counts, comparison.excess):
        assert (counts.new.value, counts.new.low, counts.new.high) == (1, 1, 1)
    assert (comparison.null.new.value, comparison.null.lost.value, comparison.null.kept.value) == (0, 0, 2)
    assert (comparison.counts.new.n, comparison.null.new.n) == (8, 4)
    assert comparison.null_source == "halves"


def test_a_size_in_edges_is_that_share_of_them(noisy) -> None:
    base, post = noisy(GRAPH, 0, 1), noisy(GRAPH, 1, 1)
    edges = round(0.15 * GRAPH.real.sum())
    by_number = emergence(base, post, resampling=Resampling(edges=edges, resamples=20))
    by_share = emergence(base, post, resampling=Resampling(fraction=edges / GRAPH.real.sum(), resamples=20))
    assert by_number.as_dict() == by_share.as_dict()
    larger = emergence(base, post, resampling=Resampling(edges=edges, resamples=20), post_fraction=0.5)
    assert np.array_equal(larger.base_frequency, by_number.base_frequency)
    assert larger.post_frequency.sum() > by_number.post_frequency.sum()


def test_circuits_of_pooled_scores_may_have_a_size_of_their_own(noisy) -> None:
    """The paper's method needs no scores of single pairs, and takes the post-trained model's size without them too."""
    base, post = (replace(noisy(GRAPH, seed, 1), pair_edges=None) for seed in (0, 1))
    found = [
        emergence(base, post, resampling=Resampling(fraction=0.05), method="paper", post_fraction=fraction)
        for fraction in (None, 0.5)
    ]
    assert np.array_equal(found[0].base_frequency, found[1].base_frequency)
    assert found[1].post_frequency.sum() > found[0].post_frequency.sum()


def test_importance_moves_from_the_lost_to_the_new_head(routed_scores) -> None:
    base = routed_scores(GRAPH, [["L0H0", "L1H1"]] * 4)
    post = routed_scores(GRAPH, [["L0H0", "L2H2"]] * 4)
    change = emergence(base, post, resampling=Resampling(fraction=1.0)).importance_change
    assert change.value[2, 2] == pytest.approx(0.5)
    assert change.value[1, 1] == pytest.approx(-0.5)
    assert change.value[0, 0] == pytest.approx(0.0)
    assert np.argwhere(change.excludes_zero).tolist() == [[1, 1], [2, 2]]


@given(SEEDS, SEEDS)
@LAWS
def test_comparison_with_itself_is_empty(noisy, population, sample) -> None:
    base = noisy(GRAPH, population, sample, 12)
    comparison = emergence(base, base, resampling=Resampling(fraction=0.15, resamples=40))
    assert len(comparison.new) == len(comparison.lost) == 0
    assert (comparison.counts.new.high, comparison.counts.lost.high) == (0, 0)
    assert np.abs(comparison.importance_change.high).max() == 0


@given(SEEDS)
@LAWS
def test_swapping_the_models_exchanges_new_and_lost(noisy, seed) -> None:
    base, post = noisy(GRAPH, seed, 1, 12), noisy(GRAPH, seed + 1, 1, 12)
    there = emergence(base, post, resampling=Resampling(fraction=0.15, resamples=40))
    back = emergence(post, base, resampling=Resampling(fraction=0.15, resamples=40))
    assert (there.new, there.lost, there.kept) == (back.lost, back.new, back.kept)
    assert there.contingent == back.contingent
    assert there.counts.new == back.counts.lost


@given(st.permutations(range(4)), SEEDS)
@LAWS
def test_permuting_heads_permutes_statuses(noisy, scores_of, order, seed) -> None:
    def permute_heads(scores):
        rows, columns = np.arange(len(GRAPH.sources)), np.arange(len(GRAPH.destinations))
        for layer in range(GRAPH.layers):
            rows[GRAPH.head_source(layer) :][:4] = GRAPH.head_source(layer) + np.array(order)
            for port in "qkv":
                columns[GRAPH.port(layer, port) :][:4] = GRAPH.port(layer, port) + np.array(order)
        return scores_of(GRAPH, scores.pair_edges[:, rows][:, :, columns])

    base, post = noisy(GRAPH, seed, 1, 8), noisy(GRAPH, seed + 1, 1, 8)
    plain = emergence(base, post, resampling=Resampling(fraction=0.15, resamples=20))
    moved = emergence(permute_heads(base), permute_heads(post), resampling=Resampling(fraction=0.15, resamples=20))
    assert np.array_equal(moved.status, plain.status[:, list(order)])


def test_a_seed_fixes_the_result(noisy) -> None:
    base, post = noisy(GRAPH, 0, 1), noisy(GRAPH, 1, 1)
    first = emergence(base, post, resampling=Resampling(fraction=0.15, seed=5))
    second = emergence(base, post, resampling=Resampling(fraction=0.15, seed=5))
    assert first.as_dict() == second.as_dict()


def test_noise_alone_shows_no_excess(noisy) -> None:
    """Base on other pairs, taken for a post-trained model, emerges no more than the null says."""
    covered, false, flickering = [], [], []
    for trial in range(30):
        base, post, again = [noisy(GRAPH, 7, 3 * trial + sample, 24) for sample in range(3)]
        comparison = emergence(base, post, base_again=again, resampling=Resampling(fraction=0.15, seed=trial))
        covered.append(comparison.excess.new.low <= 0 <= comparison.excess.new.high)
        false.append(len(comparison.new) / 12)
        flickering.append(len(emergence(base, post, resampling=Resampling(fraction=0.15), method="paper").new) / 12)
    assert np.mean(covered) >= 0.9
    assert np.mean(false) <= 0.05
    assert np.mean(flickering) > 2 * np.mean(false)


def test_the_null_is_the_mean_over_cuts_and_has_no_direction(routed_scores) -> None:
    """L1H1 on two of eight pairs, L2H2 on all: a half that holds neither of the two lacks the head."""
    base = routed_scores(GRAPH, [["L2H2"]] * 4)
    again = routed_scores(GRAPH, [["L2H2", "L1H1"]] * 2 + [["L2H2"]] * 2)
    comparison = emergence(base, base, base_again=again, resampling=Resampling(fraction=1.0, resamples=2000))
    assert comparison.null_source == "fresh pairs"
    assert comparison.null.new == comparison.null.lost
    # Both of the two in one half: 2 · C(6, 2) of C(8, 4) cuts, one way of two. Base alone never shows the head.
    assert comparison.null.new.value == pytest.approx(15 / 70, abs=0.03)
    assert (comparison.null.new.low, comparison.null.new.high) == (0, 1)
    assert comparison.null.kept.value == pytest.approx(1 + 40 / 70, abs=0.06)
    assert (comparison.excess.new.value, comparison.new_p_value) == (-comparison.null.new.value, 1)


def test_more_new_heads_than_any_cut_shows_are_significant(routed_scores) -> None:
    base = routed_scores(GRAPH, [["L0H0", "L1H1"]] * 8)
    comparison = emergence(
        base, routed_scores(GRAPH, [["L0H0", "L2H2", "L2H3"]] * 8), resampling=Resampling(fraction=1.0)
    )
    assert comparison.new_p_value == pytest.approx(1 / 201)
    assert emergence(base, base, resampling=Resampling(fraction=1.0)).new_p_value == 1


def test_doubled_heads_need_no_circuit(noisy, scores_of) -> None:
    """The share of L1H1 is trebled, that of L2H2 nearly doubled; on fresh pairs nothing grows."""
    base, again = noisy(GRAPH, 7, 1, 40), noisy(GRAPH, 7, 2, 40)
    more = base.pair_edges.copy()
    more[:, GRAPH.head_source(1, 1)] *= 3.5
    more[:, GRAPH.head_source(2, 2)] *= 1.9
    post = scores_of(GRAPH, more)
    for fraction in (0.02, 0.5):
        comparison = emergence(base, post, base_again=again, resampling=Resampling(fraction=fraction, resamples=20))
        assert (str(comparison.doubled), comparison.doubled_null) == ("L1H1", HeadSet(()))
    assert emergence(base, post, resampling=Resampling(fraction=0.5, resamples=20)).doubled_null is None
    assert str(doubled_heads(base, post, factor=1.2)) == "L1H1 L2H2"
    assert len(doubled_heads(base, base, factor=1.0)) == 0


def test_fresh_pairs_are_resampled_on_their_own(noisy) -> None:
    base = noisy(GRAPH, 7, 1, 12)
    assert emergence(base, base, base_again=base, resampling=Resampling(fraction=0.15)).null.new.value > 0


def test_paper_is_the_set_difference_of_pooled_circuits(routed_scores) -> None:
    base = routed_scores(GRAPH, [["L0H0"]] * 4)
    post = routed_scores(GRAPH, [["L0H0", "L2H2"], *[["L0H0"]] * 3])
    comparison = emergence(base, post, resampling=Resampling(fraction=1.0), method="paper")
    assert str(comparison.new) == "L2H2"
    assert len(comparison.contingent) == 0
    assert len(emergence(base, post, resampling=Resampling(fraction=1.0)).new) == 0


def test_paper_works_without_pairs_and_says_what_it_cannot_know(routed_scores) -> None:
    base, post = routed_scores(GRAPH, [["L0H0"]] * 4), routed_scores(GRAPH, [["L0H0", "L2H2"]] * 4)
    bare = [type(scores)(**{**scores.__dict__, "pair_edges": None}) for scores in (base, post)]
    comparison = emergence(*bare, resampling=Resampling(fraction=1.0), method="paper")
    assert str(comparison.new) == "L2H2"
    assert comparison.null_source == "none"
    assert np.isnan([comparison.counts.new.low, comparison.null.new.value, comparison.excess.new.value]).all()
    with pytest.raises(InputError, match="keep_pairs=True"):
        emergence(*bare, resampling=Resampling(fraction=1.0))


def test_a_series_is_its_members(noisy) -> None:
    base, posts = noisy(GRAPH, 0, 1), [noisy(GRAPH, 1, 1), noisy(GRAPH, 2, 1)]
    methods = {"bootstrap": Resampling(0.15, 50)}
    series = emergence_by_method(base, iter(posts), methods)["bootstrap"]
    for comparison, post in zip(series, posts, strict=True):
        assert (
            comparison.as_dict() == emergence(base, post, resampling=Resampling(fraction=0.15, resamples=50)).as_dict()
        )


def test_what_cannot_be_compared_is_refused(routed_scores) -> None:
    pairs = [["L0H0"]] * 4
    base = routed_scores(GRAPH, pairs, pairs="aa")
    with pytest.raises(InputError, match="3 layers of 2 heads, the base has 3 layers of 4 heads"):
        emergence(base, routed_scores(Graph(3, 2), pairs, pairs="aa"))
    with pytest.raises(InputError, match="digest bb"):
        emergence(base, routed_scores(GRAPH, pairs, pairs="bb"))
    with pytest.raises(InputError, match="on 3 pairs"):
        emergence(base, routed_scores(GRAPH, pairs[:3], pairs="aa"))
    with pytest.raises(InputError, match="same pairs as base"):
        emergence(base, base, base_again=routed_scores(GRAPH, pairs, pairs="aa"))


def test_a_single_pair_has_no_null(routed_scores) -> None:
    base = routed_scores(GRAPH, [["L0H0"]])
    comparison = emergence(base, base, resampling=Resampling(fraction=1.0))
    assert comparison.null_source == "none"
    assert np.isnan(comparison.excess.new.value)
    assert str(comparison.kept) == "L0H0"
