"""Teacher-forced sweeps: many edits of many heads on given texts, without generating.

Every text is one forward pass in which the edits are rows of the batch. Rows part only where they begin to differ: two
edits that do the same to the heads of layers 0 to l share the computation up to there. With L layers and sets of a few
heads that saves about half of the work; the results are those of one pass per edit.

1. Order the edits by what they do, lowest layer first, and cut them into chunks that fit the cache.
2. At the input of each layer where edits part, repeat the rows; at its output projection, edit them.
3. Only positions that predict the response go through the unembedding.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from headscope.errors import InputError
from headscope.interventions.operators import Fill, changed
from headscope.interventions.spans import Reader, Span, reading
from headscope.measures.logits import nll
from headscope.models import HeadAccess, Hook, as_model, attached, head_access
from headscope.progress import SILENT, Progress

CPU_TOKENS = 32768
"""Rows times tokens of a pass on a CPU. More share more: 200 sets on the lab's M took 188 s in passes of 4,096 tokens
and 144 s in passes of 32,768."""

CPU_BUDGET = 1024**3
GPU_SHARE = 0.25
"""Bytes, or the share of a GPU's free memory, for the logits and the widest activations of a pass."""


@dataclass(frozen=True)
class Text:
    """A prompt and the response whose tokens are predicted, as token ids."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]

    @property
    def tokens(self) -> tuple[int, ...]:
        """Both."""
        return self.prompt + self.response


@dataclass(frozen=True, eq=False)
class Forced:
    """What each edit does to each text.

    nll: nats per response token. accuracy: share of response tokens the model would have written itself (greedily).
    """

    nll: Float[np.ndarray, "edit text"]
    accuracy: Float[np.ndarray, "edit text"]


@torch.inference_mode()
def teacher_forced(
    model: Any,
    texts: Sequence[Text],
    factors: Float[np.ndarray, "edit layer head"],
    *,
    fill: Fill | None = None,
    reader: Reader | None = None,
    span: str | Span = "all",
    rows: int | None = None,
    progress: Progress = SILENT,
) -> Forced:
    """Loss and accuracy of every edit on every text.

    factors: of the heads' writes; an edit of ones leaves the model as it is. ``fill`` stands in where a factor is 0,
        and ``reader``, where the fill needs one, follows the passes.
    rows: edits per pass; None derives it from the text's length.
    Raises InputError where there is no text, an empty prompt or response, or the grid is not the model's.
    """
    plain = as_model(model)
    access = head_access(plain)
    _check(texts, factors, access)
    order = np.lexsort(factors.reshape(len(factors), -1).T[::-1])
    found = np.zeros((2, len(factors), len(texts)), dtype=np.float64)
    with nullcontext() if reader is None else reading(model, reader), progress.bar("teacher-forced", len(texts)) as bar:
        for column, text in enumerate(texts):
            size = rows or rows_that_fit(plain, text)
            for start in range(0, len(order), size):
                chunk = order[start : start + size]
                with edited_rows(model, factors[chunk], fill=fill, span=span) as row_of:
                    found[:, chunk, column] = _measure(model, text)[:, row_of]
            bar.advance()
    return Forced(found[0], found[1])


def rows_that_fit(model: Any, text: Text) -> int:
    """Edits per pass: as many as the memory holds, on a CPU no more than pays."""
    length, config = len(text.tokens), model.config.get_text_config()
    wide = 3 * 4 * len(text.response) * config.vocab_size + 16 * length * config.hidden_size * model.dtype.itemsize
    if model.device.type != "cuda":
        return max(1, int(min(CPU_TOKENS // length, CPU_BUDGET // wide)))
    return int(max(1, GPU_SHARE * torch.cuda.mem_get_info(model.device)[0] // wide))


@dataclass(frozen=True, eq=False)
class _Level:
    """A layer's rows: which row of the layer below each continues, and the factors of its heads."""

    layer: int
    parents: Int[np.ndarray, "row"]
    factors: Float[np.ndarray, "row head"]


def _levels(factors: Float[np.ndarray, "edit layer head"]) -> tuple[list[_Level], Int[np.ndarray, "edit"]]:
    """Layers from below with as many rows as there are different edits so far; last, the row of each edit."""
    rows = np.zeros(len(factors), dtype=np.int64)
    levels = []
    for layer in range(factors.shape[1]):
        keys = np.column_stack([rows, factors[:, layer]])
        _, first, now = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        levels.append(_Level(layer, rows[first], factors[first, layer]))
        rows = now.reshape(-1)
    return levels, rows


@contextmanager
def edited_rows(
    model: Any, factors: Float[np.ndarray, "edit layer head"], *, fill: Fill | None = None, span: str | Span = "all"
) -> Iterator[Int[np.ndarray, "edit"]]:
    """Inside the block a pass of one text becomes as many rows as there are different edits; gives the row of each."""
    plain = as_model(model)
    levels, row_of = _levels(factors)
    blocks, below, hooks = _blocks(plain, head_access(plain)), 1, []
    for level in levels:
        if len(level.parents) > below:
            hooks.append(Hook(blocks[level.layer], "input", _repeat(level.parents)))
        below = len(level.parents)
    with changed(model, {each.layer: each.factors for each in levels}, fill=fill, span=span), attached(hooks):
        yield row_of


def _repeat(parents: Int[np.ndarray, "row"]) -> Callable[[Tensor], Tensor]:
    index = torch.as_tensor(parents)

    def repeat(stream: Float[Tensor, "below token d"]) -> Float[Tensor, "row token d"]:
        return stream[index.to(stream.device)]

    return repeat


def _blocks(model: nn.Module, access: HeadAccess) -> list[nn.Module]:
    """The module of each whole layer: the one that holds its attention."""
    holder = {child: module for module in model.modules() for child in module.children()}
    return [holder[layer.attention] for layer in access.layers]


def response_nll(model: Any, text: Text) -> Float[Tensor, "row"]:
    """Nats per response token, by row."""
    logits, target = _response_logits(model, text)
    return nll(logits, target).mean(1)


def _measure(model: Any, text: Text) -> Float[np.ndarray, "2 row"]:
    """Nats per response token and share of tokens right, by row."""
    logits, target = _response_logits(model, text)
    right = (logits.argmax(-1) == target).float().mean(1)
    both: np.ndarray = torch.stack([nll(logits, target).mean(1), right]).double().cpu().numpy()
    return both


def _response_logits(model: Any, text: Text) -> tuple[Float[Tensor, "row response vocab"], Int[Tensor, "row response"]]:
    """What the model predicts where a response token follows, and that token."""
    plain = as_model(model)
    # Not ``head_access``, which tries the norms: hooks on them would act.
    ids = torch.tensor([text.tokens], device=plain.get_input_embeddings().weight.device)
    first = len(text.prompt) - 1
    predicting = torch.arange(first, first + len(text.response), device=ids.device)
    logits = plain(input_ids=ids, use_cache=False, logits_to_keep=predicting).logits
    return logits, torch.tensor(text.response, device=logits.device).expand(logits.shape[0], -1)


def _check(texts: Sequence[Text], factors: Float[np.ndarray, "edit layer head"], access: HeadAccess) -> None:
    if not texts or not all(text.prompt and text.response for text in texts):
        raise InputError("teacher forcing needs at least one text, each with a prompt and a response of tokens")
    if factors.shape[1:] != (len(access.layers), access.heads):
        raise InputError(f"factors have shape {factors.shape}; [edits, {len(access.layers)}, {access.heads}] is needed")
