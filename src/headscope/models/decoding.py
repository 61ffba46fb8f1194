"""Token-by-token decoding from prompts, with a key/value cache.

It does what ``generate`` does not: a repeated prompt is read once, and rows that have ended leave the batch. The caller
chooses each token. If rotary frequencies depend on a text's length, a row that reaches a length with other frequencies
is read again, because its cache holds keys rotated by the old ones.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from headscope.models.rotary import depends_on_length, frequency_regimes, full_text_lengths, own_text_lengths

SHRINK_AT = 0.875
"""Share of rows still running below which the batch is cut: a cut copies the cache, so not at every end."""

Choose = Callable[[Tensor, Tensor, int], Tensor]
"""Maps next-token logits [row, vocab], the index of each row's prompt [row] and the number of new tokens so far to the
next token of each row [row]."""

REREAD_TOKENS = 16384
"""Tokens of all rows together that go through at a time when rows are read again, after their prompts."""


@torch.no_grad()
def decode(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    choose: Choose,
    *,
    limit: int,
    stops: Sequence[int],
    keep_rows: bool = False,
) -> list[list[int]]:
    """Return up to ``limit`` new tokens for each prompt (token ids), including a stop token at the end.

    keep_rows: read every prompt in its own row and keep all rows to the end, for hooks that follow rows.
    """
    with own_text_lengths(model):
        return _decode(model, prompts, choose, limit, stops, keep_rows)


def _decode(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    choose: Choose,
    limit: int,
    stops: Sequence[int],
    keep_rows: bool,
) -> list[list[int]]:
    distinct = list(prompts) if keep_rows else sorted({tuple(prompt) for prompt in prompts})
    batch = _LengthDependentBatch(model, distinct, keep_rows) if depends_on_length(model) else _Batch(model, distinct)
    if not keep_rows:
        index_of = {prompt: index for index, prompt in enumerate(distinct)}
        batch.select(torch.tensor([index_of[tuple(prompt)] for prompt in prompts]))
    rows = torch.arange(len(prompts))
    stop = torch.tensor(list(stops), dtype=torch.long)
    written = torch.full((len(prompts), limit), -1)
    running = torch.ones(len(prompts), dtype=torch.bool)
    for step in range(limit):
        token = choose(batch.logits, rows, step).cpu()
        written[rows[running], step] = token[running]
        running = running & ~torch.isin(token, stop)
        if not running.any() or step == limit - 1:
            break
        if not keep_rows and running.float().mean() < SHRINK_AT:
            remaining = running.nonzero()[:, 0]
            batch.select(remaining)
            token, rows, running = token[remaining], rows[remaining], running[remaining]
        batch.append(token)
    return [row[row >= 0].tolist() for row in written]


class _Batch:
    """Left-padded rows of text with their cache.

    logits: of the next token, [row, vocab].
    """

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> None:
        ids = _pad_left(prompts)
        width = ids.shape[1]
        starts = torch.tensor([width - len(prompt) for prompt in prompts])
        self._model = model
        self._device = model.get_input_embeddings().weight.device
        self._cache = DynamicCache(config=model.config)
        # Attention is faster without a mask, so there is one only if a row is padded.
        self._mask = (torch.arange(width) >= starts[:, None]).long().to(self._device) if starts.any() else None
        self._length = 0
        self.logits = self._read(ids)

    def select(self, rows: Int[Tensor, "selected"]) -> None:
        """Continue with ``rows``, which may repeat."""
        self._cache.batch_select_indices(rows)
        self._mask = None if self._mask is None else self._mask[rows.to(self._device)]
        self.logits = self.logits[rows.to(self.logits.device)]

    def append(self, token: Int[Tensor, "row"]) -> None:
        """Add one more token to every row."""
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
            positions = torch.arange(start, self._length, device=self._device).expand(ids.shape)
        else:
            positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        logits: Tensor = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        return logits[:, -1]


class _LengthDependentBatch(_Batch):
    """Rows of a model whose rotary frequencies depend on a text's length.

    A row's regime identifies the frequencies of its length; when it changes, the row is read again.
    """

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Sequence[int]], keep_rows: bool) -> None:
        self._keep_rows = keep_rows  # every pass holds all rows
        self._lengths = torch.tensor([len(prompt) for prompt in prompts])
        self._ids = _pad_left(prompts)
        self._prompt_width = self._ids.shape[1]
        self._regimes = frequency_regimes(model, self._lengths)
        super().__init__(model, prompts)

    def select(self, rows: Int[Tensor, "selected"]) -> None:
        super().select(rows)
        self._select_texts(rows)

    def append(self, token: Int[Tensor, "row"]) -> None:
        before, self._lengths = self._regimes, self._lengths + 1
        self._ids = torch.cat([self._ids, token[:, None]], 1)
        self._regimes = frequency_regimes(self._model, self._lengths)
        changed = [row for row, regime in enumerate(self._regimes) if regime != before[row]]
        if changed and (self._keep_rows or len(changed) == len(token)):
            self._lengthen_mask()
            self._reread()
            return
        super().append(token)
        if changed:
            self._replace(torch.tensor(changed))

    def _replace(self, rows: Int[Tensor, "changed"]) -> None:
        """Read ``rows`` again and replace their logits, keys and values."""
        fresh = copy.copy(self)
        fresh._mask = None if self._mask is None else self._mask[rows.to(self._device)]
        fresh._select_texts(rows)
        fresh._reread()
        self.logits[rows.to(self.logits.device)] = fresh.logits
        for layer, fresh_layer in zip(self._cache.layers, fresh._cache.layers, strict=True):
            layer.keys[rows.to(layer.keys.device)] = fresh_layer.keys
            layer.values[rows.to(layer.values.device)] = fresh_layer.values

    def _reread(self) -> None:
        """Read the entire texts into a new cache: the prompts in one pass as before, then a part at a time."""
        self._cache, self._length = DynamicCache(config=self._model.config), 0
        self.logits = self._read(self._ids[:, : self._prompt_width])
        for part in torch.split(self._ids[:, self._prompt_width :], max(1, REREAD_TOKENS // len(self._ids)), dim=1):
            self.logits = self._read(part)

    def _select_texts(self, rows: Int[Tensor, "selected"]) -> None:
        self._ids, self._lengths = self._ids[rows], self._lengths[rows]
        self._regimes = [self._regimes[row] for row in rows.tolist()]

    def _read(self, ids: Int[Tensor, "row new"]) -> Float[Tensor, "row vocab"]:
        with full_text_lengths(self._lengths):
            return super()._read(ids)


def _pad_left(prompts: Sequence[Sequence[int]]) -> Int[Tensor, "row token"]:
    width = max(map(len, prompts))
    return torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
