"""Scoring per key/value head is summing the scores of its query heads' copies, pair by pair."""

from typing import Any

import numpy as np
import pytest
from tests.precision import EXACT

from headscope.circuits import attribute, faithfulness, select

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("architecture", ["qwen3", "gpt2"])
def test_grouped_attribution_is_grouped_scores(tiny_model: Any, ragged_pairs: Any, architecture: str) -> None:
    model, pairs = tiny_model(architecture), ragged_pairs(count=3)
    kv_heads = 2 if architecture == "qwen3" else 4
    copies = attribute(model, pairs, nodes=3, keep_pairs=True)
    grouped = attribute(model, pairs, nodes=3, keep_pairs=True, kv="group")
    by_arithmetic = copies.per_group(kv_heads)
    assert grouped.graph == by_arithmetic.graph
    for name in ("edges", "edges_abs", "pair_heads", "pair_edges", "pair_net"):
        values, expected = getattr(grouped, name), getattr(by_arithmetic, name)
        np.testing.assert_allclose(values, expected, rtol=0, atol=EXACT * np.abs(expected).max(), err_msg=name)
    assert grouped.residual == pytest.approx(copies.residual, rel=EXACT, abs=EXACT)


def test_a_grouped_circuit_is_as_faithful_as_its_unfolded_self(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs = tiny_model("qwen3"), ragged_pairs(count=3)
    circuit = select(attribute(model, pairs, nodes=2, kv="group"), fraction=0.3)
    assert circuit.graph.kv_heads == 2
    grouped = faithfulness(model, pairs, circuit)
    unfolded = faithfulness(model, pairs, circuit.per_query())
    np.testing.assert_allclose(grouped.circuit, unfolded.circuit, rtol=EXACT)
