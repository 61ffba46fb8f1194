"""Exact patching: against EAP-IG's own numbers, a plainly written patch, and the one-pass patch of a whole circuit."""

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.circuits.slow_patching import PlainPatching
from tests.precision import EXACT, relative

from headscope.circuits import faithfulness
from headscope.circuits.exact_patching import exact_edges, exact_heads
from headscope.circuits.gradient_attribution import eap
from headscope.circuits.options import AttributionOptions
from headscope.errors import InputError
from headscope.models import ARCHITECTURES, head_access
from headscope.pairs import Pairs
from headscope.results.circuit import Circuit
from headscope.results.graph import Graph

pytestmark = pytest.mark.usefixtures("float64")

KEEP_PAIRS = AttributionOptions(keep_pairs=True)


def test_every_exact_edge_equals_the_reference(eap_reference: Any) -> None:
    scores = exact_edges(eap_reference.model, eap_reference.pairs, "logit_diff")
    real, expected = eap_reference.scores["real_edges"], eap_reference.scores["exact_logitdiff"]
    assert relative(scores.edges[real], expected[real]) < eap_reference.rounding


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_edges_and_heads_equal_a_plain_patch(tiny_model: Any, ragged_pairs: Any, architecture: str) -> None:
    model, pairs = tiny_model(architecture), ragged_pairs(count=2, positions="answer")
    edges, heads = exact_edges(model, pairs, "nll", KEEP_PAIRS), exact_heads(model, pairs, "nll")
    plain, real = PlainPatching(model, pairs), edges.graph.real
    clean = plain.nll(real)
    cells = np.argwhere(real)
    for row, column in cells[np.random.default_rng(0).choice(len(cells), 12, replace=False)]:
        edges_left = real.copy()
        edges_left[row, column] = False
        assert edges.pair_edges is not None
        np.testing.assert_allclose(edges.pair_edges[:, row, column], plain.nll(edges_left) - clean, rtol=0, atol=EXACT)
    for layer, head in ((0, 3), (1, 2)):
        edges_left = real.copy()
        edges_left[edges.graph.head_source(layer, head)] = False
        np.testing.assert_allclose(heads.pair_heads[:, layer, head], plain.nll(edges_left) - clean, rtol=0, atol=EXACT)


@pytest.mark.parametrize("architecture", ["qwen3", "phi3", "olmo2"])
def test_a_groups_input_is_patched_for_all_its_query_heads(
    tiny_model: Any, ragged_pairs: Any, architecture: str
) -> None:
    model, pairs = tiny_model(architecture), ragged_pairs(count=3)
    scores = exact_edges(model, pairs, "nll", AttributionOptions(kv="group"))
    graph = Graph(2, 4, kv_heads=2)
    assert scores.graph == graph
    for name in ("a0.kv1<k>", "a1.kv0<v>", "a1.kv1<k>", "a1.h2<q>", "m1", "logits"):
        column = graph.destinations.index(name)
        edges_left = graph.real.copy()
        edges_left[0, column] = False
        patched = faithfulness(model, pairs, Circuit(graph, edges_left), "nll")
        assert scores.edges[0, column] == pytest.approx((patched.circuit - patched.full).mean(), abs=EXACT)


@pytest.mark.parametrize("architecture", ["mistral", "gpt2"])
def test_passes_of_any_size_give_the_same_scores(
    tiny_model: Any, ragged_pairs: Any, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pairs = tiny_model(architecture), ragged_pairs(count=3)
    expected = exact_edges(model, pairs, "nll", KEEP_PAIRS)
    heads = exact_heads(model, pairs, "nll").pair_heads
    monkeypatch.setattr("headscope.circuits.budget.CPU_TOKENS", 150)
    for size in (2, None):
        scores = exact_edges(model, pairs, "nll", replace(KEEP_PAIRS, batch=size))
        np.testing.assert_allclose(scores.pair_edges, expected.pair_edges, rtol=0, atol=EXACT)
        np.testing.assert_allclose(exact_heads(model, pairs, "nll", batch=size).pair_heads, heads, rtol=0, atol=EXACT)


def test_what_is_kept_of_the_scores(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs = tiny_model("qwen3"), ragged_pairs(count=3)
    scores = exact_edges(model, pairs, options=KEEP_PAIRS)
    assert scores.pair_edges is not None
    assert scores.pair_edges.min() > -EXACT  # KL is 0 on the clean run
    np.testing.assert_allclose(scores.edges, scores.pair_edges.mean(0), rtol=0, atol=EXACT)
    np.testing.assert_allclose(scores.edges_abs, np.abs(scores.pair_edges).mean(0), rtol=0, atol=EXACT)
    np.testing.assert_allclose(scores.pair_heads[:, 1, 2], np.abs(scores.pair_edges[:, 8]).sum(1), rtol=EXACT)
    assert not scores.pair_edges[:, ~scores.graph.real].any()
    assert scores.settings["method"] == "exact"
    assert scores.settings["loss_clean"] == pytest.approx(0, abs=EXACT)
    assert exact_edges(model, pairs).pair_edges is None


def test_progress_counts_every_edge_and_head(tiny_model: Any, ragged_pairs: Any) -> None:
    class CountingProgress:
        def __init__(self) -> None:
            self.totals: list[int] = []
            self.steps = 0

        def bar(self, label: str, total: int) -> "CountingProgress":
            self.totals.append(total)
            return self

        def __enter__(self) -> "CountingProgress":
            return self

        def __exit__(self, *_error: object) -> None:
            pass

        def advance(self, steps: int = 1, note: str = "") -> None:
            self.steps += steps

    model, pairs, progress = tiny_model("gpt2"), ragged_pairs(count=3), CountingProgress()
    exact_edges(model, pairs, options=AttributionOptions(progress=progress))
    exact_heads(model, pairs, progress=progress)
    assert progress.totals == [3 * Graph(2, 4).real.sum(), 3 * 8]
    assert progress.steps == sum(progress.totals)


def test_a_pair_equal_to_itself_scores_nothing(tiny_model: Any, ragged_pairs: Any) -> None:
    pairs = ragged_pairs(count=2)
    same = Pairs.from_tokens(pairs.clean, pairs.clean, [0, -1])
    assert exact_edges(tiny_model("qwen3"), same, "nll").edges_abs.max() < EXACT
    assert np.abs(exact_heads(tiny_model("qwen3"), same, "nll").mean).max() < EXACT


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_model_is_left_as_it_was(tiny_model: Any, ragged_pairs: Any, error: type[BaseException]) -> None:
    model, pairs, passes = tiny_model("qwen2"), ragged_pairs(count=2), []

    def interrupt(*_args: Any) -> None:
        passes.append(1)
        if len(passes) > 5:
            raise error("in the middle of the patches")

    head_access(model)  # proves itself at its first use, in passes of its own
    model.model.layers[0].forward = forward = model.model.layers[0].forward  # as accelerate's dispatch leaves it
    ids = torch.arange(9)[None]
    before = model(ids).logits
    handle = model.lm_head.register_forward_hook(interrupt)
    with pytest.raises(error, match="middle"):
        exact_edges(model, pairs)
    handle.remove()
    assert torch.equal(model(ids).logits, before)
    assert vars(model.model.layers[0])["forward"] is forward
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert module is model.model.layers[0] or "forward" not in vars(module)
    assert all(layer.self_attn.num_key_value_groups == 2 for layer in model.model.layers)


def test_bad_input_is_refused(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs = tiny_model("qwen3"), ragged_pairs(count=1)
    for method in (exact_edges, eap):
        with pytest.raises(InputError, match=r"kv 'groups' is unknown \(did you mean 'group'\?\)"):
            method(model, pairs, options=AttributionOptions(kv="groups"))
    for method in (exact_edges, exact_heads):
        with pytest.raises(InputError, match="pairs are str; give Pairs"):
            inspect.unwrap(method)(model, "pairs")
    with pytest.raises(InputError, match="did you mean 'kl'"):
        exact_heads(model, pairs, "kll")
    with pytest.raises(InputError, match="training mode"):
        exact_edges(tiny_model("qwen3").train(), pairs)
    head_access(model).layers[1].mlp.down_proj.weight.data[0, 0] = float("nan")
    for patch in (exact_edges, exact_heads):
        with pytest.raises(InputError, match="layer 1 is the first whose MLP gives numbers that are not finite"):
            patch(model, pairs)
