import re
from html.parser import HTMLParser

import numpy as np
import pytest

from headscope.circuits import attribute, exact_heads, faithfulness_curve, select
from headscope.display import head_map
from headscope.results.circuit import Circuit
from headscope.results.edges import EdgeScores
from headscope.results.graph import Graph


@pytest.fixture(scope="module")
def shown(tiny_model, ragged_pairs):
    model, pairs = tiny_model("qwen2"), ragged_pairs(seed=0, count=3)
    scores = attribute(model, pairs, nodes=2)
    results = (
        scores,
        select(scores, fraction=0.2),
        exact_heads(model, pairs),
        faithfulness_curve(model, pairs, scores),
        pairs,
    )
    return {type(each).__name__: each for each in results}


@pytest.mark.parametrize("name", ["EdgeScores", "Circuit", "HeadScores", "FaithfulnessCurve", "Pairs"])
def test_a_result_is_one_short_line_with_its_sizes(shown, name):
    line = repr(shown[name])
    assert line.startswith(f"{name}: ")
    assert "\n" not in line
    assert len(line) < 400


def test_edge_scores_say_what_they_were_made_of_and_which_heads_lead(shown):
    scores = shown["EdgeScores"]
    leading = np.unravel_index(scores.pair_heads.mean(axis=0).argmax(), scores.pair_heads.shape[1:])
    assert "3 pairs; eap-ig, kl; 2 gauss nodes" in repr(scores)
    assert f"most in L{leading[0]}H{leading[1]} " in repr(scores)
    assert [scores.head_importance[head] for head in scores.top_heads(3)] == sorted(
        scores.head_importance.ravel(), reverse=True
    )[:3]


def test_scores_without_pairs_rank_heads_by_their_edges():
    graph = Graph(2, 2)
    edges = np.where(graph.real, 0, 0).astype(np.float32)
    edges[graph.head_source(1, 1), -1] = -2
    scores = EdgeScores(graph, edges, np.abs(edges), np.zeros((0, 2, 2), np.float32), None, np.nan, 0.0)
    assert scores.top_heads(1) == [(1, 1)]
    assert "residual" not in repr(scores)


@pytest.mark.parametrize("name", ["EdgeScores", "Circuit", "HeadScores"])
def test_a_notebook_shows_the_line_and_a_map_without_scripts(shown, name):
    page = shown[name]._repr_html_()
    HTMLParser().feed(page)
    assert "script" not in page
    assert page.startswith(f"<div><code>{name}: ")


def test_the_map_has_one_square_per_head_and_hostile_names_are_text():
    page = head_map("<img onerror=1>", np.array([[1.0, -1.0, 0.0], [np.nan, 0.5, 0.5]]))
    assert "<img" not in page
    assert len(re.findall("M", page)) == 6
    assert '<path fill="#005ca0" d="M30 12h' in page  # the largest: layer 0 is the lower row
    assert len(head_map("", np.random.default_rng(0).normal(size=(36, 32)))) < 50_000


def test_an_empty_circuit_says_so():
    graph = Graph(1, 2)
    assert repr(Circuit(graph, np.zeros_like(graph.real))).endswith("0 heads: none")
