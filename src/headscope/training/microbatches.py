"""GRPO's step cut into micro-batches of like length, without padding and without completions that carry no
gradient.

The paper's loss is a mean over completions of a mean over each one's tokens. So (a) completions may be
grouped by length and padding cut, and (b) without a KL term a completion of advantage 0 adds exactly 0 to the
gradient and need not be run. Both leave the gradient as it was up to the order of summation; a binary reward makes
most early groups of kind (b).
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor


def micro_batches(batch: dict[str, Any], count: int, *, drop_zero: bool) -> list[dict[str, Any]]:
    """Split TRL's scored batch into ``count`` micro-batches, longest completions first.

    Tensors of shape [completion, …] are split; anything else is shared. Advantages are rescaled by
    rows × count / total, which undoes that TRL averages over a micro-batch's own rows and then over
    micro-batches.
    """
    total = len(batch["completion_ids"])
    order = _rows_to_run(batch["advantages"], batch["completion_mask"].sum(1), count, drop_zero=drop_zero)
    return [_take(batch, rows, count / total) for rows in order.tensor_split(count)]


def _rows_to_run(
    advantages: Float[Tensor, " completion"],
    lengths: Int[Tensor, " completion"],
    count: int,
    *,
    drop_zero: bool,
) -> Int[Tensor, " row"]:
    order = lengths.argsort(descending=True, stable=True)
    if not drop_zero:
        return order
    kept = order[advantages[order] != 0]
    if len(kept) >= count:
        return kept
    # Trainer asks for ``count`` micro-batches, so each has a row even where no completion carries a gradient.
    idle = order[advantages[order] == 0]
    return torch.cat([kept, idle.flip(0)[: count - len(kept)]])


def _take(batch: dict[str, Any], rows: Int[Tensor, " row"], weight: float) -> dict[str, Any]:
    total = len(batch["completion_ids"])
    taken = {
        key: value[rows] if isinstance(value, Tensor) and value.ndim > 0 and len(value) == total else value
        for key, value in batch.items()
    }
    taken["advantages"] = taken["advantages"] * (len(rows) * weight)
    prompt = int(taken["prompt_mask"].sum(1).max())
    completion = max(int(taken["completion_mask"].sum(1).max()), 1)
    for key in ("prompt_ids", "prompt_mask"):  # padded on the left
        taken[key] = taken[key][:, taken[key].shape[1] - prompt :]
    for key in (
        "completion_ids",
        "completion_mask",
        "ref_per_token_logps",
        "old_per_token_logps",
        "sampling_per_token_logps",
    ):
        if key in taken:
            taken[key] = taken[key][:, :completion]
    return taken
