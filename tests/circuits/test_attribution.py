"""Attribution against a slow reference, its invariances, what it leaves behind, and what it refuses."""

from typing import Any

import numpy as np
import pytest
import torch
from tests.circuits.slow_reference import slow_scores
from tests.precision import EXACT, relative

from headscope.circuits import attribute
from headscope.circuits.exact_patching import exact_edges
from headscope.errors import InputError, suggestion
from headscope.measures.quadrature import quadrature
from headscope.pairs import Pairs

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("architecture", ["qwen3", "qwen2", "llama", "mistral"])
@pytest.mark.parametrize("positions", ["last", "answer"])
def test_scores_of_ragged_pairs_equal_the_slow_reference(
    tiny_model: Any, ragged_pairs: Any, architecture: str, positions: str
) -> None:
    model, pairs = tiny_model(architecture), ragged_pairs(positions=positions, count=3)
    rule = quadrature("gauss", 3)
    expected = slow_scores(model, pairs, rule.alphas, rule.weights)
    scores = attribute(model, pairs, nodes=3, keep_pairs=True)
    assert scores.pair_edges is not None
    assert relative(scores.pair_edges, expected) < EXACT
    assert relative(scores.edges, expected.mean(0)) < EXACT
    assert relative(scores.edges_abs, np.abs(expected).mean(0)) < EXACT
    heads = np.abs(expected)[:, 1:6].sum(-1)[:, :4], np.abs(expected)[:, 6:].sum(-1)[:, :4]
    assert relative(scores.pair_heads, np.stack(heads, axis=1)) < EXACT


@pytest.mark.parametrize(("architecture", "nodes"), [("qwen3", 3), ("mistral", 3), ("gpt2", 3), ("gpt2", "adaptive")])
def test_batches_of_any_size_give_the_same_scores(
    tiny_model: Any, ragged_pairs: Any, architecture: str, nodes: Any
) -> None:
    model, pairs = tiny_model(architecture), ragged_pairs(count=6)
    one_by_one = attribute(model, pairs, nodes=nodes, batch=1, keep_pairs=True).pair_edges
    for size in (2, 6):
        side_by_side = attribute(model, pairs, nodes=nodes, batch=size, keep_pairs=True).pair_edges
        assert relative(side_by_side, one_by_one) < EXACT


def test_the_shared_prefix_adds_nothing(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs = tiny_model("qwen3"), ragged_pairs(count=1)
    cached = attribute(model, pairs, nodes=3)
    # Evaluating a shared position too (KL 0 there whatever is run) puts the whole text into the ending.
    last = len(pairs.clean[0]) - 1
    whole = Pairs.from_tokens(pairs.clean, pairs.corrupt, positions=[0, last])
    assert relative(2 * attribute(model, whole, nodes=3).edges, cached.edges) < EXACT


def test_contracting_positions_in_chunks_changes_nothing(
    tiny_model: Any, ragged_pairs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pairs = tiny_model("qwen3"), ragged_pairs()
    whole = attribute(model, pairs, nodes=6)
    monkeypatch.setattr("headscope.circuits.budget.Budget.positions", lambda *_sizes: 2)
    monkeypatch.setattr("headscope.circuits.budget.CPU_TOKENS", 64)
    assert relative(attribute(model, pairs, nodes=6).edges, whole.edges) < EXACT


def test_completeness_residual_shrinks_with_nodes_and_is_of_the_input_row(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs = tiny_model("gpt2"), ragged_pairs()
    coarse, fine = (attribute(model, pairs, nodes=nodes) for nodes in (2, 32))
    assert fine.residual < 1e-3 < coarse.residual
    lost = coarse.settings["loss_corrupt"] - coarse.settings["loss_clean"]
    assert coarse.residual == pytest.approx(abs(coarse.edges[0].sum() - lost) / lost, rel=EXACT)


@pytest.mark.parametrize("architecture", ["qwen3", "gpt2", "mistral"])
def test_adaptive_nodes_reach_one_percent_on_request_and_say_so(
    tiny_model: Any, ragged_pairs: Any, architecture: str
) -> None:
    model, pairs = tiny_model(architecture), ragged_pairs(count=3)
    adaptive = attribute(model, pairs, tolerance=0.01, keep_pairs=True)
    exact = attribute(model, pairs, nodes=256, keep_pairs=True)
    settings = adaptive.settings
    assert settings["adaptive_converged"]
    assert settings["adaptive_unsettled"] == 0
    assert 0 < settings["adaptive_error"] <= settings["adaptive_tolerance"] == 0.01
    assert 9 <= settings["nodes_mean"] <= settings["nodes"] < 64
    for scores, expected in zip(
        (adaptive.edges, adaptive.edges_abs, *adaptive.pair_edges),
        (exact.edges, exact.edges_abs, *exact.pair_edges),
        strict=True,
    ):
        assert np.linalg.norm(scores - expected) < 0.01 * np.linalg.norm(expected)


def test_adaptive_nodes_say_when_they_do_not_suffice(
    tiny_model: Any, ragged_pairs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headscope.circuits.adaptive_quadrature.NODE_CAP", 12)
    settings = attribute(tiny_model("mistral"), ragged_pairs(count=2), tolerance=0.01).settings
    assert settings["nodes"] == 12
    assert settings["adaptive_unsettled"] == 2
    assert settings["adaptive_error"] > 0.01
    assert not settings["adaptive_converged"]


def test_grouped_keys_and_values_are_the_sums_of_their_copies(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs = tiny_model("qwen3"), ragged_pairs()
    grouped = attribute(model, pairs, nodes=3, kv="group", keep_pairs=True)
    expected = attribute(model, pairs, nodes=3, keep_pairs=True).per_group(2)
    for name in ("edges", "edges_abs", "pair_heads", "pair_edges", "pair_net"):
        assert relative(getattr(grouped, name), getattr(expected, name)) < EXACT
    assert grouped.destinations == expected.destinations


def test_a_fixed_rule_is_recorded_with_its_nodes(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs = tiny_model("gpt2"), ragged_pairs(count=2)
    settings = attribute(model, pairs, rule="midpoint", nodes=3).settings
    assert (settings["rule"], settings["nodes"]) == ("midpoint", 3)
    assert not {"rule", "nodes"} & attribute(model, pairs, metric="nll", method="eap").settings.keys()


def test_exact_patching_is_a_method_of_the_same_call(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs = tiny_model("qwen3"), ragged_pairs(count=1)
    assert np.array_equal(attribute(model, pairs, method="exact").edges, exact_edges(model, pairs).edges)


def test_a_metric_of_ones_own_equals_the_built_in_one(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs = tiny_model("qwen3"), ragged_pairs(positions="answer")

    def my_kl(logits: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.kl_div(
            logits.log_softmax(-1), clean.log_softmax(-1).expand_as(logits), log_target=True, reduction="none"
        ).sum(-1).mean(-1)  # fmt: skip

    custom = attribute(model, pairs, metric=my_kl, nodes=3)
    assert custom.settings["metric"] == "my_kl"
    assert relative(custom.edges, attribute(model, pairs, nodes=3).edges) < EXACT


def test_the_model_is_left_as_it_was(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs = tiny_model("qwen2"), ragged_pairs(count=2)
    model.lm_head.weight.requires_grad_(False)
    before = {name: (value.clone(), value.requires_grad) for name, value in model.named_parameters()}

    def failing_metric(logits: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        if logits.requires_grad:
            raise RuntimeError("in the middle of the node pass")
        return logits.sum((-1, -2))

    attribute(model, pairs, nodes=2)
    with pytest.raises(RuntimeError, match="middle"):
        attribute(model, pairs, metric=failing_metric)
    with pytest.raises(InputError, match="token id 999"):
        attribute(model, Pairs.from_tokens([[1, 2]], [[1, 999]]))
    for name, value in model.named_parameters():
        assert torch.equal(value, before[name][0])
        assert value.requires_grad == before[name][1]
        assert value.grad is None
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    assert sum(hooks) == 0
    assert all(layer.self_attn.num_key_value_groups == 2 for layer in model.model.layers)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"method": "eapig"}, "did you mean 'eap-ig'"),
        ({"rule": "gaus"}, "did you mean 'gauss'"),
        ({"metric": "kll"}, "did you mean 'kl'"),
        ({"nodes": 0}, "nodes=0"),
        ({"nodes": "many"}, "'adaptive'"),
        ({"kv": "groups"}, "did you mean 'group'"),
        ({"batch": 0}, "batch=0"),
        ({"memory": 0}, "memory=0"),
        ({"metric": lambda logits, clean: logits.sum((-1, -2)) * torch.nan}, "metric of pair 0 is not finite"),
        ({"rule": "left"}, "rule='left' with adaptive nodes"),
        ({"tolerance": 0.0}, "tolerance=0.0; give a share between 0 and 1"),
        ({"tolerance": 1.5}, "tolerance=1.5; give a share"),
        ({"tolerance": 0.01, "nodes": 8}, "with method 'eap-ig' and 8 nodes; only adaptive nodes"),
        ({"method": "eap"}, "the gradient at the clean text, where that of metric kl is 0"),
        (
            {"method": "eap", "metric": lambda logits, clean: (logits - clean).square().sum((-1, -2))},
            "the metric's gradient at the clean text, which method eap takes, is 0",
        ),
        ({"tolerance": 0.01, "method": "eap"}, "with method 'eap' and adaptive nodes; only adaptive nodes"),
        ({"metric": lambda logits, clean: logits.sum()}, "gave shape"),
        ({"metric": lambda logits, clean: 0.5}, "gave float"),
        ({"metric": lambda logits, clean: logits.argmax(-1).sum(-1)}, "gave torch.int64"),
        ({"metric": lambda logits, clean: logits.detach().sum((-1, -2))}, "cannot be differentiated"),
    ],
)
def test_unknown_settings_are_refused(
    tiny_model: Any, ragged_pairs: Any, change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        attribute(tiny_model("gpt2"), ragged_pairs(count=1), **change)


def test_a_setting_of_none_is_told_what_is_allowed() -> None:
    assert suggestion(None, ["eap", "exact"]) == " (allowed: eap, exact)"


def test_unusable_models_are_refused(tiny_model: Any, ragged_pairs: Any) -> None:
    pairs = ragged_pairs(count=1)
    with pytest.raises(InputError, match="training mode"):
        attribute(tiny_model("qwen3").train(), pairs)
    partly = tiny_model("qwen3")
    partly.model.layers[1].train()
    with pytest.raises(InputError, match=r"training mode \(model\.layers\.1\); call model\.eval"):
        attribute(partly, pairs)
    with pytest.raises(InputError, match="a text of 65 tokens; the model's learned positions allow 64"):
        attribute(tiny_model("gpt2"), Pairs.from_tokens([[1] * 65], [[2] * 65]))
    broken = tiny_model("qwen3")
    broken.model.layers[1].mlp.down_proj.weight.data[0, 0] = float("nan")
    with pytest.raises(InputError, match="layer 1 is the first whose MLP"):
        attribute(broken, pairs)
    broken.model.layers[0].self_attn.v_proj.weight.data[:] = float("inf")
    with pytest.raises(InputError, match="layer 0 is the first whose heads"):
        attribute(broken, pairs)
    unembedding = tiny_model("qwen3")
    attribute(unembedding, pairs, nodes=1)
    unembedding.lm_head.weight.data[0, 0] = float("nan")  # the proof comes again
    with pytest.raises(InputError, match="the logits of qwen3 are not finite"):
        attribute(unembedding, pairs)
    with pytest.raises(InputError, match="token id 999"):
        attribute(tiny_model("qwen3"), Pairs.from_tokens([[1, 2]], [[1, 999]]))


def test_a_label_that_the_model_does_not_write_is_named(tiny_model: Any) -> None:
    pairs = Pairs.from_tokens([[1, 2, 3]], [[1, 4, 3]], labels=[[5, 500]])
    with pytest.raises(InputError, match="a label is token id 500; the model writes 0-"):
        attribute(tiny_model("qwen3"), pairs, metric="logit_diff")
