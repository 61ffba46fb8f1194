"""Writing on from prompts: every row as if alone, on every architecture, whichever rows share a batch or have ended."""

from typing import Any

import pytest
import torch
from torch import Tensor

from headscope.models import ARCHITECTURES
from headscope.models.decoding import decode

pytestmark = pytest.mark.usefixtures("float64")

PROMPTS = [[1, 5, 9, 3], [1, 7], [1, 5, 9, 3], [1, 8, 2, 6, 4, 11, 12]]
LIMIT = 9


def greedy(logits: Tensor, rows: Tensor, step: int) -> Tensor:
    return logits.argmax(-1)


def plainly(model: Any, prompt: list[int]) -> list[int]:
    ids = list(prompt)
    for _ in range(LIMIT):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("keep_rows", [False, True])
def test_every_row_is_written_as_if_alone(tiny_model: Any, architecture: str, keep_rows: bool) -> None:
    model = tiny_model(architecture)
    expected = [plainly(model, prompt) for prompt in PROMPTS]
    assert decode(model, PROMPTS, greedy, limit=LIMIT, stops=[], keep_rows=keep_rows) == expected
    equal = [PROMPTS[0], PROMPTS[2], [4, 3, 2, 1]]  # none padded
    decoded = decode(model, equal, greedy, limit=LIMIT, stops=[], keep_rows=keep_rows)
    assert decoded == [expected[0], expected[2], plainly(model, equal[2])]
    stop = expected[1][3]
    cut = [row[: row.index(stop) + 1] if stop in row else row for row in expected]
    assert decode(model, PROMPTS, greedy, limit=LIMIT, stops=[stop], keep_rows=keep_rows) == cut


def test_a_prompt_is_read_once_and_rows_that_ended_leave(tiny_model: Any) -> None:
    model, sizes = tiny_model("qwen3"), []
    expected = [plainly(model, prompt) for prompt in PROMPTS]
    handle = model.get_input_embeddings().register_forward_hook(lambda _m, _a, out: sizes.append(tuple(out.shape[:2])))
    decode(model, PROMPTS, greedy, limit=LIMIT, stops=[expected[1][0]])
    handle.remove()
    assert sizes[0] == (3, 7)  # two of the four prompts are one
    assert sizes[1][0] < 4
