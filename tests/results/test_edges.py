"""Edge scores: shapes, finiteness, and files that give back what they were given."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headscope.errors import InputError
from headscope.results.edges import EdgeScores
from headscope.results.graph import Graph

GRAPH = Graph(2, 3)


def scores(pairs: bool = True, **changes: np.ndarray) -> EdgeScores:
    draw = np.random.default_rng(0)
    per_pair = (draw.normal(size=(4, *GRAPH.real.shape)) * GRAPH.real).astype(np.float32)
    arrays = {"edges": per_pair.mean(0), "edges_abs": np.abs(per_pair).mean(0), **changes}
    return EdgeScores(
        GRAPH, arrays["edges"], arrays["edges_abs"], GRAPH.head_grid(np.abs(per_pair).sum(2)),
        per_pair if pairs else None, 0.25, 1.5, {"metric": "kl", "nodes": 8, "revision": None},
    )  # fmt: skip


@pytest.mark.parametrize("pairs", [True, False])
def test_save_and_load_are_the_identity(tmp_path: Path, pairs: bool) -> None:
    one = scores(pairs)
    one.save(tmp_path / "new" / "folder")
    other = EdgeScores.load(tmp_path / "new" / "folder")
    for name in ("edges", "edges_abs", "pair_heads", "pair_edges", "pair_net"):
        mine, read = getattr(one, name), getattr(other, name)
        assert (mine is None and read is None) or (np.array_equal(mine, read) and mine.dtype == read.dtype)
    assert (one.graph, one.residual, one.seconds, one.settings) == (
        other.graph,
        other.residual,
        other.seconds,
        other.settings,
    )


def test_names_are_the_graphs() -> None:
    assert scores().sources[:3] == ["input", "a0.h0", "a0.h1"]
    assert scores().destinations[-1] == "logits"


def test_scores_that_are_not_numbers_name_where_they_start() -> None:
    broken = np.zeros(GRAPH.real.shape, dtype=np.float32)
    broken[0, GRAPH.port(1, "k", 2)] = np.nan
    broken[0, -1] = np.inf
    with pytest.raises(InputError, match=r"first at the input of a1\.h2"):
        scores(edges=broken)


def test_what_is_missing_misshapen_or_newer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scores\.json is missing"):
        EdgeScores.load(tmp_path)
    scores().save(tmp_path)
    about = json.loads((tmp_path / "scores.json").read_text())
    (tmp_path / "scores.json").write_text(json.dumps({**about, "schema_version": 99}))
    with pytest.raises(InputError, match="99"):
        EdgeScores.load(tmp_path)
    small = np.zeros((2, 2), dtype=np.float32)
    with pytest.raises(InputError, match="shape"):
        scores(False, edges=small, edges_abs=small)


@settings(max_examples=15)
@given(
    graph=st.builds(Graph, st.integers(1, 2), st.just(4), st.booleans(), st.sampled_from([None, 2])),
    pairs=st.integers(0, 3),
    seed=st.integers(0, 99),
    residual=st.floats(0, 10) | st.just(math.nan),
)
def test_round_trips_are_the_identity(
    tmp_path_factory: pytest.TempPathFactory, graph: Graph, pairs: int, seed: int, residual: float
) -> None:
    draw = np.random.default_rng(seed)
    edges = (draw.standard_cauchy(graph.real.shape) * graph.real).astype(np.float32)
    heads = draw.random((pairs, graph.layers, graph.heads)).astype(np.float32)
    one = EdgeScores(graph, edges, np.abs(edges), heads, None, residual, 0.5, {"revision": "abc"})
    folder = tmp_path_factory.mktemp("scores")
    one.save(folder)
    json.loads((folder / "scores.json").read_text(), parse_constant=pytest.fail)  # NaN is no JSON
    again = EdgeScores.load(folder)
    assert (again.graph, again.settings) == (graph, one.settings)
    np.testing.assert_equal(again.residual, residual)
    assert np.array_equal(again.edges, edges)
    assert np.array_equal(again.pair_heads, heads)
    if graph.kv_heads is None:
        one.to_eap_json(folder / "eap.json")
        back = EdgeScores.from_eap_json(folder / "eap.json")
        assert back.graph == graph
        assert np.array_equal(back.edges, edges)
        assert np.array_equal(back.edges_abs, np.abs(edges))
        assert back.pair_heads.shape == (0, graph.layers, graph.heads)
    else:
        with pytest.raises(InputError, match="kv='query'"):
            one.to_eap_json(folder / "eap.json")


def test_eap_ig_files_without_all_scores_are_circuits_only(tmp_path: Path) -> None:
    scores(False).to_eap_json(tmp_path / "graph.json")
    data = json.loads((tmp_path / "graph.json").read_text())
    assert not any(edge["in_graph"] for edge in data["edges"].values())
    data["edges"]["input->m0"]["score"] = None
    (tmp_path / "graph.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=rf"no score for 1 of {GRAPH.real.sum()} edges, first input->m0"):
        EdgeScores.from_eap_json(tmp_path / "graph.json")


def test_grouping_sums_copies_pair_by_pair_before_the_absolute_value() -> None:
    graph = Graph(1, 2)
    per_pair = np.zeros((2, *graph.real.shape), dtype=np.float32)
    first, second = graph.port(0, "k", 0), graph.port(0, "k", 1)
    per_pair[0, 0, [first, second]] = 3, -2  # |3 - 2| = 1
    per_pair[1, 0, [first, second]] = -4, -1  # |-4 - 1| = 5
    one = EdgeScores(
        graph, per_pair.mean(0), np.abs(per_pair).mean(0), np.zeros((2, 1, 2), np.float32), per_pair, 0.0, 0.0
    )
    grouped = one.per_group(1)
    column = grouped.graph.port(0, "k")
    assert grouped.destinations[column] == "a0.kv0<k>"
    assert (grouped.edges[0, column], grouped.edges_abs[0, column]) == (-2, 3)
    assert grouped.pair_edges[:, 0, column].tolist() == [1, -5]
    assert grouped.settings["kv"] == "group"
    for refused in (grouped, dataclasses.replace(one, pair_edges=None)):
        with pytest.raises(InputError, match="keep_pairs=True"):
            refused.per_group(1)


def test_head_scores_of_another_graph_are_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"head scores have shape \(4, 1, 3\)"):
        dataclasses.replace(scores(), pair_heads=np.zeros((4, 1, 3), dtype=np.float32))


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    scores().save(tmp_path)
    about, arrays = (tmp_path / f"scores.{kind}" for kind in ("json", "safetensors"))
    whole = json.loads(about.read_text())
    for key in ("graph", "settings", "residual"):
        about.write_text(json.dumps({name: value for name, value in whole.items() if name != key}))
        with pytest.raises(InputError, match=f"lacks {key}"):
            EdgeScores.load(tmp_path)
    about.write_text(json.dumps(whole))
    arrays.write_bytes(arrays.read_bytes()[: arrays.stat().st_size // 2])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        EdgeScores.load(tmp_path)


def test_net_and_flow_by_hand() -> None:
    """Edges of both signs cancel in the net score and add up in the flow."""
    pair_edges = np.zeros((2, *GRAPH.real.shape), dtype=np.float32)
    source = GRAPH.head_source(0) + 1
    columns = np.flatnonzero(GRAPH.real[source])[:2]
    pair_edges[0, source, columns] = (3.0, -1.0)
    pair_edges[1, source, columns] = (-4.0, 1.0)
    mean = pair_edges.mean(axis=0)
    heads = GRAPH.head_grid(np.abs(pair_edges).sum(axis=2))
    one = EdgeScores(GRAPH, mean, np.abs(pair_edges).mean(axis=0), heads, pair_edges, 0.0, 0.0)
    assert one.pair_importance("net")[:, 0, 1].tolist() == [2, 3]
    assert one.pair_importance("flow")[:, 0, 1].tolist() == [4, 5]
    assert one.head_importance[0].tolist() == [0, 2.5, 0]
    # Without any pair there is only the mean over them, in which pairs cancel too.
    nobody = np.zeros((0, 2, 3), dtype=np.float32)
    assert EdgeScores(GRAPH, mean, np.abs(mean), nobody, None, 0.0, 0.0).head_importance[0, 1] == 0.5


def test_scores_of_before_have_a_flow_and_are_refused_a_net_score() -> None:
    old = scores(pairs=False)
    assert old.pair_importance("flow").shape == (4, 2, 3)
    with pytest.raises(InputError, match="made before heads had net scores, and kept no per-pair edges"):
        old.pair_importance()
    with pytest.raises(InputError, match="both are needed of the same pairs"):
        dataclasses.replace(old, pair_net=np.zeros((3, 2, 3), dtype=np.float32))
