"""Interventions that treat all rows alike let rows that have ended leave the batch; others keep every row."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from headscope.evaluation import Sampling, sample
from headscope.interventions import Markers, Span, edit_weights, mean, resample, scale, scale_rows, zero
from headscope.models import Hook, attach_hooks
from headscope.models.hooks import tells_rows_apart

pytestmark = pytest.mark.usefixtures("float64")

TEXTS = [[1, 2, 3], [4, 5, 6]]


def test_only_what_differs_by_row_tells_rows_apart(tiny_model: Any) -> None:
    model = tiny_model("qwen3")
    assert not tells_rows_apart(model)
    for uniform in (zero(model, ["L0H1"]), scale(model, ["L0H1"], 1.3), mean(model, ["L0H1"], TEXTS)):
        with uniform:
            assert not tells_rows_apart(model)
    thinking = Span("thinking", Markers(str, opening="30", closing="31"))
    rows = np.ones((2, 2, 4), dtype=np.float32)
    rows[1, 0, 0] = 0
    for by_row in (
        resample(model, ["L0H1"], TEXTS),
        zero(model, ["L0H1"], span=thinking),
        scale_rows(model, rows),
    ):
        with by_row:
            assert tells_rows_apart(model)
    handle = model.lm_head.register_forward_hook(lambda *_: None)  # a user's own may do anything
    assert tells_rows_apart(model)
    handle.remove()
    model(torch.tensor([TEXTS[0]]), output_hidden_states=True)  # transformers leaves hooks that only look
    assert not tells_rows_apart(model)


def test_rows_that_end_leave_the_batch_without_a_head_too(tiny_model: Any) -> None:
    """And the answers are those of the edited weights, read row by row to the end under a hook that may do anything."""
    model = tiny_model("qwen3")
    tokenizer = SimpleNamespace(eos_token_id=2, pad_token_id=0, chat_template=None, decode=lambda *_, **__: "")
    model.generation_config.eos_token_id = [2, *range(36, 40)]
    sampling = Sampling(samples=6, max_new_tokens=60, temperature=1.0, top_p=0.95, seed=3)
    rows: list[int] = []

    def answers(target: Any) -> list[tuple[int, ...]]:
        rows.clear()
        counted = Hook(target.model.norm, "output", lambda out: rows.append(len(out)), by_row=False)
        with attach_hooks([counted]):
            return [response.tokens for response in sample(target, tokenizer, TEXTS, sampling)]

    edited = edit_weights(model, {"L0H1": 0.0})
    whole = edited.lm_head.register_forward_hook(lambda *_: None)
    expected = answers(edited)
    assert set(rows) == {12}
    whole.remove()
    with zero(model, ["L0H1"]):
        assert answers(model) == expected
        assert rows[-1] < 12
    with resample(model, ["L0H1"], TEXTS):
        answers(model)
        assert set(rows) == {12}
