"""The CPU sampler against ``generate``: same greedy text, same distribution, ends where it should."""

from pathlib import Path
from typing import Any

import pytest
import torch

from headscope.training.trainers import sample_completions

PROMPTS = [[3, 8, 9, 10], [3, 30, 4], [3, 8, 9, 10], [3, 31, 32, 33, 11, 4]]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    loaded = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float64)
    for weight in loaded.parameters():  # far from uniform, so that a misplaced position changes the text
        weight.data *= 8 if weight.ndim == 2 else 1
    return loaded


def _generated(model: Any, prompt: list[int], limit: int, stop: int) -> list[int]:
    out = model.generate(
        torch.tensor([prompt]), max_new_tokens=limit, do_sample=False, eos_token_id=stop, pad_token_id=0
    )
    return [int(token) for token in out[0, len(prompt) :]]


@pytest.mark.usefixtures("float64")
def test_cold_sampling_is_greedy_generation(model: Any) -> None:
    free = _generated(model, PROMPTS[1], 12, stop=-1)
    for stop in (free[2], free[-1], 1):
        completions = sample_completions(model, PROMPTS, limit=12, temperature=1e-6, stops=[stop])
        assert completions == [_generated(model, prompt, 12, stop) for prompt in PROMPTS]


def test_draws_follow_the_softmax(model: Any) -> None:
    torch.manual_seed(0)
    draws = sample_completions(model, [PROMPTS[0]] * 4000, limit=1, temperature=2.0, stops=[1])
    counts = torch.bincount(torch.tensor([row[0] for row in draws]), minlength=model.config.vocab_size)
    expected = torch.softmax(model(torch.tensor([PROMPTS[0]])).logits[0, -1].detach() / 2.0, -1)
    assert float((counts / 4000 - expected).abs().max()) < 0.03  # 3.8 standard errors at p = 0.5
