"""Interventions on z, what a head hands to the output projection (method section 6).

Every operator is a context manager: it holds for each forward pass inside the block, with or without a key/value cache,
in all positions or in a span, and is undone when the block ends. The output projection's bias belongs to no head and is
untouched.

    zero      z' = 0
    scale     z' = alpha z
    mean      z' = the mean of z over a reference set, of the same span
    resample  z' = z of another problem at the same place of the same part
    optimal   z' = the constant with the least loss on a reference set (``fit_constants``)
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headscope.errors import InputError
from headscope.heads import HeadId, HeadSet
from headscope.interventions.means import capture_mean
from headscope.interventions.resample_bank import ResampleBank
from headscope.interventions.spans import PARTS, Markers, Reader, Span, follow_passes, resolve_span
from headscope.models import HeadAccess, Hook, as_model, attach_hooks, head_access

# Texts as token ids, or the [layer, head, d_head] constants worked out before.
Reference = Sequence[Sequence[int]] | np.ndarray
Heads = HeadSet | Iterable[str | HeadId | tuple[int, int]]


@runtime_checkable
class Fill(Protocol):
    """What stands in for z, layer by layer."""

    def at(self, layer: int) -> Float[Tensor, "_ _ z"]:
        """z of ``layer`` in the current pass, [row or 1, token or 1, heads side by side]."""


def zero(model: Any, heads: Heads, *, span: str | Span = "all") -> AbstractContextManager[None]:
    """Silence ``heads`` inside the block. Raises InputError where a head does not exist, or the span has no markers."""
    return scale(model, heads, 0.0, span=span)


def scale(model: Any, heads: Heads, alpha: float, *, span: str | Span = "all") -> AbstractContextManager[None]:
    """Multiply what ``heads`` write by ``alpha``. Raises InputError as ``zero`` does."""
    factors = np.where(head_grid(model, heads), alpha, 1.0).astype(np.float32)
    return scale_rows(model, factors[None], span=span)


def scale_rows(
    model: Any, factors: Float[np.ndarray, "row layer head"], *, span: str | Span = "all"
) -> AbstractContextManager[None]:
    """Multiply each head's write by its own factor inside the block, one grid per batch row (or one for all rows).

    Many head sets can so be tried in one pass: give every batch row its own grid. With ``num_return_sequences`` the
    rows are the expanded ones. Raises InputError where the grid is not the model's.
    """
    access = head_access(as_model(model))
    if factors.shape[1:] != (len(access.layers), access.heads):
        raise InputError(f"factors have shape {factors.shape}; [rows, {len(access.layers)}, {access.heads}] is needed")
    return edit_heads(model, {layer: factors[:, layer] for layer in range(factors.shape[1])}, span=span)


def mean(model: Any, heads: Heads, reference: Reference, *, span: str | Span = "all") -> AbstractContextManager[None]:
    """Replace what ``heads`` write by its mean over a reference set.

    reference: texts as lists of token ids, whose tokens of the same span all count alike, or the array ``capture_mean``
        returned.
    Raises InputError where a head does not exist or the reference holds no token of the span.
    """
    grid = head_grid(model, heads)
    means = reference if isinstance(reference, np.ndarray) else capture_mean(model, reference, span=span)
    return constant(model, HeadSet.from_grid(grid), means, span=span)


def constant(
    model: Any, heads: Heads, values: Float[np.ndarray, "layer head d_head"], *, span: str | Span = "all"
) -> AbstractContextManager[None]:
    """Replace what ``heads`` write by constants: those of ``fit_constants`` make this optimal ablation."""
    return edit_heads(model, removal_factors(head_grid(model, heads)), fill=Constants(values), span=span)


@contextmanager
def resample(
    model: Any, heads: Heads, reference: Sequence[Sequence[int]], seed: int = 0, *, span: str | Span = "all"
) -> Iterator[None]:
    """Replace what ``heads`` write by what they write in another problem's text.

    reference: texts as token ids. Each row takes one of them by ``seed`` and its own prompt, never one that begins
        alike, and reads it at the same place of the same part, from the front again where the part is shorter.
    Raises InputError where a head does not exist or no text of the reference is of another problem.
    """
    grid = head_grid(model, heads)
    limits = resolve_span(model, span)
    reader = Reader(Markers.none() if limits is None else limits.markers)
    donors = ResampleBank.capture(model, reference, np.flatnonzero(grid.any(axis=1)).tolist(), reader, seed)
    with follow_passes(model, reader), edit_heads(model, removal_factors(grid), fill=donors, span=span):
        yield


@contextmanager
def edit_heads(
    model: Any,
    factors: Mapping[int, Float[np.ndarray, "_ head"]],
    *,
    fill: Fill | None = None,
    span: str | Span = "all",
) -> Iterator[None]:
    """The one form all operators have: z' = factor · z, and the ``fill`` where the factor is 0.

    factors: by layer, [row, head], or one row for all; layers that are absent or hold only ones are untouched.
    """
    access, limits = head_access(as_model(model)), resolve_span(model, span)
    reader = None if limits is None else Reader(limits.markers)
    hooks = []
    for layer, rows in factors.items():
        if (rows != 1).any():
            inside = None if limits is None or reader is None else (reader, PARTS.index(limits.part))
            by_row = inside is not None or len(rows) > 1 or not (fill is None or isinstance(fill, Constants))
            hooks.append(
                Hook(access.layers[layer].output, "input", HeadEdit(access, layer, rows, fill, inside), by_row)
            )
    with nullcontext() if reader is None else follow_passes(model, reader), attach_hooks(hooks):
        yield


def head_grid(model: Any, heads: Heads) -> Bool[np.ndarray, "layer head"]:
    """The heads on the model's [layer, head] grid. Raises InputError naming the range where one lies outside it."""
    access = head_access(as_model(model))
    return HeadSet.of(heads).grid(len(access.layers), access.heads)


def removal_factors(grid: Bool[np.ndarray, "layer head"]) -> dict[int, Float[np.ndarray, "1 head"]]:
    """Factors that take the heads of ``grid`` out."""
    return {layer: (~grid[layer]).astype(np.float32)[None] for layer in np.flatnonzero(grid.any(axis=1)).tolist()}


class Constants:
    """A ``Fill`` that is the same in every row and position."""

    def __init__(self, values: Float[np.ndarray, "layer head d_head"] | Float[Tensor, "layer head d_head"]) -> None:
        self.values = values
        self._wide = torch.as_tensor(values).flatten(1)

    def at(self, layer: int) -> Float[Tensor, "1 1 z"]:
        """One z for all."""
        return self._wide[layer][None, None]


class HeadEdit:
    """z of one layer to what it is changed to."""

    def __init__(
        self,
        access: HeadAccess,
        layer: int,
        factors: Float[np.ndarray, "row head"],
        fill: Fill | None,
        inside: tuple[Reader, int] | None,
    ) -> None:
        self._factors = torch.as_tensor(factors).repeat_interleave(access.d_head, dim=1)[:, None]
        self._layer, self._fill, self._inside = layer, fill, inside

    def __call__(self, z: Float[Tensor, "row token z"]) -> Float[Tensor, "row token z"]:
        factors = self._factors = self._factors.to(z)
        new = z * factors
        if self._fill is not None:
            new = torch.where(factors == 0, self._fill.at(self._layer).to(z), new)
        if self._inside is None:
            return new
        reader, part = self._inside
        here = torch.as_tensor(reader.parts == part, device=z.device)
        return torch.where(here[..., None], new, z)
