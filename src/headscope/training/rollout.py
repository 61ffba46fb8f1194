"""Sampling completions for GRPO on a CPU, where every row of the batch costs time (``models.decoding``)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from headscope.models.decoding import decode


def sample_completions(
    model: Any, prompts: Sequence[Sequence[int]], *, limit: int, temperature: float, stops: Sequence[int]
) -> list[list[int]]:
    """Sample up to ``limit`` tokens after each prompt; a completion includes the stop token that ended it.

    The distribution of ``generate``: softmax of logits / temperature, one draw per token, from torch's own generator.
    """

    def choose(logits: Tensor, rows: Tensor, step: int) -> Tensor:
        return torch.multinomial(torch.softmax(logits.float() / temperature, -1), 1)[:, 0]

    return decode(model, prompts, choose, limit=limit, stops=stops)
