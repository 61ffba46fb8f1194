"""Circuits: heads in play, our own files and EAP-IG's."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from headscope import __version__
from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.results.circuit import Circuit
from headscope.results.faithfulness import Faithfulness
from headscope.results.graph import Graph

GRAPH = Graph(2, 3)


def circuit() -> Circuit:
    edges = np.zeros(GRAPH.real.shape, dtype=bool)
    edges[0, GRAPH.port(1, "v", 2)] = edges[GRAPH.head_source(1, 2), -1] = True
    return Circuit(GRAPH, edges, {"rule": "n", "size": 2})


def test_heads_are_those_that_write_into_the_circuit() -> None:
    assert circuit().heads == HeadSet.of(["L1H2"])
    assert len(circuit()) == 2


def test_files_are_the_identity(tmp_path: Path) -> None:
    circuit().save(tmp_path)
    loaded = Circuit.load(tmp_path)
    assert np.array_equal(loaded.edges, circuit().edges)
    assert (loaded.graph, loaded.settings) == (GRAPH, circuit().settings)


def test_eap_json_holds_every_edge_and_comes_back(tmp_path: Path) -> None:
    scores = np.arange(GRAPH.real.size, dtype=np.float32).reshape(GRAPH.real.shape)
    circuit().to_eap_json(tmp_path / "graph.json", scores)
    data = json.loads((tmp_path / "graph.json").read_text())
    # The four that EAP-IG's Graph.from_json needs; it sizes neuron masks by d_model, and there are none.
    assert data["cfg"] == {"n_layers": 2, "n_heads": 3, "parallel_attn_mlp": False, "d_model": 0}
    assert set(data["nodes"]) == {*GRAPH.sources, "logits"}
    assert len(data["edges"]) == GRAPH.real.sum()
    assert data["edges"]["a1.h2->logits"] == {
        "score": float(scores[GRAPH.head_source(1, 2), -1]),
        "in_graph": True,
    }
    assert data["nodes"]["a1.h2"]["in_graph"]
    assert data["nodes"]["logits"]["in_graph"]
    assert not data["nodes"]["m0"]["in_graph"]
    assert np.array_equal(Circuit.from_eap_json(tmp_path / "graph.json").edges, circuit().edges)


def test_what_cannot_be_a_circuit_is_refused(tmp_path: Path) -> None:
    backwards = np.zeros(GRAPH.real.shape, dtype=bool)
    backwards[GRAPH.mlp_source(1), GRAPH.port(0, "q")] = True
    with pytest.raises(InputError, match=r"m1->a0\.h0<q> is not in the graph"):
        Circuit(GRAPH, backwards)
    with pytest.raises(InputError, match="shape"):
        Circuit(GRAPH, np.zeros((1, 1), dtype=bool))
    with pytest.raises(InputError, match="missing"):
        Circuit.load(tmp_path)
    with pytest.raises(InputError, match="missing"):
        Circuit.from_eap_json(tmp_path / "none.json")
    edge = {"a9.h0->logits": {"in_graph": True, "score": 1}}
    (tmp_path / "odd.json").write_text(json.dumps({"cfg": {"n_layers": 2, "n_heads": 3}, "nodes": {}, "edges": edge}))
    with pytest.raises(InputError, match=r"'a9\.h0->logits'"):
        Circuit.from_eap_json(tmp_path / "odd.json")


def random_circuit(graph: Graph, seed: int) -> Circuit:
    return Circuit(graph, np.random.default_rng(seed).random(graph.real.shape) < 0.3 * graph.real, {"seed": seed})


@settings(max_examples=15)
@given(
    graph=st.builds(Graph, st.integers(1, 3), st.just(4), st.booleans(), st.sampled_from([None, 1, 2])),
    seed=st.integers(0, 99),
)
def test_round_trips_are_the_identity(tmp_path_factory: pytest.TempPathFactory, graph: Graph, seed: int) -> None:
    folder, one = tmp_path_factory.mktemp("circuit"), random_circuit(graph, seed)
    one.save(folder)
    again = Circuit.load(folder)
    assert (again.graph, again.settings) == (graph, one.settings)
    assert np.array_equal(again.edges, one.edges)
    one.per_query().to_eap_json(folder / "eap.json")
    back = Circuit.from_eap_json(folder / "eap.json")
    assert back.graph == graph.per_query
    assert np.array_equal(back.edges, one.per_query().edges)
    assert back.heads == one.heads
    back.to_eap_json(folder / "twice.json")
    assert (folder / "twice.json").read_text() == (folder / "eap.json").read_text()


def test_a_grouped_circuit_is_unfolded_before_eap_ig_reads_it(tmp_path: Path) -> None:
    graph = Graph(1, 4, kv_heads=2)
    edges = np.zeros(graph.real.shape, dtype=bool)
    edges[0, graph.port(0, "k", 1)] = edges[graph.head_source(0, 3), -1] = True
    grouped = Circuit(graph, edges)
    with pytest.raises(InputError, match=r"export circuit\.per_query\(\)"):
        grouped.to_eap_json(tmp_path / "graph.json")
    grouped.per_query().to_eap_json(tmp_path / "graph.json")
    listed = json.loads((tmp_path / "graph.json").read_text())["edges"]
    kept = {name for name, edge in listed.items() if edge["in_graph"]}
    assert kept == {"input->a0.h2<k>", "input->a0.h3<k>", "a0.h3->logits"}


def test_a_file_says_what_made_it(tmp_path: Path) -> None:
    circuit().save(tmp_path)
    about = json.loads((tmp_path / "circuit.json").read_text())
    with safe_open(tmp_path / "circuit.safetensors", "numpy") as file:
        written = json.loads(file.metadata()["headscope"])
    assert written == {"content": "circuit", "schema_version": 1, "headscope": __version__}
    assert (about["schema_version"], about["headscope"]) == (1, __version__)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema_version": 2}, "schema_version 2, this headscope reads up to 1"),
        ({"schema_version": "new"}, "schema_version 'new'"),
        ({"graph": {"layers": 2}}, "describes its graph as"),
        ({"graph": {"layers": 2, "heads": 3, "mlps": 1}}, "describes its graph as"),
        ({"graph": {"layers": 2, "heads": 4}}, "circuit edges have shape"),
        ({"graph": {"layers": 2, "heads": 3, "kv_heads": 2}}, "found 2 key/value heads for 3"),
    ],
)
def test_foreign_and_newer_files_are_refused(tmp_path: Path, change: dict[str, object], sentence: str) -> None:
    circuit().save(tmp_path)
    about = json.loads((tmp_path / "circuit.json").read_text())
    (tmp_path / "circuit.json").write_text(json.dumps(about | change))
    with pytest.raises(InputError, match=sentence):
        Circuit.load(tmp_path)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    circuit().save(tmp_path)
    text, path = (tmp_path / "circuit.json").read_text(), tmp_path / "circuit.json"
    for damaged, sentence in (
        (text[:-5], "not whole JSON"),
        ("[]", "holds a list"),
        ('{"schema_version": 1}', "lacks graph"),
    ):
        path.write_text(damaged)
        with pytest.raises(InputError, match=sentence):
            Circuit.load(tmp_path)
    path.write_text(text)
    arrays = tmp_path / "circuit.safetensors"
    arrays.write_bytes(arrays.read_bytes()[:-1])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        Circuit.load(tmp_path)
    save_file({"scores": np.zeros(3)}, arrays)
    with pytest.raises(InputError, match="lacks edges"):
        Circuit.load(tmp_path)


CFG = {"n_layers": 1, "n_heads": 1}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"cfg": CFG, "nodes": {}}, "lacks edges"),
        ({"cfg": {"n_layers": 1}, "nodes": {}, "edges": {}}, "cfg of .* lacks n_heads"),
        ({"cfg": {"n_layers": 1, "n_heads": "two"}, "nodes": {}, "edges": {}}, "describes its graph"),
        ({"cfg": CFG, "nodes": {}, "edges": {"m0->a0.h0<q>": {"in_graph": True}}}, "'m0->a0.h0<q>' .* is not in"),
        ({"cfg": CFG, "nodes": {}, "edges": {"input->m0": {"score": 1.0}}}, "edge input->m0 of .* lacks in_graph"),
        ({"cfg": CFG, "nodes": {}, "edges": {"input->m0": {"score": "x", "in_graph": True}}}, "has the score 'x'"),
        ({"cfg": CFG, "nodes": {}, "edges": []}, "edges in .* is a list"),
        ({"cfg": CFG, "nodes": {"m0": {"in_graph": True, "neurons": [True, False]}}, "edges": {}}, "single neurons"),
    ],
)
def test_eap_graphs_that_cannot_be_read(tmp_path: Path, content: dict[str, object], sentence: str) -> None:
    (tmp_path / "graph.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=sentence):
        Circuit.from_eap_json(tmp_path / "graph.json")


def test_a_pickled_graph_is_never_read(tmp_path: Path) -> None:
    (tmp_path / "graph.pt").write_bytes(b"PK\x03\x04\x80\x02}q\x00")
    with pytest.raises(InputError, match="not whole JSON"):
        Circuit.from_eap_json(tmp_path / "graph.pt")


def test_what_older_eap_ig_wrote_is_read(tmp_path: Path) -> None:
    """Nodes as plain booleans, more keys in cfg, only some edges, no scores."""
    content = {
        "cfg": {**CFG, "d_model": 64, "model_name": "x"},
        "nodes": {"input": True, "m0": False},
        "edges": {"input->logits": {"score": None, "in_graph": True}},
    }
    (tmp_path / "graph.json").write_text(json.dumps(content))
    found = Circuit.from_eap_json(tmp_path / "graph.json")
    assert (len(found), found.settings["d_model"]) == (1, 64)
    found.to_eap_json(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text())["cfg"]["d_model"] == 64


def test_normalised_faithfulness_by_hand() -> None:
    full, empty, kept = (np.array(values, dtype=np.float32) for values in ([0, 0], [2, 4], [1, 0.5]))
    assert Faithfulness(full, empty, kept, 3).normalised == pytest.approx(0.75)
    assert np.isnan(Faithfulness(full, full, kept, 3).normalised)
