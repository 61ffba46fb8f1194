"""The transformers engine: batched, left-padded ``generate`` with a random stream per row.

``generate`` runs greedily over logits from which ``NucleusDraw`` has already drawn the token: temperature,
nucleus, then the inverse cumulative distribution at the row's next uniform number. The global generator of
torch is never touched.

Responses end at very different lengths, and a batch lasts as long as its longest. So sampling goes in rounds: after the
first few tokens what goes on is gathered into full batches again, and read once more to fill their caches.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from headscope.errors import InputError
from headscope.evaluation.sampling import Completion, Request, Sampling, completion_of
from headscope.progress import Bar, Progress

# Keys, values and logits of one batch. On a CPU the row limit binds first: beyond it small models fall out of
# the cache (4 layers, d 64, 100 positions: 15 ms per step at 256 rows, 40 ms at 512).
CPU_BUDGET = 2 * 1024**3
CPU_ROWS = 256
GPU_SHARE = 0.5
GPU_ROWS = 1024
# New tokens by which a round ends; the last goes on to the limit. Later ones would read too long texts at once.
ROUNDS = (16, 64, 256)


def generate(
    model: Any,
    tokenizer: Any,
    requests: Sequence[Request],
    sampling: Sampling,
    *,
    batch_size: int | None,
    progress: Progress,
) -> list[Completion]:
    """Complete every request, in no particular order; see ``sampling.sample``."""
    longest = max(len(request.tokens) for request in requests)
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if context is not None and longest + sampling.max_new_tokens > context:
        raise InputError(
            f"a prompt of {longest} tokens and {sampling.max_new_tokens} new ones exceed "
            f"the model's context of {context}; lower max_new_tokens to {context - longest}"
        )
    pending = [_Pending(request) for request in requests]
    completions: list[Completion] = []
    with progress.bar("sampling", len(requests)) as bar, torch.inference_mode(), _plain_generation(model):
        for limit in _rounds(model, sampling.max_new_tokens):
            finished, pending = _round(model, tokenizer, pending, limit, sampling, batch_size=batch_size, bar=bar)
            completions += finished
    return completions


@dataclass(frozen=True, slots=True)
class _Pending:
    """A response under way: what was asked, and its new tokens so far."""

    request: Request
    new: tuple[int, ...] = ()

    @property
    def tokens(self) -> tuple[int, ...]:
        """Prompt and new tokens."""
        return (*self.request.tokens, *self.new)


def _rounds(model: Any, max_new_tokens: int) -> list[int]:
    """New tokens by which each round ends. Hooks may follow the rows of a pass from its prompt on, and what they read
    must not begin anew in the middle of an answer: with any hook on the model there is one round.
    """
    hooked = any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    return [*(limit for limit in ROUNDS if limit < max_new_tokens and not hooked), max_new_tokens]


def _round(
    model: Any,
    tokenizer: Any,
    pending: Sequence[_Pending],
    limit: int,
    sampling: Sampling,
    *,
    batch_size: int | None,
    bar: Bar,
) -> tuple[list[Completion], list[_Pending]]:
    """Continue every response up to ``limit`` new tokens: those that ended, and those that go on."""
    ordered = sorted(pending, key=lambda each: len(each.tokens), reverse=True)
    stops, pad = _stop_tokens(model, tokenizer), getattr(tokenizer, "pad_token_id", None)
    finished: list[Completion] = []
    unfinished: list[_Pending] = []
    start = 0
    while start < len(ordered):
        width = len(ordered[start].tokens) + limit - len(ordered[start].new)
        batch = ordered[start : start + (batch_size or rows_that_fit(model, width))]
        start += len(batch)
        told = len(finished)
        for each, row in zip(batch, _continued(model, tokenizer, batch, limit, sampling, bar), strict=True):
            new = (*each.new, *row)
            if limit == sampling.max_new_tokens or not stops.isdisjoint(row):
                finished.append(completion_of(each.request, new, stops, pad, tokenizer))
            else:
                unfinished.append(_Pending(each.request, new))
        bar.advance(len(finished) - told)
    return finished, unfinished


def rows_that_fit(model: Any, width: int) -> int:
    """Rows per batch whose keys, values (``width`` positions) and logits fit the memory budget: at least one.

    Budget: CPU_BUDGET on a CPU, GPU_SHARE of the free memory on a GPU; never above CPU_ROWS or GPU_ROWS rows.
    """
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    cached = 2 * config.num_hidden_layers * heads * head_size * width * model.dtype.itemsize
    drawn = 6 * 4 * config.vocab_size  # float32 logits, their sorted copy, probabilities, cumulative sums, sort indices
    on_gpu = model.device.type == "cuda"
    budget = GPU_SHARE * torch.cuda.mem_get_info(model.device)[0] if on_gpu else CPU_BUDGET
    # Twice the cache: growing it copies it.
    return int(max(1, min(GPU_ROWS if on_gpu else CPU_ROWS, budget // (2 * cached + drawn))))


def draw(
    logits: Float[torch.Tensor, "row vocab"],
    uniform: Float[torch.Tensor, "row"],
    *,
    temperature: float,
    top_p: float,
) -> Int[torch.Tensor, "row"]:
    """One token per row by nucleus sampling (Holtzman et al. 2020), at the quantile ``uniform`` in [0, 1) of
    its nucleus.

    The nucleus is the smallest set of most likely tokens with mass ≥ top_p. Temperature 0 takes the most
    likely token.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = torch.softmax(logits.float() / temperature, dim=-1)
    if top_p == 1:
        return _quantile(probabilities, probabilities.cumsum(dim=-1), uniform)
    ranked, tokens = probabilities.sort(dim=-1, descending=True, stable=True)
    mass = ranked.cumsum(dim=-1)
    kept = torch.where(mass - ranked < top_p, ranked, 0.0)
    rank = _quantile(kept, kept.cumsum(dim=-1), uniform)
    return tokens.gather(1, rank[:, None])[:, 0]


def _quantile(
    weights: Float[torch.Tensor, "row vocab"],
    cumulative: Float[torch.Tensor, "row vocab"],
    uniform: Float[torch.Tensor, "row"],
) -> Int[torch.Tensor, "row"]:
    """The first index whose cumulative weight exceeds ``uniform`` of the total: never one of weight zero."""
    target = uniform[:, None] * cumulative[:, -1:]
    index = torch.searchsorted(cumulative, target, right=True)[:, 0]
    # Rounding can put the target on the total itself; fall back to the last index that has weight.
    positions = torch.arange(weights.shape[1], device=weights.device)
    last = torch.where(weights > 0, positions, 0).amax(dim=-1)
    return torch.minimum(index, last)


class NucleusDraw(LogitsProcessor):  # type: ignore[misc]
    """Leaves one finite logit per row, that of the drawn token, so that greedy decoding takes it.

    uniforms: float32 [row, step] in [0, 1). done: new tokens drawn before, for what is told.
    """

    def __init__(self, uniforms: torch.Tensor, sampling: Sampling, bar: Bar, done: int = 0) -> None:
        self._uniforms = uniforms
        self._shape = {"temperature": float(sampling.temperature), "top_p": float(sampling.top_p)}
        self._bar = bar
        self._done = done
        self._step = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if not torch.isfinite(scores.amax(dim=-1)).all():
            raise InputError(
                f"the model's logits are not finite at new token {self._done + self._step + 1}; check its weights"
            )
        uniform = self._uniforms[:, self._step].to(scores.device)
        tokens = draw(scores, uniform, **self._shape)
        self._step += 1
        if self._step % 64 == 0:
            self._bar.advance(0, note=f"token {self._done + self._step}")
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens[:, None], 0.0)


def _continued(
    model: Any, tokenizer: Any, batch: Sequence[_Pending], limit: int, sampling: Sampling, bar: Bar
) -> list[list[int]]:
    """The next tokens of every row, up to ``limit`` in all, each at its own place in its random stream."""
    stops = _stop_tokens(model, tokenizer)
    pad = getattr(tokenizer, "pad_token_id", None)
    fill = pad if pad is not None else min(stops, default=0)
    ids, mask = _left_padded([each.tokens for each in batch], fill)
    done = len(batch[0].new)  # the same for all rows of a round
    uniforms = np.stack(
        [np.random.default_rng(each.request.seed).random(limit, dtype=np.float32)[done:] for each in batch]
    )
    config = GenerationConfig(
        max_new_tokens=limit - done,
        do_sample=False,
        use_cache=True,
        pad_token_id=fill,
        eos_token_id=sorted(stops) or None,
    )
    drawer = NucleusDraw(torch.from_numpy(uniforms).to(model.device), sampling, bar, done)
    output = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        generation_config=config,
        logits_processor=LogitsProcessorList([drawer]),
    )
    rows: list[list[int]] = output[:, ids.shape[1] :].tolist()
    return rows


def _left_padded(
    texts: Sequence[tuple[int, ...]], fill: int
) -> tuple[Int[torch.Tensor, "row t"], Int[torch.Tensor, "row t"]]:
    width = max(map(len, texts))
    ids = torch.full((len(texts), width), fill, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(texts):
        ids[row, width - len(tokens) :] = torch.tensor(tokens)
        mask[row, width - len(tokens) :] = 1
    return ids, mask


def _stop_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every id that ends a response: the tokenizer's and the generation config's (chat models name several there)."""
    configured = model.generation_config.eos_token_id
    named = configured if isinstance(configured, list) else [configured]
    return frozenset(int(token) for token in [tokenizer.eos_token_id, *named] if token is not None)


@contextmanager
def _plain_generation(model: Any) -> Iterator[None]:
    """Evaluation mode, and a neutral generation config.

    ``generate`` fills every unset field from the model's own config: shipped ones set a repetition penalty or
    top_k, which would change the distribution behind the caller's back. Stop tokens are read before each
    batch, so they are kept.
    """
    config, training = model.generation_config, model.training
    model.generation_config = GenerationConfig(eos_token_id=config.eos_token_id)
    model.eval()
    try:
        yield
    finally:
        model.generation_config = config
        model.train(training)
