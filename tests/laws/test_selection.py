"""Laws any selection and pruning obeys, on random scores of small graphs, grouped or not."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from headscope.circuits import select
from headscope.measures.selection import above_threshold, top_mass, top_n
from headscope.results.edges import EdgeScores
from headscope.results.graph import PORTS, Graph
from headscope.results.pruning import prune

GRAPHS = st.builds(Graph, st.integers(1, 3), st.just(4), st.booleans(), st.sampled_from([None, 1, 2]))
SEEDS = st.integers(0, 10**6)
SOME = settings(max_examples=25)
SIZES = st.one_of(
    st.fixed_dictionaries({"n": st.integers(1, 13)}),
    st.fixed_dictionaries({"greedy": st.integers(1, 13)}),
    st.fixed_dictionaries({"fraction": st.floats(0.01, 1)}),
    st.fixed_dictionaries({"mass": st.floats(0.01, 1)}),
    st.fixed_dictionaries({"threshold": st.floats(0, 3)}),
)


def scores_of(graph: Graph, seed: int, *, steps: float = 0.0) -> np.ndarray:
    """Random scores; with ``steps`` rounded to its multiples, so that many are equal."""
    scores = np.random.default_rng(seed).normal(size=graph.real.shape)
    return ((np.round(scores / steps) * steps if steps else scores) * graph.real).astype(np.float32)


def as_result(graph: Graph, scores: np.ndarray) -> EdgeScores:
    nobody = np.zeros((0, graph.layers, graph.heads), dtype=np.float32)
    return EdgeScores(graph, scores, np.abs(scores), nobody, None, 0.0, 0.0)


@SOME
@given(graph=GRAPHS, seed=SEEDS, size=SIZES)
def test_a_circuit_of_a_circuits_own_edges_is_itself(graph: Graph, seed: int, size: dict[str, Any]) -> None:
    circuit = select(as_result(graph, scores_of(graph, seed)), **size)
    assert np.array_equal(prune(graph, circuit.edges), circuit.edges)
    if len(circuit):
        only = as_result(graph, np.where(circuit.edges, scores_of(graph, seed), np.float32(0)))
        assert np.array_equal(select(only, n=len(circuit)).edges, circuit.edges)


@SOME
@given(
    graph=GRAPHS, seed=SEEDS, sizes=st.tuples(st.integers(1, 13), st.integers(1, 13)), steps=st.sampled_from([0, 0.5])
)
def test_a_larger_size_holds_the_smaller_one(graph: Graph, seed: int, sizes: tuple[int, int], steps: float) -> None:
    scores = scores_of(graph, seed, steps=steps)
    few, many = (top_n(graph, scores, n) for n in sorted(sizes))
    assert not (few & ~many).any()
    assert not (prune(graph, few) & ~prune(graph, many)).any()
    light, heavy = (top_mass(graph, scores, n / 13) for n in sorted(sizes))
    assert not (light & ~heavy).any()


@SOME
@given(graph=GRAPHS, seed=SEEDS, thresholds=st.tuples(st.floats(0, 3), st.floats(0, 3)))
def test_a_lower_threshold_holds_the_higher_one(graph: Graph, seed: int, thresholds: tuple[float, float]) -> None:
    high, low = (
        prune(graph, above_threshold(graph, scores_of(graph, seed), least))
        for least in sorted(thresholds, reverse=True)
    )
    assert not (high & ~low).any()


@SOME
@given(graph=GRAPHS, seed=SEEDS, size=SIZES, data=st.data())
def test_permuting_a_layers_heads_permutes_the_circuit(
    graph: Graph, seed: int, size: dict[str, Any], data: st.DataObject
) -> None:
    """Key/value heads move with all their query heads; within a group the query heads move as they like."""
    groups = graph.readers("k")
    width = graph.heads // groups
    group_order = data.draw(st.permutations(range(groups)))
    order = [group * width + inner for group in group_order for inner in data.draw(st.permutations(range(width)))]
    layer = data.draw(st.integers(0, graph.layers - 1))
    rows, columns = np.arange(len(graph.sources)), np.arange(len(graph.destinations))
    rows[graph.head_source(layer) : graph.mlp_source(layer)] = graph.head_source(layer) + np.array(order)
    for port in PORTS:
        moved = order if graph.readers(port) == graph.heads else group_order
        start = graph.port(layer, port)
        columns[start : start + len(moved)] = start + np.array(moved)
    scores = scores_of(graph, seed)
    before = select(as_result(graph, scores), **size)
    after = select(as_result(graph, scores[rows][:, columns]), **size)
    assert np.array_equal(after.edges, before.edges[rows][:, columns])
    assert len(after.heads) == len(before.heads)


@SOME
@given(graph=GRAPHS, seed=SEEDS, size=SIZES, scale=st.sampled_from([-4.0, 0.5, -1.0]))
def test_scale_and_sign_play_no_part(graph: Graph, seed: int, size: dict[str, Any], scale: float) -> None:
    scores = scores_of(graph, seed)
    scaled = {"threshold": size["threshold"] * abs(scale)} if "threshold" in size else size
    after = select(as_result(graph, (scores * scale).astype(np.float32)), **scaled)
    assert np.array_equal(after.edges, select(as_result(graph, scores), **size).edges)


@SOME
@given(graph=GRAPHS, seed=SEEDS, n=st.integers(1, 13))
def test_unfolding_a_circuit_keeps_its_heads(graph: Graph, seed: int, n: int) -> None:
    circuit = select(as_result(graph, scores_of(graph, seed)), n=n)
    unfolded = circuit.per_query()
    assert unfolded.heads == circuit.heads
    assert np.array_equal(graph.fold(unfolded.edges.astype(np.float32)) > 0, circuit.edges)
    # Only copies into query heads that lead nowhere are loose.
    loose = unfolded.edges & ~prune(unfolded.graph, unfolded.edges)
    leaving = np.append(unfolded.edges.any(axis=1), True)
    assert not leaving[unfolded.graph.owner[np.flatnonzero(loose.any(axis=0))]].any()
