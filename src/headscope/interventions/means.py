"""Means of z over a reference set."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headscope.errors import InputError
from headscope.interventions.spans import PARTS, Reader, Span, resolve_span, token_parts
from headscope.models import Hook, as_model, attach_hooks, head_access
from headscope.models.threads import map_in_order, on_this_thread


def capture_mean(
    model: Any, texts: Sequence[Sequence[int]], *, span: str | Span = "all"
) -> Float[np.ndarray, "layer head d_head"]:
    """Mean z of every head over the tokens of ``texts`` (token ids) that lie in ``span``, in float32.

    Raises InputError where there is none.
    """
    access, limits = head_access(as_model(model)), resolve_span(model, span)
    texts = [text for text in texts if len(text)]
    kept = [_kept(text, limits) for text in texts]
    count = sum(len(positions) for positions in kept)
    if not count:
        where = "" if limits is None else f" of the {limits.part}"
        raise InputError(f"found no token{where} in the {len(texts)} reference texts; a mean needs at least one")
    total = torch.zeros(len(access.layers), access.heads * access.d_head)
    positions = iter(kept)
    for writes in head_writes(model, texts, range(len(access.layers))):
        chosen = torch.as_tensor(next(positions))
        for layer, z in writes.items():
            total[layer] += z[chosen].sum(0).float().cpu()
    means: np.ndarray = torch.unflatten(total / count, 1, (access.heads, access.d_head)).numpy()
    return means


def head_writes(
    model: Any, texts: Sequence[Sequence[int]], layers: Sequence[int] | range
) -> Iterator[dict[int, Float[Tensor, "token z"]]]:
    """z of ``layers`` for each text in turn, heads side by side."""
    plain = as_model(model)
    access = head_access(plain)

    @torch.no_grad()  # each thread has its own mode
    def read(text: Sequence[int]) -> dict[int, Tensor]:
        found: dict[int, Tensor] = {}

        def keep(layer: int, z: Float[Tensor, "1 token z"]) -> None:
            found[layer] = z[0]

        ids = torch.as_tensor(np.asarray(text, dtype=np.int64), device=access.device)[None]
        receive = {layer: on_this_thread(partial(keep, layer)) for layer in layers}
        with attach_hooks([Hook(access.layers[layer].output, "input", receive[layer]) for layer in layers]):
            plain.base_model(input_ids=ids, use_cache=False)
        return found

    yield from map_in_order(plain, read, texts)


def _kept(text: Sequence[int], limits: Span | None) -> "np.ndarray[Any, np.dtype[np.int64]]":
    if limits is None:
        return np.arange(len(text))
    return np.flatnonzero(token_parts(text, limits.markers) == PARTS.index(limits.part))


class PartMeans:
    """A ``Fill``: in every part of a text the reference's mean over that part, or over all where it has none."""

    def __init__(self, means: Float[Tensor, "layer part z"], reader: Reader) -> None:
        self._means, self._reader = means, reader

    @classmethod
    def capture(cls, model: Any, texts: Sequence[Sequence[int]], reader: Reader) -> "PartMeans":
        """From texts as token ids. Raises InputError where there is no token."""
        texts = [text for text in texts if len(text)]
        if not texts:
            raise InputError("found no token in the reference texts; a mean needs at least one")
        access = head_access(as_model(model))
        sums = torch.zeros(len(access.layers), len(PARTS), access.heads * access.d_head)
        counts = torch.zeros(len(PARTS))
        for text, writes in zip(texts, head_writes(model, texts, range(len(access.layers))), strict=True):
            member = torch.nn.functional.one_hot(torch.as_tensor(token_parts(text, reader.markers)), len(PARTS)).float()
            counts += member.sum(0)
            for layer, z in writes.items():
                sums[layer] += member.T @ z.float().cpu()
        everywhere = (sums.sum(1) / counts.sum())[:, None]
        return cls(torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], everywhere), reader)

    def at(self, layer: int) -> Float[Tensor, "row token z"]:
        """The mean of each token's part; padding takes the prompt's."""
        return self._means[layer][torch.as_tensor(self._reader.parts.clip(0))]
