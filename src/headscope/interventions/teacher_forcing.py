"""Teacher-forced sweeps: many edits of many heads on given texts, without generating.

Every edit is a row, and rows split where they begin to differ: two edits that do the same to the heads of layers 0
to l share the computation up to layer l's attention. The results are those of one pass per edit.

1. For every layer, find which edits are still the same row (``_levels``).
2. Run the text; layers below the first edit are as in that pass.
3. From there, depth first, in parts that stay in the processor's caches: attend once per row, split the row into those
   that its heads' edits make of it, write, and continue with each part to the last layer.
4. In the last layer write only the positions that predict the response; only they go through the unembedding.

On a CPU every thread runs its own text.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import ceil
from threading import Lock

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from headscope.errors import InputError, is_out_of_memory
from headscope.interventions.donor_weights import DonorWeights
from headscope.interventions.head_edits import Fill, HeadEdit, Replacement, check_numbers
from headscope.interventions.layerwise import Layerwise, check_hooks, layerwise
from headscope.interventions.spans import follow_passes
from headscope.measures.logits import nll
from headscope.models import HeadAccess, as_model, head_access
from headscope.models.memory import Limit, pass_budget
from headscope.models.subject import SubjectOrModel
from headscope.models.threads import map_in_order
from headscope.pairs.tokens import check_texts_fit, token_rows
from headscope.progress import SILENT, Progress

CPU_TOKENS = 4096
"""Rows times tokens written at a time by one thread of a CPU."""

CPU_BUDGET = 1024**3
GPU_SHARE = 0.25
"""Bytes, or the share of a GPU's free memory, for the logits and the widest activations of a pass."""

_PASS = Lock()
"""Held from the start of a pass until the state of the fill's reader is copied: it follows one pass at a time."""


@dataclass(frozen=True)
class Text:
    """A prompt and the response whose tokens are predicted, as token ids (lists and arrays become tuples).

    Raises InputError if one holds anything but ids.
    """

    prompt: tuple[int, ...]
    response: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("prompt", "response"):
            (row,) = token_rows([getattr(self, name)])
            object.__setattr__(self, name, tuple(row.tolist()))

    @property
    def tokens(self) -> tuple[int, ...]:
        """Return the token ids of the prompt and the response."""
        return self.prompt + self.response

    @property
    def predicting(self) -> slice:
        """Return the positions whose next token is a response token."""
        return slice(len(self.prompt) - 1, len(self.prompt) + len(self.response) - 1)


@dataclass(frozen=True, eq=False)
class TeacherForcedMetrics:
    """Losses and accuracies of every edit on every text.

    nll: nats per response token.
    accuracy: share of response tokens that the model would have written itself (greedily).
    group_nll: nats summed over the tokens of each group; None without groups.
    """

    nll: Float[np.ndarray, "edit text"]
    accuracy: Float[np.ndarray, "edit text"]
    group_nll: Float[np.ndarray, "edit text group"] | None = None


def teacher_force(
    model: SubjectOrModel,
    texts: Sequence[Text],
    factors: Float[np.ndarray, "edit layer head"],
    *,
    replacement: Replacement = Replacement(),
    groups: Sequence[Int[np.ndarray, "_"]] | None = None,
    rows: int | None = None,
    progress: Progress = SILENT,
) -> TeacherForcedMetrics:
    """Return loss and accuracy of every edit on every text and, with ``groups``, the loss of each group of tokens.

    Args:
        model: a ``Subject`` or a plain Hugging Face model; it is left as it was.
        texts: prompts with the responses that are predicted.
        factors: what each head's write is multiplied by; an edit of ones leaves the model as it is.
        replacement: what heads with factor 0 write (``make_replacement``); zeros by default.
        groups: per text the group of every response token, counted from 0; −1 for none. Losses are summed by group.
        rows: number of edits computed at a time; None derives it from the free memory and the text's length.
        progress: counts texts.

    Raises:
        InputError: if there is no text, a prompt or response is empty, the model cannot read a text, there is no edit,
            ``factors`` do not have the model's shape or are not finite in float32, ``rows`` is below 1, a hook on the
            model would not be run (``layerwise.check_hooks``), or groups are not one per response token.
    """
    plain = as_model(model)
    access = head_access(plain)
    check_texts(texts, access)
    factors = check_numbers("factors", factors, "edits", len(access.layers), access.heads)
    if rows is not None and rows < 1:
        raise InputError(f"found rows={rows!r}; give at least 1 edit at a time, or None")
    members = None if groups is None else _group_members(texts, groups)
    check_hooks(access)
    # Edits that agree in the first layers become neighbours and fall into one chunk.
    order = np.lexsort(factors.reshape(len(factors), -1).T[::-1])
    count = 2 if members is None else 2 + members[0].shape[1]
    metrics = np.zeros((count, len(factors), len(texts)), dtype=np.float64)
    limit = Limit()

    @torch.inference_mode()  # each thread has its own mode
    def measure(column: int) -> None:
        text = texts[column]

        def measure_part(part: slice) -> None:
            chunk = order[part]
            logits, row_of = _edited_logits(plain, access, text, factors[chunk], replacement.fill)
            metrics[:, chunk, column] = _measure(logits, text, None if members is None else members[column])[:, row_of]

        with refuse_if_too_long(text):
            deque(limit.run_parts(len(order), rows or rows_that_fit(plain, text), measure_part), maxlen=0)

    with ExitStack() as stack, progress.bar("teacher-forced", len(texts)) as bar:
        if replacement.reader is not None:
            stack.enter_context(follow_passes(model, replacement.reader))
        for _ in map_in_order(plain, measure, range(len(texts))):
            bar.advance()
    group_nll = None if members is None else np.moveaxis(metrics[2:], 0, -1)
    return TeacherForcedMetrics(metrics[0], metrics[1], group_nll)


def check_texts(texts: Sequence[Text], access: HeadAccess) -> None:
    """Raise InputError if there is no text, a prompt or response is empty, or the model cannot read a text."""
    if not texts or not all(text.prompt and text.response for text in texts):
        raise InputError(
            "found no text or an empty one; give at least one text, each with a prompt and a response of tokens"
        )
    check_texts_fit([text.tokens for text in texts], access.vocabulary, access.longest)


def edited_nll(
    model: PreTrainedModel,
    access: HeadAccess,
    text: Text,
    factors: Float[np.ndarray, "edit layer head"],
    fill: Fill | None = None,
) -> Float[Tensor, "edit"]:
    """Return nats per response token of every edit, differentiable with respect to ``fill``."""
    logits, row_of = _edited_logits(model, access, text, factors, fill)
    return nll(logits, _target(text, logits)).mean(1)[row_of]


def response_nll(model: SubjectOrModel, text: Text) -> Float[Tensor, "1"]:
    """Return nats per response token of a plain pass, in which all hooks act."""
    plain = as_model(model)
    # Not ``head_access``, whose proof runs the norms: hooks on them would act.
    ids = torch.tensor([text.tokens], device=plain.get_input_embeddings().weight.device)
    predicting = torch.arange(len(text.tokens), device=ids.device)[text.predicting]
    logits = plain(input_ids=ids, use_cache=False, logits_to_keep=predicting).logits
    return nll(logits, _target(text, logits)).mean(1)


def rows_that_fit(model: PreTrainedModel, text: Text) -> int:
    """Return how many edits of a text fit in memory at a time."""
    length, config = len(text.tokens), model.config.get_text_config()
    # Three float32 copies of the logits, and sixteen activations as wide as the residual stream. Measured on lab-s and
    # lab-m, the peak is a third of this or less in a CPU's parts, and 1.5 times this at most if a layer takes all
    # rows at once, as on a GPU. Sixteen stays: how many rows go together decides last bits.
    logit_bytes = 3 * 4 * len(text.response) * config.vocab_size
    row_bytes = logit_bytes + 16 * length * config.hidden_size * model.dtype.itemsize
    return int(max(1, pass_budget(model.device, CPU_BUDGET, GPU_SHARE) // row_bytes))


@contextmanager
def refuse_if_too_long(text: Text) -> Iterator[None]:
    """Raise InputError if memory runs out in the block, even with one edit of ``text`` at a time."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(
            f"a text of {len(text.tokens)} tokens does not fit in memory with one edit at a time; use shorter texts, "
            "a smaller dtype or a device with more memory"
        ) from error


@dataclass(frozen=True, eq=False)
class _Level:
    """The rows of one layer: edits that agree up to it share a row.

    parents: the row of the layer below that each row continues. factors: of the layer's heads.
    """

    layer: int
    parents: Int[np.ndarray, "row"]
    factors: Float[np.ndarray, "row head"]


def _levels(factors: Float[np.ndarray, "edit layer head"]) -> tuple[list[_Level], Int[np.ndarray, "edit"]]:
    """Return the layers, each with one row per different edit up to it, and the last layer's row of each edit."""
    rows = np.zeros(len(factors), dtype=np.int64)
    levels = []
    for layer in range(factors.shape[1]):
        keys = np.column_stack([rows, factors[:, layer]])
        _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        levels.append(_Level(layer, rows[first], factors[first, layer]))
        rows = inverse.reshape(-1)
    return levels, rows


def _edited_logits(
    model: PreTrainedModel,
    access: HeadAccess,
    text: Text,
    factors: Float[np.ndarray, "edit layer head"],
    fill: Fill | DonorWeights | None,
) -> tuple[Float[Tensor, "row response vocab"], Int[np.ndarray, "edit"]]:
    """Return the logits of each different edit before each response token, and each edit's row."""
    levels, row_of = _levels(factors)

    def make_rows(layers: Layerwise) -> Float[Tensor, "row response d"]:
        pass_fill = _PassFill.of(fill, factors) if isinstance(fill, Fill) else fill
        lock.close()  # what the fill's reader knows of this pass is copied
        return torch.cat(list(_edited_streams(layers, levels, text, pass_fill)))

    with ExitStack() as lock:
        lock.enter_context(_PASS)
        return layerwise(model, access, text.tokens, make_rows), row_of


def _edited_streams(
    layers: Layerwise, levels: Sequence[_Level], text: Text, fill: Fill | DonorWeights | None
) -> Iterator[Float[Tensor, "row response d"]]:
    """Yield the final residual streams, in the order of the last level's rows."""
    is_edited = [len(level.parents) > 1 or (level.factors != 1).any() for level in levels]
    first_edited = is_edited.index(True) if any(is_edited) else len(levels) - 1
    on_gpu = layers.access.device.type == "cuda"
    size = len(levels[-1].parents) if on_gpu else max(1, CPU_TOKENS // len(text.tokens))

    # Queue of (layer, its part of rows, first row of the layer below in ``stream``, stream, z).
    waiting: list[tuple[int, Int[np.ndarray, _], int, Tensor, Tensor | None]] = []

    def attend(layer: int, first: int, stream: Float[Tensor, "row token d"]) -> None:
        """Queue the rows that continue those of ``stream``, whose first is row ``first`` below, in parts."""
        # Other weights change attention itself: rows part before it.
        z = None if isinstance(fill, DonorWeights) else layers.attend(layer, stream)
        # Parents are sorted, so that the children of consecutive rows are consecutive.
        low, high = np.searchsorted(levels[layer].parents, [first, first + len(stream)])
        parts = np.array_split(np.arange(low, high), ceil((high - low) / size))
        waiting.extend((layer, part, first, stream, z) for part in reversed(parts))

    attend(first_edited, 0, layers.streams[first_edited])
    while waiting:
        layer, part, first, stream, z = waiting.pop()
        level, is_last = levels[layer], layer == len(levels) - 1
        positions = text.predicting if is_last else slice(None)
        parent = torch.as_tensor(level.parents[part] - first, device=stream.device)
        edit = _LayerEdit(layers, layer, level.factors[part], fill)
        written = edit.write(stream[parent], None if z is None else z[parent.to(z.device)], positions)
        # Kept on the way down, they would pile up layer by layer; parts that still wait have them.
        del stream, z
        if is_last:
            yield written
        else:
            attend(layer + 1, int(part[0]), written)
        del written


@dataclass(frozen=True, eq=False)
class _LayerEdit:
    """The edit of one layer's heads in a part of its rows."""

    layers: Layerwise
    layer: int
    factors: Float[np.ndarray, "row head"]
    fill: Fill | DonorWeights | None

    def write(
        self, stream: Float[Tensor, "row token d"], z: Float[Tensor, "row token z"] | None, positions: slice
    ) -> Float[Tensor, "row position d"]:
        """Return the stream after the layer, at ``positions``. z: of the unedited heads; None with a donor."""
        layers, layer, fill = self.layers, self.layer, self.fill
        stream_here = stream[:, positions].contiguous()
        if not isinstance(fill, DonorWeights):
            assert z is not None
            edit = HeadEdit(layers.access, layer, self.factors, fill if (self.factors == 0).any() else None, None)
            return layers.write(layer, stream_here, edit(z)[:, positions].contiguous())
        donor_edit = fill.edit(layers.access, layer, self.factors, None) if (self.factors != 1).any() else None
        z = layers.attend(layer, stream, donor_edit)
        added = None if donor_edit is None else donor_edit.added(z)[:, positions]
        return layers.write(layer, stream_here, z[:, positions].contiguous(), added)


class _PassFill:
    """A copy of a ``Fill``'s values for the pass just read."""

    def __init__(self, z: dict[int, Tensor]) -> None:
        self._z = z

    @classmethod
    def of(cls, fill: Fill, factors: Float[np.ndarray, "edit layer head"]) -> "_PassFill":
        """Return the fill of the layers in which something is removed."""
        return cls({layer: fill.at(layer) for layer in np.flatnonzero((factors == 0).any(axis=(0, 2))).tolist()})

    def at(self, layer: int) -> Float[Tensor, "1 _ z"]:
        """Return the new z, of every token or of one for all."""
        return self._z[layer]


def _measure(
    logits: Float[Tensor, "row response vocab"], text: Text, members: Float[np.ndarray, "response group"] | None
) -> Float[np.ndarray, "metric row"]:
    """Return nats per response token, share of correct tokens and, per group, nats summed over its tokens."""
    target = _target(text, logits)
    losses = nll(logits, target)
    is_right = (logits.argmax(-1) == target).float().mean(1)
    metrics: Float[np.ndarray, "2 row"] = torch.stack([losses.mean(1), is_right]).double().cpu().numpy()
    if members is None:
        return metrics
    return np.concatenate([metrics, (losses.double().cpu().numpy() @ members).T])


def _group_members(texts: Sequence[Text], groups: Sequence[Int[np.ndarray, "_"]]) -> list[Float[np.ndarray, "_ group"]]:
    """Return per text which response tokens belong to which group, as ones among zeros."""
    lengths, expected = [len(group) for group in groups], [len(text.response) for text in texts]
    if lengths != expected:
        raise InputError(f"groups hold {lengths} tokens; one number for each of {expected} response tokens is needed")
    count = 1 + max(int(group.max()) for group in groups)
    return [(group[:, None] == np.arange(count)).astype(np.float64) for group in groups]


def _target(text: Text, logits: Float[Tensor, "row response vocab"]) -> Int[Tensor, "row response"]:
    return torch.tensor(text.response, device=logits.device).expand(logits.shape[0], -1)
