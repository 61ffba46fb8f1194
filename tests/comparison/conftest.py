"""Edge scores whose circuits can be read off: a head is in the circuit of the pairs that list it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from headscope.heads import HeadId
from headscope.results.edges import EdgeScores
from headscope.results.emergence import Counts, Emergence, HeadEstimates
from headscope.results.estimate import Estimate
from headscope.results.graph import Graph


def _scores(graph: Graph, pair_edges: np.ndarray, /, **settings: Any) -> EdgeScores:
    magnitude = np.abs(pair_edges)
    return EdgeScores(
        graph=graph,
        edges=pair_edges.mean(axis=0),
        edges_abs=magnitude.mean(axis=0),
        pair_heads=graph.head_grid(magnitude.sum(axis=2)),
        pair_edges=pair_edges,
        residual=0.0,
        seconds=0.0,
        settings=settings,
    )


@pytest.fixture
def scores_of() -> Callable[..., EdgeScores]:
    """(graph, pair_edges [pair, F, B], **settings) → EdgeScores with consistent means."""
    return _scores


@pytest.fixture
def routed_scores() -> Callable[..., EdgeScores]:
    """(graph, [names per pair], **settings) → scores with a path input → head → logits of size 1 per name."""

    def build(graph: Graph, pairs: Sequence[Sequence[str]], /, **settings: Any) -> EdgeScores:
        pair_edges = np.zeros((len(pairs), *graph.real.shape), dtype=np.float32)
        for edges, names in zip(pair_edges, pairs, strict=True):
            for name in names:
                layer, head = HeadId.parse(name)
                edges[0, graph.port(layer, "q", head)] = -1.0
                edges[graph.head_source(layer, head), -1] = 1.0
        return _scores(graph, pair_edges, **settings)

    return build


@pytest.fixture
def noisy() -> Callable[..., EdgeScores]:
    """(graph, population seed, sample seed, pairs) → a sample of pairs from a population of edge sizes."""

    def build(graph: Graph, population: int, sample: int, pairs: int = 32) -> EdgeScores:
        sizes = np.random.default_rng(population).lognormal(sigma=0.8, size=graph.real.shape)
        sizes[0] *= 4
        sizes[:, -1] *= 4
        noise = np.random.default_rng(sample).lognormal(sigma=0.8, size=(pairs, *graph.real.shape))
        return _scores(graph, (sizes * noise * graph.real).astype(np.float32))

    return build


@pytest.fixture
def result() -> Callable[..., Emergence]:
    """(base, post) inclusion frequencies [layer, head] → an Emergence that holds them."""

    def build(base: np.ndarray, post: np.ndarray) -> Emergence:
        nothing = Estimate(0.0, 0.0, 1.0, 8, "test", 0)
        counts = Counts(nothing, nothing, nothing, nothing)
        change = HeadEstimates(post - base, post - base - 0.25, post - base + 0.25)
        return Emergence(
            base_frequency=np.asarray(base, dtype=np.float64),
            post_frequency=np.asarray(post, dtype=np.float64),
            counts=counts,
            null=counts,
            excess=counts,
            importance_change=change,
            pairs=8,
            null_pairs=4,
            null_source="halves",
            fraction=0.1,
            resamples=10,
            seed=0,
        )

    return build
