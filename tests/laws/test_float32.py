"""What float32 adds to the result of any engine is rounding, and what 16 bits add is more than that."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.precision import float32_bound, relative
from tests.tiny_models import ragged_pairs

from headscope.circuits import exact_edges, exact_heads, faithfulness
from headscope.interventions import Text, capture_mean, direct_loss, teacher_force
from headscope.models import head_access
from headscope.results.circuit import Circuit

PAIRS = ragged_pairs(count=2)
TEXTS = [Text((1, 2, 3, 4), (5, 6, 7)), Text((9, 8), (7, 6, 5, 4, 3, 2, 1))]


def _half_a_circuit(model: Any) -> np.ndarray:
    graph = head_access(model).graph
    edges = graph.real & (np.random.default_rng(0).random(graph.real.shape) < 0.5)
    return faithfulness(model, PAIRS, Circuit(graph, edges), "nll", patch="mean").circuit


def _sweep(model: Any) -> np.ndarray:
    factors = np.ones((3, 2, 4), dtype=np.float32)
    factors[1, 0, 2], factors[2, 1, 1] = 0, 1.5
    return teacher_force(model, TEXTS, factors).nll


ENGINES: dict[str, Callable[[Any], np.ndarray]] = {
    "exact edges": lambda model: exact_edges(model, PAIRS, "nll").edges,
    "exact heads": lambda model: exact_heads(model, PAIRS, "nll").pair_heads,
    "faithfulness": _half_a_circuit,
    "sweep": _sweep,
    "direct effects": lambda model: direct_loss(model, ["L0H1", "L1H2"], TEXTS),
    "means": lambda model: capture_mean(model, [text.tokens for text in TEXTS]),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("architecture", ["gpt2", "gemma3_text", "qwen3_moe"])
def test_float32_differs_by_rounding_alone(tiny_model: Any, architecture: str, engine: str) -> None:
    model, compute = tiny_model(architecture), ENGINES[engine]
    exact, allowed = float32_bound(compute, model)
    assert relative(compute(model), exact) < allowed
    assert relative(compute(copy.deepcopy(model).bfloat16()), exact) > allowed
