"""The graph: counts, names, and what one key/value head for several query heads changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headscope.errors import InputError
from headscope.results.graph import Graph
from headscope.results.node_names import destination_label, edge_words, source_label


def graphs(*, grouped: bool) -> st.SearchStrategy[Graph]:
    """Small graphs, with query heads in groups or not."""
    sizes = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(2, 3), st.booleans())
    return sizes.map(
        lambda size: Graph(size[0], size[1] * size[2], parallel=size[3], kv_heads=size[1] if grouped else None)
    )


@given(graphs(grouped=False))
@settings(max_examples=10)
def test_sizes_are_those_of_the_method(graph: Graph) -> None:
    assert len(graph.sources) == 1 + graph.layers * (graph.heads + 1)
    assert len(graph.destinations) == graph.layers * (3 * graph.heads + 1) + 1
    assert len(set(graph.destinations)) == len(graph.destinations)


def test_qwen_has_the_edges_the_method_counts() -> None:
    assert Graph(28, 12).real.sum() == 183_555  # 5,000 edges are 2.7 % of them
    assert Graph(28, 12, kv_heads=2).real.sum() == 84_715


def test_names_and_columns_of_a_grouped_layer() -> None:
    graph = Graph(2, 4, kv_heads=2)
    assert graph.destinations[:9] == [
        "a0.h0<q>", "a0.h1<q>", "a0.h2<q>", "a0.h3<q>", "a0.kv0<k>", "a0.kv1<k>", "a0.kv0<v>", "a0.kv1<v>", "m0",
    ]  # fmt: skip
    assert graph.sources == Graph(2, 4).sources
    assert graph.destinations[graph.port(1, "k", 1)] == "a1.kv1<k>"
    assert graph.destinations[graph.port(1, "v")] == "a1.kv0<v>"
    assert graph.destinations[graph.mlp_destination(1)] == "m1"


@given(graphs(grouped=True))
@settings(max_examples=20)
def test_columns_and_owners_say_the_inputs_of_every_node(graph: Graph) -> None:
    inputs: dict[int, list[str]] = {}
    for owner, column in zip(graph.owner, graph.column, strict=True):
        inputs.setdefault(int(owner), []).append(graph.destinations[column])
    size = graph.heads // graph.kv_heads
    for layer in range(graph.layers):
        for head in range(graph.heads):
            group = f"a{layer}.kv{head // size}"
            assert inputs[graph.head_source(layer, head)] == [f"a{layer}.h{head}<q>", f"{group}<k>", f"{group}<v>"]
        assert inputs[graph.mlp_source(layer)] == [f"m{layer}"]
    assert inputs[len(graph.sources)] == ["logits"]


@given(graphs(grouped=True), st.integers(0, 1000))
@settings(max_examples=20)
def test_folding_sums_the_copies_and_unfolding_repeats_them(graph: Graph, seed: int) -> None:
    copies = graph.per_query
    scores = np.random.default_rng(seed).normal(size=(2, *copies.real.shape))
    folded = graph.fold(scores)
    for column, name in enumerate(graph.destinations):
        expected = sum(scores[..., index] for index in np.flatnonzero(graph.column == column))
        np.testing.assert_allclose(folded[..., column], expected, err_msg=name)
    np.testing.assert_allclose(folded.sum(-1), scores.sum(-1))  # completeness survives
    unfolded = graph.unfold(folded)
    assert unfolded.shape == scores.shape
    assert np.array_equal(unfolded[..., copies.port(0, "q")], scores[..., copies.port(0, "q")])
    assert np.array_equal(graph.unfold(graph.real), copies.real)
    assert np.array_equal(copies.fold(scores), scores)
    assert np.array_equal(copies.unfold(scores), scores)


def test_opposite_copies_cancel_in_the_sum() -> None:
    graph = Graph(1, 2, kv_heads=1)
    scores = np.zeros(graph.per_query.real.shape)
    scores[0, graph.per_query.port(0, "k", 0)], scores[0, graph.per_query.port(0, "k", 1)] = 3, -2
    assert graph.fold(scores)[0, graph.port(0, "k")] == 1


def test_as_many_key_as_query_heads_are_no_groups() -> None:
    assert Graph(2, 4, kv_heads=4) == Graph(2, 4)
    for wrong in (0, 3, 8, -2):
        with pytest.raises(InputError, match=f"found {wrong} key/value heads for 4"):
            Graph(2, 4, kv_heads=wrong)


def test_every_destination_is_named_as_its_node_with_its_port() -> None:
    for graph in (Graph(2, 4), Graph(2, 4, kv_heads=2)):
        labels = [source_label(graph, row) for row in range(len(graph.sources) + 1)]
        assert len(set(labels)) == len(labels)
        assert labels[:6] == ["input", "L0H0", "L0H1", "L0H2", "L0H3", "MLP 0"]
        assert labels[-1] == "logits"
        for column, name in enumerate(graph.destinations):
            label, port = destination_label(graph, column)
            assert port == name.partition("<")[2].rstrip(">")
            if "kv" not in name:  # those of a group have a name of several heads
                owner = name.partition("<")[0]
                assert label == labels[[*graph.sources, "logits"].index(owner)]
    grouped = Graph(2, 4, kv_heads=2)
    assert destination_label(grouped, grouped.port(1, "k", 1)) == ("L1H2-3", "k")


def test_edges_are_written_in_words() -> None:
    graph = Graph(2, 4, kv_heads=2)
    for row, source in enumerate(graph.sources):
        for column in np.flatnonzero(graph.real[row]).tolist():
            destination, port = destination_label(graph, column)
            words = edge_words(f"{source}->{graph.destinations[column]}")
            if port in ("k", "v"):
                group = int(destination.split("H")[1].split("-")[0]) // 2
                destination = f"layer {destination[1]} group {group}"
            assert words == f"{source_label(graph, row)} → {destination} {port}".rstrip()
