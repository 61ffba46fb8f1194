"""Writing on from prompts token by token, with a key/value cache.

Two things ``generate`` does not do: a prompt asked for several times is read once, and rows that have ended leave the
batch. How a token is chosen is the caller's. Where rotary frequencies depend on a text's length, a third: a row that
comes to a length of other frequencies is read anew, for its cache holds keys turned by the old ones.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

from headscope.models.rotary import depends_on_length, frequency_regimes, full_text_lengths, own_text_lengths

SHRINK_AT = 0.875
"""Share of rows still running below which the batch is cut: a cut copies the cache, so not at every end."""

Choose = Callable[[Tensor, Tensor, int], Tensor]
"""From next-token logits [row, vocab], which prompts the rows are of [row] and the number of new tokens so far to the
next token of each row [row]."""

ANEW_TOKENS = 16384
"""Tokens of all rows together that go through at a time when rows are read anew, once their prompts are through."""


@torch.no_grad()
def decode(
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
    with own_text_lengths(model):
        return _written_on(model, prompts, choose, limit, stops, keep_rows)


def _written_on(
    model: Any, prompts: Sequence[Sequence[int]], choose: Choose, limit: int, stops: Sequence[int], keep_rows: bool
) -> list[list[int]]:
    distinct = list(prompts) if keep_rows else sorted({tuple(prompt) for prompt in prompts})
    text = _TurnedText(model, distinct, keep_rows) if depends_on_length(model) else _Text(model, distinct)
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
        self._lengthen_mask()
        self.logits = self._read(token[:, None])

    def _lengthen_mask(self) -> None:
        if self._mask is not None:
            self._mask = torch.cat([self._mask, self._mask.new_ones(len(self._mask), 1)], 1)

    def _read(self, ids: Int[Tensor, "row new"]) -> Float[Tensor, "row vocab"]:
        ids = ids.to(self._device)
        start, self._length = self._length, self._length + ids.shape[1]
        mask = None if self._mask is None else self._mask[:, : self._length]
        if mask is None:
            places = torch.arange(start, self._length, device=self._device).expand(ids.shape)
        else:
            places = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        logits: Tensor = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=places,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        return logits[:, -1]


class _TurnedText(_Text):
    """Rows of a model whose rotary frequencies depend on a text's length.

    keep_rows: every pass holds all rows. lengths: of the rows' texts. regimes: of their frequencies.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], keep_rows: bool) -> None:
        self._keep_rows, self._width = keep_rows, max(map(len, prompts))
        self._lengths = torch.tensor([len(prompt) for prompt in prompts])
        self._ids = torch.tensor([[0] * (self._width - len(prompt)) + list(prompt) for prompt in prompts])
        self._regimes = frequency_regimes(model, self._lengths)
        super().__init__(model, prompts)

    def take(self, rows: Int[Tensor, "kept"]) -> None:
        super().take(rows)
        self._take_texts(rows)

    def append(self, token: Int[Tensor, "row"]) -> None:
        before, self._lengths = self._regimes, self._lengths + 1
        self._ids = torch.cat([self._ids, token[:, None]], 1)
        self._regimes = frequency_regimes(self._model, self._lengths)
        changed = [row for row, regime in enumerate(self._regimes) if regime != before[row]]
        if changed and (self._keep_rows or len(changed) == len(token)):
            self._lengthen_mask()
            self._read_anew()
            return
        super().append(token)
        if changed:
            self._replace(torch.tensor(changed))

    def _replace(self, rows: Int[Tensor, "changed"]) -> None:
        """Put what ``rows`` give when they are read anew in the place of their logits, keys and values."""
        anew = copy.copy(self)
        anew._mask = None if self._mask is None else self._mask[rows.to(self._device)]
        anew._take_texts(rows)
        anew._read_anew()
        self.logits[rows.to(self.logits.device)] = anew.logits
        for ours, theirs in zip(self._cache.layers, anew._cache.layers, strict=True):
            ours.keys[rows.to(ours.keys.device)] = theirs.keys
            ours.values[rows.to(ours.values.device)] = theirs.values

    def _read_anew(self) -> None:
        """Read the whole texts into a new cache: the prompts in one pass as at first, then a part at a time."""
        self._cache, self._length = DynamicCache(config=self._model.config), 0
        self.logits = self._read(self._ids[:, : self._width])
        for part in torch.split(self._ids[:, self._width :], max(1, ANEW_TOKENS // len(self._ids)), dim=1):
            self.logits = self._read(part)

    def _take_texts(self, rows: Int[Tensor, "kept"]) -> None:
        self._ids, self._lengths = self._ids[rows], self._lengths[rows]
        self._regimes = [self._regimes[row] for row in rows.tolist()]

    def _read(self, ids: Int[Tensor, "row new"]) -> Float[Tensor, "row vocab"]:
        with full_text_lengths(self._lengths):
            return super()._read(ids)
