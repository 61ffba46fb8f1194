"""Faithfulness: whole, empty and random circuits against a plainly written patch, the curve, what is left behind."""

from typing import Any

import numpy as np
import pytest
import torch
from tests.circuits.slow_patching import PlainPatching
from tests.precision import EXACT

from headscope.circuits import attribute, faithfulness, faithfulness_curve, select
from headscope.errors import InputError
from headscope.models import ARCHITECTURES, head_access
from headscope.pairs import Pairs
from headscope.results.circuit import Circuit
from headscope.results.graph import Graph

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("architecture", ["qwen3", "qwen2", "mistral", "gpt2"])
def test_all_edges_are_the_clean_run_and_none_the_corrupt_one(
    tiny_model: Any, ragged_pairs: Any, architecture: str
) -> None:
    model, pairs = tiny_model(architecture), ragged_pairs()
    graph = Graph(2, 4)
    whole = faithfulness(model, pairs, Circuit(graph, graph.real), "nll")
    nothing = faithfulness(model, pairs, Circuit(graph, np.zeros_like(graph.real)), "nll")
    np.testing.assert_allclose(whole.circuit, whole.full, rtol=0, atol=EXACT)
    np.testing.assert_allclose(nothing.circuit, nothing.empty, rtol=0, atol=EXACT)
    assert whole.normalised == pytest.approx(1, abs=EXACT)
    assert nothing.normalised == pytest.approx(0, abs=EXACT)
    assert (whole.edges, nothing.edges) == (graph.real.sum(), 0)


def test_full_and_empty_are_the_models_own_losses(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs = tiny_model("qwen3"), ragged_pairs()
    graph = Graph(2, 4)
    result = faithfulness(model, pairs, Circuit(graph, graph.real), "logit_diff")
    for row, pair in enumerate(pairs):
        for ids, value in ((pair.clean, result.full[row]), (pair.corrupt, result.empty[row])):
            logits = model(torch.as_tensor(ids)[None]).logits[0, -1]
            right, wrong = pair.label
            assert value == pytest.approx(float((logits[wrong] - logits[right]).detach()), abs=EXACT)


@pytest.mark.parametrize("patch", ["corrupt", "zero", "mean"])
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_a_circuit_equals_a_plain_patch(tiny_model: Any, ragged_pairs: Any, architecture: str, patch: str) -> None:
    model, pairs = tiny_model(architecture), ragged_pairs(count=3, positions="answer")
    graph, draw = head_access(model).graph, np.random.default_rng(0)
    plain = PlainPatching(model, pairs, patch)
    for share in (0.9, 0.4):
        edges = graph.real & (draw.random(graph.real.shape) < share)
        result = faithfulness(model, pairs, Circuit(graph, edges), "nll", patch=patch)
        np.testing.assert_allclose(result.circuit, plain.nll(edges), rtol=EXACT)
    np.testing.assert_allclose(result.full, plain.nll(graph.real), rtol=EXACT)
    np.testing.assert_allclose(result.empty, plain.nll(np.zeros_like(graph.real)), rtol=EXACT)


@pytest.mark.parametrize("patch", ["corrupt", "zero", "mean"])
def test_the_whole_graph_is_the_model_whatever_is_patched(tiny_model: Any, ragged_pairs: Any, patch: str) -> None:
    graph = Graph(2, 4)
    result = faithfulness(tiny_model("gpt2"), ragged_pairs(), Circuit(graph, graph.real), "nll", patch=patch)
    np.testing.assert_allclose(result.circuit, result.full, rtol=0, atol=EXACT)


def test_a_grouped_circuit_is_patched_as_its_query_heads_copies(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs, graph = tiny_model("qwen3"), ragged_pairs(), Graph(2, 4, kv_heads=2)
    edges = graph.real & (np.random.default_rng(0).random(graph.real.shape) < 0.7)
    grouped = faithfulness(model, pairs, Circuit(graph, edges), "nll")
    copies = faithfulness(model, pairs, Circuit(graph.per_query, graph.unfold(edges)), "nll")
    np.testing.assert_array_equal(grouped.circuit, copies.circuit)


def test_the_curve_is_the_circuits_one_by_one_and_ends_at_the_whole_model(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs = tiny_model("qwen3"), ragged_pairs()
    scores = attribute(model, pairs, nodes=4)
    fractions = (0.1, 0.5, 1.0)
    curve = faithfulness_curve(model, pairs, scores, fractions=fractions)
    for fraction, step in zip(fractions, (curve[size] for size in range(len(curve))), strict=True):
        alone = faithfulness(model, pairs, select(scores, fraction=fraction))
        assert step.edges == alone.edges
        np.testing.assert_allclose(step.circuit, alone.circuit, rtol=0, atol=EXACT)
        assert step.normalised == pytest.approx(alone.normalised, abs=EXACT)
    assert curve[2].normalised == pytest.approx(1, abs=EXACT)
    assert curve.settings["scores"] == scores.settings


@pytest.mark.parametrize("patch", ["corrupt", "mean"])
def test_passes_of_any_size_give_the_same_curve(
    tiny_model: Any, ragged_pairs: Any, patch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pairs = tiny_model("gpt2"), ragged_pairs()
    scores = attribute(model, pairs, nodes=2)
    expected = faithfulness_curve(model, pairs, scores, "nll", patch=patch)
    one_by_one = faithfulness_curve(model, pairs, scores, "nll", patch=patch, batch=1)
    np.testing.assert_allclose(one_by_one.circuits, expected.circuits, rtol=0, atol=EXACT)
    monkeypatch.setattr("headscope.circuits.budget.CPU_TOKENS", 1)
    row_by_row = faithfulness_curve(model, pairs, scores, "nll", patch=patch)
    np.testing.assert_allclose(row_by_row.circuits, expected.circuits, rtol=0, atol=EXACT)


@pytest.mark.parametrize("measure", [faithfulness, faithfulness_curve])
def test_pairs_of_equal_texts_have_no_faithfulness(tiny_model: Any, ragged_pairs: Any, measure: Any) -> None:
    """With zeros as the patch they have."""
    model, pairs = tiny_model("qwen3"), ragged_pairs(count=2)
    same = Pairs.from_tokens(pairs.clean, pairs.clean)
    graph = Graph(2, 4)
    circuit = Circuit(graph, graph.real) if measure is faithfulness else attribute(model, pairs, nodes=1)
    with pytest.raises(InputError, match="no corrupt text differs from its clean one"):
        measure(model, same, circuit, "nll")
    measure(model, same, circuit, "nll", patch="zero")


def test_bad_input_is_refused(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs, graph = tiny_model("qwen3"), ragged_pairs(count=1), Graph(2, 4)
    deeper = Graph(3, 4)
    with pytest.raises(InputError, match="does not fit"):
        faithfulness(model, pairs, Circuit(deeper, deeper.real))
    with pytest.raises(InputError, match="did you mean 'zero'"):
        faithfulness(model, pairs, Circuit(graph, graph.real), patch="zeros")
    model.model.layers[1].mlp.down_proj.weight.data[0, 0] = float("nan")
    with pytest.raises(InputError, match="layer 1 is the first whose MLP gives numbers that are not finite"):
        faithfulness(model, pairs, Circuit(graph, graph.real))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_model_is_left_as_it_was(tiny_model: Any, ragged_pairs: Any, error: type[BaseException]) -> None:
    model, pairs, graph = tiny_model("qwen2"), ragged_pairs(count=2), Graph(2, 4)
    handles, passes = [], []
    head_access(model)  # proves itself at its first use, in passes of its own

    def interrupt(*_args: Any) -> None:
        passes.append(1)
        if len(passes) > 2:
            raise error("in the patched pass")

    handles.append(model.lm_head.register_forward_hook(interrupt))
    with pytest.raises(error, match="patched pass"):
        faithfulness(model, pairs, Circuit(graph, graph.real), patch="zero")
    handles[0].remove()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(layer.self_attn.num_key_value_groups == 2 for layer in model.model.layers)
