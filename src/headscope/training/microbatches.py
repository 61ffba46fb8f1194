"""Cut GRPO's step into micro-batches of similar length, without padding and without completions that carry no gradient.

The paper's loss is a mean over completions of a mean over the tokens of each. So (a) completions may be grouped by
length and padding cut, and (b) without a KL term a completion of advantage 0 adds exactly 0 to the gradient and need
not be run. Both leave the gradient as it was up to the order of summation; a binary reward makes most early groups of
kind (b).
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

Batch = dict[str, Any]
"""TRL's scored completions: tensors by completion, and what all completions share."""


def micro_batches(batch: Batch, count: int, *, drop_zero: bool) -> list[Batch]:
    """Split TRL's scored batch into ``count`` micro-batches, longest completions first.

    Tensors of shape [completion, …] are split; anything else is shared.

    drop_zero: leave out completions of advantage 0.
    """
    # TRL averages over a micro-batch's own rows and then over micro-batches. Advantages scaled by rows × count / total
    # make that the mean over all completions again.
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
    """Return the rows that are run, longest completion first."""
    order = lengths.argsort(descending=True, stable=True)
    if not drop_zero:
        return order
    learned = order[advantages[order] != 0]
    if len(learned) >= count:
        return learned
    # Trainer asks for ``count`` micro-batches, so each has a row even if no completion carries a gradient, a short one.
    idle = order[advantages[order] == 0]
    return torch.cat([learned, idle.flip(0)[: count - len(learned)]])


def _take(batch: Batch, rows: Int[Tensor, " row"], weight: float) -> Batch:
    """Return the micro-batch of ``rows``, its padding cut, its advantages multiplied by ``weight`` per row."""
    total = len(batch["completion_ids"])
    part: Batch = {}
    for key, tensor in batch.items():
        is_by_completion = isinstance(tensor, Tensor) and tensor.ndim > 0 and len(tensor) == total
        part[key] = tensor[rows] if is_by_completion else tensor
    part["advantages"] = part["advantages"] * (len(rows) * weight)
    prompt = int(part["prompt_mask"].sum(1).max())
    # One column at least, also if every completion of the micro-batch is empty.
    completion = max(int(part["completion_mask"].sum(1).max()), 1)
    for key in ("prompt_ids", "prompt_mask"):  # padded on the left
        part[key] = part[key][:, part[key].shape[1] - prompt :]
    for key in (
        "completion_ids",
        "completion_mask",
        "ref_per_token_logps",
        "old_per_token_logps",
        "sampling_per_token_logps",
    ):
        if key in part:
            part[key] = part[key][:, :completion]
    return part
