"""Every architecture's scores against the plainly written reference, and its forward pass against the model's own."""

from typing import Any

import numpy as np
import pytest
import torch
from tests.circuits.slow_reference import PlainModel, slow_scores

from headscope.circuits import attribute
from headscope.measures.quadrature import quadrature
from headscope.models import ARCHITECTURES


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_scores_equal_the_slow_reference(tiny_model: Any, ragged_pairs: Any, architecture: str) -> None:
    model, pairs, rule = tiny_model(architecture), ragged_pairs(count=3, positions="answer"), quadrature("gauss", 3)
    found = attribute(model, pairs, nodes=3, keep_pairs=True)
    expected = slow_scores(_double(model), pairs, rule.alphas, rule.weights)
    assert found.pair_edges is not None
    error = np.abs(found.pair_edges - expected).max(axis=(1, 2)) / np.abs(expected).max(axis=(1, 2))
    assert error.max() < 1e-5


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_the_slow_reference_is_the_model(tiny_model: Any, architecture: str) -> None:
    model, ids = _double(tiny_model(architecture)), torch.arange(12)
    with torch.no_grad():
        plain = PlainModel(model).forward(model.get_input_embeddings()(ids))[0]
        assert torch.allclose(plain, model(ids[None]).logits[0], atol=1e-5)


def _double(model: Any) -> Any:
    """In float64, so that the reference's own rounding is out of the comparison (norms stay in float32)."""
    model.config._experts_implementation = "eager"  # grouped products know no float64
    return model.double()
