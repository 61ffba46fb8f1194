from typing import Any

import numpy as np
import torch

from headscope.interventions import Markers, Span, mean, resample, scale, scale_rows, zero
from headscope.models.hooks import tells_rows_apart

TEXTS = [[1, 2, 3], [4, 5, 6]]


def test_only_what_differs_by_row_tells_rows_apart(tiny_model: Any) -> None:
    model = tiny_model("qwen3")
    assert not tells_rows_apart(model)
    for alike in (zero(model, ["L0H1"]), scale(model, ["L0H1"], 1.3), mean(model, ["L0H1"], TEXTS)):
        with alike:
            assert not tells_rows_apart(model)
    thinking = Span("thinking", Markers(str, opening="30", closing="31"))
    rows = np.ones((2, 2, 4), dtype=np.float32)
    rows[1, 0, 0] = 0
    for apart in (
        resample(model, ["L0H1"], TEXTS),
        zero(model, ["L0H1"], span=thinking),
        scale_rows(model, rows),
    ):
        with apart:
            assert tells_rows_apart(model)
    handle = model.lm_head.register_forward_hook(lambda *_: None)  # a user's own may do anything
    assert tells_rows_apart(model)
    handle.remove()
    assert not tells_rows_apart(model)
    assert torch.isfinite(model(torch.tensor([TEXTS[0]])).logits).all()
