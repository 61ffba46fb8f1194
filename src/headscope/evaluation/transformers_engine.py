"""The transformers engine: batches of responses, a stream of random numbers for each.

A token is drawn by temperature, min-p, top-k, nucleus (vLLM's order, so that both engines draw from one distribution),
then the inverse cumulative distribution at the row's next uniform number. The
global generator of torch is never touched, and nothing of the model's own generation config acts but its stop tokens.

Requests are sorted by length and batched so that rows of one length stay together: without padding attention needs no
mask. Batches run side by side on the threads of a CPU.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int

from headscope.errors import InputError, OutOfMemoryError, is_out_of_memory
from headscope.evaluation.completions import Completion, Request, Sampling, check_room, decode_completion
from headscope.evaluation.forbidden import ForbiddenTokens, forbidden_tokens
from headscope.model_files.chat_templates import stop_tokens
from headscope.models.decoding import Choose, decode
from headscope.models.hooks import tells_rows_apart
from headscope.models.memory import Limit, pass_budget
from headscope.models.threads import thread_pool
from headscope.models.wrappers import evaluation_mode
from headscope.pairs.tokens import check_texts_fit
from headscope.progress import Bar, Progress

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Bytes for the keys, values and logits of one batch. On a CPU the row limit binds first: beyond it small models fall
# out of the cache, below it every step costs what a few rows cost (lab-s: 200 × 16 answers take 8.7 CPU s at 256, 7.9
# at 512).
CPU_BUDGET = 2 * 1024**3
CPU_ROWS = 512
GPU_SHARE = 0.5
GPU_ROWS = 1024


def generate(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    requests: Sequence[Request],
    sampling: Sampling,
    *,
    batch_size: int | None,
    progress: Progress,
) -> list[Completion]:
    """Complete every request, in no particular order; see ``sampling.sample``.

    Raises InputError for a token that the model does not have, and OutOfMemoryError if a single request does not fit in
    memory; larger batches that do not fit are halved.
    """
    longest = max(len(request.tokens) for request in requests)
    check_texts_fit([request.tokens for request in requests], model.get_input_embeddings().weight.shape[0])
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    check_room(longest, sampling.max_new_tokens, context)
    by_row = tells_rows_apart(model)
    rows = batch_size or rows_that_fit(model, longest + sampling.max_new_tokens)
    batches = _batches(requests, rows)
    stops = frozenset(stop_tokens(tokenizer, model.generation_config))
    forbidden = forbidden_tokens(tokenizer, sampling.forbid, stops)
    pad = getattr(tokenizer, "pad_token_id", None)
    completions: list[Completion] = []
    with progress.bar("sampling", len(requests)) as bar, evaluation_mode(model):
        shared_bar = _SharedBar(bar)
        limit = Limit()

        def complete_part(batch: Sequence[Request]) -> list[list[int]]:
            return decode(
                model,
                [request.tokens for request in batch],
                _chooser(batch, sampling, shared_bar, forbidden),
                limit=sampling.max_new_tokens,
                stops=sorted(stops),
                keep_rows=by_row,
            )

        def complete(batch: Sequence[Request]) -> list[list[int]]:
            parts = limit.run_parts(len(batch), len(batch), lambda part: complete_part(batch[part]))
            with _refuse_if_too_long(batch, sampling):
                return [tokens for _, responses in parts for tokens in responses]

        # A hook that follows rows holds state for one batch, so such batches run one after another.
        with thread_pool(model, 1 if by_row else len(batches)) as threads:
            for batch, responses in zip(batches, threads.map(complete, batches), strict=True):
                for request, tokens in zip(batch, responses, strict=True):
                    completions.append(decode_completion(request, tokens, stops, pad, tokenizer))
                shared_bar.advance(len(batch), "out of memory: fewer answers at a time" if limit.halvings else "")
    return completions


@contextmanager
def _refuse_if_too_long(batch: Sequence[Request], sampling: Sampling) -> Iterator[None]:
    """Raise OutOfMemoryError if memory runs out in the block, even with one answer at a time."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"sampling ran out of memory with one answer at a time, of up to {sampling.max_new_tokens} tokens after a "
            f"prompt of {max(len(request.tokens) for request in batch)}; lower max_new_tokens or take a device with "
            "more memory"
        ) from error


def _batches(requests: Sequence[Request], rows: int) -> list[list[Request]]:
    """Split requests into batches of up to ``rows``, longest first; a change of length begins a new batch if the last
    is at least half full.
    """
    batches: list[list[Request]] = []
    for request in sorted(requests, key=lambda request: (-len(request.tokens), request.prompt)):
        last = batches[-1] if batches else []
        changes = bool(last) and len(last[-1].tokens) != len(request.tokens)
        if not last or len(last) >= rows or (changes and 2 * len(last) >= rows):
            batches.append([])
        batches[-1].append(request)
    return batches


class _SharedBar:
    """A bar that several threads advance."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._lock = Lock()

    def advance(self, count: int, note: str = "") -> None:
        with self._lock:
            self._bar.advance(count, note=note)


def rows_that_fit(model: "PreTrainedModel", width: int) -> int:
    """Return how many rows of a batch have keys, values (``width`` positions) and logits within the memory budget.

    Budget: CPU_BUDGET on a CPU, GPU_SHARE of the free memory on a GPU. At least one row, at most CPU_ROWS or GPU_ROWS.
    """
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    cached = 2 * config.num_hidden_layers * heads * head_size * width * model.dtype.itemsize
    drawn = 6 * 4 * config.vocab_size  # float32 logits, their sorted copy, probabilities, cumulative sums, sort indices
    most = GPU_ROWS if model.device.type == "cuda" else CPU_ROWS
    row_bytes: int = 2 * cached + drawn  # twice the cache: growing it copies it
    return max(1, min(most, pass_budget(model.device, CPU_BUDGET, GPU_SHARE) // row_bytes))


def draw_tokens(
    logits: Float[torch.Tensor, "row vocab"],
    uniform: Float[torch.Tensor, "row"],
    *,
    temperature: float,
    top_p: float,
    top_k: int = 0,
    min_p: float = 0.0,
) -> Int[torch.Tensor, "row"]:
    """Draw one token per row by nucleus sampling (Holtzman et al. 2020), at the quantile ``uniform`` of its nucleus.

    The nucleus is the smallest set of most likely tokens with mass ≥ top_p, of what the ``top_k`` likeliest (0 for all)
    and those at least ``min_p`` times as likely as the likeliest have together. ``uniform`` lies in [0, 1). Temperature
    0 takes the most likely token.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    # In half precision the cumulative sum over a vocabulary would not reach 1.
    probabilities = torch.softmax(logits.float() / temperature, dim=-1)
    if top_p == 1 and top_k == 0 and min_p == 0:
        return _quantile(probabilities, probabilities.cumsum(dim=-1), uniform)
    # Stable, so that ties are ranked alike on every machine and in every batch.
    ranked, tokens = probabilities.sort(dim=-1, descending=True, stable=True)
    if min_p > 0:
        ranked = torch.where(ranked >= min_p * ranked[:, :1], ranked, 0.0)
    if top_k > 0:
        ranked[:, top_k:] = 0.0
    if min_p > 0 or top_k > 0:
        ranked = ranked / ranked.sum(dim=-1, keepdim=True)
    mass = ranked.cumsum(dim=-1)
    # A token is in the nucleus if the mass before it is short of top_p; the token that crosses top_p is in.
    nucleus = torch.where(mass - ranked < top_p, ranked, 0.0)
    rank = _quantile(nucleus, nucleus.cumsum(dim=-1), uniform)
    return tokens.gather(1, rank[:, None])[:, 0]


def _quantile(
    weights: Float[torch.Tensor, "row vocab"],
    cumulative: Float[torch.Tensor, "row vocab"],
    uniform: Float[torch.Tensor, "row"],
) -> Int[torch.Tensor, "row"]:
    """Return the first index whose cumulative weight exceeds ``uniform`` of the total: never one of weight zero."""
    target = uniform[:, None] * cumulative[:, -1:]
    index = torch.searchsorted(cumulative, target, right=True)[:, 0]
    # Rounding can put the target on the total itself; fall back to the last index that has weight.
    positions = torch.arange(weights.shape[1], device=weights.device)
    last = torch.where(weights > 0, positions, 0).amax(dim=-1)
    return torch.minimum(index, last)


class _Mask:
    """Keeps forbidden tokens from being drawn, in a batch of so many rows and steps."""

    def __init__(self, forbidden: ForbiddenTokens, rows: int, steps: int) -> None:
        self._forbidden = forbidden
        self._drawn = torch.full((rows, steps if forbidden.sequences else 0), -1)

    def hide(
        self, logits: Float[torch.Tensor, "row vocab"], rows: Int[torch.Tensor, "row"], step: int
    ) -> Float[torch.Tensor, "row vocab"]:
        """Return the logits without what may not come next."""
        if not self._forbidden:
            return logits
        entries = logits.shape[1]  # a tokenizer may have more tokens than the model
        hidden = logits.clone()
        singles = [token for token in self._forbidden.singles if token < entries]
        hidden[:, torch.tensor(singles, dtype=torch.long)] = -torch.inf
        for *beginning, last in self._forbidden.sequences:
            start = step - len(beginning)
            if start >= 0 and last < entries:
                is_begun = (self._drawn[rows, start:step] == torch.tensor(beginning)).all(dim=1)
                hidden[is_begun.to(logits.device), last] = -torch.inf
        return hidden

    def record(self, tokens: Int[torch.Tensor, "row"], rows: Int[torch.Tensor, "row"], step: int) -> None:
        """Remember what was drawn."""
        if self._forbidden.sequences:
            self._drawn[rows, step] = tokens.cpu()


def _chooser(batch: Sequence[Request], sampling: Sampling, bar: _SharedBar, forbidden: ForbiddenTokens) -> Choose:
    """Return the function that draws the next token of every row from the row's own random stream."""
    streams = [np.random.default_rng(request.seed) for request in batch]
    # All numbers at once: a row's number at a step then does not depend on which rows have ended before.
    numbers = [stream.random(sampling.max_new_tokens, dtype=np.float32) for stream in streams]
    uniforms = torch.from_numpy(np.stack(numbers))
    mask = _Mask(forbidden, len(batch), sampling.max_new_tokens)

    def choose(logits: torch.Tensor, rows: torch.Tensor, step: int) -> torch.Tensor:
        # The maximum is enough: NaN and +inf pass through it, and -inf is what masks tokens.
        if not torch.isfinite(logits.amax(dim=-1)).all():
            raise InputError(f"the model's logits are not finite at new token {step + 1}; check its weights")
        if step % 64 == 63:
            bar.advance(0, note=f"token {step + 1}")
        uniform = uniforms[rows, step].to(logits.device)
        allowed = mask.hide(logits, rows, step)
        tokens = draw_tokens(
            allowed,
            uniform,
            temperature=float(sampling.temperature),
            top_p=float(sampling.top_p),
            top_k=sampling.top_k,
            min_p=float(sampling.min_p),
        )
        mask.record(tokens, rows, step)
        return tokens

    return choose
