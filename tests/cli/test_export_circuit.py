"""``headscope export --circuit``: a run's circuit, read back by the programs it is written for."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pydot
import pytest
from jsonschema import Draft7Validator
from tests.report.runs import RunWriter, add_comparison, emergence, faithfulness

from headscope.cli.main import main
from headscope.results.circuit import Circuit
from headscope.results.edges import EdgeScores
from headscope.results.graph import Graph
from headscope.results.not_run import NotRun

GRAPH = Graph(2, 2)
SHARED = {"input->a0.h0<q>": 0.5, "a0.h0->a1.h1<v>": -0.4, "a1.h1->logits": 0.3}
BORN = {"input->a0.h1<k>": 0.25, "a0.h1->m1": 1e-7, "m1->logits": -0.2}
LOST = {"input->m0": 0.35, "m0->a1.h1<q>": 0.15}
FRACTION = 8 / int(GRAPH.real.sum())


def scores(edges: dict[str, float], graph: Graph = GRAPH, **settings: Any) -> EdgeScores:
    values = np.zeros(graph.real.shape, dtype=np.float32)
    for name, score in edges.items():
        source, _, destination = name.partition("->")
        values[graph.sources.index(source), graph.destinations.index(destination)] = score
    heads = np.zeros((3, graph.layers, graph.heads), dtype=np.float32)
    made = {"method": "eap-ig", "metric": "kl", "model": 'the "post" \\ model', "d_model": 16} | settings
    return EdgeScores(graph, values, np.abs(values), heads, None, 0.01, math.nan, made)


def write_run(path: Path, graph: Graph = GRAPH, base: dict[str, float] = SHARED | LOST) -> Path:
    """A variant with checkpoints 10 and 20; the last has the edges of ``SHARED`` and ``BORN``."""
    run = RunWriter(path, variants=("sft",))
    run.study["discover"] = {"fraction": FRACTION}
    labels = {"variant": "sft", "pairs": "main"}
    run.save(scores(base, graph), model="base", step=0, **labels)
    run.save(scores(SHARED, graph), model="sft", step=10, **labels)
    run.save(scores(SHARED | BORN, graph), model="sft", step=20, **labels)
    run.save(scores(LOST, graph), model="base", step=0, variant="sft", pairs="fresh")
    run.close()
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


def export(run: Path, form: str, *more: str, variant: str = "sft", name: str = "out") -> Path:
    out = run.parent / name
    assert main(["export", "--circuit", str(run), "--variant", variant, "--as", form, "--out", str(out), *more]) == 0
    return out


def port_of(name: str) -> tuple[str, str, str | None]:
    source, _, destination = name.partition("->")
    reader, _, port = destination.partition("<")
    return source, reader, port.rstrip(">") or None


EXPECTED = {
    port_of(name): (status, (SHARED | BORN).get(name, 0.0))
    for status, edges in (("kept", SHARED), ("born", BORN), ("lost", LOST))
    for name in edges
}


def test_graphml_is_read_by_networkx(run: Path) -> None:
    graph = nx.read_graphml(export(run, "graphml"), force_multigraph=True)
    assert graph.is_directed()
    read = {
        (source, end, edge.get("port")): (edge["status"], pytest.approx(edge["score"], rel=1e-6))
        for source, end, edge in graph.edges(data=True)
    }
    assert read == EXPECTED
    assert {edge["sign"] for *_, edge in graph.edges(data=True) if edge["score"] < 0} == {"-"}
    assert graph.nodes["a1.h1"] == {"label": "L1H1", "kind": "head", "layer": 1, "head": 1, "status": "kept"}
    assert graph.nodes["m0"]["status"] == "lost"
    assert graph.nodes["a0.h1"]["status"] == "born"
    assert graph.graph["metric"] == "kl"
    assert graph.graph["fraction"] == pytest.approx(FRACTION)
    lost = next(edge for _, end, edge in graph.edges(data=True) if end == "m0")
    assert (lost["score"], lost["base_score"]) == (0, pytest.approx(0.35))


def test_dot_is_read_by_its_grammar(run: Path) -> None:
    (graph,) = pydot.graph_from_dot_file(str(export(run, "dot")))
    read = {}
    for edge in graph.get_edges():
        facts = {name: value.strip('"') for name, value in edge.get_attributes().items()}
        ends = edge.get_source().strip('"'), edge.get_destination().strip('"'), facts.get("port")
        read[ends] = (facts["status"], pytest.approx(float(facts["score"]), rel=1e-6))
        assert facts["sign"] == ("-" if float(facts["score"]) < 0 else "+" if float(facts["score"]) > 0 else "0")
    assert read == EXPECTED
    head = graph.get_node('"a1.h1"')[0].get_attributes()
    assert (head["label"], head["layer"], head["head"]) == ('"L1H1"', '"1"', '"1"')


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run", variants=("sft",), name='x"]; evil [label="</graphml>&\x1b[31m')
    run.study["discover"] = {"fraction": FRACTION}
    run.save(scores(SHARED), model="sft", step=1, variant="sft", pairs="main")
    path = run.close().path
    assert len(nx.read_graphml(export(path, "graphml")).nodes) == 4
    (graph,) = pydot.graph_from_dot_file(str(export(path, "dot")))
    assert "evil" not in {node.get_name() for node in graph.get_nodes()}
    assert "\x1b" not in (tmp_path / "out").read_text()


# What the site's graph-schema.json (1.0.0) asks for.
TEXT, TEXTS = {"type": "string"}, {"type": "array", "items": {"type": "string"}}
NODE = {
    "node_id": TEXT,
    "layer": {"type": ["string", "integer"]},
    "jsNodeId": TEXT,
    "clerp": TEXT,
    "feature_type": TEXT,
}
NODE |= {"feature": {"type": ["integer", "null"]}, "ctx_idx": {"type": "integer"}}
LINK = {"source": TEXT, "target": TEXT, "weight": {"type": "number"}}
METADATA = {"slug": TEXT, "scan": TEXT, "prompt_tokens": TEXTS, "prompt": TEXT}


def an_object(keys: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": keys, "required": list(keys)}


NEURONPEDIA = an_object(
    {
        "metadata": an_object(METADATA),
        "qParams": {"type": "object"},
        "nodes": {"type": "array", "items": an_object(NODE)},
        "links": {"type": "array", "items": an_object(LINK)},
    }
)


def test_neuronpedia_has_what_its_schema_asks_for(run: Path) -> None:
    graph = json.loads(export(run, "neuronpedia").read_text())
    assert list(Draft7Validator(NEURONPEDIA).iter_errors(graph)) == []
    nodes = {node["node_id"]: node for node in graph["nodes"]}
    assert len(nodes) == len(graph["nodes"]) == len({node["jsNodeId"] for node in graph["nodes"]})
    assert {node["feature_type"] for node in nodes.values()} == {"embedding", "attention head", "mlp", "logit"}
    assert {node["ctx_idx"] for node in nodes.values()} == {0}
    assert (nodes["1_1_0"]["clerp"], nodes["1_2_0"]["clerp"]) == ("L1H1", "MLP 1")
    assert nodes["3_0_0"] | {"feature_type": "logit", "clerp": "", "layer": "3"} == nodes["3_0_0"]
    weights = {(link["source"], link["target"]): link["weight"] for link in graph["links"]}
    assert weights["0_0_0", "1_1_0"] == pytest.approx(-0.4)
    assert {end for link in graph["links"] for end in (link["source"], link["target"])} <= set(nodes)
    assert "0_2_0" not in nodes  # the base's MLP is lost
    assert len(graph["links"]) == len(SHARED | BORN)


def test_ports_of_a_link_are_added(tmp_path: Path) -> None:
    both = {"input->a0.h0<q>": 0.5, "input->a0.h0<k>": -0.2, "a0.h0->logits": 0.4}
    run = RunWriter(tmp_path / "run", variants=("sft",))
    run.save(scores(both), model="sft", step=1, variant="sft", pairs="main")
    graph = json.loads(export(run.close().path, "neuronpedia", "--fraction", "0.5").read_text())
    link = next(link for link in graph["links"] if link["source"] == "E_0_0")
    assert link["weight"] == pytest.approx(0.3)
    assert {port: value["score"] for port, value in link["ports"].items()} == pytest.approx({"q": 0.5, "k": -0.2})


def test_eap_json_is_read_back_with_its_scores(run: Path) -> None:
    path = export(run, "eap-json")
    circuit, read = Circuit.from_eap_json(path), EdgeScores.from_eap_json(path)
    made = scores(SHARED | BORN)
    assert np.array_equal(circuit.edges, made.edges != 0)
    assert np.array_equal(read.edges, made.edges)
    assert circuit.settings["d_model"] == 16


def test_keys_and_values_of_a_group_are_written_per_query_head(tmp_path: Path) -> None:
    grouped = Graph(2, 2, kv_heads=1)
    edges = {"input->a0.kv0<v>": 0.5, "a0.h0->logits": 0.4, "a0.h1->logits": 0.3}
    run = RunWriter(tmp_path / "run", variants=("sft",))
    run.save(scores(edges, grouped), model="sft", step=1, variant="sft", pairs="main")
    path = export(run.close().path, "graphml", "--fraction", "0.2")
    read = {(source, end) for source, end, _ in nx.read_graphml(path, force_multigraph=True).edges}
    assert {("input", "a0.h0"), ("input", "a0.h1")} <= read
    assert Circuit.from_eap_json(export(tmp_path / "run", "eap-json", "--fraction", "0.2")).graph.kv_heads is None


def test_the_size_is_that_of_the_head_counts_and_says_its_faithfulness(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run", variants=("sft",))
    add_comparison(run, "sft", [emergence(np.eye(2), np.eye(2), fraction=0.1)] * 6)
    labels = {"variant": "sft", "pairs": "main", "model": "sft", "step": 20}
    run.save(scores(SHARED | BORN), **labels)
    run.save(faithfulness(0.9), **labels)
    facts = nx.read_graphml(export(run.close().path, "graphml")).graph
    assert facts["fraction"] == pytest.approx(0.1)
    assert facts["faithfulness"] == pytest.approx(0.9)


def test_checkpoints_sizes_and_the_base_can_be_asked_for(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(nx.read_graphml(export(run, "graphml", "--step", "10")).edges) == len(SHARED | LOST)
    base = nx.read_graphml(export(run, "graphml", "--step", "0"))
    assert len(base.edges) == len(SHARED | LOST)
    assert "status" not in base.nodes["logits"]
    capsys.readouterr()
    export(run, "dot", "--json")
    printed = json.loads(capsys.readouterr().out)
    assert {name: printed[name] for name in ("edges", "kept", "born", "lost")} == {
        "edges": 6,
        "kept": 3,
        "born": 3,
        "lost": 2,
    }
    export(run, "dot")
    assert capsys.readouterr().out.splitlines()[:3] == [
        "lab: circuit of sft at step 20: 6 of the graph's 46 edges (13.04%), 3 of 4 heads",
        "next to the 5 edges of the base's: 3 kept, 3 born, 2 lost",
        "faithfulness of the 17.39% strongest edges: not measured",
    ]
    export(run, "eap-json")
    assert "of the base's" not in capsys.readouterr().out  # nothing of it is in the file


def test_what_is_printed_is_what_is_in_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loose = {"input->a1.h0<q>": 0.9}  # leads nowhere
    run = RunWriter(tmp_path / "run", variants=("sft",))
    add_comparison(run, "sft", [emergence(np.eye(2), np.eye(2), fraction=0.1, tau=0.28)] * 6)
    labels = {"variant": "sft", "pairs": "main", "model": "sft", "step": 20}
    run.save(scores(SHARED | loose), **labels)
    run.save(faithfulness(0.9), **labels)
    path = run.close().path
    graph = nx.read_graphml(export(path, "graphml"), force_multigraph=True)
    assert len(graph.edges) == 3
    assert capsys.readouterr().out.splitlines()[:2] == [
        "lab: circuit of sft at step 20: 3 of the graph's 46 edges (6.52%), 2 of 4 heads",
        "faithfulness of the 10.00% strongest edges, also those below τ = 0.28, which are not in the file: "
        "0.90 [0.88, 0.92], n = 64 problems",
    ]


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_draws_the_dot(run: Path) -> None:
    done = subprocess.run(
        ["dot", "-Tsvg", str(export(run, "dot"))], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count('class="edge"') == len(EXPECTED)
    assert "L1H1" in done.stdout


def test_another_architecture_has_no_edges_in_common(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run", variants=("sft",))
    run.save(scores(SHARED, Graph(3, 2)), model="base", step=0, variant="sft", pairs="main")
    run.save(scores(SHARED), model="sft", step=1, variant="sft", pairs="main")
    graph = nx.read_graphml(export(run.close().path, "graphml", "--fraction", "0.2"))
    assert "status" not in graph.nodes["logits"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--circuit RUN --variant sft --as dot", "found no --out; give a file for the circuit"),
        ("--edited lab-m --heads L0H1", "found no --out; give a folder for the checkpoint"),
        ("--out x", "found none of --edited, --circuit and --answers; give one of --edited MODEL"),
        ("--circuit RUN --edited lab-m --out x", "found --edited and --circuit; give one of"),
        (
            "--circuit RUN --variant sft --as dot --out x --heads L0H1",
            "--heads is an option of --edited, and --circuit",
        ),
        ("--edited lab-m --heads L0H1 --out x --as dot", "--as is an option of --circuit, and --edited has no use"),
        (
            "--edited lab-m --heads L0H1 --out x --step 3",
            "--step is an option of --circuit and --answers, and --edited",
        ),
        ("--circuit RUN --variant sft --as dot --out x --all", "--all is an option of --answers, and --circuit has no"),
        ("--edited lab-m --out x", "--edited needs --heads too"),
        ("--circuit RUN --as dot --out x", "--circuit needs --variant too"),
        ("--circuit RUN --variant sft --out x", "--circuit needs --as too, one of eap-json, dot, graphml, neuronpedia"),
        ("--circuit RUN --variant sft --as doc --out x", "format 'doc' does not exist (did you mean 'dot'?)"),
        ("--circuit RUN --variant stf --as dot --out x", "variant 'stf' is not in RUN (did you mean 'sft'?)"),
        ("--circuit RUN --variant sft --as dot --out x --step 15", "step 15 of sft has no scores; allowed: 0, 10, 20"),
        ("--circuit RUN --variant sft --as dot --out x --fraction 2", "found fraction=2.0; give a share of the edges"),
        ("--circuit RUN --variant sft --as dot --out RUN/no/x", "lies in RUN/no, which does not exist"),
        ("--circuit /nowhere --variant sft --as dot --out x", "/nowhere is not a run directory"),
    ],
)
def test_what_cannot_be_exported_is_said_in_a_sentence(
    words: str, sentence: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run.parent)
    assert main(["export", *words.replace("RUN", str(run)).split()]) == 2
    assert sentence.replace("RUN", str(run)) in capsys.readouterr().err
    assert not (run.parent / "x").exists()


def test_a_size_that_nobody_named_and_scores_that_are_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunWriter(tmp_path / "run", variants=("sft", "grpo"))
    run.study["discover"] = {}
    run.save(scores(SHARED), model="sft", step=1, variant="sft", pairs="main")
    NotRun("no pairs").save(run.unit("scores", model="grpo", step=1, variant="grpo", pairs="main"))
    path = run.close().path
    for variant, sentence in (
        ("sft", "does not say how large circuits of sft are yet"),
        ("grpo", "no finished scores"),
    ):
        words = ["export", "--circuit", str(path), "--variant", variant, "--as", "dot", "--out", str(tmp_path / "x")]
        assert main(words) == 2
        assert sentence in capsys.readouterr().err


def test_it_needs_no_torch(run: Path) -> None:
    words = ["export", "--circuit", str(run), "--variant", "sft", "--as", "dot", "--out", str(run.parent / "x")]
    check = (
        f"import sys\nfrom headscope.cli.main import main\nassert main({words!r}) == 0\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'heavy import'"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
