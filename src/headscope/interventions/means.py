"""Mean ablation: compute what heads write on average over reference texts.

The mean is taken separately for each part of a text (prompt, thinking, answer; method section 6), because a head's
mean over a prompt is far from what it writes in a thought. If the model has no think markers, a text is one part, and
there is one mean for all tokens.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headscope.errors import InputError
from headscope.interventions.spans import PARTS, Markers, Reader, Span, resolve_span, token_parts
from headscope.models import Hook, as_model, attach_hooks, head_access
from headscope.models.subject import SubjectOrModel
from headscope.models.threads import map_in_order, on_this_thread
from headscope.pairs.tokens import TokenRows, check_texts_fit, token_rows


def capture_mean(
    model: SubjectOrModel, texts: TokenRows, *, span: str | Span = "all"
) -> Float[np.ndarray, "layer head d_head"]:
    """Return the mean z of every head over all tokens of ``texts`` (token ids) that lie in ``span``, in float32.

    The mean over ``all`` is a constant; mean ablation (``mean``) takes one per part of the text. Raises InputError if
    no token lies in the span or the model cannot read a text.
    """
    access, limits = head_access(as_model(model)), resolve_span(model, span)
    sums, counts = _part_sums(model, texts, Markers.none() if limits is None else limits.markers)
    if limits is None:
        means = _mean_of_all(sums, counts)
    else:
        part = PARTS.index(limits.part)
        _check_part(counts, part)
        means = sums[:, part] / counts[part]
    z: Float[np.ndarray, "layer head d_head"] = torch.unflatten(means, 1, (access.heads, access.d_head)).numpy()
    return z


def head_writes(
    model: SubjectOrModel, texts: Sequence[Sequence[int]], layers: Sequence[int] | range
) -> Iterator[dict[int, Float[Tensor, "token z"]]]:
    """Yield z of ``layers`` for one text after another, heads concatenated.

    Raises InputError if the model cannot read a text.
    """
    plain = as_model(model)
    access = head_access(plain)
    check_texts_fit(texts, access.vocabulary, access.longest)

    @torch.no_grad()  # each thread has its own mode
    def read(text: Sequence[int]) -> dict[int, Tensor]:
        writes: dict[int, Tensor] = {}

        def record(layer: int, z: Float[Tensor, "1 token z"]) -> None:
            writes[layer] = z[0]

        hooks = []
        for layer in layers:
            hooks.append(Hook(access.layers[layer].output, "input", on_this_thread(partial(record, layer))))
        ids = torch.as_tensor(text, device=access.device)[None]
        with attach_hooks(hooks):
            plain.base_model(input_ids=ids, use_cache=False)
        return writes

    yield from map_in_order(plain, read, texts)


class PartMeans:
    """A ``Fill`` that is the reference's mean over the token's part of the text, or over all if it has no such part.

    means: by layer and part, heads next to each other.
    is_uniform: whether the reference has a single part, so that every part has the same mean.
    """

    def __init__(self, means: Float[Tensor, "layer part z"], reader: Reader, is_uniform: bool) -> None:
        self.means, self._reader, self.is_uniform = means, reader, is_uniform

    @classmethod
    def capture(cls, model: SubjectOrModel, texts: TokenRows, reader: Reader, part: int | None = None) -> "PartMeans":
        """Return the means over texts (token ids). Raises InputError if there is no token, or none of ``part``."""
        sums, counts = _part_sums(model, texts, reader.markers)
        if part is not None:
            _check_part(counts, part)
        overall = _mean_of_all(sums, counts)[:, None]
        is_present = counts[:, None] > 0
        means = torch.where(is_present, sums / counts.clamp_min(1)[:, None], overall)
        return cls(means, reader, is_uniform=int(is_present.sum()) == 1)

    def at(self, layer: int) -> Float[Tensor, "row token z"]:
        """Return the mean of each token's part; padding takes the prompt's."""
        return self.means[layer][torch.as_tensor(self._reader.parts.clip(0))]


def _part_sums(
    model: SubjectOrModel, texts: TokenRows, markers: Markers
) -> tuple[Float[Tensor, "layer part z"], Float[Tensor, " part"]]:
    """Return sums of z over the tokens of each part, and their numbers. Raises InputError if there is no token."""
    rows = [row.tolist() for row in token_rows(texts) if len(row)]
    if not rows:
        raise InputError("found no token in the reference texts; a mean needs at least one")
    access = head_access(as_model(model))
    sums = torch.zeros(len(access.layers), len(PARTS), access.heads * access.d_head, dtype=torch.float32)
    counts = torch.zeros(len(PARTS), dtype=torch.float32)
    for text, writes in zip(rows, head_writes(model, rows, range(len(access.layers))), strict=True):
        membership = torch.nn.functional.one_hot(torch.as_tensor(token_parts(text, markers)), len(PARTS)).float()
        counts += membership.sum(0)
        for layer, z in writes.items():
            # In float32 whatever the model's precision: thousands of 16-bit numbers do not add up in 16 bits.
            sums[layer] += membership.T @ z.float().cpu()
    return sums, counts


def _mean_of_all(sums: Float[Tensor, "layer part z"], counts: Float[Tensor, " part"]) -> Float[Tensor, "layer z"]:
    return sums.sum(1) / counts.sum()


def _check_part(counts: Float[Tensor, " part"], part: int) -> None:
    if not counts[part]:
        raise InputError(f"found no token of the {PARTS[part]} in the reference texts; a mean needs at least one")
