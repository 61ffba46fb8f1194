"""Selection and pruning on graphs small enough to do by hand, and laws against plain loops."""

import json
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from headscope.errors import InputError
from headscope.measures.selection import above_threshold, greedy, top_fraction, top_mass, top_n
from headscope.results.graph import Graph
from headscope.results.pruning import prune

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "fixtures" / "eap_reference"
GRAPHS = st.builds(Graph, st.integers(1, 3), st.sampled_from([2, 4]), st.booleans(), st.sampled_from([None, 1, 2]))
GRAPH = Graph(1, 2)  # sources: input a0.h0 a0.h1 m0; destinations: 2q 2k 2v m0 logits


def edges(*names: str) -> np.ndarray:
    mask = np.zeros(GRAPH.real.shape, dtype=bool)
    for name in names:
        source, destination = name.split("->")
        mask[GRAPH.sources.index(source), GRAPH.destinations.index(destination)] = True
    return mask


def random_scores(seed: int, *batch: int, graph: Graph = GRAPH) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(*batch, *graph.real.shape)).astype(np.float32)


def test_sizes_by_hand() -> None:
    scores = np.zeros(GRAPH.real.shape, dtype=np.float32)
    scores[edges("input->logits")], scores[edges("a0.h0->m0")], scores[edges("input->m0")] = -5, 4, 1
    scores[~GRAPH.real] = 99
    assert np.array_equal(top_n(GRAPH, scores, 2), edges("input->logits", "a0.h0->m0"))
    assert np.array_equal(above_threshold(GRAPH, scores, 4.0), edges("input->logits", "a0.h0->m0"))
    assert np.array_equal(top_mass(GRAPH, scores, 0.5), edges("input->logits"))
    assert np.array_equal(top_mass(GRAPH, scores, 0.51), edges("input->logits", "a0.h0->m0"))
    assert top_fraction(GRAPH, scores, 0.001).sum() == 1
    assert top_fraction(GRAPH, scores, 1.0).sum() == GRAPH.real.sum() == 13


def test_prune_by_hand() -> None:
    chain = edges("input->a0.h0<k>", "a0.h0->m0", "m0->logits")
    assert np.array_equal(prune(GRAPH, chain), chain)
    assert not prune(GRAPH, edges("input->a0.h0<k>", "a0.h0->m0")).any()  # two rounds: m0 leads nowhere, then h0
    assert not prune(GRAPH, edges("a0.h1->m0", "m0->logits")).any()  # h1 is reached by nothing, then neither is m0
    direct = edges("input->logits")
    assert np.array_equal(prune(GRAPH, direct | edges("a0.h1->logits")), direct)


def test_greedy_grows_from_the_logits() -> None:
    scores = np.zeros(GRAPH.real.shape, dtype=np.float32)
    scores[edges("input->a0.h0<q>")], scores[edges("a0.h0->logits")], scores[edges("input->logits")] = 9, 1, 2
    assert np.array_equal(greedy(GRAPH, scores, 1), edges("input->logits"))
    assert np.array_equal(greedy(GRAPH, scores, 3), edges("input->logits", "a0.h0->logits", "input->a0.h0<q>"))


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 40))
def test_stacked_resamples_equal_one_by_one_and_pruning_is_a_fixed_point(seed: int, n: int) -> None:
    graph = Graph(2, 2)
    scores = random_scores(seed, 3, 2, graph=graph)
    selected = top_n(graph, scores, n)
    pruned = prune(graph, selected)
    assert (selected.sum((-1, -2)) == n).all()
    assert not (pruned & ~selected).any()
    assert np.array_equal(prune(graph, pruned), pruned)
    for index in np.ndindex(3, 2):
        assert np.array_equal(prune(graph, top_n(graph, scores[index], n)), pruned[index])
        magnitude = np.abs(scores[index])
        assert magnitude[selected[index]].min() >= magnitude[graph.real & ~selected[index]].max()
    for row in np.argwhere(pruned.any(-1)):
        *index, source = row
        if source:
            assert pruned[tuple(index)][:, graph.owner == source].any()


def plain_prune(graph: Graph, edges: np.ndarray) -> set[tuple[str, str]]:
    """By names alone: take out edges of a node that nothing enters or nothing leaves, until none is taken out."""
    remaining = {(graph.sources[row], graph.destinations[column]) for row, column in np.argwhere(edges)}
    size = 1 if graph.kv_heads is None else graph.heads // graph.kv_heads

    def readers(destination: str) -> set[str]:
        """The nodes a destination is an input of."""
        if ".kv" not in destination:
            return {destination.split("<")[0]}
        layer, _, group = destination.split("<")[0].partition(".kv")
        return {f"{layer}.h{int(group) * size + copy}" for copy in range(size)}

    while True:
        entered = {"input"} | {node for _, destination in remaining for node in readers(destination)}
        alive = entered & {source for source, _ in remaining} | {"logits"}
        rest = {edge for edge in remaining if edge[0] in alive and readers(edge[1]) & alive}
        if rest == remaining:
            return remaining
        remaining = rest


@settings(max_examples=60)
@given(graph=GRAPHS, seed=st.integers(0, 10**6), share=st.floats(0.02, 0.5))
def test_pruning_equals_brute_force(graph: Graph, seed: int, share: float) -> None:
    chosen = np.random.default_rng(seed).random(graph.real.shape) < share * graph.real
    pruned = prune(graph, chosen)
    assert {(graph.sources[r], graph.destinations[c]) for r, c in np.argwhere(pruned)} == plain_prune(graph, chosen)


@settings(max_examples=30)
@given(graph=GRAPHS, seed=st.integers(0, 10**6), n=st.integers(1, 60))
def test_greedy_equals_brute_force(graph: Graph, seed: int, n: int) -> None:
    """n times: of all edges into an input of a node reached, the strongest not taken yet."""
    scores = random_scores(seed, graph=graph)
    n = min(n, int(graph.real.sum()))
    selected, reached = np.zeros(graph.real.shape, dtype=bool), {len(graph.sources)}
    for _ in range(n):
        columns = np.isin(np.arange(len(graph.destinations)), graph.column[np.isin(graph.owner, list(reached))])
        magnitude = np.where(graph.real & columns & ~selected, np.abs(scores), -1)
        row, column = np.unravel_index(magnitude.argmax(), magnitude.shape)
        selected[row, column] = True
        reached.add(int(row))
    assert np.array_equal(greedy(graph, scores, n), selected)


@pytest.mark.parametrize("model", ["qwen2", "gpt2"])
def test_circuits_of_the_reference_scores_are_the_references(model: str) -> None:
    folder = REFERENCE / model
    if not folder.is_dir():
        pytest.skip(f"reference scores are not at {folder}")
    arrays = load_file(folder / "eap_reference.safetensors")
    graph = Graph(3, 6)
    assert np.array_equal(graph.real, arrays["real_edges"])
    for expected in json.loads((folder / "eap_reference.json").read_text())["circuits"]:
        circuit = prune(graph, top_n(graph, arrays["eap_ig_inputs_kl_m5"], expected["topn"]))
        assert np.array_equal(circuit, arrays[f"kl_m5_top{expected['topn']}_in_graph"])
        assert circuit.sum() == expected["edges_after_prune"]


def test_a_group_is_reached_while_one_of_its_query_heads_is() -> None:
    graph = Graph(1, 2, kv_heads=1)
    mask = np.zeros(graph.real.shape, dtype=bool)
    mask[0, graph.port(0, "k")] = mask[0, graph.port(0, "q", 0)] = mask[graph.head_source(0, 1), -1] = True
    pruned = prune(graph, mask)
    assert pruned[0, graph.port(0, "k")]  # head 1 reads it and goes on to the logits
    assert not pruned[0, graph.port(0, "q", 0)]  # head 0 goes nowhere
    mask[graph.head_source(0, 1), -1] = False
    assert not prune(graph, mask).any()


def test_among_equal_scores_the_first_edges_are_kept() -> None:
    scores = np.zeros(GRAPH.real.shape, dtype=np.float32)
    first = np.zeros(GRAPH.real.shape, dtype=bool)
    first[tuple(np.argwhere(GRAPH.real)[:5].T)] = True
    assert np.array_equal(top_n(GRAPH, scores, 5), first)


def test_the_paths_edges_survive_whatever_is_stacked() -> None:
    """A stack that is not contiguous is not written to."""
    stack = np.stack([edges("input->logits", "a0.h0->m0"), edges("input->m0", "m0->logits")], axis=-1)
    before = np.moveaxis(stack, -1, 0).copy()
    pruned = prune(GRAPH, np.moveaxis(stack, -1, 0))
    assert np.array_equal(np.moveaxis(stack, -1, 0), before)
    assert np.array_equal(pruned[0], edges("input->logits"))
    assert np.array_equal(pruned[1], before[1])


def test_resamples_of_a_large_graph_take_no_memory_beyond_their_masks() -> None:
    """Qwen2.5-1.5B's 183,555 edges: 200 resamples would need 300 MB more for every copy of their scores."""
    graph = Graph(28, 12)
    scores = random_scores(0, 4, graph=graph)
    tracemalloc.start()
    selected = prune(graph, top_fraction(graph, scores, 0.01))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * selected.nbytes + 6e6  # the masks, once selected and once pruned, and one matrix's edges


def test_two_hundred_resamples_of_the_lab_graph_take_well_under_a_second() -> None:
    graph = Graph(6, 8)
    scores = random_scores(0, 200, graph=graph)
    started = time.process_time()
    assert prune(graph, top_fraction(graph, scores, 0.01)).shape == scores.shape
    assert time.process_time() - started < 1


def test_sizes_out_of_range_name_the_range() -> None:
    scores = random_scores(0)
    with pytest.raises(InputError, match="n=14; a graph of 1 layers x 2 heads allows 1-13 edges"):
        top_n(GRAPH, scores, 14)
    with pytest.raises(InputError, match="allows 1-13"):
        greedy(GRAPH, scores, 0)
    with pytest.raises(InputError, match="fraction=0"):
        top_fraction(GRAPH, scores, 0.0)
    with pytest.raises(InputError, match="mass=2"):
        top_mass(GRAPH, scores, 2.0)
    for threshold in (-0.1, float("nan")):
        with pytest.raises(InputError, match=f"threshold={threshold}"):
            above_threshold(GRAPH, scores, threshold)
