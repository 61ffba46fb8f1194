"""Adapters of PEFT: live in a model, or in a folder of their own, they count as the weights they are merged into."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import AdaptionPromptConfig, LoraConfig, PeftModel, PrefixTuningConfig, TaskType, get_peft_model
from tests import tiny_models
from tests.precision import EXACT
from torch import nn

from headscope.circuits import attribute, exact_heads, faithfulness_curve
from headscope.errors import InputError
from headscope.interventions import edit_weights, mean, zero
from headscope.model_files.folder import check_weights
from headscope.models import as_model, head_access, load_model
from headscope.models.adapters import merged_copy, merged_layer
from headscope.models.projections import linear_weight

FAMILIES = ("qwen3", "llama", "gemma2", "phi3", "olmo2", "gpt2", "gpt_neox")
IDS = torch.arange(3, 15)[None]


def adapted(family: str = "qwen3", **config: Any) -> Any:
    """A tiny model with an adapter that has learned: B is random, not 0."""
    model = tiny_models.tiny_model(family)
    settings = {"r": 2, "target_modules": "all-linear", "init_lora_weights": False}
    return get_peft_model(model, LoraConfig(**settings | config), autocast_adapter_dtype=False).eval()


def merged(model: Any) -> Any:
    """What PEFT itself makes of it."""
    return copy.deepcopy(model).merge_and_unload().eval()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_live_adapter_scores_as_its_merged_model(family: str, ragged_pairs: Any) -> None:
    model, pairs = adapted(family), ragged_pairs(count=3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = attribute(merged(model), pairs, nodes=2).edges
    scores = attribute(model, pairs, nodes=2).edges
    assert np.abs(scores - expected).max() < EXACT * np.abs(expected).max()
    with model.disable_adapter():
        base = attribute(model, pairs, nodes=2).edges
    assert np.abs(base - expected).max() > 0.05 * np.abs(expected).max()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "config",
    [
        {"use_dora": True},
        {"use_rslora": True},
        {"modules_to_save": ["norm", "embed_tokens"]},
        {"bias": "all"},
        {"trainable_token_indices": [1, 2, 3]},
    ],
)
def test_every_kind_of_lora(config: dict[str, Any], ragged_pairs: Any) -> None:
    model, pairs = adapted(**config), ragged_pairs(count=2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "modules_to_save" in name or "trainable_tokens" in name:  # fresh copies of the originals
                parameter += 0.1 * torch.randn_like(parameter)
    expected = attribute(merged(model), pairs, nodes=2).edges
    assert np.abs(attribute(model, pairs, nodes=2).edges - expected).max() < EXACT * np.abs(expected).max()


@pytest.mark.usefixtures("float64")
def test_exact_patches_and_faithfulness_take_a_live_adapter(ragged_pairs: Any) -> None:
    model, pairs = adapted(), ragged_pairs(count=2)
    plain = merged(model)
    expected, heads = exact_heads(plain, pairs), exact_heads(model, pairs)
    np.testing.assert_allclose(heads.pair_heads, expected.pair_heads, rtol=0, atol=EXACT)
    scores = attribute(plain, pairs, nodes=2)
    live, curve = faithfulness_curve(model, pairs, scores), faithfulness_curve(plain, pairs, scores)
    np.testing.assert_allclose(live.circuits, curve.circuits, rtol=0, atol=EXACT)


@pytest.mark.usefixtures("float64")
@torch.no_grad()
def test_heads_of_a_live_adapter_are_removed_while_it_generates() -> None:
    model = adapted()
    plain = merged(model)
    with zero(model, ["L1H2"]):
        hooked = model(IDS).logits
    with zero(plain, ["L1H2"]):
        expected = plain(IDS).logits
    assert torch.allclose(hooked, expected, rtol=0, atol=EXACT)
    assert not torch.allclose(model(IDS).logits, expected, atol=1e-2)
    with mean(model, ["L1H2"], [IDS[0].tolist()]), mean(plain, ["L1H2"], [IDS[0].tolist()]):
        assert torch.allclose(model(IDS).logits, plain(IDS).logits, rtol=0, atol=EXACT)


@torch.no_grad()
def test_edited_weights_of_a_live_adapter_are_a_plain_checkpoint(tmp_path: Path) -> None:
    model = adapted()
    edited = edit_weights(model, {"L0H1": 0.0})
    with zero(model, ["L0H1"]):
        expected = model(IDS).logits
    assert torch.allclose(edited(IDS).logits, expected, atol=1e-4)
    edited.save_pretrained(tmp_path)
    assert not (tmp_path / "adapter_config.json").exists()
    assert torch.allclose(load_model(tmp_path).model(IDS).logits, expected, atol=1e-4)


@pytest.mark.usefixtures("float64")
@torch.no_grad()
def test_an_added_adapter_counts_too(ragged_pairs: Any) -> None:
    """transformers' ``add_adapter`` puts the layers into the model itself."""
    model = tiny_models.tiny_model("llama")
    model.add_adapter(LoraConfig(r=2, target_modules=["q_proj", "o_proj"], init_lora_weights=False))
    plain = merged_copy(model.eval())
    assert torch.allclose(plain(IDS).logits, model(IDS).logits, rtol=0, atol=EXACT)
    pairs = ragged_pairs(count=2)
    expected = attribute(plain, pairs, nodes=2).edges
    assert np.abs(attribute(model, pairs, nodes=2).edges - expected).max() < EXACT * np.abs(expected).max()


def test_the_proof_is_repeated_when_weights_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh adapter (B = 0) passes whatever is read from it; the proof must come again once it has learned."""
    model = adapted(init_lora_weights=True)
    inside = model.get_base_model()
    monkeypatch.setattr(
        "headscope.models.projections.merged_layer", lambda module: getattr(module, "base_layer", module)
    )
    head_access(inside)
    optimizer = torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad], lr=0.1, fused=True
    )
    for _ in range(2):  # B first, then A
        model(IDS, labels=IDS).loss.backward()
        optimizer.step()
    with pytest.raises(InputError, match="layer 0 of qwen3: per-head writes miss the attention output"):
        head_access(inside)


def test_the_merged_layer_follows_the_weights() -> None:
    layer: Any = adapted().get_base_model().model.layers[0].self_attn.o_proj
    first = linear_weight(layer).clone()
    assert merged_layer(layer) is merged_layer(layer)
    with torch.no_grad():
        layer.lora_B["default"].weight += 1
    assert not torch.allclose(linear_weight(layer), first)
    assert isinstance(merged_layer(layer), nn.Linear)


def test_a_bias_that_no_weight_can_hold_is_refused(ragged_pairs: Any, tmp_path: Path) -> None:
    tiny_models.tiny_model("llama").save_pretrained(tmp_path / "base")
    base = load_model(tmp_path / "base").model
    model = get_peft_model(base, LoraConfig(r=2, target_modules=["o_proj"], lora_bias=True)).eval()
    with pytest.raises(InputError, match=r"a bias \(lora_bias=True\) on a layer that has none.*lora_bias=False"):
        attribute(model, ragged_pairs(count=2), nodes=2)
    model.save_pretrained(tmp_path / "adapter")
    for check in (load_model, check_weights):
        with pytest.raises(
            InputError, match=r"lora_bias=True\) on model\.layers\.0\.self_attn\.o_proj, which has none"
        ):
            check(tmp_path / "adapter")


@torch.no_grad()
def test_a_bias_on_a_layer_with_one_is_merged(tmp_path: Path) -> None:
    tiny_models.tiny_model("llama", attention_bias=True).save_pretrained(tmp_path / "base")
    base = load_model(tmp_path / "base").model
    config = LoraConfig(r=2, target_modules=["o_proj"], lora_bias=True, init_lora_weights=False)
    model = get_peft_model(base, config).eval()
    model.save_pretrained(tmp_path / "adapter")
    assert torch.allclose(load_model(tmp_path / "adapter").model(IDS).logits, model(IDS).logits, atol=1e-4)


def test_an_adapter_inside_attention_is_named() -> None:
    config = AdaptionPromptConfig(adapter_len=2, adapter_layers=1, task_type=TaskType.CAUSAL_LM)
    model = get_peft_model(tiny_models.tiny_model("llama"), config).eval()
    with pytest.raises(
        InputError, match="the adapter is of type ADAPTION_PROMPT, which adds tokens and changes no weights"
    ):
        head_access(as_model(model))


def test_adapters_that_are_tokens_are_refused() -> None:
    model = tiny_models.tiny_model("llama")
    prefixed = get_peft_model(model, PrefixTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=2))
    with pytest.raises(InputError, match="type PREFIX_TUNING, which adds tokens and changes no weights"):
        as_model(prefixed)


@torch.no_grad()
def test_a_folder_with_an_adapter_loads_as_the_merged_model(tmp_path: Path) -> None:
    base = tiny_models.tiny_model("llama")
    base.save_pretrained(tmp_path / "base")
    base = load_model(tmp_path / "base").model  # so that the adapter knows where its base lies
    model = get_peft_model(base, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)).eval()
    model.save_pretrained(tmp_path / "checkpoint-10")
    subject = load_model(tmp_path / "checkpoint-10")
    assert not isinstance(subject.model, PeftModel)
    assert subject.name == str(tmp_path / "checkpoint-10")
    assert torch.allclose(subject.model(IDS).logits, model(IDS).logits, atol=1e-4)
    config = tmp_path / "checkpoint-10" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": str(tmp_path / "gone")}))
    with pytest.raises(InputError, match="gone"):
        load_model(tmp_path / "checkpoint-10")


@torch.no_grad()
def test_an_adapter_may_bring_more_tokens_than_its_base_has(tmp_path: Path) -> None:
    tiny_models.tiny_model("llama").save_pretrained(tmp_path / "base")
    base = load_model(tmp_path / "base").model
    base.resize_token_embeddings(tiny_models.VOCABULARY + 2)
    config = LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"])
    model = get_peft_model(base, config).eval()
    model.save_pretrained(tmp_path / "adapter")
    loaded = load_model(tmp_path / "adapter").model
    assert loaded.get_input_embeddings().weight.shape[0] == tiny_models.VOCABULARY + 2
    assert torch.allclose(loaded(IDS).logits, model(IDS).logits, atol=1e-4)


TIED = {
    "input": {"target_modules": ["q_proj", "embed_tokens"]},
    "output": {"target_modules": ["q_proj", "lm_head"]},
    "both": {"target_modules": ["embed_tokens", "lm_head"]},
    "as one": {"target_modules": ["embed_tokens"], "ensure_weight_tying": True},
    "saved input": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
    "saved output": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "tokens": {"target_modules": ["q_proj"], "trainable_token_indices": [1, 2, 3]},
    "neither": {"target_modules": ["q_proj"]},
}


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings")
@pytest.mark.parametrize("case", TIED)
def test_an_adapter_of_tied_embeddings_is_merged_where_it_is(case: str, tmp_path: Path) -> None:
    """PEFT's own merging adds it to both embeddings, which are one tensor."""
    tiny_models.tiny_model("llama", tie_word_embeddings=True).save_pretrained(tmp_path / "base")
    base = load_model(tmp_path / "base").model
    settings: dict[str, Any] = {"r": 2, "init_lora_weights": False, **TIED[case]}
    model = get_peft_model(base, LoraConfig(**settings)).eval()
    for name, parameter in model.named_parameters():
        if "modules_to_save" in name or "trainable_tokens" in name:
            parameter += 0.3 * torch.randn_like(parameter)
    expected = model(IDS).logits
    model.save_pretrained(tmp_path / "adapter")
    loaded = load_model(tmp_path / "adapter").model
    edited = edit_weights(model, {"L0H0": 1.0})
    for merged_model in (loaded, edited):
        assert torch.allclose(merged_model(IDS).logits, expected, atol=1e-4)
    # What is saved is the same model, and no larger than it must be.
    loaded.save_pretrained(tmp_path / "loaded")
    edited.save_pretrained(tmp_path / "edited")
    for name in ("loaded", "edited"):
        saved = load_model(tmp_path / name).model
        assert torch.allclose(saved(IDS).logits, expected, atol=1e-4)
        assert saved.config.tie_word_embeddings == (case in ("as one", "tokens", "neither"))
    biased = edit_weights(loaded, {}, {"L0H0": np.zeros(tiny_models.D_HEAD)})  # rebuilt, and tied again if it says so
    assert torch.allclose(biased(IDS).logits, expected, atol=1e-4)


@torch.no_grad()
def test_new_tokens_and_a_factor_of_their_embedding_come_together(tmp_path: Path) -> None:
    tiny_models.tiny_model("llama", tie_word_embeddings=True).save_pretrained(tmp_path / "base")
    base = load_model(tmp_path / "base").model
    base.resize_token_embeddings(tiny_models.VOCABULARY + 2)
    model = get_peft_model(base, LoraConfig(r=2, target_modules=["embed_tokens"], init_lora_weights=False)).eval()
    model.save_pretrained(tmp_path / "adapter")
    loaded = load_model(tmp_path / "adapter").model
    assert torch.allclose(loaded(IDS).logits, model(IDS).logits, atol=1e-4)
