"""Edited weights: same logits as the hook, the original untouched, the same kind of thing back."""

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from tests.precision import EXACT

from headscope.errors import InputError
from headscope.interventions import constant, edit_weights, scale
from headscope.models import ARCHITECTURES, Subject, load_model

pytestmark = pytest.mark.usefixtures("float64")

IDS = torch.arange(12)[None] % 7
HEADS = ["L0H3", "L1H0"]
KEEPS_NO_BIAS = ("phi3", "mistral")  # the tiny Mistral has a window, so it is no Llama


def values(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2, 4, 8)).astype(np.float32)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("alpha", [0.0, 1.3])
@torch.no_grad()
def test_edited_weights_and_hooks_agree(tiny_model: Any, architecture: str, alpha: float) -> None:
    model = tiny_model(architecture)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    edited = edit_weights(model, {"L0H3": alpha, "1.0": alpha})
    with scale(model, HEADS, alpha):
        assert torch.allclose(edited(IDS).logits, model(IDS).logits, rtol=0, atol=EXACT)
    assert not torch.allclose(edited(IDS).logits, model(IDS).logits, atol=1e-2)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_constants_become_biases(tiny_model: Any, tmp_path: Any, architecture: str) -> None:
    model, z = tiny_model(architecture), values()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    edited = edit_weights(model, dict.fromkeys(HEADS, 0.0), {"L0H3": z[0, 3], "L1H0": z[1, 0]})
    with constant(model, HEADS, z):
        expected = model(IDS).logits
    assert torch.allclose(edited(IDS).logits, expected, rtol=0, atol=EXACT)
    assert not torch.allclose(model(IDS).logits, expected, atol=1e-2)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    settings = {"attention_mask": torch.ones_like(IDS), "max_new_tokens": 4, "do_sample": False, "pad_token_id": 0}
    generated = edited.generate(IDS, **settings)
    with constant(model, HEADS, z):
        same = model.generate(IDS, **settings)
    assert torch.equal(generated, same)
    edited.save_pretrained(tmp_path)
    if architecture in KEEPS_NO_BIAS:
        with pytest.raises(InputError, match=r"has 2 weights without a place .*\.0\.self_attn\.o_proj\.bias"):
            load_model(tmp_path, dtype="float64")
        return
    saved = load_model(tmp_path, dtype="float64").model
    saved.set_attn_implementation(model.config._attn_implementation)
    assert torch.allclose(saved(IDS).logits, expected, rtol=0, atol=EXACT)


@torch.no_grad()
def test_a_mistral_without_a_window_is_saved_as_a_llama(tiny_model: Any, tmp_path: Any) -> None:
    model, z = tiny_model("mistral", sliding_window=None), values()
    edited = edit_weights(model, {"L1H0": 0.0}, {"L1H0": z[1, 0]})
    assert edited.config.model_type == "llama"
    edited.save_pretrained(tmp_path)
    with constant(model, ["L1H0"], z):
        expected = model(IDS).logits
    saved = load_model(tmp_path, dtype="float64").model
    assert torch.allclose(saved(IDS).logits, expected, rtol=0, atol=EXACT)


@torch.no_grad()
def test_a_constant_beside_a_factor_is_added_to_the_scaled_write(tiny_model: Any) -> None:
    model, z = tiny_model("gpt2"), values()
    together = edit_weights(model, {"L0H1": 0.5}, {"L0H1": z[0, 1]})
    one_by_one = edit_weights(edit_weights(model, {}, {"L0H1": z[0, 1]}), {})
    assert torch.allclose(edit_weights(one_by_one, {"L0H1": 0.5})(IDS).logits, together(IDS).logits, rtol=0, atol=EXACT)


def test_a_subject_gives_a_subject_that_can_be_saved_and_loaded(tiny_model: Any, tmp_path: Any) -> None:
    subject = Subject(tiny_model("qwen3"), None, "tiny")
    edited = edit_weights(subject, {"L1H1": 0.0})
    assert isinstance(edited, Subject)
    assert (edited.name, edited.model is subject.model) == ("tiny", False)
    edited.model.save_pretrained(tmp_path)
    loaded = load_model(tmp_path, dtype="float64").model.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in edited.model.state_dict().items())


def test_tied_embeddings_stay_tied(tiny_model: Any) -> None:
    model = tiny_model("qwen2", tie_word_embeddings=True)
    for edited in (edit_weights(model, {"L0H0": 0.0}), edit_weights(model, {"L0H0": 0.0}, {"L0H0": values()[0, 0]})):
        assert edited.get_input_embeddings().weight is edited.get_output_embeddings().weight
        assert edited.get_input_embeddings().weight is not model.get_input_embeddings().weight


def test_heads_that_do_not_exist_and_shared_projections_are_refused(tiny_model: Any) -> None:
    model = tiny_model("qwen3")
    with pytest.raises(InputError, match="L7H0 does not exist"):
        edit_weights(model, {"L7H0": 0.0})
    with pytest.raises(InputError, match="not a head's name"):
        edit_weights(model, {"head five": 0.0})
    with pytest.raises(InputError, match=r"found shape \(3,\) in the constant of L0H0; shape \[8\] is needed"):
        edit_weights(model, {}, {"L0H0": np.zeros(3)})
    with pytest.raises(InputError, match="found nan in the constant of L0H0"):
        edit_weights(model, {}, {"L0H0": np.full(8, np.nan)})
    with pytest.raises(InputError, match=r"constants name a head twice: L0H0, 0\.0; give each head one constant"):
        edit_weights(model, {}, {"L0H0": np.zeros(8), "0.0": np.zeros(8)})
    for factor in ("a", None, np.inf):
        with pytest.raises(InputError, match=f"found {factor!r} in the factor of L0H0; give numbers"):
            inspect.unwrap(edit_weights)(model, {"L0H0": factor})
    model.model.layers[1].self_attn.o_proj.weight = model.model.layers[0].self_attn.o_proj.weight
    with pytest.raises(InputError, match="layers 0 and 1 share one o_proj"):
        edit_weights(model, {"L0H0": 0.0})
