"""Writing on from prompts token by token, with a key/value cache.

Two things ``generate`` does not do: a prompt asked for several times is read once, and rows that have ended leave the
batch. How a token is chosen is the caller's.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

SHRINK_AT = 0.875
"""Share of rows still running below which the batch is cut: a cut copies the cache, so not at every end."""

Choose = Callable[[Tensor, Tensor, int], Tensor]
"""From next-token logits [row, vocab], which prompts the rows are of [row] and the number of new tokens so far to the
next token of each row [row]."""


@torch.no_grad()
def written_on(
    model: Any,
    prompts: Sequence[Sequence[int]],
    choose: Choose,
    *,
    limit: int,
    stops: Sequence[int],
    keep_rows: bool = False,
) -> list[list[int]]:
    """Up to ``limit`` new tokens after each prompt (token ids), the stop token that ended one included.

    keep_rows: read every prompt in a row of its own and keep all rows to the end, for hooks that follow rows.
    """
    distinct = list(prompts) if keep_rows else sorted({tuple(prompt) for prompt in prompts})
    text = _Text(model, distinct)
    if not keep_rows:
        place = {prompt: at for at, prompt in enumerate(distinct)}
        text.take(torch.tensor([place[tuple(prompt)] for prompt in prompts]))
    rows, stop = torch.arange(len(prompts)), torch.tensor(list(stops), dtype=torch.long)
    written = torch.full((len(prompts), limit), -1)
    running = torch.ones(len(prompts), dtype=torch.bool)
    for step in range(limit):
        token = choose(text.logits, rows, step).cpu()
        written[rows[running], step] = token[running]
        running = running & ~torch.isin(token, stop)
        if not running.any() or step == limit - 1:
            break
        if not keep_rows and running.float().mean() < SHRINK_AT:
            kept = running.nonzero()[:, 0]
            text.take(kept)
            token, rows, running = token[kept], rows[kept], running[kept]
        text.append(token)
    return [row[row >= 0].tolist() for row in written]


class _Text:
    """Left-padded rows of text: their cache, and what comes next.

    logits: of the next token, [row, vocab]. mask: None where no row is padded, which attention is faster for.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]]) -> None:
        width = max(map(len, prompts))
        starts = torch.tensor([width - len(prompt) for prompt in prompts])
        ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
        self._model, self._device = model, model.get_input_embeddings().weight.device
        self._cache = DynamicCache(config=model.config)
        self._mask = (torch.arange(width) >= starts[:, None]).long().to(self._device) if starts.any() else None
        self._length = 0
        self.logits = self._read(ids)

    def take(self, rows: Int[Tensor, "kept"]) -> None:
        """Go on with ``rows``, which may repeat."""
        self._cache.batch_select_indices(rows)
        self._mask = None if self._mask is None else self._mask[rows.to(self._device)]
        self.logits = self.logits[rows.to(self.logits.device)]

    def append(self, token: Int[Tensor, "row"]) -> None:
        """One more token in every row."""
        if self._mask is not None:
            self._mask = torch.cat([self._mask, self._mask.new_ones(len(self._mask), 1)], 1)
        self.logits = self._read(token[:, None])

    def _read(self, ids: Int[Tensor, "row new"]) -> Float[Tensor, "row vocab"]:
        ids = ids.to(self._device)
        if self._mask is None:
            places = torch.arange(self._length, self._length + ids.shape[1], device=self._device).expand(ids.shape)
        else:
            places = (self._mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        self._length += ids.shape[1]
        logits: Tensor = self._model(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=places,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        return logits[:, -1]
