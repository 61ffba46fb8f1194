"""Torch's default dtype, which programs set before they load a model, decides no result."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from headscope.circuits import attribute, faithfulness, select
from headscope.interventions import capture_mean, edit_weights

COMPUTATIONS: dict[str, Callable[[Any, Any], np.ndarray]] = {
    "attribute": lambda model, pairs: attribute(model, pairs, nodes=3).edges,
    "faithfulness": lambda model, pairs: _faithfulness(model, pairs, "corrupt"),
    "faithfulness to means": lambda model, pairs: _faithfulness(model, pairs, "mean"),
    "capture_mean": lambda model, pairs: capture_mean(model, [text.tolist() for text in pairs.clean]),
    "a new model's norms": lambda model, _: edit_weights(model, {"L0H1": 0.0}).lm_head.weight.detach().numpy(),
}


@pytest.fixture
def restored_dtype() -> Iterator[None]:
    """Torch's default dtype is set back after the test."""
    before = torch.get_default_dtype()
    yield
    torch.set_default_dtype(before)


@pytest.mark.usefixtures("restored_dtype")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("computation", sorted(COMPUTATIONS))
def test_torchs_default_dtype_changes_nothing(
    tiny_model: Any, ragged_pairs: Any, computation: str, dtype: torch.dtype
) -> None:
    model, pairs, compute = tiny_model("qwen3"), ragged_pairs(count=2), COMPUTATIONS[computation]
    expected = compute(model, pairs)
    torch.set_default_dtype(dtype)
    np.testing.assert_array_equal(compute(model, pairs), expected)


def _faithfulness(model: Any, pairs: Any, patch: str) -> np.ndarray:
    circuit = select(attribute(model, pairs, nodes=3), fraction=0.3)
    return faithfulness(model, pairs, circuit, patch=patch).circuit
