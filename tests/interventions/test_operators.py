"""Zero, scale and mean on heads: equal to editing by hand, inside generate, gone afterwards."""

from typing import Any

import numpy as np
import pytest
import torch
from tests.precision import EXACT

from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.interventions import capture_mean, constant, mean, resample, scale, scale_rows, zero
from headscope.models import Hook, Subject, attach_hooks

pytestmark = pytest.mark.usefixtures("float64")

ARCHITECTURES = ["qwen3", "qwen2", "gpt2"]
IDS = torch.arange(12)[None] % 7


def output_module(model: Any, layer: int) -> Any:
    return (
        model.transformer.h[layer].attn.c_proj
        if hasattr(model, "transformer")
        else model.model.layers[layer].self_attn.o_proj
    )


@torch.no_grad()
def logits(model: Any, ids: torch.Tensor = IDS) -> torch.Tensor:
    return model(ids).logits


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_zero_equals_cutting_z_by_hand(tiny_model: Any, architecture: str) -> None:
    model = tiny_model(architecture)

    def cut(_module: Any, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        z = args[0].clone()
        z[..., 16:24] = 0
        return (z,)

    handle = output_module(model, 1).register_forward_pre_hook(cut)
    expected = logits(model)
    handle.remove()
    before = logits(model)
    with zero(model, ["L1H2"]):
        actual = logits(model)
    assert torch.equal(actual, expected)
    assert not torch.allclose(actual, before)
    assert torch.equal(logits(model), before)


def test_generate_with_cache_equals_a_full_forward_pass_per_token(tiny_model: Any) -> None:
    model = tiny_model("qwen3")
    with zero(model, HeadSet.of(["0.1", "a1.h3"])):
        generated = model.generate(
            IDS, attention_mask=torch.ones_like(IDS), max_new_tokens=6, do_sample=False, pad_token_id=0
        )
        ids = IDS
        for _ in range(6):
            ids = torch.cat([ids, logits(model, ids)[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(generated, ids)


def test_scale_is_between_zero_and_the_model_itself(tiny_model: Any) -> None:
    model = tiny_model("qwen2")
    with scale(model, ["L0H0"], 1.0):
        assert torch.equal(logits(model), logits(model))
    with scale(model, ["L0H0"], 0.0):
        nothing = logits(model)
    with zero(model, ["L0H0"]):
        assert torch.equal(logits(model), nothing)
    with scale(model, ["L1H0"], 2.0), scale(model, ["L1H0"], 0.5):
        assert torch.allclose(logits(model), _plain(tiny_model), rtol=0, atol=EXACT)


def _plain(tiny_model: Any) -> torch.Tensor:
    return logits(tiny_model("qwen2"))


def test_every_row_can_have_its_own_heads(tiny_model: Any) -> None:
    model = tiny_model("qwen3")
    factors = np.ones((3, 2, 4), dtype=np.float32)
    factors[1, 0, 2] = 0
    factors[2, 1, 1] = 1.5
    with scale_rows(model, factors):
        together = logits(model, IDS.repeat(3, 1))
    assert torch.allclose(together[:1], logits(model), rtol=0, atol=EXACT)
    with zero(model, ["L0H2"]):
        assert torch.allclose(together[1:2], logits(model), rtol=0, atol=EXACT)
    with scale(model, ["L1H1"], 1.5):
        assert torch.allclose(together[2:], logits(model), rtol=0, atol=EXACT)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_mean_is_the_mean_over_all_reference_tokens(tiny_model: Any, architecture: str) -> None:
    model = tiny_model(architecture)
    texts = [[1, 2, 3], [4, 5, 6, 7, 8]]
    recorded = []
    with attach_hooks([Hook(output_module(model, 0), "input", lambda z: recorded.append(z[0, :, 8:16]))]):
        for text in texts:
            logits(model, torch.tensor([text]))
    by_hand = torch.cat(recorded).mean(0)
    assert torch.allclose(torch.as_tensor(capture_mean(model, texts)[0, 1]), by_hand, rtol=0, atol=EXACT)
    inputs = []
    with mean(model, ["L0H1"], texts), attach_hooks([Hook(output_module(model, 0), "input", inputs.append)]):
        actual = logits(model)
    assert torch.allclose(inputs[0][0, :, 8:16], by_hand.expand(12, 8), rtol=0, atol=EXACT)
    with mean(model, ["L0H1"], capture_mean(model, texts)):
        assert torch.equal(logits(model), actual)


def test_rows_of_an_array_are_texts_and_floats_are_constants(tiny_model: Any) -> None:
    """Token ids from a tokenizer may come as an array, of a shape that constants could have."""
    model = tiny_model("qwen3")
    texts = [[1, 2, 3, 4], [4, 5, 6, 7]]
    with mean(model, ["L0H1"], texts):
        expected = logits(model)
    for given in (np.array(texts), torch.tensor(texts)):
        with mean(model, ["L0H1"], given):
            assert torch.equal(logits(model), expected)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda model: mean(model, ["L0H1"], np.ones((2, 4, 9))),
            r"found shape \(2, 4, 9\) in constants; shape \[2, 4, 8\] is needed",
        ),
        (lambda model: constant(model, ["L0H1"], np.ones((1, 4, 8))), r"found shape \(1, 4, 8\) in constants"),
        (lambda model: constant(model, ["L0H1"], np.full((2, 4, 8), np.nan)), "found nan in constants"),
        (lambda model: mean(model, ["L0H1"], [[5, 600]]), "token id 600; the model's vocabulary allows 0-39"),
        (lambda model: mean(model, ["L0H1"], [5, 6]), "one row per text"),
        (lambda model: mean(model, ["L0H1"], ["abc"]), "one row per text"),
        (lambda model: resample(model, ["L0H1"], [5, 6]), "one row per text"),
        (lambda model: resample(model, ["L0H1"], [[5, -1]]), "give whole numbers from 0 on"),
        (lambda model: constant(model, ["L0H1"], np.full((2, 4, 8), np.inf, np.float16)), "found inf in constants"),
        (lambda model: constant(model, ["L0H1"], np.full((2, 4, 8), 1e39)), r"found 1e\+39 in constants; give numbers"),
        (lambda model: scale(model, ["L0H1"], float("nan")), "found nan in alpha"),
        (lambda model: scale(model, ["L0H1"], 1e40), r"found 1e\+40 in alpha; give numbers .* finite in float32"),
        (lambda model: scale_rows(model, np.full((1, 2, 4), np.nan)), "found nan in factors"),
        (lambda model: scale_rows(model, np.ones((0, 2, 4))), r"found shape \(0, 2, 4\) .* \[1 or more rows, 2, 4\]"),
        (lambda model: zero(model, np.ones((1, 4), dtype=bool)), r"\(1, 4\) in the grid of heads; shape \[2, 4\]"),
        (lambda model: zero(model.model, ["L0H1"]), "has no unembedding"),
    ],
)
def test_what_heads_cannot_write_is_said_before_the_pass(tiny_model: Any, edit: Any, message: str) -> None:
    with pytest.raises(InputError, match=message), edit(tiny_model("qwen3")):
        pass


@pytest.mark.parametrize("operator", [mean, resample])
def test_texts_longer_than_learned_positions_are_refused(tiny_model: Any, operator: Any) -> None:
    model = tiny_model("gpt2")
    with pytest.raises(InputError, match="a text of 65 tokens; the model's learned positions allow 64"):
        capture_mean(model, [[1] * 65])
    with pytest.raises(InputError, match="a text of 65 tokens"), operator(model, ["L0H1"], [[1] * 65]):
        pass


def test_a_flat_list_has_no_mean(tiny_model: Any) -> None:
    with pytest.raises(InputError, match="one row per text"):
        capture_mean(tiny_model("gpt2"), [5, 6])


def test_hooks_are_gone_after_an_error_and_after_a_bad_head(tiny_model: Any) -> None:
    model = tiny_model("qwen3")
    before = logits(model)
    with pytest.raises(RuntimeError, match="inside"), zero(model, ["L0H0"]):
        raise RuntimeError("inside")
    with pytest.raises(InputError, match="L0H4 does not exist: the model has layers 0-1 and heads 0-3"):
        zero(model, ["L0H4"]).__enter__()
    with pytest.raises(InputError, match="at least one"), mean(model, ["L0H0"], []):
        pass
    assert torch.equal(logits(model), before)
    assert all(not module._forward_pre_hooks and not module._forward_hooks for module in model.modules())


def test_a_subject_does_as_well_as_a_model(tiny_model: Any) -> None:
    model = tiny_model("qwen3")
    with zero(model, ["L1H0"]):
        expected = logits(model)
    with zero(Subject(model, None, "tiny"), ["L1H0"]):
        assert torch.equal(logits(model), expected)
