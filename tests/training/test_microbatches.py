"""Lean micro-batches: the plain gradient, from the rows that matter, without the padding."""

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from headscope.training.microbatches import micro_batches


def _batch(lengths: list[int], advantages: list[float]) -> dict[str, Any]:
    """Row i: i + 1 prompt tokens padded left, ``lengths[i]`` completion tokens padded right, ids i + 1."""
    rows, widest = len(lengths), max(lengths)
    mask = (torch.arange(widest) < torch.tensor(lengths)[:, None]).int()
    prompt = (torch.arange(rows).flip(0) <= torch.arange(rows)[:, None]).int()
    return {
        "prompt_ids": prompt * (1 + torch.arange(rows))[:, None],
        "prompt_mask": prompt,
        "completion_ids": mask * (1 + torch.arange(rows))[:, None],
        "completion_mask": mask,
        "advantages": torch.tensor(advantages),
        "num_items_in_batch": mask.sum(),
    }


def _loss(batches: list[dict[str, Any]], weight: Tensor) -> Tensor:
    """The paper's loss as TRL sums it, over tokens, rows, micro-batches; a token's 'ratio' is weight[id]."""
    parts = []
    for batch in batches:
        tokens = weight[batch["completion_ids"]] * batch["advantages"][:, None] * batch["completion_mask"]
        parts.append((tokens.sum(1) / batch["completion_mask"].sum(1)).mean() / len(batches))
    return torch.stack(parts).sum()


@settings(max_examples=40)
@given(st.data())
def test_gradient_is_unchanged(data: st.DataObject) -> None:
    rows = data.draw(st.integers(2, 9))
    count = data.draw(st.integers(1, rows))
    lengths = data.draw(st.lists(st.integers(1, 7), min_size=rows, max_size=rows))
    advantages = data.draw(st.lists(st.sampled_from([0.0, 0.0, 1.5, -0.5]), min_size=rows, max_size=rows))
    batch = _batch(lengths, advantages)
    gradients = []
    for batches in ([batch], *(micro_batches(batch, count, drop_zero=drop) for drop in (False, True))):
        weight = torch.ones(rows + 1, requires_grad=True)
        _loss(batches, weight).backward()
        gradients.append(weight.grad)
    torch.testing.assert_close(gradients[1], gradients[0])
    torch.testing.assert_close(gradients[2], gradients[0])


def test_rows_without_advantage_are_left_out_and_padding_is_cut() -> None:
    first, second = micro_batches(_batch([2, 6, 4, 5], [1.0, -1.0, 0.0, 2.0]), 2, drop_zero=True)
    assert first["completion_ids"].tolist() == [[2, 2, 2, 2, 2, 2], [4, 4, 4, 4, 4, 0]]
    assert first["prompt_ids"].tolist() == [[0, 0, 2, 2], [4, 4, 4, 4]]
    assert second["completion_ids"].tolist() == [[1, 1]]
    assert second["prompt_ids"].tolist() == [[1]]
    # Mean over 2 rows and over 2 micro-batches is a quarter each, as over 4 rows; the single row is halved.
    assert first["advantages"].tolist() == [-1.0, 2.0]
    assert second["advantages"].tolist() == [0.5]


def test_every_micro_batch_has_a_row() -> None:
    batches = micro_batches(_batch([1, 2, 3, 4], [0.0, 0.0, 0.0, 0.0]), 2, drop_zero=True)
    assert [batch["completion_ids"].shape for batch in batches] == [(1, 1), (1, 2)]
