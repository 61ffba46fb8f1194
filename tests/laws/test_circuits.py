"""Laws any correct attribution obeys, on tiny random models."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.precision import EXACT, relative

from headscope.circuits import attribute, select
from headscope.errors import InputError
from headscope.interventions import edit_weights, scale, zero
from headscope.pairs import Pairs

pytestmark = pytest.mark.usefixtures("float64")

FEW = settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])


def close(scores: np.ndarray, expected: np.ndarray) -> bool:
    return relative(scores, expected) < EXACT


@FEW
@given(seed=st.integers(0, 1000), order=st.permutations(range(4)))
def test_permuting_heads_permutes_scores(tiny_model: Any, ragged_pairs: Any, seed: int, order: list[int]) -> None:
    model, pairs = tiny_model("gpt2", seed), ragged_pairs(seed, count=2)
    before = attribute(model, pairs, nodes=2)
    attention = model.transformer.h[0].attn
    columns = (np.array(order)[:, None] * 8 + np.arange(8)).ravel()
    fused = np.concatenate([columns + 32 * port for port in range(3)])
    attention.c_attn.weight.data = attention.c_attn.weight.data[:, fused]
    attention.c_attn.bias.data = attention.c_attn.bias.data[fused]
    attention.c_proj.weight.data = attention.c_proj.weight.data[columns]
    after = attribute(model, pairs, nodes=2)
    rows, cols = np.arange(before.edges.shape[0]), np.arange(before.edges.shape[1])
    rows[1:5] = 1 + np.array(order)
    cols[:12] = np.concatenate([np.array(order) + 4 * port for port in range(3)])
    assert close(after.edges, before.edges[rows][:, cols])


@FEW
@given(seed=st.integers(0, 1000))
def test_a_pair_equal_to_itself_scores_nothing(tiny_model: Any, ragged_pairs: Any, seed: int) -> None:
    pairs = ragged_pairs(seed, count=2)
    beside = Pairs.from_tokens(pairs.clean, [pairs.clean[0], pairs.corrupt[1]], [0, -1])
    for nodes in (2, "adaptive"):
        edges = attribute(tiny_model("qwen3", seed), beside, nodes=nodes, metric="nll", keep_pairs=True).pair_edges
        assert not edges[0].any()
        assert edges[1].any()
        with pytest.raises(InputError, match="no corrupt text differs from its clean one"):
            attribute(tiny_model("qwen3", seed), beside[:1], nodes=nodes, metric="nll")


@FEW
@given(seed=st.integers(0, 1000))
def test_duplicating_and_reordering_pairs_changes_no_mean(tiny_model: Any, ragged_pairs: Any, seed: int) -> None:
    model, pairs = tiny_model("qwen3", seed), ragged_pairs(seed, count=3)
    once = attribute(model, pairs, nodes=2, keep_pairs=True)
    twice = attribute(model, pairs[[2, 0, 1, 1, 2, 0]], nodes=2, keep_pairs=True)
    assert close(twice.edges, once.edges)
    assert close(twice.edges_abs, once.edges_abs)
    assert close(twice.pair_edges, once.pair_edges[[2, 0, 1, 1, 2, 0]])
    assert close(twice.pair_heads, once.pair_heads[[2, 0, 1, 1, 2, 0]])


def test_left_and_right_rules_exchange_with_the_ends_of_the_path(tiny_model: Any, ragged_pairs: Any) -> None:
    """left(m) and right(m) share all nodes but the ends: their difference is (gradient at corrupt − at clean)
    / m."""
    model, pairs = tiny_model("qwen3"), ragged_pairs(count=3)
    left, right = (attribute(model, pairs, metric="logit_diff", rule=rule, nodes=4).edges for rule in ("left", "right"))
    corrupt = attribute(model, pairs, metric="logit_diff", rule="left", nodes=1).edges
    clean = attribute(model, pairs, metric="logit_diff", method="eap").edges
    np.testing.assert_allclose(left - right, (corrupt - clean) / 4, rtol=0, atol=EXACT * np.abs(corrupt).max())


@FEW
@given(seed=st.integers(0, 1000))
@torch.no_grad()
def test_ablating_nothing_changes_nothing(tiny_model: Any, seed: int) -> None:
    model = tiny_model("qwen3", seed)
    ids = torch.arange(10)[None]
    expected = model(ids).logits
    with zero(model, []), scale(model, ["L0H0", "L1H3"], 1.0):
        assert torch.equal(model(ids).logits, expected)
    assert torch.equal(edit_weights(model, {"L0H0": 1.0})(ids).logits, expected)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_seed_fixes_a_circuit(tiny_model: Any, ragged_pairs: Any, seed: int) -> None:
    circuits = [select(attribute(tiny_model("qwen3", seed), ragged_pairs(seed)), fraction=0.2) for _ in range(2)]
    assert np.array_equal(circuits[0].edges, circuits[1].edges)
