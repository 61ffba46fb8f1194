"""Every architecture's scores against the plainly written reference, and its forward pass against the model's own."""

from typing import Any

import numpy as np
import pytest
import torch
from tests.circuits.slow_reference import PlainModel, slow_scores
from tests.precision import EXACT, float32_bound, relative

from headscope.circuits import attribute
from headscope.measures.quadrature import quadrature
from headscope.models import ARCHITECTURES


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_scores_equal_the_slow_reference(tiny_model: Any, ragged_pairs: Any, architecture: str) -> None:
    model, pairs, rule = tiny_model(architecture), ragged_pairs(count=3, positions="answer"), quadrature("gauss", 3)
    result = attribute(model, pairs, nodes=3, keep_pairs=True)
    expected = slow_scores(model, pairs, rule.alphas, rule.weights)
    assert result.pair_edges is not None
    for scores, reference in zip(result.pair_edges, expected, strict=True):
        assert relative(scores, reference) < EXACT


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_the_slow_reference_is_the_model(tiny_model: Any, architecture: str) -> None:
    model, ids = tiny_model(architecture), torch.arange(12)
    with torch.no_grad():
        plain = PlainModel(model).forward(model.get_input_embeddings()(ids))[0]
        assert relative(plain.numpy(), model(ids[None]).logits[0].numpy()) < EXACT


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_float32_scores_differ_by_rounding_alone(
    tiny_model: Any, ragged_pairs: Any, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And scores whose operands lose 16 of their 24 bits differ by more."""
    model, pairs = tiny_model(architecture), ragged_pairs(count=3, positions="answer")

    def scores(model: Any) -> np.ndarray:
        pair_edges = attribute(model, pairs, nodes=3, keep_pairs=True).pair_edges
        assert pair_edges is not None
        return pair_edges

    exact, allowed = float32_bound(scores, model)
    assert relative(scores(model), exact) < allowed
    monkeypatch.setattr("headscope.circuits.footprint.contraction_dtype", lambda *_: torch.bfloat16)
    monkeypatch.setattr("headscope.circuits.integration.product", lambda left, right: left.float() @ right.float().T)
    assert relative(scores(model), exact) > allowed
