"""Entry scores are the slow definition (mask, prune to the fixed point) at every threshold at once."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from headscope.comparison.bottleneck_paths import EdgeBlocks, bottleneck_paths
from headscope.measures.selection import above_threshold
from headscope.results.graph import Graph
from headscope.results.pruning import prune

GRAPHS = st.one_of(
    st.builds(Graph, st.integers(1, 4), st.integers(1, 3), st.booleans()),
    st.builds(Graph, st.integers(1, 3), st.just(4), st.booleans(), st.sampled_from([1, 2])),
)


@given(GRAPHS)
@settings(max_examples=20)
def test_every_real_edge_stands_once_in_the_row(graph: Graph) -> None:
    index = EdgeBlocks(graph).index
    assert np.array_equal(np.sort(index), np.flatnonzero(graph.real))


@given(GRAPHS, st.integers(0, 10_000), st.floats(0.02, 0.9))
@settings(max_examples=60)
def test_heads_and_edges_are_in_the_pruned_circuit_of_every_threshold_up_to_their_entry(
    graph: Graph, seed: int, share: float
) -> None:
    scores = np.random.default_rng(seed).random(graph.real.shape) * graph.real
    threshold = float(np.quantile(scores[graph.real], 1 - share))
    pruned = prune(graph, above_threshold(graph, scores, threshold))
    blocks = EdgeBlocks(graph)
    row = scores.reshape(1, -1)[:, blocks.index]
    paths = bottleneck_paths(blocks, row)
    assert np.array_equal(paths.entry_scores[0] >= threshold, graph.head_grid(pruned.any(axis=1)))
    inside = np.minimum(row, paths.end_widths(np.arange(len(blocks.index))))[0] >= threshold
    assert np.array_equal(inside, pruned.ravel()[blocks.index])


def test_entry_is_the_weakest_edge_of_the_best_path() -> None:
    graph = Graph(2, 1)
    scores = np.zeros(graph.real.shape)
    head0, head1 = graph.head_source(0), graph.head_source(1)
    scores[0, graph.port(0, "v")] = 5.0
    scores[head0, graph.port(1, "k")] = 3.0  # input -5-> L0H0 -3-> L1H0 -4-> logits
    scores[head1, -1] = 4.0
    scores[head0, -1] = 1.0  # the direct way out of L0H0 is weaker than the way through L1H0
    blocks = EdgeBlocks(graph)
    entry = bottleneck_paths(blocks, scores.reshape(1, -1)[:, blocks.index]).entry_scores
    assert entry.tolist() == [[[3.0], [3.0]]]


def test_rows_do_not_touch_one_another() -> None:
    graph = Graph(3, 2)
    blocks = EdgeBlocks(graph)
    rows = np.random.default_rng(1).random((5, len(blocks.index)))
    together = bottleneck_paths(blocks, rows).entry_scores
    assert np.array_equal(together, np.concatenate([bottleneck_paths(blocks, row[None]).entry_scores for row in rows]))


def test_edges_are_named_as_the_graph_names_them() -> None:
    blocks = EdgeBlocks(Graph(2, 2))
    names = blocks.names(np.arange(len(blocks.index)))
    assert len(set(names)) == int(blocks.graph.real.sum())
    assert {"input->a0.h1<v>", "a0.h1->m0", "m1->logits"} <= set(names)
