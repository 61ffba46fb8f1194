"""The data of the page Circuit, by hand and by law, in Python and in its script."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headscope.circuits.selection import select
from headscope.cli.main import main
from headscope.cli.run import _findings
from headscope.report import RunResults
from headscope.report.blocks import Notice
from headscope.report.circuit_pairs import MOST_EDGES, CircuitPair, circuit_pairs
from headscope.report.pages.circuit import circuit
from headscope.report.tables.circuit_edges import circuit_edges
from headscope.results.circuit_rule import CircuitRule
from headscope.results.comparison import CircuitSize
from headscope.results.edges import EdgeScores
from headscope.results.graph import Graph
from headscope.results.not_run import NotRun
from headscope.results.table import display_text
from headscope.runs import RunDirectory

from .runs import RunWriter, add_circuits, comparison, edge_scores, estimate, series
from .test_view_state import run_module

PLAIN, GROUPED = Graph(6, 8), Graph(6, 8, kv_heads=2)


LARGE = Graph(36, 32)


def pair_of(graph: Graph, size: int = 200) -> CircuitPair:
    """Return two related circuits of a graph."""
    base = edge_scores(graph)
    post = edge_scores(graph, training=0.7)
    return CircuitPair.of("sft", 60, base, post, rule=CircuitRule(None, edges=size))


def script(body: str, *values: Any) -> Any:
    """Run JavaScript with the functions of the circuits' data; ``circuit`` is the first value, unpacked."""
    return run_module("circuit-data.js", f"const circuit = module.unpackCircuit(given[0]); {body}", *values)


def test_the_union_holds_the_strongest_edges_of_both_and_nothing_else() -> None:
    graph = Graph(36, 4)
    base, post = edge_scores(graph), edge_scores(graph, training=1.0)
    pair = CircuitPair.of("sft", 60, base, post)
    for scores, rank in ((base, pair.base_rank), (post, pair.post_rank)):
        sizes = np.sort(scores.edges_abs[graph.real])[::-1]
        mine = scores.edges_abs[pair.rows, pair.columns]
        assert sorted(rank[rank < MOST_EDGES]) == list(range(MOST_EDGES))
        assert np.array_equal(mine, sizes[rank])  # also of edges that only the other model is strong in
    assert len(pair.rows) < 2 * MOST_EDGES < graph.real.sum()
    assert (np.minimum(pair.base_rank, pair.post_rank) < MOST_EDGES).all()


def test_edges_below_tau_are_in_no_circuit() -> None:
    base = edge_scores(PLAIN)
    post = edge_scores(PLAIN, training=0.7)
    tau = float(np.median(base.edges_abs[PLAIN.real]))
    pair = CircuitPair.of("sft", 60, base, post, rule=CircuitRule(None, edges=10**6, tau=tau))
    total = int(PLAIN.real.sum())
    assert (pair.size, pair.tau) == (total, tau)
    is_below = base.edges_abs[pair.rows, pair.columns] < tau
    assert 0 < is_below.sum() < len(is_below)
    assert np.array_equal(pair.base_rank == total, is_below)


@pytest.mark.parametrize("graph", [PLAIN, GROUPED])
@pytest.mark.parametrize("size", [5, 40, 300, 1500])
def test_circuits_are_those_that_were_evaluated_and_the_script_has_the_same(graph: Graph, size: int) -> None:
    pair = pair_of(graph)
    held = {}
    for model, scores, rank in (
        ("base", edge_scores(graph), pair.base_rank),
        ("variant", edge_scores(graph, training=0.7), pair.post_rank),
    ):
        expected = select(scores, n=size).edges
        mask = np.zeros(graph.real.shape, dtype=bool)
        chosen = pair.circuit(rank, size)
        mask[pair.rows[chosen], pair.columns[chosen]] = True
        assert np.array_equal(mask, expected)
        held[model] = np.flatnonzero(chosen).tolist()
    body = """
      const place = (edge) => circuit.edges.indexOf(edge);
      const places = (model) => [...module.circuitOf(circuit, model, given[1])].map(place);
      console.log(JSON.stringify({ base: places("base"), variant: places("variant") }));
    """
    assert script(body, pair.packed(), size) == held


@pytest.mark.parametrize("graph", [PLAIN, GROUPED])
def test_the_script_reads_names_and_scores_as_they_were_packed(graph: Graph) -> None:
    pair = pair_of(graph)
    body = """
      const row = ({ source, reader, rank, score }) => [
        module.nodeName(circuit, source), reader.name, reader.port, rank.base, rank.variant, score.base, score.variant,
      ];
      console.log(JSON.stringify(circuit.edges.map(row)));
    """
    rows = script(body, pair.packed())
    assert [tuple(row[:3]) for row in rows] == list(pair.edge_names())
    assert [row[3] for row in rows] == pair.base_rank.tolist()
    assert [row[4] for row in rows] == pair.post_rank.tolist()
    for column, scores in ((5, pair.base_score), (6, pair.post_score)):
        read = np.array([row[column] for row in rows])
        assert np.array_equal(np.sign(read), np.sign(scores))
        known = scores != 0
        assert np.max(np.abs(read[known] / scores[known] - 1)) < 0.00034


def test_edges_of_zero_come_back_as_zero() -> None:
    graph = Graph(2, 2)
    nothing = replace(edge_scores(graph), edges=np.zeros(graph.real.shape, dtype=np.float32))
    pair = CircuitPair.of("sft", 1, nothing, nothing)
    scores = script("console.log(JSON.stringify(circuit.edges.map((edge) => edge.score.base)))", pair.packed())
    assert scores == [0] * int(graph.real.sum())


def test_a_large_models_edges_stay_below_100_kilobytes() -> None:
    packed = pair_of(LARGE, 20_225).packed()
    assert len(json.dumps(packed)) <= 100_000
    # Both circuits as far apart as they can be.
    other = CircuitPair.of("sft", 60, edge_scores(LARGE), edge_scores(LARGE, seed=5))
    assert len(other.rows) > 1.9 * MOST_EDGES
    assert len(json.dumps(other.packed())) <= 100_000
    assert len(base64.b64decode(packed["edges"])) == 16 * packed["count"]


def test_paths_are_the_widest_that_there_are() -> None:
    graph = Graph(3, 2)
    pair = pair_of(graph)
    body = """
      const shown = module.edgesInView(circuit, "variant", given[1]);
      const paths = module.strongestPaths(circuit, shown, given[2]);
      console.log(JSON.stringify({
        paths: paths.map(({ nodes, weakest }) => [nodes, weakest]),
        edges: shown.map(({ edge, strength }) => [edge.source, edge.reader.nodes, strength]),
      }));
    """
    for node in (0, 1, 2, 5):
        found = script(body, pair.packed(), 60, node)

        def widest(at: int, edges: list[Any] = found["edges"]) -> float:
            ahead = [min(size, widest(to, edges)) for source, nodes, size in edges if source == at for to in nodes]
            return float("inf") if at == len(graph.sources) else max(ahead, default=0.0)

        weakest = [path[1] for path in found["paths"]]
        assert weakest == sorted(weakest, reverse=True)
        assert weakest[:1] == ([widest(node)] if widest(node) else [])
        assert all(path[0][0] == node and path[0][-1] == len(graph.sources) for path in found["paths"])


def test_the_table_says_what_training_did_to_each_edge() -> None:
    graph = Graph(1, 1)
    names = graph.sources, graph.destinations
    edges = np.zeros(graph.real.shape, dtype=np.float32)
    base, post = edges.copy(), edges.copy()
    for scores, listed in (
        (base, {("input", "a0.h0<q>"): 5, ("a0.h0", "logits"): -4, ("input", "m0"): 1}),
        (post, {("input", "a0.h0<q>"): 2, ("a0.h0", "m0"): 3, ("m0", "logits"): 2.5}),
    ):
        for (source, destination), score in listed.items():
            scores[names[0].index(source), names[1].index(destination)] = score
    made = [replace(edge_scores(graph), edges=scores, edges_abs=np.abs(scores)) for scores in (base, post)]
    table = circuit_edges([CircuitPair.of("sft", 4, *made, rule=CircuitRule(None, edges=3))])
    rows = [[display_text(value) for value in row.values()] for row in table.rows]
    # Of the base's three edges the one into the MLP is a loose end: nothing leaves it.
    assert rows == [
        ["sft", "input → L0H0", "q", "5", "2", "kept"],
        ["sft", "L0H0 → logits", "", "−4", "0", "lost"],
        ["sft", "L0H0 → MLP 0", "", "0", "3", "born"],
        ["sft", "MLP 0 → logits", "", "0", "2.5", "born"],
    ]


def test_shared_keys_and_values_are_named_as_a_group() -> None:
    names = {destination for _, destination, port in pair_of(GROUPED).edge_names() if port == "k"}
    assert {"L0H0-3", "L5H4-7"} <= names


def test_what_is_no_circuit_is_said_first(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run", variants=("sft", "grpo", "dpo"))
    low = CircuitSize(0.2, estimate(0.4, 0.02), estimate(0.5, 0.02), 0.8, given=False)
    run.save(replace(comparison("sft", series(3, 1)), circuit=low), variant="sft")
    add_circuits(run, "sft", 60, PLAIN)
    run.save(edge_scores(PLAIN), variant="grpo", model="base", step=0, pairs="main")
    run.save(NotRun("no pair was left"), "scores", variant="grpo", model="grpo", step=60, pairs="main")
    run.save(edge_scores(PLAIN), variant="dpo", model="base", step=0, pairs="main")
    first, second, *_ = circuit(RunResults(run.close())).blocks
    assert isinstance(first, Notice)
    reached = "0.40 in the base, 0.50 after training; 0.8 is wanted"
    assert first.items == (f"sft: no circuit of up to 20.0% of the edges is faithful ({reached}).",)
    assert isinstance(second, Notice)
    assert "for: grpo, dpo." in second.text
    # Whoever reads counts in a terminal is told as well.
    (warning,) = _findings("compare", RunResults(run.close()), claims=False).warnings
    assert warning == f"{first.items[0].removesuffix('.')}, so its counts are of edges that are no circuit."


def test_sizes_are_those_of_the_last_checkpoint_with_their_faithfulness(run: RunDirectory) -> None:
    sft, grpo = circuit_pairs(RunResults(run))
    total = int(PLAIN.real.sum())
    assert (sft.step, grpo.step) == (60, 60)
    assert [(size.edges, size.share) for size in sft.sizes] == [(round(s * total), s) for s in (0.001, 0.01, 0.1)]
    assert sft.size == round(0.01 * total)
    known = {"base": "0.90 [0.88, 0.92]", "variant": "0.90 [0.88, 0.92]"}
    assert sft.packed()["sizes"][2] == {"edges": 363, "share": "0.1"} | known


def test_scores_per_pair_stay_on_disk(tmp_path: Path) -> None:
    scores = edge_scores(PLAIN)
    replace(scores, pair_edges=scores.edges[None], pair_net=None).save(tmp_path)
    light = EdgeScores.load(tmp_path, pair_edges=False)
    assert light.pair_edges is None
    assert np.array_equal(light.edges, scores.edges)
    assert light.pair_net is not None
    assert EdgeScores.load(tmp_path).pair_edges is not None


def test_what_is_pinned_is_a_valid_part_of_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = "console.log(JSON.stringify(module.ablationConfig(given[0])))"
    block = run_module("circuit-pins.js", body, ["L3H5", "L1H1"])
    assert "named: [L3H5, L1H1]" in block
    validate_pinned(block, tmp_path, capsys)


def validate_pinned(block: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Check that a study with this block is valid and removes the two heads."""
    study = (
        "name: pins\nbase: {model: lab-m}\ntasks: [lab-t1]\n"
        "variants: [{name: sft, train: {method: sft, max_steps: 8, dataset: lab-traces}}]\n"
    )
    path = folder / "study.yaml"
    path.write_text(study + block)
    assert main(["validate", str(path)]) == 0
    output = capsys.readouterr()
    assert "study pins is valid" in output.out + output.err
