"""Edges born and lost, the layer profile, several methods at once, and the ladder of sizes."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headscope.comparison import Resampling, emergence, emergence_by_method, emergence_ladder
from headscope.errors import InputError
from headscope.results.emergence import Emergence
from headscope.results.graph import Graph

GRAPH = Graph(3, 4)
LAWS = settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_born_and_lost_edges_are_read_off(routed_scores) -> None:
    base = routed_scores(GRAPH, [["L0H0", "L1H1"]] * 8)
    post = routed_scores(GRAPH, [["L0H0", "L2H2", "L2H3"], *[["L0H0", "L2H2"]] * 7])
    edges = emergence(base, post, resampling=Resampling(fraction=1.0)).edges
    assert edges is not None
    assert edges.born == ("input->a2.h2<q>", "a2.h2->logits")
    assert set(edges.lost) == {"input->a1.h1<q>", "a1.h1->logits"}
    values = [getattr(edges.counts, name).value for name in ("kept", "new", "lost", "contingent")]
    assert values == [2, 2, 2, 2]
    assert (edges.null.new.value, edges.excess.new.value) == (0, 2)


@given(st.integers(0, 1000))
@LAWS
def test_no_edge_is_born_or_lost_between_a_model_and_itself(noisy, seed) -> None:
    base = noisy(GRAPH, seed, 1, 12)
    for method in ("bootstrap", "paper"):
        edges = emergence(base, base, resampling=Resampling(fraction=0.15, resamples=40), method=method).edges
        assert edges is not None
        assert (edges.born, edges.lost) == ((), ())
        assert (edges.counts.new.high, edges.counts.lost.high) == (0, 0)


@given(st.integers(0, 1000))
@LAWS
def test_swapping_the_models_exchanges_born_and_lost(noisy, seed) -> None:
    base, post = noisy(GRAPH, seed, 1, 12), noisy(GRAPH, seed + 1, 1, 12)
    there = emergence(base, post, resampling=Resampling(fraction=0.15, resamples=40)).edges
    back = emergence(post, base, resampling=Resampling(fraction=0.15, resamples=40)).edges
    assert there is not None
    assert back is not None
    assert (set(there.born), set(there.lost)) == (set(back.lost), set(back.born))
    assert there.counts.contingent == back.counts.contingent


def test_edges_emerge_from_noise_no_more_than_the_null_says(noisy) -> None:
    covered = []
    for trial in range(20):
        base, post, again = [noisy(GRAPH, 7, 3 * trial + sample, 24) for sample in range(3)]
        edges = emergence(
            base, post, base_again=again, resampling=Resampling(fraction=0.15, resamples=60, seed=trial)
        ).edges
        assert edges is not None
        covered.append(edges.excess.new.low <= 0 <= edges.excess.new.high)
    assert np.mean(covered) >= 0.9


def test_the_layers_add_up(noisy) -> None:
    comparison = emergence(noisy(GRAPH, 0, 1), noisy(GRAPH, 1, 1), resampling=Resampling(fraction=0.15, resamples=40))
    assert comparison.layers is not None
    totals = [getattr(comparison.counts, name).value for name in ("kept", "new", "lost", "contingent")]
    assert comparison.layers.value.sum(axis=1).tolist() == totals
    assert comparison.layers.null.sum(axis=1)[1] == comparison.null.new.value
    assert np.allclose(comparison.layers.value - comparison.layers.null, comparison.layers.excess)
    assert (comparison.layers.excess_low <= comparison.layers.excess_high).all()
    assert comparison.layers.value[1].tolist() == [
        sum(head.layer == layer for head in comparison.new) for layer in range(3)
    ]


def test_several_methods_at_once_are_each_method_alone(noisy) -> None:
    base, post = noisy(GRAPH, 0, 1), noisy(GRAPH, 1, 1)
    by_method = emergence_by_method(base, [post], dict.fromkeys(("bootstrap", "paper"), Resampling(0.15, 40)))
    for method, (comparison,) in by_method.items():
        alone = emergence(base, post, resampling=Resampling(fraction=0.15, resamples=40), method=method)
        assert comparison.as_dict() == alone.as_dict()


def test_the_papers_size_is_a_method_beside_another(routed_scores) -> None:
    base, post = routed_scores(GRAPH, [["L0H0"]] * 4), routed_scores(GRAPH, [["L0H0", "L2H2"]] * 4)
    weak = type(post)(**{**post.__dict__, "pair_edges": post.pair_edges * np.float32(0.05)})
    methods = {"bootstrap": Resampling(1.0, 20), "paper": Resampling(resamples=20, edges=5000, tau=0.1)}
    comparisons = emergence_by_method(base, [weak, post], methods)
    assert [str(result.new) for result in comparisons["bootstrap"]] == ["L2H2", "L2H2"]
    assert [str(result.new) for result in comparisons["paper"]] == ["none", "L2H2"]
    assert comparisons["paper"][0].tau == 0.1
    assert comparisons["paper"][0].fraction == 1.0


def test_a_ladder_is_the_comparison_at_each_size(noisy) -> None:
    base, post = noisy(GRAPH, 0, 1), noisy(GRAPH, 1, 1)
    rungs = emergence_ladder(base, post, (0.1, 0.3), resampling=Resampling(resamples=40))
    for fraction, comparison in zip((0.1, 0.3), rungs, strict=True):
        assert (
            comparison.as_dict()
            == emergence(base, post, resampling=Resampling(fraction=fraction, resamples=40)).as_dict()
        )
    active = [rung.post_frequency for rung in rungs]
    assert (active[1] >= active[0]).all()
    with pytest.raises(InputError, match="at least one circuit size"):
        emergence_ladder(base, post, ())


def test_the_post_model_may_have_a_size_of_its_own(noisy) -> None:
    base, post = noisy(GRAPH, 0, 1), noisy(GRAPH, 1, 1)
    comparison = emergence(base, post, resampling=Resampling(fraction=0.1, resamples=40), post_fraction=0.3)
    assert np.array_equal(
        comparison.base_frequency,
        emergence(base, post, resampling=Resampling(fraction=0.1, resamples=40)).base_frequency,
    )
    assert np.array_equal(
        comparison.post_frequency,
        emergence(base, post, resampling=Resampling(fraction=0.3, resamples=40)).post_frequency,
    )
    assert (comparison.fraction, comparison.post_fraction) == (0.1, 0.3)


def test_grouped_graphs_are_compared_too(noisy) -> None:
    graph = Graph(2, 4, kv_heads=2)
    comparison = emergence(
        noisy(graph, 0, 1, 12), noisy(graph, 1, 1, 12), resampling=Resampling(fraction=0.2, resamples=30)
    )
    assert comparison.edges is not None
    assert comparison.edges.counts.kept.value > 0
    with pytest.raises(InputError, match="in 2 key/value groups"):
        emergence(noisy(graph, 0, 1, 12), noisy(Graph(2, 4), 1, 1, 12))


def test_other_vocabularies_are_refused(routed_scores) -> None:
    base = routed_scores(GRAPH, [["L0H0"]] * 4, vocabulary=80)
    post = routed_scores(GRAPH, [["L0H0"]] * 4, vocabulary=90)
    with pytest.raises(InputError, match="vocabulary of 90, the base one of 80"):
        emergence(base, post)


@pytest.mark.parametrize(("key", "ours", "theirs"), [("metric", "kl", "nll"), ("method", "eap", "eap-ig")])
def test_scores_made_in_different_ways_are_refused(routed_scores, key: str, ours: str, theirs: str) -> None:
    base = routed_scores(GRAPH, [["L0H0"]] * 4, **{key: ours})
    post = routed_scores(GRAPH, [["L0H0"]] * 4, **{key: theirs})
    with pytest.raises(InputError, match=f"scored with {key} '{theirs}', the base with '{ours}'"):
        emergence(base, post)
    with pytest.raises(InputError, match="the base scored again was scored with"):
        emergence(base, base, base_again=post)


def test_a_single_pair_has_no_interval(routed_scores) -> None:
    scores = routed_scores(GRAPH, [["L0H0"]])
    assert np.isnan(emergence(scores, scores, resampling=Resampling(fraction=1.0)).counts.kept.low)


def test_results_of_the_first_schema_are_read_and_newer_ones_refused(noisy) -> None:
    comparison = emergence(noisy(GRAPH, 0, 1), noisy(GRAPH, 1, 1), resampling=Resampling(fraction=0.15, resamples=20))
    data = comparison.as_dict()
    assert Emergence.from_dict(data).as_dict() == data
    later = ("edges", "layers", "base_importance", "post_fraction", "tau")
    old = {name: value for name, value in data.items() if name not in later} | {"schema_version": 1}
    read = Emergence.from_dict(old)
    assert read.new == comparison.new
    assert read.edges is read.layers is read.base_importance is None
    with pytest.raises(InputError, match="update headscope"):
        Emergence.from_dict(data | {"schema_version": 3})


def test_without_any_edge_in_play_there_is_nothing_to_count(scores_of) -> None:
    graph = Graph(2, 3)
    nothing = scores_of(graph, np.zeros((4, *graph.real.shape), dtype=np.float32))
    edges = emergence(nothing, nothing).edges
    assert edges is not None
    assert (edges.counts.new.value, edges.null.new.value, edges.born) == (0, 0, ())
