"""The transformers engine: batches of responses, a stream of random numbers for each.

A token is drawn by temperature, nucleus, then the inverse cumulative distribution at the row's next uniform number. The
global generator of torch is never touched, and nothing of the model's own generation config acts but its stop tokens.

Requests are sorted by length and batched so that rows of one length stay together: without padding attention needs no
mask. Batches run side by side on the threads of a CPU.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from headscope.errors import InputError
from headscope.evaluation.sampling import Completion, Request, Sampling, check_room, completion_of
from headscope.model_files.chat_templates import stop_tokens
from headscope.models.decoding import Choose, decode
from headscope.models.hooks import tells_rows_apart
from headscope.models.threads import thread_pool
from headscope.progress import Bar, Progress

# Keys, values and logits of one batch. On a CPU the row limit binds first: beyond it small models fall out of
# the cache, below it every step costs what a few rows cost (lab-s: 200 × 16 answers take 8.7 CPU s at 256, 7.9 at 512).
CPU_BUDGET = 2 * 1024**3
CPU_ROWS = 512
GPU_SHARE = 0.5
GPU_ROWS = 1024


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
    check_room(longest, sampling.max_new_tokens, context)
    by_row = tells_rows_apart(model)
    rows = batch_size or rows_that_fit(model, longest + sampling.max_new_tokens)
    batches = _batches(requests, rows)
    stops = frozenset(stop_tokens(tokenizer, model.generation_config))
    pad = getattr(tokenizer, "pad_token_id", None)
    completions: list[Completion] = []
    with progress.bar("sampling", len(requests)) as bar, _evaluating(model):
        told = _Told(bar)

        def complete(batch: Sequence[Request]) -> list[list[int]]:
            return decode(
                model,
                [request.tokens for request in batch],
                _drawer(batch, sampling, told),
                limit=sampling.max_new_tokens,
                stops=sorted(stops),
                keep_rows=by_row,
            )

        with thread_pool(model, 1 if by_row else len(batches)) as threads:
            for batch, found in zip(batches, threads.map(complete, batches), strict=True):
                for request, tokens in zip(batch, found, strict=True):
                    completions.append(completion_of(request, tokens, stops, pad, tokenizer))
                told.advance(len(batch))
    return completions


def _batches(requests: Sequence[Request], rows: int) -> list[list[Request]]:
    """Of up to ``rows``, longest first; a new one where the length changes, if half of the last is full."""
    batches: list[list[Request]] = []
    for request in sorted(requests, key=lambda each: (-len(each.tokens), each.prompt)):
        last = batches[-1] if batches else []
        changes = bool(last) and len(last[-1].tokens) != len(request.tokens)
        if not last or len(last) >= rows or (changes and 2 * len(last) >= rows):
            batches.append([])
        batches[-1].append(request)
    return batches


class _Told:
    """A bar that several threads advance."""

    def __init__(self, bar: Bar) -> None:
        self._bar, self._lock = bar, Lock()

    def advance(self, count: int, note: str = "") -> None:
        with self._lock:
            self._bar.advance(count, note=note)


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


def _drawer(batch: Sequence[Request], sampling: Sampling, told: _Told) -> Choose:
    """Each row at its own place in its random stream."""
    streams = [np.random.default_rng(request.seed) for request in batch]
    uniforms = torch.from_numpy(
        np.stack([stream.random(sampling.max_new_tokens, dtype=np.float32) for stream in streams])
    )

    def choose(logits: torch.Tensor, rows: torch.Tensor, step: int) -> torch.Tensor:
        if not torch.isfinite(logits.amax(dim=-1)).all():
            raise InputError(f"the model's logits are not finite at new token {step + 1}; check its weights")
        if step % 64 == 63:
            told.advance(0, note=f"token {step + 1}")
        uniform = uniforms[rows, step].to(logits.device)
        return draw(logits, uniform, temperature=float(sampling.temperature), top_p=float(sampling.top_p))

    return choose


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
