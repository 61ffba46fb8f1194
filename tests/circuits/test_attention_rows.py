"""Attention rows against a plainly written reference and transformers' own, in every architecture."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from tests.circuits.slow_reference import PlainModel
from tests.precision import EXACT, relative
from tests.tiny_models import HEADS, LAYERS, SWITCH, WINDOW, roped_model

from headscope.circuits import attention_rows
from headscope.errors import InputError
from headscope.heads import HeadId
from headscope.models import ARCHITECTURES

ALL = [HeadId(layer, head) for layer in range(LAYERS) for head in range(HEADS)]
TEXT = np.random.default_rng(5).integers(0, 40, 11)


def own_rows(model: Any, ids: Any, **inputs: Any) -> np.ndarray:
    """transformers' attentions of a copy that computes eagerly: [layer x head, query, key] of each row."""
    eager = copy.deepcopy(model)
    eager.set_attn_implementation("eager")
    with torch.no_grad():
        output = eager(input_ids=torch.as_tensor(ids), output_attentions=True, use_cache=False, **inputs)
    return np.concatenate([layer.float().numpy() for layer in output.attentions], axis=1)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_rows_are_those_of_the_plainly_written_model(
    tiny_model: Any, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, expected = tiny_model(architecture), []
    pattern = PlainModel.pattern

    def record(plain: PlainModel, *inputs: Any) -> Any:
        expected.append(pattern(plain, *inputs).detach().numpy())
        return torch.as_tensor(expected[-1])

    monkeypatch.setattr(PlainModel, "pattern", record)
    PlainModel(model).forward(model.get_input_embeddings()(torch.as_tensor(TEXT)))
    assert relative(attention_rows(model, TEXT, ALL), np.stack(expected)) < EXACT


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_rows_are_transformers_own_and_sum_to_one_without_sinks(tiny_model: Any, architecture: str) -> None:
    model = tiny_model(architecture)
    rows = attention_rows(model, TEXT, ALL)
    np.testing.assert_array_equal(rows, own_rows(model, TEXT[None])[0])
    assert rows.dtype == np.float32
    behind = np.arange(len(TEXT))[:, None] - np.arange(len(TEXT))
    assert not rows[:, behind < 0].any()
    sums = rows.sum(axis=-1)
    if architecture == "gpt_oss":
        assert sums.max() < 1 + 1e-5
        assert sums.min() < 0.5
    else:
        np.testing.assert_allclose(sums, 1, atol=1e-5)
    is_windowed = architecture in ("gemma2", "gemma3_text", "gpt_oss", "mistral")
    assert is_windowed == (not rows[:HEADS, behind >= WINDOW].any())


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_oss", "mistral", "qwen3"])
def test_rows_of_a_text_alone_are_those_it_has_left_padded_in_a_batch(tiny_model: Any, architecture: str) -> None:
    model, padding = tiny_model(architecture), 4
    ids = np.concatenate([np.zeros(padding, dtype=np.int64), TEXT])[None]
    mask = torch.as_tensor(np.arange(len(ids[0])) >= padding)[None].long()
    places = (mask.cumsum(-1) - 1).clamp(min=0)
    padded = own_rows(model, ids, attention_mask=mask, position_ids=places)[0, :, padding:, padding:]
    np.testing.assert_allclose(attention_rows(model, TEXT, ALL), padded, atol=1e-5)


def test_a_text_is_rotated_by_its_own_length() -> None:
    model = roped_model("llama", "dynamic")
    long = np.random.default_rng(0).integers(0, 40, 2 * SWITCH)
    alone = attention_rows(model, TEXT, ALL)
    attention_rows(model, long, ALL)
    np.testing.assert_array_equal(attention_rows(model, TEXT, ALL), alone)
    np.testing.assert_array_equal(attention_rows(model, long, ALL), own_rows(model, long[None])[0])


def test_heads_come_in_the_order_asked_for(tiny_model: Any) -> None:
    model, chosen = tiny_model("llama"), [HeadId(1, 2), HeadId(0, 3), HeadId(1, 0)]
    rows = attention_rows(model, TEXT, chosen)
    np.testing.assert_array_equal(rows, attention_rows(model, TEXT, ALL)[[ALL.index(head) for head in chosen]])


def test_heads_and_texts_may_be_given_as_they_are_at_hand(tiny_model: Any) -> None:
    model, text = tiny_model("qwen3"), [5, 6, 7, 8]
    expected = attention_rows(model, np.array(text), [HeadId(0, 1), HeadId(1, 2)])
    for given in (text, torch.tensor(text)):
        assert np.array_equal(attention_rows(model, given, ["L0H1", (1, 2)]), expected)


def test_half_precision_is_read_too(tiny_model: Any) -> None:
    model = tiny_model("qwen3").bfloat16()
    np.testing.assert_allclose(attention_rows(model, TEXT, ALL).sum(axis=-1), 1, atol=2e-2)


def test_the_model_computes_afterwards_as_before(tiny_model: Any) -> None:
    model, ids = tiny_model("qwen2"), torch.as_tensor(TEXT)[None]
    with torch.no_grad():
        before = model(input_ids=ids).logits
        attention_rows(model, TEXT, ALL)
        assert model.config._attn_implementation == "sdpa"
        assert torch.equal(model(input_ids=ids).logits, before)
        with pytest.raises(InputError):
            attention_rows(model, TEXT, [HeadId(LAYERS, 0)])
        _return_other_rows(model, lambda weights: weights.flip(1))
        with pytest.raises(InputError):
            attention_rows(model, TEXT, ALL)
        assert model.config._attn_implementation == "sdpa"


def _return_other_rows(model: Any, change: Any) -> None:
    module = model.base_model.layers[1].self_attn
    forward = type(module).forward

    def changed(*args: Any, **kwargs: Any) -> Any:
        written, weights = forward(module, *args, **kwargs)
        return written, None if weights is None else change(weights)

    module.forward = changed


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda weights: weights.flip(1), "layer 1 of llama: attention rows times values miss what heads write by"),
        (lambda weights: None, "layer 1 of llama does not return its attention rows"),
        (lambda weights: weights[:, :2], "layer 1 of llama does not return its attention rows"),
    ],
)
def test_rows_by_which_no_head_writes_are_refused(tiny_model: Any, change: Any, sentence: str) -> None:
    model = tiny_model("llama")
    _return_other_rows(model, change)
    assert attention_rows(model, TEXT, [HeadId(0, 1)]).shape == (1, len(TEXT), len(TEXT))
    with pytest.raises(InputError, match=sentence):
        attention_rows(model, TEXT, ALL)


@pytest.mark.parametrize(
    ("text", "heads", "sentence"),
    [
        ([], ALL, "a text without tokens"),
        ([1, 40], ALL, "token id 40; the model's vocabulary allows 0-39"),
        ([-1], ALL, "give whole numbers from 0 on"),
        ([1], [HeadId(0, HEADS)], "head L0H4 does not exist: the model has layers 0-1 and heads 0-3"),
        (list(range(40)) * 2, ALL, "a text of 80 tokens; the model's learned positions allow 64"),
    ],
)
def test_what_cannot_be_read_is_said(tiny_model: Any, text: list[int], heads: list[HeadId], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        attention_rows(tiny_model("gpt2"), np.array(text, dtype=np.int64), heads)
