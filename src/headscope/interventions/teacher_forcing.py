"""Teacher-forced sweeps: many edits of many heads on given texts, without generating.

Every edit is a row, and rows part only where they begin to differ: two edits that do the same to the heads of layers 0
to l share the computation up to layer l's attention. The results are those of one pass per edit.

1. Level by level, find which edits still are the same row (``_levels``).
2. Pass the text; all below the first edit is as in that pass.
3. From there, depth first, in parts that stay in the processor's caches: attend once per row, split it into the rows
   its heads' edits make of it, write, and go on with each part to the last layer.
4. There only the positions that predict the response are written, and only they go through the unembedding.

On a CPU every thread takes a text of its own.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil
from threading import Lock
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from headscope.errors import InputError
from headscope.interventions.layerwise import Layerwise, check_hooks, layerwise
from headscope.interventions.operators import Fill, HeadEdit
from headscope.interventions.spans import PARTS, Reader, Span, follow_passes, resolve_span
from headscope.measures.logits import nll
from headscope.models import HeadAccess, as_model, head_access
from headscope.models.threads import map_in_order
from headscope.progress import SILENT, Progress

CPU_TOKENS = 4096
"""Rows times tokens written at a time by one thread of a CPU."""

CPU_BUDGET = 1024**3
GPU_SHARE = 0.25
"""Bytes, or the share of a GPU's free memory, for the logits and the widest activations of a pass."""

_PASS = Lock()
"""Held from the beginning of a pass until what its readers know is copied: they follow one at a time."""

_Inside = tuple[Reader, int]


@dataclass(frozen=True)
class Text:
    """A prompt and the response whose tokens are predicted, as token ids."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]

    @property
    def tokens(self) -> tuple[int, ...]:
        """Both."""
        return self.prompt + self.response

    @property
    def predicting(self) -> slice:
        """The positions a response token follows."""
        return slice(len(self.prompt) - 1, len(self.prompt) + len(self.response) - 1)


@dataclass(frozen=True, eq=False)
class TeacherForcedMetrics:
    """What each edit does to each text.

    nll: nats per response token. accuracy: share of response tokens the model would have written itself (greedily).
    """

    nll: Float[np.ndarray, "edit text"]
    accuracy: Float[np.ndarray, "edit text"]


def teacher_force(
    model: Any,
    texts: Sequence[Text],
    factors: Float[np.ndarray, "edit layer head"],
    *,
    fill: Fill | None = None,
    reader: Reader | None = None,
    span: str | Span = "all",
    rows: int | None = None,
    progress: Progress = SILENT,
) -> TeacherForcedMetrics:
    """Loss and accuracy of every edit on every text.

    factors: of the heads' writes; an edit of ones leaves the model as it is. ``fill`` stands in where a factor is 0,
        and ``reader``, where the fill needs one, follows the passes.
    rows: edits at a time; None derives it from the text's length.
    Raises InputError where there is no text, an empty prompt or response, the grid is not the model's, or a hook would
    be passed by (``layerwise.check_hooks``).
    """
    plain = as_model(model)
    access = head_access(plain)
    _check(texts, factors, access)
    check_hooks(access)
    limits = resolve_span(model, span)
    inside = None if limits is None else (Reader(limits.markers), PARTS.index(limits.part))
    order = np.lexsort(factors.reshape(len(factors), -1).T[::-1])
    found = np.zeros((2, len(factors), len(texts)), dtype=np.float64)

    @torch.inference_mode()  # each thread has its own mode
    def measure(column: int) -> None:
        text = texts[column]
        size = rows or rows_that_fit(plain, text)
        for start in range(0, len(order), size):
            chunk = order[start : start + size]
            found[:, chunk, column] = _measure(plain, access, text, factors[chunk], fill, inside)

    with ExitStack() as stack, progress.bar("teacher-forced", len(texts)) as bar:
        for each in (reader, inside and inside[0]):
            if each is not None:
                stack.enter_context(follow_passes(model, each))
        for _ in map_in_order(plain, measure, range(len(texts))):
            bar.advance()
    return TeacherForcedMetrics(found[0], found[1])


def edited_nll(
    model: Any, access: HeadAccess, text: Text, factors: Float[np.ndarray, "edit layer head"], fill: Fill | None = None
) -> Float[Tensor, "edit"]:
    """Nats per response token of every edit; gradients flow into what ``fill`` gives."""
    logits, row_of = _edited_logits(model, access, text, factors, fill, None)
    return nll(logits, _target(text, logits)).mean(1)[row_of]


def response_nll(model: Any, text: Text) -> Float[Tensor, "1"]:
    """Nats per response token, in a plain pass, in which hooks act as ever."""
    plain = as_model(model)
    # Not ``head_access``, which tries the norms: hooks on them would act.
    ids = torch.tensor([text.tokens], device=plain.get_input_embeddings().weight.device)
    predicting = torch.arange(len(text.tokens), device=ids.device)[text.predicting]
    logits = plain(input_ids=ids, use_cache=False, logits_to_keep=predicting).logits
    return nll(logits, _target(text, logits)).mean(1)


def rows_that_fit(model: Any, text: Text) -> int:
    """Edits at a time: as many as the memory holds."""
    length, config = len(text.tokens), model.config.get_text_config()
    wide = 3 * 4 * len(text.response) * config.vocab_size + 16 * length * config.hidden_size * model.dtype.itemsize
    on_gpu = model.device.type == "cuda"
    budget = GPU_SHARE * torch.cuda.mem_get_info(model.device)[0] if on_gpu else CPU_BUDGET
    return int(max(1, budget // wide))


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


def _edited_logits(
    model: Any,
    access: HeadAccess,
    text: Text,
    factors: Float[np.ndarray, "edit layer head"],
    fill: Fill | None,
    inside: _Inside | None,
) -> tuple[Float[Tensor, "row response vocab"], Int[np.ndarray, "edit"]]:
    """What each different edit predicts where a response token follows, and which row each edit is."""
    levels, row_of = _levels(factors)

    def rows(layers: Layerwise) -> Float[Tensor, "row response d"]:
        seen = None if fill is None else _Seen.of(fill, factors)
        here = None if inside is None else (copy.copy(inside[0]), inside[1])
        held.close()  # what the readers know of this pass is copied
        return torch.cat(list(_descend(layers, levels, text, seen, here)))

    with ExitStack() as held:
        held.enter_context(_PASS)
        return layerwise(model, access, text.tokens, rows), row_of


def _descend(
    layers: Layerwise, levels: Sequence[_Level], text: Text, fill: Fill | None, inside: _Inside | None
) -> Iterator[Float[Tensor, "row response d"]]:
    """The last streams, in the order of the last level's rows. All below the first edit is as in the pass."""
    edited = [len(level.parents) > 1 or (level.factors != 1).any() for level in levels]
    first_edited = edited.index(True) if any(edited) else len(levels) - 1
    on_gpu = layers.access.device.type == "cuda"
    size = len(levels[-1].parents) if on_gpu else max(1, CPU_TOKENS // len(text.tokens))

    def below(layer: int, first: int, stream: Float[Tensor, "row token d"]) -> Iterator[Tensor]:
        """Of what the rows from ``first`` on become."""
        if layer == len(levels):
            yield stream
            return
        level, z = levels[layer], layers.attend(layer, stream)
        place = text.predicting if layer == len(levels) - 1 else slice(None)
        low, high = np.searchsorted(level.parents, [first, first + len(stream)])
        for part in np.array_split(np.arange(low, high), ceil((high - low) / size)):
            parent = torch.as_tensor(level.parents[part] - first, device=stream.device)
            stands_in = fill if (level.factors[part] == 0).any() else None
            change = HeadEdit(layers.access, layer, level.factors[part], stands_in, inside)
            new = layers.write(layer, stream[parent, place], change(z[parent.to(z.device)])[:, place].contiguous())
            yield from below(layer + 1, int(part[0]), new)

    return below(first_edited, 0, layers.streams[first_edited])


class _Seen:
    """A ``Fill`` as it is for the pass just read, whatever is read after it."""

    def __init__(self, z: dict[int, Tensor]) -> None:
        self._z = z

    @classmethod
    def of(cls, fill: Fill, factors: Float[np.ndarray, "edit layer head"]) -> "_Seen":
        """For the layers where something is removed."""
        return cls({layer: fill.at(layer) for layer in np.flatnonzero((factors == 0).any(axis=(0, 2))).tolist()})

    def at(self, layer: int) -> Tensor:
        """[1, token or 1, z]."""
        return self._z[layer]


def _measure(
    model: Any,
    access: HeadAccess,
    text: Text,
    factors: Float[np.ndarray, "edit layer head"],
    fill: Fill | None,
    inside: _Inside | None,
) -> Float[np.ndarray, "2 edit"]:
    """Nats per response token and share of tokens right, by edit."""
    logits, row_of = _edited_logits(model, access, text, factors, fill, inside)
    target = _target(text, logits)
    right = (logits.argmax(-1) == target).float().mean(1)
    both: np.ndarray = torch.stack([nll(logits, target).mean(1), right]).double().cpu().numpy()
    return both[:, row_of]


def _target(text: Text, logits: Float[Tensor, "row response vocab"]) -> Int[Tensor, "row response"]:
    return torch.tensor(text.response, device=logits.device).expand(logits.shape[0], -1)


def _check(texts: Sequence[Text], factors: Float[np.ndarray, "edit layer head"], access: HeadAccess) -> None:
    if not texts or not all(text.prompt and text.response for text in texts):
        raise InputError("teacher forcing needs at least one text, each with a prompt and a response of tokens")
    highest, vocabulary = max(max(text.tokens) for text in texts), access.vocabulary
    if highest >= vocabulary:
        raise InputError(f"texts hold token id {highest}; the model's vocabulary allows 0-{vocabulary - 1}")
    if factors.shape[1:] != (len(access.layers), access.heads):
        raise InputError(f"factors have shape {factors.shape}; [edits, {len(access.layers)}, {access.heads}] is needed")
