"""Scores, circuits and patched metrics against EAP-IG's own code."""

from typing import Any

import numpy as np
import pytest
from tests.precision import relative

from headscope.circuits import attribute, faithfulness, select

pytestmark = pytest.mark.usefixtures("float64")

RUNS = {
    "eap_ig_inputs_kl_m5": {"rule": "left", "nodes": 5},
    "eap_ig_inputs_kl_m100": {"rule": "left", "nodes": 100},
    "eap_ig_inputs_logitdiff_m5": {"rule": "left", "nodes": 5, "metric": "logit_diff"},
    "eap_logitdiff": {"method": "eap", "metric": "logit_diff"},
}


@pytest.mark.parametrize("name", RUNS)
def test_scores_equal_the_reference(eap_reference: Any, name: str) -> None:
    scores = attribute(eap_reference.model, eap_reference.pairs, **RUNS[name])
    real, expected = eap_reference.scores["real_edges"], eap_reference.scores[name]
    assert scores.sources == eap_reference.metadata["src_nodes"]
    assert scores.destinations == eap_reference.metadata["dst_nodes"]
    assert np.array_equal(scores.graph.real, real)
    assert relative(scores.edges[real], expected[real]) < eap_reference.rounding


def test_circuits_and_their_metrics_equal_the_reference(eap_reference: Any) -> None:
    model, pairs, metadata = eap_reference.model, eap_reference.pairs, eap_reference.metadata
    scores = attribute(model, pairs, rule="left", nodes=5)
    for expected in metadata["circuits"]:
        circuit = select(scores, n=expected["topn"], aggregate="signed")
        assert np.array_equal(circuit.edges, eap_reference.scores[f"kl_m5_top{expected['topn']}_in_graph"])
        by_logit = faithfulness(model, pairs, circuit, "logit_diff")
        by_kl = faithfulness(model, pairs, circuit, "kl")
        for losses, reference in (
            (by_logit.circuit, expected["neg_logit_diff"]),
            (by_kl.circuit, expected["kl"]),
            (by_logit.full, metadata["baseline_neg_logit_diff"]),
            (by_logit.empty, metadata["corrupt_neg_logit_diff"]),
        ):
            assert relative(losses, np.asarray(reference)) < eap_reference.rounding
