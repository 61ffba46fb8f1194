"""The page, the exported file and the comparison choose the same circuit, with τ and without."""

from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from tests.report.runs import RunWriter, comparison, edge_scores, emergence

from headscope.circuits.selection import select
from headscope.comparison.activity import pooled_margins
from headscope.comparison.resampling import Resampling
from headscope.heads import HeadSet
from headscope.report import RunResults
from headscope.report.circuit_pairs import circuit_pairs
from headscope.report.tables.circuit_edges import circuit_edges
from headscope.results.circuit_rule import CircuitRule, select_circuit
from headscope.results.graph import Graph
from headscope.studies.circuit_export import export_circuit

FRACTION = 0.1


@pytest.mark.parametrize("graph", [Graph(4, 4), Graph(4, 4, kv_heads=2)])
@pytest.mark.parametrize("share_above", [1.0, 0.4])
def test_one_rule_for_page_file_and_comparison(graph: Graph, share_above: float, tmp_path: Path) -> None:
    """share_above: of the edges that the size asks for, how many are at least τ."""
    base, post = edge_scores(graph), edge_scores(graph, training=0.7)
    count = CircuitRule(FRACTION).count(graph)
    assert count is not None
    tau = 0.0
    if share_above < 1:
        tau = float(np.sort(post.edges_abs[graph.real])[-round(share_above * count)])
    run = RunWriter(tmp_path / "run", variants=("sft",))
    grid = np.zeros((4, 4))
    compared = [emergence(grid, grid, fraction=FRACTION, tau=tau)] * 6
    run.save(comparison("sft", compared), variant="sft")
    run.save(base, variant="sft", model="base", step=0, pairs="main")
    run.save(post, variant="sft", model="sft", step=60, pairs="main")
    read = run.close()

    circuit = select_circuit(graph, post.edges_abs, count, tau)
    names = {f"{graph.sources[row]}->{graph.destinations[column]}" for row, column in np.argwhere(circuit)}
    assert names
    if tau:
        assert len(names) < len(select(post, n=count))
    else:
        assert np.array_equal(circuit, select(post, n=count).edges)

    heads = HeadSet.from_grid(graph.head_grid(circuit.any(axis=1)))
    assert HeadSet.from_grid(pooled_margins(post, Resampling(FRACTION, tau=tau)) >= 0) == heads

    (pair,) = circuit_pairs(RunResults(read))
    on_page = pair.circuit(pair.post_rank, pair.size)
    page = {
        f"{graph.sources[row]}->{graph.destinations[column]}"
        for row, column in zip(pair.rows[on_page], pair.columns[on_page], strict=True)
    }
    assert page == names
    listed = [row for row in circuit_edges([pair], rows=10_000).rows if row["change"] in ("kept", "born")]
    assert len(listed) == len(names)

    export_circuit(read, "sft", "graphml", tmp_path / "out")
    drawn = nx.read_graphml(tmp_path / "out", force_multigraph=True)
    unfolded = graph.unfold(circuit)
    assert sum(edge["status"] != "lost" for *_, edge in drawn.edges(data=True)) == int(unfolded.sum())


def test_a_circuit_of_a_number_of_edges_is_drawn_before_there_is_a_comparison(tmp_path: Path) -> None:
    graph = Graph(4, 4)
    run = RunWriter(tmp_path / "run", variants=("sft",))
    run.study["discover"] = {"edges": 50, "tau": 3.0}
    run.save(edge_scores(graph), variant="sft", model="base", step=0, pairs="main")
    run.save(edge_scores(graph, training=0.7), variant="sft", model="sft", step=60, pairs="main")
    read = run.close()
    (pair,) = circuit_pairs(RunResults(read))
    assert (pair.size, pair.tau) == (50, 3.0)
    written = export_circuit(read, "sft", "dot", tmp_path / "out")
    assert written["edges"] == int(pair.circuit(pair.post_rank, 50).sum())


def test_edges_of_score_zero_are_in_no_circuit() -> None:
    graph = Graph(2, 2)
    magnitude = np.zeros(graph.real.shape, dtype=np.float32)
    assert not select_circuit(graph, magnitude, int(graph.real.sum())).any()
